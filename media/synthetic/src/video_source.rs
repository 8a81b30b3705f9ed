//! Video source that plays clips from memory.

use std::time::{Duration, Instant};

use blink_api::{EncodedVideoFrame, Result, RtpCodec, VideoFormat, VideoFrame, VideoSource};

use crate::video::{ClipFrame, EncodedClip};

/// Looped clip, timed by the `now` of its reader.
pub(crate) struct ClipSource {
    clip: EncodedClip,
    duration: Duration,
    /// Index of the next frame.
    next: usize,
    /// Time of the next frame; `None` before the first read.
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

    /// Skips to the next key frame, which becomes due immediately and shifts all later frames.
    fn jump_to_keyframe(&mut self) {
        while !self.frame(self.next).key {
            self.next = self.after(self.next);
        }
    }

    /// Drops overdue frames up to the newest key frame that is due. Returns the time of the next
    /// frame.
    fn catch_up(&mut self, mut due: Instant, now: Instant) -> Instant {
        let behind = now.saturating_duration_since(due).as_nanos();
        // Skips all whole loops but the last, which contains the key frame to continue with.
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
