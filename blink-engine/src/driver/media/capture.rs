//! The capture worker: every 10 ms from the microphone to all sessions.

use std::sync::Arc;
use std::time::Instant;

use blink_api::{AudioFormat, Clock, StreamId};
use tokio::sync::{mpsc, oneshot};

use super::super::Report;
use super::Worker;
use super::voice::SendTrack;
use crate::call::{Event, SessionId};
use crate::media::{Capture, CaptureFault, Pacer, TICK};

/// What the capture worker is told.
pub(in crate::driver) enum CaptureCommand {
    /// The microphone is open.
    Open { epoch: u64, capture: Box<Capture>, far_end: rtrb::Consumer<f32> },
    /// Sound goes to this session too.
    Add { id: SessionId, track: Arc<SendTrack> },
    /// Sound goes to this session no more.
    Remove { id: SessionId },
    /// No sound goes out, or it does again.
    Mute { muted: bool, done: oneshot::Sender<()> },
    /// The microphone closes; one that is still being opened for this epoch or before is not wanted.
    Close { epoch: u64, done: oneshot::Sender<()> },
}

pub(super) struct CaptureWorker {
    clock: Arc<dyn Clock>,
    reports: mpsc::Sender<Report>,
    capture: Option<Box<Capture>>,
    /// What is played, for the processors.
    far_end: Option<rtrb::Consumer<f32>>,
    piece: Vec<f32>,
    listeners: Vec<(SessionId, Arc<SendTrack>)>,
    pacer: Option<Pacer>,
    muted: bool,
    /// Which opening the microphone is from.
    epoch: u64,
    closed: u64,
    /// The stream it sends; `None` for the microphone.
    stream: Option<StreamId>,
}

impl CaptureWorker {
    pub(super) fn new(clock: Arc<dyn Clock>, reports: mpsc::Sender<Report>) -> Self {
        Self {
            clock,
            reports,
            capture: None,
            far_end: None,
            piece: vec![0.0; AudioFormat::CALL.samples_in(TICK)],
            listeners: Vec::new(),
            pacer: None,
            muted: false,
            epoch: 0,
            closed: 0,
            stream: None,
        }
    }

    /// For an audio stream, whose source is open.
    pub(super) fn of_stream(
        clock: Arc<dyn Clock>,
        reports: mpsc::Sender<Report>,
        capture: Capture,
        stream: StreamId,
    ) -> Self {
        Self { capture: Some(Box::new(capture)), stream: Some(stream), ..Self::new(clock, reports) }
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
        self.pacer.as_ref().map(Pacer::next)
    }

    fn handle(&mut self, command: CaptureCommand) {
        match command {
            CaptureCommand::Open { epoch, mut capture, far_end } => {
                if epoch > self.closed {
                    capture.set_muted(self.muted);
                    self.far_end = Some(far_end);
                    self.epoch = epoch;
                    self.capture = Some(capture);
                }
            }
            CaptureCommand::Add { id, track } => self.listeners.push((id, track)),
            CaptureCommand::Remove { id } => self.listeners.retain(|(listener, _)| *listener != id),
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
        // Reading begins with the first listener, so that a file's beginning is heard.
        if self.pacer.is_none() && self.capture.is_some() && !self.listeners.is_empty() {
            self.pacer = Some(Pacer::new(self.clock.now()));
        }
    }

    fn work(&mut self) {
        let (Some(pacer), Some(capture)) = (&mut self.pacer, &mut self.capture) else { return };
        let (now, listeners) = (self.clock.now(), &self.listeners);
        for _ in pacer.due(now) {
            self.piece.fill(0.0);
            if let Some(far_end) = &mut self.far_end {
                let available = far_end.slots().min(self.piece.len());
                self.piece[..available].fill_with(|| far_end.pop().unwrap_or_default());
            }
            match capture.tick(&self.piece, &mut |packet| listeners.iter().for_each(|(_, track)| track.send(&packet))) {
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

    fn finish(&mut self) {
        self.capture = None;
    }
}
