//! One task for each session: does the machine's steps in order, and reports what happens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use blink_api::{
    Candidate, ChannelId, Endpoint, Error, ErrorKind, Result, RtpIn, RtpReceiver, Session, SessionConfig, SessionEvent,
    SessionEvents, SessionStats, StreamId, rtp_queue,
};
use tokio::sync::{mpsc, oneshot};
use tracing::{Instrument, Span};

use super::alarm::Alarm;
use super::feedback::Feedback;
use super::media::MediaHandle;
use super::media::stream::OfferedStream;
use super::sections::Sections;
use super::streams::StreamSink;
use super::{Parts, Report};
use crate::statistics::SendingStatistics;
use blink_proto::call::{Negotiation, SessionId, SessionInput};
use blink_proto::secure::ChannelRates;
use blink_proto::wire::{ChannelKind, ChannelMessage, SectionReport, cbor};

/// Steps that wait for the session; when it is full the session is taken for failed.
const QUEUE: usize = 256;
/// Packets that wait for the session's task.
const QUEUED_PACKETS: usize = 1_024;
/// Packets kept from before the path is verified, so that the first words are not lost.
const EARLY_PACKETS: usize = 32;
/// Packets are reported to the machine at most so often: a tenth of how long it must be silent for
/// the path to be suspect, which it may be by so much too early.
const TRAFFIC_INTERVAL: Duration = Duration::from_millis(250);
/// Messages that are refused are reported to the driver at most so often.
const REFUSED_INTERVAL: Duration = Duration::from_secs(1);
/// Video that comes is looked after so often, beside its packets.
const VIDEO_INTERVAL: Duration = Duration::from_millis(20);
/// Messages kept for a data channel that is not open yet; the oldest are dropped.
const MAX_UNSENT: usize = 64;
/// The label of the data channel between two engines.
const CHANNEL: &str = "blink/1";

/// The driver's end of a session's task.
pub(super) struct SessionHandle {
    pub(super) remote: Endpoint,
    steps: mpsc::Sender<Step>,
    stuck: AtomicBool,
}

/// What a session's task is told.
enum Step {
    Negotiate(Negotiation),
    Send(ChannelMessage),
    Admit,
    Stream(StreamId, StreamChange),
    Stats(oneshot::Sender<PathFigures>),
    Close(oneshot::Sender<()>),
}

/// A session's figures.
pub(super) struct PathFigures {
    pub(super) session: SessionStats,
    /// What the microphone is sent with; empty before it is.
    pub(super) codec: String,
    pub(super) sending: SendingStatistics,
}

/// What becomes of a stream on a session.
pub(super) enum StreamChange {
    Send(OfferedStream),
    StopSending,
    Receive(StreamSink),
    StopReceiving,
}

impl SessionHandle {
    /// Begins a session's task; opening it is its first step.
    pub(super) fn start(
        id: SessionId,
        remote: Endpoint,
        is_offerer: bool,
        parts: &Parts,
        media: MediaHandle,
        reports: mpsc::Sender<Report>,
        span: Span,
    ) -> Self {
        let (steps, queue) = mpsc::channel(QUEUE);
        let parts = parts.clone();
        let work = async move {
            let mut reporter = Reporter { id, reports, last_traffic: None, refused: 0, last_refused: None };
            if let Err(error) = run(id, remote, is_offerer, parts, media, queue, &mut reporter).await {
                tracing::warn!(%error, "a session failed");
                reporter.session(SessionInput::Failed).await;
            }
        };
        tokio::spawn(work.instrument(span));
        Self { remote, steps, stuck: AtomicBool::new(false) }
    }

    pub(super) fn negotiate(&self, step: Negotiation) {
        self.tell(Step::Negotiate(step));
    }

    pub(super) fn send(&self, message: ChannelMessage) {
        self.tell(Step::Send(message));
    }

    /// Media may flow.
    pub(super) fn admit(&self) {
        self.tell(Step::Admit);
    }

    pub(super) fn change_stream(&self, stream: StreamId, change: StreamChange) {
        self.tell(Step::Stream(stream, change));
    }

