//! Far end on a timeline: the audio that the loudspeaker plays, addressed by the time at which it
//! plays it.

use web_time::{Duration, Instant};

use blink_api::AudioFormat;

/// Duration of audio that is kept. Longer than the greatest echo delay, so that a capture block
/// finds the far end even if its time lies in the past by the latencies of both devices.
const SPAN: Duration = Duration::from_secs(2);

/// Deviation from the expected time beyond which a block is placed by its own time: the clock
/// jumped, or blocks are missing. Smaller deviations are the jitter of a device's queue, which
/// must not tear the timeline.
const JUMP: Duration = Duration::from_millis(15);

/// Mean deviation beyond which the timeline moves, although no single block jumped.
const DRIFT: Duration = Duration::from_millis(5);

/// Part of a deviation that enters the mean: a time constant of 16 blocks, 160 ms.
const SMOOTHING: f64 = 1.0 / 16.0;

/// Time by which the far end is read ahead of the capture time, where it is known that early. An
/// echo that is captured up to this much earlier than the devices' latencies say is still after
/// its reference, and thus can be cancelled.
pub(crate) const MAX_LEAD: Duration = Duration::from_millis(20);

/// Far end on a timeline. Holds the last two seconds; memory is allocated at creation only.
pub(crate) struct FarEnd {
    channels: usize,
    rate: f64,
    /// Interleaved samples of [`SPAN`]; frame `n` is at `n % frames`.
    ring: Box<[f32]>,
    /// Maps times to frame numbers, from the first block on.
    clock: Option<TimeMap>,
    /// End of the most recent block, at which the next one is expected.
    next: i64,
    /// End of the latest block.
    end: i64,
    last_at: Option<Instant>,
    /// First frame of the next capture block.
    read: Option<i64>,
    read_error: f64,
    /// Frames by which reading is ahead of the capture time.
    lead: i64,
}

/// Linear mapping from times to frame numbers, kept up to date with the mean deviation of blocks.
#[derive(Clone, Copy)]
struct TimeMap {
    origin: Instant,
    /// Frame at `origin`.
    frame: f64,
    /// Mean deviation of blocks in frames.
    error: f64,
}

impl TimeMap {
    fn frame_at(&self, at: Instant, rate: f64) -> f64 {
        let ahead = at.saturating_duration_since(self.origin).as_secs_f64();
        let behind = self.origin.saturating_duration_since(at).as_secs_f64();
        self.frame + (ahead - behind) * rate
    }
}

impl FarEnd {
    pub(crate) fn new(format: AudioFormat) -> Self {
        let mut far_end = Self {
            channels: format.channels.into(),
            rate: f64::from(format.sample_rate),
            ring: vec![0.0; format.samples_in(SPAN)].into(),
            clock: None,
            next: 0,
            end: 0,
            last_at: None,
            read: None,
            read_error: 0.0,
            lead: 0,
        };
        far_end.reset();
        far_end
    }

    /// Discards all audio and times.
    pub(crate) fn reset(&mut self) {
        self.ring.fill(0.0);
        self.clock = None;
        self.next = 0;
        self.end = 0;
        self.last_at = None;
        self.read = None;
        self.read_error = 0.0;
        self.lead = self.frames(MAX_LEAD);
    }

    /// Time by which reading is ahead of the capture time.
    pub(crate) fn lead(&self) -> Duration {
        Duration::from_secs_f64(self.lead as f64 / self.rate)
    }

    /// Stores a block that is played from `at` on.
    pub(crate) fn write(&mut self, block: &[f32], at: Instant) {
        let start = match self.last_at {
            // The same block again.
            Some(last) if last == at => self.next - self.block_frames(block),
            _ => self.place(at),
        };
        self.last_at = Some(at);
        // Time for which no block came was silent.
        for frame in self.end.max(start - self.span())..start {
            self.frame_mut(frame).fill(0.0);
        }
        for (number, samples) in (start..).zip(block.chunks_exact(self.channels)) {
            self.frame_mut(number).copy_from_slice(samples);
        }
        self.next = start + self.block_frames(block);
        self.end = self.end.max(self.next);
    }

