//! One task for each session: carries out the machine's steps in order, and reports what happens.
//! Media does not pass here: packets go from the session straight to the media worker
//! ([`RtpInput`](super::rtp_input::RtpInput)), and from there to the session.

mod reporter;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use blink_api::{
    CallId, Candidate, ChannelId, Clock, Endpoint, Error, ErrorKind, IceConfig, Result, Session, SessionConfig,
    SessionEvent, SessionEvents, SessionStats, StreamId, TrackId, TrackKind, Transport,
};
use tokio::sync::{mpsc, oneshot};
use tracing::{Instrument, Span};

use super::media::MediaHandle;
use super::media_worker_command::SessionPort;
use super::parts::Parts;
use super::report::Report;
use super::report_messages::{capture_from_wire, section_from_wire};
use super::session_command::SessionCommand;
use super::session_failure::{SessionFailure, SuspectedFailure};
use super::session_metrics::SessionMetrics;
use super::session_statistics;
use blink_media::{AnnouncedSection, MediaCommand, NegotiatedSection, PathId};
use blink_proto::call::{Negotiation, STREAM_SECTIONS, SessionId, SessionInput};
use blink_proto::secure::ChannelRates;
use blink_proto::wire::{ChannelKind, ChannelMessage, MAX_CAPTURES, REPORT_VERSION, cbor};
use reporter::Reporter;

/// Commands that wait for the session; when it is full the session counts as failed.
const QUEUE: usize = 256;
/// Messages kept for a data channel that is not open yet; the oldest are dropped.
const MAX_UNSENT: usize = 64;
/// The label of the data channel between two engines.
const CHANNEL: &str = "blink/1";

/// One end of a session: which call and participant it is for.
pub(super) struct SessionEnd {
    pub(super) id: SessionId,
    pub(super) call: CallId,
    pub(super) remote: Endpoint,
    /// Whether this side makes the SDP offers and opens the data channel.
    pub(super) is_offerer: bool,
    /// The servers for this path.
    pub(super) ice: IceConfig,
}

/// The driver's end of a session's task.
pub(super) struct SessionHandle {
    pub(super) call: CallId,
    pub(super) remote: Endpoint,
    commands: mpsc::Sender<SessionCommand>,
    stuck: AtomicBool,
}

impl SessionHandle {
    /// Begins a session's task; opening it is its first step.
    pub(super) fn start(
        end: SessionEnd,
        parts: &Parts,
        media: MediaHandle,
        reports: mpsc::Sender<Report>,
        span: Span,
    ) -> Self {
        let SessionEnd { id, call, remote, .. } = end;
        let (commands, queue) = mpsc::channel(QUEUE);
        let task = Task {
            end,
            transport: parts.transport.clone(),
            clock: parts.clock.clone(),
            media,
            own_commands: commands.downgrade(),
        };
        let work = async move {
            let mut reporter = Reporter::new(id, reports, task.clock.now());
            if let Err(SessionFailure { reason, error }) = task.run(queue, &mut reporter).await {
                tracing::warn!(%reason, %error, "a session failed");
                reporter.session(SessionInput::Failed(reason)).await;
            }
        };
        tokio::spawn(work.instrument(span));
        Self { call, remote, commands, stuck: AtomicBool::new(false) }
    }

    pub(super) fn negotiate(&self, step: Negotiation) {
        self.send_command(SessionCommand::Negotiate(step));
    }

    pub(super) fn send(&self, message: ChannelMessage) {
        self.send_command(SessionCommand::Send(message));
    }

    /// Closes; the receiver gets its message when it is closed.
    pub(super) fn close(&self) -> oneshot::Receiver<()> {
        let (done, closed) = oneshot::channel();
        self.send_command(SessionCommand::Close(done));
        closed
    }

    /// Statistics; they come when the session has carried out the commands before.
    pub(super) fn stats(&self) -> oneshot::Receiver<SessionStats> {
        let (reply, stats) = oneshot::channel();
        // Where the session does not keep up there are no statistics.
        self.commands.try_send(SessionCommand::Stats(reply)).ok();
        stats
    }

    /// Whether a command was dropped because the session does not keep up: it is of no use any
    /// longer.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    fn send_command(&self, command: SessionCommand) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.commands.try_send(command) {
            tracing::warn!("a session does not keep up");
            self.stuck.store(true, Ordering::Relaxed);
        }
    }
}

/// A session's task before its session is open.
struct Task {
    end: SessionEnd,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    media: MediaHandle,
    own_commands: mpsc::WeakSender<SessionCommand>,
}

