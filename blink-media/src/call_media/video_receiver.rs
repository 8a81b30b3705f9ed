//! Received video: from packets to whole frames.

use std::sync::Arc;

use blink_api::{CodecName, PayloadFormat, RtpIn};
use web_time::Instant;

use crate::video::{AssemblerConfig, FrameAssembler, ReceivedFrame, VideoStatistics};

/// The destination of whole frames, in decoding order. It never blocks.
///
/// Encoded frames leave here. A decoder ([`VideoDecoder`](blink_api::VideoDecoder)) belongs behind
/// this port, on a thread of its own: decoding takes longer than a tick.
pub trait FrameSink: Send {
    /// Takes a frame; `false` where its queue is full or closed. The receiver then goes on at the
    /// next key frame.
    fn try_push(&mut self, frame: ReceivedFrame) -> bool;
}

/// Called with each whole frame and its codec.
pub(super) type ShowFrame<'a> = &'a mut dyn FnMut(&CodecName, &ReceivedFrame);

/// The receiver of one video stream on one path.
pub(super) struct VideoReceiver {
    codec: CodecName,
    assembler: FrameAssembler,
    frames: Box<dyn FrameSink>,
    started: bool,
}

impl VideoReceiver {
    pub(super) fn new(format: Arc<dyn PayloadFormat>, frames: Box<dyn FrameSink>) -> Self {
        let codec = format.rtp().name;
        Self { codec, assembler: FrameAssembler::new(format, AssemblerConfig::default()), frames, started: false }
    }

    pub(super) fn codec(&self) -> &CodecName {
        &self.codec
    }

    pub(super) fn statistics(&self) -> VideoStatistics {
        self.assembler.statistics()
    }

    /// Takes a packet. Returns whether the first frame of all became whole. `show` is called with
    /// each whole frame.
    pub(super) fn push(&mut self, packet: RtpIn, now: Instant, show: ShowFrame<'_>) -> bool {
        self.assembler.push(packet);
        self.hand_on(now, show)
    }

    /// Gives up frames that waited too long for a lost packet. Returns whether the first frame of
    /// all became whole, and whether a key frame is needed.
    pub(super) fn tick(&mut self, now: Instant, show: ShowFrame<'_>) -> (bool, bool) {
        (self.hand_on(now, show), self.assembler.wants_keyframe(now))
    }

    fn hand_on(&mut self, now: Instant, show: ShowFrame<'_>) -> bool {
        let started = self.started;
        while let Some(frame) = self.assembler.poll(now) {
            self.started = true;
            show(&self.codec, &frame);
            if !self.frames.try_push(frame) {
                self.assembler.restart();
            }
        }
        self.started && !started
    }
}