    /// Reads what is played while a block is captured from `at` on. Frames that nothing was played
    /// in are silent.
    pub(crate) fn read(&mut self, out: &mut [f32], at: Instant) {
        let frames = self.block_frames(out);
        let Some(clock) = self.clock else {
            out.fill(0.0);
            return;
        };
        let wanted = clock.frame_at(at, self.rate);
        let start = self.follow(wanted);
        // The lead exceeds what is queued towards the loudspeaker: give up the missing part for
        // good, as each change costs the canceller its alignment. Without any far end since, the
        // loudspeaker is idle and nothing is wrong.
        let missing = (start + frames - self.end).min(self.lead);
        let start = if missing > 0 && (wanted as i64) < self.end {
            self.lead -= missing;
            start - missing
        } else {
            start
        };
        let known = self.end - self.span()..self.end;
        for (number, samples) in (start..).zip(out.chunks_exact_mut(self.channels)) {
            match known.contains(&number) {
                true => samples.copy_from_slice(self.frame_mut(number)),
                false => samples.fill(0.0),
            }
        }
        self.read = Some(start + frames);
    }

    /// First frame of a block that is played from `at` on.
    fn place(&mut self, at: Instant) -> i64 {
        let Some(mut clock) = self.clock else {
            self.clock = Some(TimeMap { origin: at, frame: self.next as f64, error: 0.0 });
            return self.next;
        };
        let position = clock.frame_at(at, self.rate);
        // After a late block the newest one is the other candidate.
        let (next, end) = (self.next as f64, self.end as f64);
        if (position - end).abs() < (position - next).abs() {
            self.next = self.end;
        }
        let error = position - self.next as f64;
        if error.abs() > self.span() as f64 {
            return self.restart(at);
        }
        if error.abs() > self.seconds(JUMP) {
            clock.error = 0.0;
            self.clock = Some(clock);
            return position.round() as i64;
        }
        clock.error += (error - clock.error) * SMOOTHING;
        if clock.error.abs() > self.seconds(DRIFT) {
            // The samples stay where they are; their times change.
            clock.frame -= clock.error;
            clock.error = 0.0;
        }
        // Moves the origin along, which keeps the differences of times exact.
        clock = TimeMap { origin: at, frame: clock.frame_at(at, self.rate), error: clock.error };
        self.clock = Some(clock);
        self.next
    }

    /// Begins a new timeline: nothing that was stored has a known time any longer.
    fn restart(&mut self, at: Instant) -> i64 {
        let start = self.end + self.span();
        self.end = start;
        self.ring.fill(0.0);
        self.clock = Some(TimeMap { origin: at, frame: start as f64, error: 0.0 });
        self.read = None;
        start
    }

    /// First frame to read for a capture time at the frame `wanted`: contiguous with the previous
    /// block, unless the time jumped or drifted away.
    fn follow(&mut self, wanted: f64) -> i64 {
        // A time far away from every block; the bound keeps the arithmetic exact.
        let limit = (self.end + 2 * self.span()) as f64;
        let wanted = (wanted + self.lead as f64).clamp(-limit, limit);
        let Some(read) = self.read else {
            return wanted.round() as i64;
        };
        let error = wanted - read as f64;
        self.read_error += (error - self.read_error) * SMOOTHING;
        if error.abs() > self.seconds(JUMP) || self.read_error.abs() > self.seconds(DRIFT) {
            let target = if error.abs() > self.seconds(JUMP) { wanted } else { read as f64 + self.read_error };
            self.read_error = 0.0;
            return target.round() as i64;
        }
        read
    }

    fn frame_mut(&mut self, number: i64) -> &mut [f32] {
        let index = number.rem_euclid(self.span()) as usize * self.channels;
        &mut self.ring[index..index + self.channels]
    }

    fn block_frames(&self, block: &[f32]) -> i64 {
        (block.len() / self.channels) as i64
    }

    fn span(&self) -> i64 {
        (self.ring.len() / self.channels) as i64
    }

    fn frames(&self, duration: Duration) -> i64 {
        self.seconds(duration).round() as i64
    }

    fn seconds(&self, duration: Duration) -> f64 {
        duration.as_secs_f64() * self.rate
    }
}

#[cfg(test)]
mod tests;
