//! Frames of a received video stream, on their way to the user.

use blink_media::FrameSink;
use blink_media::video::ReceivedFrame;
use tokio::sync::{mpsc, oneshot};

/// Frames that wait for a slow reader; beyond, all are dropped up to the next key frame.
pub(super) const MAX_FRAMES: usize = 64;

/// The frames of a requested stream, in decoding order: the first is a key frame, and so is the
/// first after some were lost.
///
/// Up to 64 wait for a slow reader; then all are dropped up to the next key frame. The end (`None`)
/// comes when the stream is closed, revoked or refused, its sender is gone, or this device has left
/// the call.
///
/// Dropping it closes the stream, as [`close_stream`](crate::Blink::close_stream) does.
#[derive(Debug)]
pub struct Frames {
    receiver: mpsc::Receiver<ReceivedFrame>,
    /// Dropped with the frames, which tells the driver.
    _reader: oneshot::Sender<()>,
}

impl Frames {
    /// The frames of a queue, and what ends when they are dropped.
    pub(crate) fn new(receiver: mpsc::Receiver<ReceivedFrame>) -> (Self, oneshot::Receiver<()>) {
        let (reader, dropped) = oneshot::channel();
        (Self { receiver, _reader: reader }, dropped)
    }

    /// Waits for the next frame; `None` after the last one.
    ///
    /// Cancel safe: a future that is dropped before it is ready has taken no frame.
    pub async fn next(&mut self) -> Option<ReceivedFrame> {
        self.receiver.recv().await
    }
}

/// The other end of [`Frames`].
#[derive(Clone)]
pub(super) struct FrameQueue(pub(super) mpsc::Sender<ReceivedFrame>);

impl FrameSink for FrameQueue {
    fn try_push(&mut self, frame: ReceivedFrame) -> bool {
        self.0.try_send(frame).is_ok()
    }
}