    /// Closes; the receiver says when it is closed.
    pub(super) fn close(&self) -> oneshot::Receiver<()> {
        let (done, closed) = oneshot::channel();
        self.tell(Step::Close(done));
        closed
    }

    /// Asks for figures; the answer comes when the session has done what waits before.
    pub(super) fn stats(&self) -> oneshot::Receiver<PathFigures> {
        let (reply, stats) = oneshot::channel();
        // Where the session does not keep up there are no figures.
        self.steps.try_send(Step::Stats(reply)).ok();
        stats
    }

    /// Whether a step was left out because the session does not keep up: it is of no use any more.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    fn tell(&self, step: Step) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.steps.try_send(step) {
            tracing::warn!("a session does not keep up");
            self.stuck.store(true, Ordering::Relaxed);
        }
    }
}

struct Reporter {
    id: SessionId,
    reports: mpsc::Sender<Report>,
    last_traffic: Option<Instant>,
    /// Messages that were refused and are not reported yet, and when any were.
    refused: u32,
    last_refused: Option<Instant>,
}

impl Reporter {
    async fn session(&mut self, event: SessionInput) {
        // The driver is gone only when the engine is, and nobody is left to tell.
        self.reports.send(Report::Session(self.id, event)).await.ok();
    }

    /// More came on the data channel than may: worth telling now and then.
    async fn refused(&mut self, now: Instant) {
        self.refused = self.refused.saturating_add(1);
        if self.last_refused.is_none_or(|last| now >= last + REFUSED_INTERVAL) {
            self.last_refused = Some(now);
            let refused = std::mem::take(&mut self.refused);
            // As above: the driver is gone only when the engine is.
            self.reports.send(Report::Flooded(refused)).await.ok();
        }
        self.traffic(now).await;
    }

    /// A packet came: worth telling now and then.
    async fn traffic(&mut self, now: Instant) {
        if self.last_traffic.is_none_or(|last| now >= last + TRAFFIC_INTERVAL) {
            self.last_traffic = Some(now);
            self.session(SessionInput::Traffic).await;
        }
    }
}

async fn run(
    id: SessionId,
    remote: Endpoint,
    is_offerer: bool,
    parts: Parts,
    media: MediaHandle,
    mut queue: mpsc::Receiver<Step>,
    reporter: &mut Reporter,
) -> Result<()> {
    let video = parts.transport.capabilities().video;
    let (rtp, packets) = rtp_queue(QUEUED_PACKETS);
    let config = SessionConfig::new(parts.clock.clone(), rtp)
        .with_ice(parts.settings.ice.clone())
        .with_audio(media.audio().rtp())
        .with_video(if video { blink_media::video::codecs() } else { Vec::new() })
        .with_participant(remote.did);
    let (session, mut events) = parts.transport.open(config).await?;
    let session: Arc<dyn Session> = Arc::from(session);
    let sections = Sections::add(id, remote, session.clone(), media, video).await?;
    if is_offerer {
        session.open_channel(CHANNEL).await?;
    }
    let mut path = Path {
        session: session.clone(),
        sections,
        channel: None,
        unsent: VecDeque::new(),
        early: Some(VecDeque::new()),
        video_due: parts.clock.now(),
        feedback: Feedback::new(parts.clock.now()),
        rates: ChannelRates::new(parts.clock.now()),
    };
    let closing = path.serve(&mut queue, (&mut events, packets), &parts, reporter).await;
    path.sections.close().await;
    session.close().await;
    match closing? {
        Some(done) => drop(done.send(())),
        None => queue.close(),
    }
    Ok(())
}

/// A session with what is known of its other end.
struct Path {
    session: Arc<dyn Session>,
    sections: Sections,
    channel: Option<ChannelId>,
    /// Messages for a channel that is not open yet.
    unsent: VecDeque<ChannelMessage>,
    /// Packets from before the path was verified; `None` once it is.
    early: Option<VecDeque<RtpIn>>,
    /// When video that comes is looked after next.
    video_due: Instant,
    feedback: Feedback,
    /// Budgets of the other end's messages on the data channel. The machine counts the same over
    /// all sessions of a participant.
    rates: ChannelRates,
}

