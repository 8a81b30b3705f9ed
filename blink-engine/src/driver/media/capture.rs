//! The capture worker: every 10 ms from the microphone to all sessions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::{Clock, CodecName, RtpOut, StreamId};
use tokio::sync::{mpsc, oneshot};

use super::super::{Parts, Report};
use super::voice::SendTrack;
use super::{Place, Worker};
use blink_media::red;
use blink_media::{Capture, CaptureFault, Listeners, Network, TICK, TickScheduler};
use blink_proto::call::{Event, SessionId};

/// How often what the encoders are prepared for is looked at.
const ADAPTING: Duration = Duration::from_secs(1);

/// What the capture worker is told.
pub(in crate::driver) enum CaptureCommand {
    /// The microphone is open.
    Open { epoch: u64, capture: Box<Capture>, far_end: Option<rtrb::Consumer<f32>> },
    /// Sound goes to this session too.
    Add { id: SessionId, track: Arc<SendTrack>, codec: CodecName },
    /// Sound goes to this session no more.
    Remove { id: SessionId },
    /// What a session's other end tells of the path to it.
    Network { id: SessionId, network: Network },
    /// No sound goes out, or it does again.
    Mute { muted: bool, done: oneshot::Sender<()> },
    /// The microphone closes; one that is still being opened for this epoch or before is not
    /// wanted.
    Close { epoch: u64, done: oneshot::Sender<()> },
}

/// A session that sound goes to.
struct Listener {
    id: SessionId,
    track: Arc<SendTrack>,
    codec: CodecName,
    /// Its other end understands copies of earlier packets.
    copies: bool,
}

pub(super) struct CaptureWorker {
    clock: Arc<dyn Clock>,
    place: Place,
    reports: mpsc::Sender<Report>,
    capture: Option<Box<Capture>>,
    /// What is played, for the processors.
    far_end: Option<rtrb::Consumer<f32>>,
    piece: Vec<f32>,
    listeners: Vec<Listener>,
    /// What is to be sent to them.
    packets: Vec<RtpOut>,
    networks: Listeners<SessionId>,
    /// What the encoders are prepared for, and when that is looked at again: what was told grows
    /// old.
    adapted: Option<Network>,
    adapt_at: Option<Instant>,
    pacer: Option<TickScheduler>,
    muted: bool,
    /// Which opening the microphone is from.
    epoch: u64,
    closed: u64,
    /// The stream it sends; `None` for the microphone.
    stream: Option<StreamId>,
}

impl CaptureWorker {
    pub(super) fn new(parts: &Parts, reports: mpsc::Sender<Report>) -> Self {
        Self {
            clock: parts.clock.clone(),
            place: parts.place.clone(),
            reports,
            capture: None,
            far_end: None,
            piece: Vec::new(),
            listeners: Vec::new(),
            packets: Vec::new(),
            networks: Listeners::default(),
            adapted: None,
            adapt_at: None,
            pacer: None,
            muted: false,
            epoch: 0,
            closed: 0,
            stream: None,
        }
    }

    /// For an audio stream, whose source is open.
    pub(super) fn of_stream(parts: &Parts, reports: mpsc::Sender<Report>, capture: Capture, stream: StreamId) -> Self {
        Self { capture: Some(Box::new(capture)), stream: Some(stream), ..Self::new(parts, reports) }
    }

    /// Prepares the encoders for the networks of those who listen, when it is time to.
    fn adapt(&mut self, now: Instant) {
        let Some(capture) = self.capture.as_mut().filter(|_| self.adapt_at.is_some_and(|at| now >= at)) else { return };
        self.adapt_at = Some(now + ADAPTING);
        // Where nobody has told anything of late, what was told last is the best guess.
        let Some(worst) = self.networks.worst(now) else { return };
        if self.adapted.replace(worst) != Some(worst)
            && let Err(error) = capture.adapt(worst)
        {
            tracing::debug!(%error, "an encoder does not adapt");
        }
    }

    /// Tells of the microphone, or of the stream.
    fn report(reports: &mpsc::Sender<Report>, stream: Option<StreamId>, of_microphone: Report) {
        let report = match (stream, &of_microphone) {
            (None, _) => of_microphone,
            (Some(stream), Report::Media(..)) => Report::SourceLost(stream),
            // A stream is nobody's voice.
            (Some(_), _) => return,
        };
        // A full queue means that the driver is far behind; the log has what matters.
        reports.try_send(report).ok();
    }
}