impl Task {
    async fn run(
        self,
        mut queue: mpsc::Receiver<SessionCommand>,
        reporter: &mut Reporter,
    ) -> Result<(), SessionFailure> {
        let Self { end: SessionEnd { id, remote, is_offerer, ice, .. }, transport, clock, media, .. } = &self;
        let video = transport.capabilities().video;
        let rtp = media.rtp_sink(*id, clock.clone(), reporter.liveness.clone());
        let config = SessionConfig::new(clock.clone(), rtp)
            .with_ice(ice.clone())
            .with_audio(media.audio().rtp())
            .with_video(if video { media.payload_formats().codecs() } else { Vec::new() })
            .with_participant(remote.did);
        let (session, mut events) = transport.open(config).await.map_err(SessionFailure::at_opening)?;
        let session: Arc<dyn Session> = Arc::from(session);
        let tracks = add_tracks(&*session, video).await?;
        if *is_offerer {
            session.open_channel(CHANNEL).await?;
        }
        let port = SessionPort { session: session.clone(), commands: self.own_commands.clone() };
        let command = MediaCommand::AddPath(PathId(id.0), *remote, tracks.clone());
        media.add_session(*id, port, command).await;
        let mut open = OpenSession {
            id: *id,
            session: session.clone(),
            media: media.clone(),
            tracks,
            negotiated: Vec::new(),
            channel: None,
            unsent: VecDeque::new(),
            rates: ChannelRates::new(clock.now()),
            suspected: SuspectedFailure::default(),
        };
        let metrics = SessionMetrics::start(session.clone(), media.clone(), *id, *remote);
        let closing = open.serve(&mut queue, &mut events, &**clock, reporter).await;
        metrics.finish().await;
        media.remove_session(*id).await;
        session.close().await;
        match closing? {
            // The driver may have stopped waiting.
            Some(done) => drop(done.send(())),
            None => queue.close(),
        }
        Ok(())
    }
}

/// Adds a session's tracks: the microphone's and those for streams, as far as the transport carries
/// them.
async fn add_tracks(session: &dyn Session, video: bool) -> Result<Vec<(TrackId, TrackKind)>> {
    let mut tracks = vec![(session.add_track(TrackKind::Audio).await?, TrackKind::Audio)];
    let kinds = [(TrackKind::Audio, STREAM_SECTIONS.0), (TrackKind::Video, if video { STREAM_SECTIONS.1 } else { 0 })];
    for kind in kinds.into_iter().flat_map(|(kind, count)| std::iter::repeat_n(kind, count)) {
        match session.add_track(kind).await {
            Ok(track) => tracks.push((track, kind)),
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            Err(error) => return Err(error),
        }
    }
    Ok(tracks)
}

/// An open session with the state of its control.
struct OpenSession {
    id: SessionId,
    session: Arc<dyn Session>,
    media: MediaHandle,
    tracks: Vec<(TrackId, TrackKind)>,
    /// Sections that were passed on to the media.
    negotiated: Vec<NegotiatedSection>,
    channel: Option<ChannelId>,
    /// Messages for a channel that is not open yet.
    unsent: VecDeque<ChannelMessage>,
    /// Budgets of the other end's messages on the data channel. The machine counts the same over
    /// all sessions of a participant.
    rates: ChannelRates,
    suspected: SuspectedFailure,
}

impl OpenSession {
    /// Runs until the session is to be closed. Returns where that is to be confirmed.
    async fn serve(
        &mut self,
        queue: &mut mpsc::Receiver<SessionCommand>,
        events: &mut SessionEvents,
        clock: &dyn Clock,
        reporter: &mut Reporter,
    ) -> Result<Option<oneshot::Sender<()>>, SessionFailure> {
        loop {
            tokio::select! {
                command = queue.recv() => match command {
                    None => return Ok(None),
                    Some(SessionCommand::Close(done)) => return Ok(Some(done)),
                    Some(SessionCommand::Stats(reply)) => self.tell_statistics(reply),
                    Some(SessionCommand::Send(message)) => self.send(message),
                    Some(SessionCommand::Negotiate(step)) => self.negotiate(step, reporter).await?,
                },
                event = events.recv() => match event {
                    None | Some(SessionEvent::Closed) => {
                        return Err(Error::new(ErrorKind::Closed, "the session ended by itself").into());
                    }
                    Some(event) => self.handle(event, clock, reporter).await,
                },
                failure = self.suspected.settled() => return Err(failure),
            }
        }
    }

    fn tell_statistics(&self, reply: oneshot::Sender<SessionStats>) {
        tokio::spawn(session_statistics::tell(self.session.clone(), reply));
    }

    async fn negotiate(&mut self, step: Negotiation, reporter: &mut Reporter) -> Result<()> {
        match step {
            Negotiation::Offer { generation, ice_restart } => {
                let sdp = self.session.create_offer(ice_restart).await?;
                reporter.session(SessionInput::Described { generation, sdp }).await;
            }
            Negotiation::AcceptOffer { generation, sdp } => {
                let sdp = self.session.accept_offer(&sdp).await?;
                self.pass_on_sections().await;
                reporter.session(SessionInput::Described { generation, sdp }).await;
            }
            Negotiation::Answer { sdp } => {
                self.session.accept_answer(&sdp).await?;
                self.pass_on_sections().await;
            }
            Negotiation::Candidate { attribute } => {
                // One bad candidate spoils nothing: there may be others.
                if let Err(error) = self.session.add_candidate(&Candidate { attribute, mid: None }).await {
                    tracing::debug!(%error, "a remote candidate is of no use");
                }
            }
        }
        Ok(())
    }