impl Path {
    /// Until it is to be closed; whoever asked for that and waits is returned.
    async fn serve(
        &mut self,
        queue: &mut mpsc::Receiver<Step>,
        (events, mut packets): (&mut SessionEvents, RtpReceiver),
        parts: &Parts,
        reporter: &mut Reporter,
    ) -> Result<Option<oneshot::Sender<()>>> {
        let (mut report_due, mut video_due) = (Alarm::new(), Alarm::new());
        loop {
            tokio::select! {
                step = queue.recv() => match step {
                    None => return Ok(None),
                    Some(Step::Close(done)) => return Ok(Some(done)),
                    Some(Step::Stats(reply)) => drop(reply.send(self.figures(parts.clock.now()).await?)),
                    Some(Step::Send(message)) => self.send(message),
                    Some(Step::Admit) => self.admit(parts).await?,
                    Some(Step::Negotiate(step)) => self.negotiate(step, reporter).await?,
                    Some(Step::Stream(stream, change)) => self.change_stream(stream, change, reporter).await?,
                },
                () = report_due.wait(self.early.is_none().then(|| self.feedback.due())) => {
                    if let Some(report) = self.feedback.report(parts.clock.now()) {
                        self.send(report);
                    }
                }
                () = video_due.wait(self.sections.has_video().then_some(self.video_due)) => {
                    let now = parts.clock.now();
                    self.video_due = now + VIDEO_INTERVAL;
                    let started = self.sections.work(now);
                    self.tell_started(started, reporter).await;
                }
                Some(packet) = packets.recv() => self.on_packet(packet, parts, reporter).await,
                event = events.recv() => match event {
                    None | Some(SessionEvent::Closed) => {
                        return Err(Error::new(ErrorKind::Closed, "the session ended by itself"));
                    }
                    Some(event) => self.handle(event, parts, reporter).await,
                },
            }
        }
    }

    async fn figures(&self, now: Instant) -> Result<PathFigures> {
        let codec = self.sections.sent_with().map(ToString::to_string).unwrap_or_default();
        let (network, path_bitrate) = self.feedback.figures(now);
        let sending = SendingStatistics {
            loss: network.loss,
            burst: network.burst,
            audio_bitrate: network.bitrate,
            path_bitrate,
            left_out: self.sections.left_out(),
        };
        Ok(PathFigures { session: self.session.stats().await?, codec, sending })
    }

    async fn negotiate(&mut self, step: Negotiation, reporter: &mut Reporter) -> Result<()> {
        match step {
            Negotiation::Offer { generation, ice_restart } => {
                let sdp = self.session.create_offer(ice_restart).await?;
                reporter.session(SessionInput::Described { generation, sdp }).await;
            }
            Negotiation::AcceptOffer { generation, sdp } => {
                let sdp = self.session.accept_offer(&sdp).await?;
                reporter.session(SessionInput::Described { generation, sdp }).await;
            }
            Negotiation::Answer { sdp } => self.session.accept_answer(&sdp).await?,
            Negotiation::Candidate { attribute } => {
                // One bad candidate spoils nothing: there may be others.
                if let Err(error) = self.session.add_candidate(&Candidate { attribute, mid: None }).await {
                    tracing::debug!(%error, "a remote candidate is of no use");
                }
            }
        }
        Ok(())
    }

