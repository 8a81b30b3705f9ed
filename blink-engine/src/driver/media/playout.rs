//! The playout worker: every 10 ms from all participants to the speaker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use blink_api::{AudioDecoder, AudioSink, CallId, Clock, Endpoint, RtpIn, TrackKey, TrackKind};
use tokio::sync::{mpsc, oneshot};

use super::super::{Parts, Report};
use super::voice::Voice;
use super::{Place, Worker};
use blink_media::{AudioStatistics, Playout, PlayoutReport, ReceiveConfig, TickScheduler};
use blink_proto::call::{Event, SessionId};

/// What the playout worker is told.
pub(super) enum PlayoutCommand {
    /// The speaker is open.
    Open { epoch: u64, call: CallId, sink: Box<dyn AudioSink>, played: Option<rtrb::Producer<f32>> },
    /// A participant is heard from now on.
    Add { id: SessionId, voice: Voice, config: ReceiveConfig, decoder: Box<dyn AudioDecoder> },
    /// It is not, unless it is heard through another session by now.
    Remove { id: SessionId, voice: Voice },
    /// How loud one is played.
    Volume { participant: Endpoint, volume: f32 },
    /// Nothing is played, or it is again.
    Deafen(bool),
    /// Figures of one participant's microphone.
    Statistics { participant: Endpoint, reply: oneshot::Sender<AudioStatistics> },
    /// The speaker closes, its file is completed; one that is still being opened for this epoch or
    /// before is not wanted.
    Close { epoch: u64, done: oneshot::Sender<()> },
}

pub(super) struct PlayoutWorker {
    clock: Arc<dyn Clock>,
    place: Place,
    /// The speaker has no clock of its own: its ticks are where the sound needs them.
    follows: bool,
    reports: mpsc::Sender<Report>,
    /// What came since the last tick, or since the speaker began to be opened.
    packets: mpsc::Receiver<(Voice, RtpIn)>,
    playout: Option<Playout<Voice>>,
    /// What was played, for the processors of the capture side.
    played: Option<rtrb::Producer<f32>>,
    pacer: Option<TickScheduler>,
    /// Through which session each is heard.
    sessions: BTreeMap<Voice, SessionId>,
    /// Those that were reported to have started: a sender that changes its codec does not start
    /// again.
    started: BTreeSet<Voice>,
    volumes: BTreeMap<Endpoint, f32>,
    /// What came before the speaker was open.
    waiting: Vec<PlayoutCommand>,
    deafened: bool,
    /// Which opening the speaker is from, and for which call.
    opened: Option<(u64, CallId)>,
    closed: u64,
}

impl PlayoutWorker {
    pub(super) fn new(parts: &Parts, reports: mpsc::Sender<Report>, packets: mpsc::Receiver<(Voice, RtpIn)>) -> Self {
        Self {
            clock: parts.clock.clone(),
            place: parts.place.clone(),
            follows: !parts.media_host.capabilities().hardware_clock,
            reports,
            packets,
            playout: None,
            played: None,
            pacer: None,
            sessions: BTreeMap::new(),
            started: BTreeSet::new(),
            volumes: BTreeMap::new(),
            waiting: Vec::new(),
            deafened: false,
            opened: None,
            closed: 0,
        }
    }

    /// What concerns one participant's sound waits until the speaker is open.
    fn handle_stream(&mut self, command: PlayoutCommand) {
        let Some(playout) = &mut self.playout else {
            self.waiting.push(command);
            return;
        };
        match command {
            PlayoutCommand::Add { id, voice, config, decoder } => {
                if self.sessions.insert(voice, id) != Some(id) {
                    self.started.remove(&voice);
                }
                playout.add(voice, config, decoder);
                playout.set_volume(&voice, self.volumes.get(&voice.participant).copied().unwrap_or(1.0));
            }
            PlayoutCommand::Remove { id, voice } if self.sessions.get(&voice) == Some(&id) => {
                self.sessions.remove(&voice);
                self.started.remove(&voice);
                playout.remove(&voice);
            }
            _ => {}
        }
    }

