//! Received video: from packets to frames for whoever asked for them.

use std::time::Instant;

use blink_api::{CodecName, Mid, Result, RtpIn, Session};
use tokio::sync::mpsc;

use blink_media::video::{AssemblerConfig, FrameAssembler, ReceivedFrame};

/// Frames that wait for a slow reader; beyond, all are dropped up to the next key frame.
pub(super) const WAITING: usize = 64;

/// The frames of a stream that was asked for, in decoding order: the first is a key frame, and so
/// is the first after some were lost.
///
/// Up to 64 wait for a slow reader; then all are dropped up to the next key frame. The end (`None`)
/// comes when the stream is closed, revoked or refused, its sender is gone, or this device has left
/// the call.
#[derive(Debug)]
pub struct Frames {
    receiver: mpsc::Receiver<ReceivedFrame>,
}

impl Frames {
    pub(crate) fn new(receiver: mpsc::Receiver<ReceivedFrame>) -> Self {
        Self { receiver }
    }

    /// Waits for the next frame; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<ReceivedFrame> {
        self.receiver.recv().await
    }
}

/// One stream of video on one session.
pub(super) struct VideoReceiver {
    assembler: FrameAssembler,
    frames: mpsc::Sender<ReceivedFrame>,
    started: bool,
}

impl VideoReceiver {
    /// # Errors
    /// [`Unsupported`](blink_api::ErrorKind::Unsupported) for a codec that cannot be read.
    pub(super) fn new(codec: CodecName, frames: mpsc::Sender<ReceivedFrame>) -> Result<Self> {
        let assembler = FrameAssembler::new(codec, AssemblerConfig::default())?;
        Ok(Self { assembler, frames, started: false })
    }

    /// Takes a packet in and hands on what is whole. Returns whether the first frame of all was.
    pub(super) fn push(&mut self, packet: RtpIn, now: Instant) -> bool {
        self.assembler.push(packet);
        self.hand_on(now)
    }

    /// Does what time demands: a frame that waits for a lost packet is given up, a key frame asked
    /// for.
    pub(super) fn work(&mut self, now: Instant, session: &dyn Session, mid: &Mid) -> bool {
        let first = self.hand_on(now);
        if self.assembler.wants_keyframe(now) {
            // The request is repeated as long as it is needed.
            session.request_keyframe(mid).ok();
        }
        first
    }

    fn hand_on(&mut self, now: Instant) -> bool {
        let started = self.started;
        while let Some(frame) = self.assembler.poll(now) {
            self.started = true;
            if self.frames.try_send(frame).is_err() {
                // A slow reader goes on at the next key frame. One that is gone has closed the
                // stream.
                self.assembler.restart();
            }
        }
        self.started && !started
    }
}