    async fn handle(&mut self, event: SessionEvent, parts: &Parts, reporter: &mut Reporter) {
        match event {
            SessionEvent::LocalCandidate(candidate) => {
                reporter.session(SessionInput::Candidate { attribute: candidate.attribute }).await;
            }
            SessionEvent::Connected => reporter.session(SessionInput::Connected).await,
            SessionEvent::ChannelOpen { channel, label } if label == CHANNEL && self.channel.is_none() => {
                self.channel = Some(channel);
                reporter.session(SessionInput::ChannelOpen).await;
                std::mem::take(&mut self.unsent).into_iter().for_each(|message| self.send(message));
            }
            SessionEvent::Data { channel, message } if self.channel == Some(channel) => {
                let now = parts.clock.now();
                if self.rates.admit(now, ChannelKind::of(&message)).is_err() {
                    return reporter.refused(now).await;
                }
                match cbor::decode(&message) {
                    Ok(ChannelMessage::Section { mid, stream, sequence }) => {
                        let stream = stream.map(|stream| StreamId::from_bytes(stream.into()));
                        let started = self.sections.handle_section(&mid, stream, sequence, parts.clock.now()).await;
                        self.tell_started(started, reporter).await;
                    }
                    Ok(ChannelMessage::Report { version, interval_ms, sections, .. }) => {
                        self.take_report(version, interval_ms, &sections, parts.clock.now()).await;
                        reporter.traffic(parts.clock.now()).await;
                    }
                    Ok(message) => reporter.session(SessionInput::Channel(message)).await,
                    // As above: without a driver there is nobody to tell.
                    Err(_) => drop(reporter.reports.send(Report::Malformed).await),
                }
            }
            SessionEvent::BandwidthEstimate { bits_per_second } => {
                let now = parts.clock.now();
                self.feedback.handle_estimate(now, bits_per_second);
                let allocation = self.feedback.allocation(now, self.sections.demand());
                self.sections.adapt(&[], allocation).await;
            }
            SessionEvent::KeyframeRequested { mid } => self.sections.handle_keyframe_request(&mid).await,
            SessionEvent::ServerFailed { url, error } => {
                tracing::warn!(%url, %error, "a server gave no candidate; the call goes on with others");
            }
            SessionEvent::Rtcp(_) => reporter.traffic(parts.clock.now()).await,
            // The engine has one rule of its own for lost paths, the same over every transport:
            // silence.
            _ => {}
        }
    }

    async fn on_packet(&mut self, packet: RtpIn, parts: &Parts, reporter: &mut Reporter) {
        let now = parts.clock.now();
        match &mut self.early {
            None => {
                self.feedback.note(&packet, self.sections.clock_rate(&packet));
                let started = self.sections.take(packet, now).await;
                self.tell_started(started, reporter).await;
            }
            Some(early) => {
                if early.len() == EARLY_PACKETS {
                    early.pop_front();
                }
                early.push_back(packet);
            }
        }
        reporter.traffic(now).await;
    }

    /// The other end tells how what is sent arrives.
    async fn take_report(&mut self, version: u32, interval_ms: u32, sections: &[SectionReport], now: Instant) {
        let demand = self.sections.demand();
        let told = self.feedback.handle_report(version, interval_ms, sections, demand);
        if !told.is_empty() {
            let allocation = self.feedback.allocation(now, demand);
            if let Some(network) = self.sections.adapt(&told, allocation).await {
                self.feedback.keep(network);
            }
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

    /// The path is verified: sound goes out on it, and what came early is played.
    async fn admit(&mut self, parts: &Parts) -> Result<()> {
        let Some(early) = self.early.take() else { return Ok(()) };
        self.sections.admit().await?;
        let now = parts.clock.now();
        for packet in early {
            // No stream was asked for on this path yet: nothing is started by them.
            self.sections.take(packet, now).await;
        }
        Ok(())
    }

    async fn change_stream(&mut self, stream: StreamId, change: StreamChange, reporter: &mut Reporter) -> Result<()> {
        match change {
            StreamChange::Send(offered) => match self.sections.start_sending(stream, offered).await {
                Some(message) => self.send(message),
                None => reporter.session(SessionInput::StreamRefused(stream)).await,
            },
            StreamChange::StopSending => {
                let message = self.sections.stop_sending(stream).await;
                message.into_iter().for_each(|message| self.send(message));
            }
            StreamChange::Receive(sink) => self.sections.start_receiving(stream, sink).await?,
            StreamChange::StopReceiving => self.sections.stop_receiving(stream).await,
        }
        Ok(())
    }

    async fn tell_started(&self, started: impl IntoIterator<Item = StreamId>, reporter: &mut Reporter) {
        for stream in started {
            reporter.session(SessionInput::FirstFrame(stream)).await;
        }
    }
}