    fn open(&mut self, epoch: u64, call: CallId, sink: Box<dyn AudioSink>, played: Option<rtrb::Producer<f32>>) {
        if epoch <= self.closed {
            return;
        }
        let mut playout = Playout::new(sink);
        playout.set_deafened(self.deafened);
        playout.follow_media_clock(self.follows);
        self.playout = Some(playout);
        self.played = played;
        self.opened = Some((epoch, call));
        self.pacer = Some(TickScheduler::new(self.place.align(self.clock.now())));
        std::mem::take(&mut self.waiting).into_iter().for_each(|command| self.handle_stream(command));
    }
}

impl Worker for PlayoutWorker {
    type Command = PlayoutCommand;

    fn next(&self) -> Option<Instant> {
        self.pacer.as_ref().map(TickScheduler::next)
    }

    fn handle(&mut self, command: PlayoutCommand) {
        match command {
            PlayoutCommand::Open { epoch, call, sink, played } => self.open(epoch, call, sink, played),
            PlayoutCommand::Close { epoch, done } => {
                self.closed = epoch;
                self.finish();
                // Whoever closed may have stopped waiting.
                done.send(()).ok();
            }
            PlayoutCommand::Deafen(deafened) => {
                self.deafened = deafened;
                if let Some(playout) = &mut self.playout {
                    playout.set_deafened(deafened);
                }
            }
            PlayoutCommand::Volume { participant, volume } => {
                self.volumes.insert(participant, volume);
                if let Some(playout) = &mut self.playout {
                    for voice in self.sessions.keys().filter(|voice| voice.participant == participant) {
                        playout.set_volume(voice, volume);
                    }
                }
            }
            PlayoutCommand::Statistics { participant, reply } => {
                let playout = self.playout.as_ref();
                let microphone = Voice { participant, stream: None };
                let statistics = playout.and_then(|playout| playout.statistics(&microphone)).unwrap_or_default();
                // As above.
                reply.send(statistics).ok();
            }
            stream => self.handle_stream(stream),
        }
    }

    fn work(&mut self) {
        let (Some(pacer), Some(playout)) = (&mut self.pacer, &mut self.playout) else { return };
        let now = self.clock.now();
        while let Ok((from, packet)) = self.packets.try_recv() {
            playout.push(&from, packet);
        }
        for due in pacer.due(now) {
            if let Some(opened) = self.opened {
                let mut report = playout.tick(due);
                report.started.retain(|voice| self.started.insert(*voice));
                tell(&self.reports, opened, report);
            }
            if let Some(played) = &mut self.played {
                // What finds no room, the processors never see.
                let _ = played.push_partial_slice(playout.far_end());
            }
        }
        playout.lean(pacer);
    }

    fn finish(&mut self) {
        self.pacer = None;
        self.played = None;
        self.sessions.clear();
        self.started.clear();
        self.waiting.clear();
        while self.packets.try_recv().is_ok() {}
        if let Some(Err(error)) = self.playout.take().map(|mut playout| playout.finish()) {
            tracing::error!(%error, "the speaker's output could not be completed");
        }
    }
}

fn tell(reports: &mpsc::Sender<Report>, (epoch, call): (u64, CallId), report: PlayoutReport<Voice>) {
    let started = report.started.into_iter().map(|Voice { participant, stream }| {
        let kind = TrackKind::Audio;
        Event::MediaStarted { call, track: TrackKey::new(participant, stream.into()), kind }
    });
    // An audio stream is not the participant's voice.
    for (voice, speaking) in report.speaking.into_iter().filter(|(voice, _)| voice.stream.is_none()) {
        // A full queue means that the driver is far behind; the log has what matters.
        reports.try_send(Report::Speaking(epoch, Some(voice.participant), speaking)).ok();
    }
    let lost = report.sink_error.map(|error| {
        tracing::error!(%error, "the speaker is lost");
        Event::DeviceLost { name: "speaker".to_owned() }
    });
    for event in started.chain(lost) {
        // As above.
        reports.try_send(Report::Media(epoch, event)).ok();
    }
}