    /// Passes on to the media which section each track is sent on, where that changed.
    async fn pass_on_sections(&mut self) {
        let sections = self.tracks.iter().filter_map(|(track, _)| {
            let mid = self.session.mid(*track)?;
            Some(NegotiatedSection { track: *track, mid, codecs: self.session.codecs(*track) })
        });
        let sections: Vec<_> = sections.collect();
        if sections != self.negotiated {
            self.negotiated.clone_from(&sections);
            self.command_media(|path| MediaCommand::Negotiated(path, sections)).await;
        }
    }

    async fn handle(&mut self, event: SessionEvent, clock: &dyn Clock, reporter: &mut Reporter) {
        match event {
            SessionEvent::LocalCandidate(candidate) => {
                reporter.session(SessionInput::Candidate { attribute: candidate.attribute }).await;
            }
            SessionEvent::State(state) => reporter.session(SessionInput::State(state)).await,
            SessionEvent::Failed(reason) => self.suspected.report(reason),
            SessionEvent::Connected => {
                self.suspected.withdraw();
                self.pass_on_sections().await;
                reporter.session(SessionInput::Connected).await;
            }
            SessionEvent::ChannelOpen { channel, label } if label == CHANNEL && self.channel.is_none() => {
                self.channel = Some(channel);
                self.pass_on_sections().await;
                reporter.session(SessionInput::ChannelOpen).await;
                std::mem::take(&mut self.unsent).into_iter().for_each(|message| self.send(message));
            }
            SessionEvent::Data { channel, message } if self.channel == Some(channel) => {
                let now = clock.now();
                if self.rates.admit(now, ChannelKind::of(&message)).is_err() {
                    return reporter.on_refused(now).await;
                }
                match cbor::decode(&message) {
                    Ok(message) => self.handle_message(message, now, reporter).await,
                    // Without a driver no one is left to report to.
                    Err(_) => drop(reporter.reports.send(Report::Malformed).await),
                }
            }
            SessionEvent::BandwidthEstimate { bits_per_second } => {
                self.command_media(|path| MediaCommand::BandwidthEstimate(path, bits_per_second)).await;
            }
            SessionEvent::KeyframeRequested { mid } => {
                self.command_media(|path| MediaCommand::KeyframeRequested(path, mid)).await;
            }
            SessionEvent::ServerFailed { url, error } => {
                tracing::warn!(%url, %error, "a server gave no candidate; the call goes on with others");
            }
            SessionEvent::Rtcp(_) => reporter.liveness.on_traffic(clock.now()),
            // The engine has one rule of its own for lost paths, the same over every transport:
            // silence.
            _ => {}
        }
    }

    /// A message on the data channel: about media, or for the machine.
    async fn handle_message(&mut self, message: ChannelMessage, now: Instant, reporter: &mut Reporter) {
        match message {
            ChannelMessage::Section { mid, stream, sequence } => {
                reporter.liveness.on_traffic(now);
                let stream = stream.map(|stream| StreamId::from_bytes(stream.into()));
                let section = AnnouncedSection { mid, stream, first_sequence: sequence };
                self.command_media(|path| MediaCommand::Announced(path, section)).await;
            }
            ChannelMessage::Report { version, interval_ms, sections, captures } => {
                reporter.liveness.on_traffic(now);
                // Reports of other versions are ignored.
                if version == REPORT_VERSION {
                    let interval = Duration::from_millis(interval_ms.into());
                    let sections = sections.iter().map(section_from_wire).collect();
                    self.command_media(|path| MediaCommand::Reported(path, interval, sections)).await;
                    let captures = captures.iter().take(MAX_CAPTURES).map(capture_from_wire).collect();
                    self.command_media(|path| MediaCommand::CapturesReported(path, captures)).await;
                }
            }
            message => reporter.session(SessionInput::Channel(message)).await,
        }
    }

    fn send(&mut self, message: ChannelMessage) {
        let Some(channel) = self.channel else {
            if self.unsent.len() == MAX_UNSENT {
                self.unsent.pop_front();
            }
            return self.unsent.push_back(message);
        };
        if let Err(error) = self.session.send_data(channel, cbor::encode(&message).into()) {
            tracing::debug!(%error, "a message on the data channel is dropped");
        }
    }

    async fn command_media(&self, command: impl FnOnce(PathId) -> MediaCommand) {
        self.media.send(command(PathId(self.id.0))).await;
    }
}