impl Worker for CaptureWorker {
    type Command = CaptureCommand;

    fn next(&self) -> Option<Instant> {
        self.pacer.as_ref().map(TickScheduler::next)
    }

    fn handle(&mut self, command: CaptureCommand) {
        match command {
            CaptureCommand::Open { epoch, mut capture, far_end } => {
                if epoch > self.closed {
                    capture.set_muted(self.muted);
                    self.piece = vec![0.0; capture.format().samples_in(TICK)];
                    self.far_end = far_end;
                    self.epoch = epoch;
                    self.capture = Some(capture);
                    self.adapted = None;
                }
            }
            CaptureCommand::Add { id, track, codec } => {
                let copies = track.has_copies();
                self.listeners.push(Listener { id, track, codec, copies });
            }
            CaptureCommand::Remove { id } => {
                self.listeners.retain(|listener| listener.id != id);
                self.networks.remove(id);
                self.adapt_at = Some(self.clock.now());
            }
            CaptureCommand::Network { id, network } => {
                // Whoever is no listener any more has nothing to say.
                if self.listeners.iter().any(|listener| listener.id == id) {
                    let now = self.clock.now();
                    self.networks.tell(id, now, network);
                    self.adapt_at = Some(now);
                }
            }
            CaptureCommand::Mute { muted, done } => {
                self.muted = muted;
                if let Some(capture) = &mut self.capture {
                    capture.set_muted(muted);
                }
                // Whoever muted may have stopped waiting.
                done.send(()).ok();
            }
            CaptureCommand::Close { epoch, done } => {
                self.closed = epoch;
                self.capture = None;
                self.far_end = None;
                self.pacer = None;
                // As above.
                done.send(()).ok();
            }
        }
        if let Some(capture) = &mut self.capture {
            let listeners = &self.listeners;
            capture.use_codecs(|codec| listeners.iter().any(|listener| listener.codec == *codec));
            // There is one encoder for all, and with copies it has half the rate and no error
            // correction of its own: who has no copies needs that.
            let can = |codec: &CodecName| {
                listeners.iter().filter(|listener| listener.codec == *codec).all(|listener| listener.copies)
            };
            if let Err(error) = capture.use_copies(can) {
                tracing::debug!(%error, "an encoder does not adapt");
            }
        }
        // Reading begins with the first listener, so that a file's beginning is heard.
        if self.pacer.is_none() && self.capture.is_some() && !self.listeners.is_empty() {
            self.pacer = Some(TickScheduler::new(self.place.align(self.clock.now())));
        }
    }

    fn work(&mut self) {
        let now = self.clock.now();
        self.adapt(now);
        let (Some(pacer), Some(capture)) = (&mut self.pacer, &mut self.capture) else { return };
        for _ in pacer.due(now) {
            let far_end = match &mut self.far_end {
                Some(far_end) => {
                    let read = far_end.pop_partial_slice(&mut self.piece).0.len();
                    self.piece[read..].fill(0.0);
                    &self.piece[..]
                }
                None => &[],
            };
            match capture.tick(far_end, &mut |packet| self.packets.push(packet)) {
                Ok(()) => {}
                Err(CaptureFault::Source(error)) => {
                    tracing::error!(%error, "the microphone is lost");
                    let event = Event::DeviceLost { name: "microphone".to_owned() };
                    Self::report(&self.reports, self.stream, Report::Media(self.epoch, event));
                }
                Err(fault) => tracing::error!(?fault, "sound cannot be sent as it should"),
            }
            if let Some(speaking) = capture.take_speaking() {
                Self::report(&self.reports, self.stream, Report::Speaking(self.epoch, None, speaking));
            }
        }
    }

    fn send(&mut self) {
        for packet in self.packets.drain(..) {
            let is_copied = packet.codec.is_red();
            let is_for =
                |listener: &&Listener| listener.codec == packet.codec || is_copied && red::is_copied(&listener.codec);
            self.listeners.iter().filter(is_for).for_each(|listener| listener.track.send(&packet));
        }
    }

    fn finish(&mut self) {
        self.capture = None;
    }
}
