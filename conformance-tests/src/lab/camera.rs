//! Video source of the lab: frames that parse as VP8 and carry the number of their participant.

use std::time::{Duration, Instant};

use blink_api::{CodecName, EncodedVideoFrame, Result, RtpCodec, VideoFormat, VideoFrame, VideoSource};
use bytes::{BufMut, Bytes, BytesMut};

/// Frame interval.
const FRAME: Duration = Duration::from_millis(50);
/// Frames per key frame: one key frame a second.
const KEY_FRAMES: u32 = 20;
/// Size of a key frame, in bytes: several packets.
const KEY_SIZE: usize = 4_000;
/// Header after the frame tag of a key frame: start code and a size of 16 by 16 pixels (RFC 6386
/// §9.1).
const KEY_HEADER: [u8; 7] = [0x9d, 0x01, 0x2a, 16, 0, 16, 0];

/// A participant's camera.
pub(crate) struct Camera {
    owner: u8,
    frames: u32,
    next: Option<Instant>,
    wants_key: bool,
}

impl Camera {
    pub(crate) fn new(owner: usize) -> Self {
        Self { owner: owner as u8, frames: 0, next: None, wants_key: false }
    }
}

impl VideoSource for Camera {
    fn format(&self) -> VideoFormat {
        VideoFormat { width: 16, height: 16, frame_rate: 20.0 }
    }

    fn codec(&self) -> Option<RtpCodec> {
        Some(RtpCodec { name: CodecName::new("VP8"), clock_rate: 90_000, channels: 0, fmtp: String::new() })
    }

    fn read_frame(&mut self, now: Instant) -> Result<Option<VideoFrame>> {
        let due = *self.next.get_or_insert(now);
        if now < due {
            return Ok(None);
        }
        // Frames missed by a late caller are skipped.
        let missed = (now - due).as_nanos() / FRAME.as_nanos();
        let at = due + FRAME * missed as u32;
        self.next = Some(at + FRAME);
        let key = self.frames.is_multiple_of(KEY_FRAMES) || std::mem::take(&mut self.wants_key) || missed > 0;
        let data = encode_frame(self.owner, self.frames, key);
        self.frames += 1;
        Ok(Some(EncodedVideoFrame { data, key, at }.into()))
    }

    fn request_keyframe(&mut self) {
        self.wants_key = true;
    }
}

fn encode_frame(owner: u8, number: u32, key: bool) -> Bytes {
    let mut data = BytesMut::with_capacity(KEY_SIZE);
    // Bit 0 of the frame tag is clear in key frames; bit 4 marks the frame as shown (RFC 6386
    // §9.1).
    data.put_slice(&[0x10 | u8::from(!key), 0, 0]);
    if key {
        data.put_slice(&KEY_HEADER);
    }
    data.put_u8(owner);
    data.put_u32(number);
    if key {
        data.resize(KEY_SIZE, owner);
    }
    data.freeze()
}

/// Number of the participant that sent a frame.
pub(crate) fn owner_of(frame: &EncodedVideoFrame) -> Option<usize> {
    let start = if frame.key { 3 + KEY_HEADER.len() } else { 3 };
    frame.data.get(start).map(|owner| usize::from(*owner))
}
