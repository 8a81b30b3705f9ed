//! Showing clips that are in memory.

use std::time::{Duration, Instant};

use blink_api::{EncodedVideoFrame, Result, RtpCodec, VideoFormat, VideoFrame, VideoSource};

use crate::video::{ClipFrame, EncodedClip};

/// A clip, round and round, on its reader's clock.
pub(crate) struct ClipSource {
    clip: EncodedClip,
    duration: Duration,
    /// The frame that is given next.
    next: usize,
    /// When it is due; `None` before the first call.
    due: Option<Instant>,
    keyframe_wanted: bool,
}

impl ClipSource {
    pub(crate) fn new(clip: EncodedClip) -> Self {
        Self { duration: clip.duration(), clip, next: 0, due: None, keyframe_wanted: false }
    }

    fn frame(&self, number: usize) -> &ClipFrame {
        &self.clip.frames[number]
    }

    fn after(&self, number: usize) -> usize {
        (number + 1) % self.clip.frames.len()
    }

    /// Goes to the next key frame without waiting for its time: all times from now on are moved.
    fn jump_to_keyframe(&mut self) {
        while !self.frame(self.next).key {
            self.next = self.after(self.next);
        }
    }

    /// Leaves out what came due before the newest key frame that did. Returns when the next frame
    /// is due.
    fn catch_up(&mut self, mut due: Instant, now: Instant) -> Instant {
        let behind = now.saturating_duration_since(due).as_nanos();
        // Of whole rounds the last one is gone through, so that it goes on with a key frame.
        let rounds = u64::try_from(behind / self.duration.as_nanos().max(1)).unwrap_or(u64::MAX).saturating_sub(1);
        due += Duration::from_nanos(rounds.saturating_mul(u64::try_from(self.duration.as_nanos()).unwrap_or(u64::MAX)));
        let (mut number, mut time) = (self.next, due);
        while time <= now {
            if self.frame(number).key {
                (self.next, due) = (number, time);
            }
            time += self.frame(number).duration;
            number = self.after(number);
        }
        due
    }
}

impl VideoSource for ClipSource {
    fn format(&self) -> VideoFormat {
        self.clip.format
    }

    fn codec(&self) -> Option<RtpCodec> {
        Some(self.clip.codec.clone())
    }

    fn read_frame(&mut self, now: Instant) -> Result<Option<VideoFrame>> {
        let due = *self.due.get_or_insert(now);
        if now < due {
            return Ok(None);
        }
        if std::mem::take(&mut self.keyframe_wanted) {
            self.jump_to_keyframe();
        }
        let at = self.catch_up(due, now);
        let ClipFrame { data, key, duration } = self.frame(self.next).clone();
        self.next = self.after(self.next);
        self.due = Some(at + duration);
        Ok(Some(EncodedVideoFrame { data, key, at }.into()))
    }

    fn request_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }
}

#[cfg(test)]
mod tests;
