//! One participant's audio track, from packets to samples.

mod delay_adaptation;
mod packet_input;

use web_time::{Duration, Instant};

use blink_api::{AudioDecoder, AudioFormat, RtpTime};
use bytes::Bytes;

use super::concealer::PacketLossConcealer;
use super::jitter::{JitterBuffer, PlayoutDecision};
use super::mix;
use super::mix::power;
use super::playout::ReceiveConfig;
use super::relative_delay::duration_of;
use super::speaking::SpeechDetector;
use super::statistics::AudioStatistics;
use super::tick_scheduler::TICK;
use super::time_stretcher::TimeStretcher;

/// The longest frame there is (RFC 6716 §2.1.4).
const LONGEST_FRAME: Duration = Duration::from_millis(120);

/// Mean square (−45 dBov) below which a period more or less is inaudible.
const QUIET: f32 = 3.2e-5;

/// Longest pause that has a background; a sender that is silent for longer is gone.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Result of one tick of a stream.
pub(super) struct Played {
    /// The timestamp of the first sample; `None` where nothing is played, or without a tap.
    pub(super) first: Option<RtpTime>,
    /// The first packet of all was decoded, or would have been if it were audible.
    pub(super) started: bool,
    /// A voice began or ended.
    pub(super) speaking: Option<bool>,
}

/// A participant's jitter buffer, decoder and volume, with room for one decoded frame.
pub(super) struct Stream {
    config: ReceiveConfig,
    format: AudioFormat,
    jitter: JitterBuffer,
    restoring: PacketLossConcealer,
    stretch: TimeStretcher,
    /// The audio decoded last; `played..filled` is still to be played.
    sound: Vec<f32>,
    played: usize,
    filled: usize,
    /// Samples since the last time stretching.
    unstretched: usize,
    /// Samples that were removed and repeated, in all.
    removed: u64,
    repeated: u64,
    /// Samples of background since the last audio.
    paused: usize,
    quiet: bool,
    /// Samples of silence.
    quiet_for: usize,
    volume: f32,
    /// The volume at the end of the last tick; the next one goes from there to `volume`.
    gain: f32,
    /// The packet whose time it is, while it is not audible.
    unheard: Option<Bytes>,
    started: bool,
    detector: SpeechDetector,
    /// Whether ticks are slewed to the audio, and by how many nanoseconds they are late for it.
    follow_media_clock: bool,
    late: Option<i64>,
    pushed: u64,
    foreign: u64,
    /// Counts that the jitter buffer does not have.
    statistics: AudioStatistics,
}

impl Stream {
    pub(super) fn new(
        config: ReceiveConfig,
        format: AudioFormat,
        decoder: Box<dyn AudioDecoder>,
        follow_media_clock: bool,
    ) -> Self {
        let stretch = TimeStretcher::new(format);
        Self {
            jitter: JitterBuffer::new(config.jitter),
            config,
            format,
            restoring: PacketLossConcealer::new(format, decoder),
            sound: vec![0.0; format.samples_in(LONGEST_FRAME) + stretch.most()],
            stretch,
            played: 0,
            filled: 0,
            unstretched: 0,
            removed: 0,
            repeated: 0,
            paused: 0,
            quiet: false,
            quiet_for: 0,
            volume: 1.0,
            gain: 1.0,
            unheard: None,
            started: false,
            detector: SpeechDetector::default(),
            follow_media_clock,
            late: None,
            pushed: 0,
            foreign: 0,
            statistics: AudioStatistics::default(),
        }
    }

    pub(super) fn follow_media_clock(&mut self, follow: bool) {
        self.follow_media_clock = follow;
        self.late = None;
    }

    pub(super) fn set_volume(&mut self, volume: f32) {
        self.volume = volume;
    }

    /// Adds the next 10 ms to `mix`, and writes them to `tapped` before the volume is applied.
    /// Where they would not be heard (`audible` says whether anything is) and there is no tap,
    /// nothing is decoded, and time goes on all the same.
    pub(super) fn play(
        &mut self,
        now: Instant,
        mix: &mut [f32],
        audible: bool,
        mut tapped: Option<&mut [f32]>,
    ) -> Played {
        let started_before = self.started;
        let total = mix.len();
        let (from, to) = (self.gain, self.volume);
        self.gain = to;
        let heard = audible && (from > 0.0 || to > 0.0);
        let decodes = heard || tapped.is_some();
        if decodes {
            self.listen_again();
        }
        let gain_at = |n: usize| from + (to - from) * n as f32 / total.max(1) as f32;
        let (mut at, mut first) = (0, None);
        while at < total {
            if self.played == self.filled
                && !self.refill(now + TICK * at as u32 / total.max(1) as u32, at, total - at, decodes)
            {
                break;
            }
            let count = (self.filled - self.played).min(total - at);
            let samples = &self.sound[self.played..self.played + count];
            if heard {
                mix::add(&mut mix[at..at + count], samples, gain_at(at), gain_at(at + count));
            }
            if let Some(tapped) = &mut tapped {
                tapped[at..at + count].copy_from_slice(samples);
                if at == 0 {
                    first = self.position();
                }
            }
            self.played += count;
            at += count;
        }
        if let Some(tapped) = tapped {
            tapped[at..].fill(0.0);
        }
        let speaking = self.detector.observe(!self.quiet, TICK);
        Played { first, started: self.started && !started_before, speaking }
    }

    /// The timestamp of the sample that is played next; `None` where nothing is played.
    pub(super) fn position(&self) -> Option<RtpTime> {
        let left = ((self.filled - self.played) / usize::from(self.format.channels.max(1))) as u64;
        let ticks = left * u64::from(self.config.jitter.clock_rate) / u64::from(self.format.sample_rate.max(1));
        self.jitter.position().map(|next| RtpTime(next.0.wrapping_sub(ticks as u32)))
    }

    /// Nanoseconds by which ticks are late for this stream, as far as that is known; negative where
    /// they are early. A caller that moves them changes it.
    pub(super) fn late(&mut self) -> Option<&mut i64> {
        self.late.as_mut()
    }

    pub(super) fn statistics(&self) -> AudioStatistics {
        let (jitter, own) = (self.jitter.statistics(), self.statistics);
        let (sample_rate, channels) = (self.format.sample_rate, u64::from(self.format.channels.max(1)));
        // The jitter buffer counts in ticks of the RTP clock, which may be another rate than the
        // decoder's (RFC 3551 §4.5.2: G.722 has half as many ticks as samples).
        let samples = |ticks: u64| ticks * u64::from(sample_rate) / u64::from(jitter.sample_rate.max(1));
        AudioStatistics {
            packets_received: jitter.packets_received,
            packets_decoded: own.packets_decoded,
            sample_rate,
            dred_recovered_samples: samples(own.dred_recovered_samples),
            concealed_samples: samples(jitter.concealed_samples.saturating_sub(own.dred_recovered_samples)),
            late_repairs: own.late_repairs,
            packets_corrupt: jitter.packets_corrupt + own.packets_corrupt,
            packets_discarded: jitter.packets_discarded + self.foreign,
            packets_skipped: own.packets_skipped,
            removed_samples_for_acceleration: self.removed / channels,
            inserted_samples_for_deceleration: samples(jitter.inserted_samples_for_deceleration)
                + self.repeated / channels,
            ..jitter
        }
    }

    /// The stream becomes audible: the packet that passed last is decoded, so that it goes on from
    /// within it.
    fn listen_again(&mut self) {
        let Some(packet) = self.unheard.take() else { return };
        let left = self.filled - self.played;
        self.filled = self.restoring.decode(&packet, 0, &mut self.sound).unwrap_or(0);
        self.played = self.filled.saturating_sub(left);
    }

    /// Fills the buffer with what is due at `now`. `false` where nothing is.
    fn refill(&mut self, now: Instant, at: usize, wanted: usize, heard: bool) -> bool {
        loop {
            let due = self.jitter.next(now, self.ticks_of(wanted));
            let gone = !self.started || !heard || self.paused >= self.format.samples_in(LONGEST_PAUSE);
            if matches!(due, PlayoutDecision::Wait) && gone {
                (self.quiet, self.late) = (true, None);
                return false;
            }
            (self.played, self.filled) = (0, 0);
            if heard {
                self.fill(due, wanted, at);
            } else {
                self.pass_over(due);
            }
            // What is over when it comes leaves nothing to play.
            if self.filled > self.played {
                return true;
            }
        }
    }

    fn fill(&mut self, due: PlayoutDecision, wanted: usize, at: usize) {
        let (background, came) = (
            matches!(due, PlayoutDecision::Wait | PlayoutDecision::Silence { .. }),
            matches!(due, PlayoutDecision::Packet { .. }),
        );
        let mut in_time = false;
        match due {
            PlayoutDecision::Wait => self.rest(wanted),
            PlayoutDecision::Silence { ticks } => self.rest(self.samples_of(ticks)),
            PlayoutDecision::Conceal { ticks, held } => {
                self.filled = self.samples_of(ticks);
                self.restoring.conceal(&mut self.sound[..self.filled], held);
            }
            PlayoutDecision::Dred { later, distance, ticks } => {
                self.filled = self.samples_of(ticks);
                let distance = duration_of(distance.into(), self.config.jitter.clock_rate);
                let restored = self.restoring.decode_dred(&later, distance, &mut self.sound[..self.filled]);
                if restored {
                    self.statistics.dred_recovered_samples += u64::from(ticks);
                }
            }
            PlayoutDecision::Fec { next, ticks, past } => {
                self.filled = self.samples_of(ticks + past);
                self.played = self.filled - self.samples_of(ticks);
                self.restoring.decode_fec(&next, self.played, &mut self.sound[..self.filled]);
            }
            PlayoutDecision::Packet { payload, ticks, past, copy, .. } => {
                in_time = past == 0;
                self.decode(&payload, ticks, past, copy);
            }
        }
        let sound = &mut self.sound[self.played..self.filled];
        if sound.is_empty() {
            return;
        }
        self.restoring.cross_fade(sound);
        let mut power = power(sound);
        if !power.is_finite() {
            sound.fill(0.0);
            power = 0.0;
        }
        self.quiet = power < QUIET || background;
        self.quiet_for = if self.quiet { self.quiet_for.saturating_add(sound.len()) } else { 0 };
        self.paused = if background { self.paused.saturating_add(sound.len()) } else { 0 };
        if came {
            self.restoring.observe(&self.sound[self.played..self.filled], power);
        }
        self.unstretched = self.unstretched.saturating_add(self.filled - self.played);
        if in_time {
            self.adapt(at);
        }
    }

    fn decode(&mut self, payload: &[u8], ticks: u32, past: u32, copy: bool) {
        let over = if past == 0 { 0 } else { self.samples_of(past) };
        match self.restoring.decode(payload, over, &mut self.sound) {
            Ok(samples @ 1..) => {
                self.filled = samples;
                self.played = over.min(samples);
                self.started = true;
                self.statistics.packets_decoded += u64::from(!copy);
                self.statistics.late_repairs += u64::from(past > 0);
            }
            Ok(_) | Err(_) => {
                self.statistics.packets_corrupt += 1;
                let missing = ticks.saturating_sub(past);
                if missing > 0 {
                    self.filled = self.samples_of(missing);
                    self.restoring.conceal(&mut self.sound[..self.filled], false);
                }
            }
        }
    }

    /// As [`fill`](Self::fill), without decoding, and with the delay as it should be at once.
    fn pass_over(&mut self, due: PlayoutDecision) {
        let came = matches!(due, PlayoutDecision::Packet { .. });
        let (ticks, loud) = match due {
            PlayoutDecision::Wait => (0, false),
            PlayoutDecision::Packet { payload, ticks, past, loud, .. } => {
                self.unheard = Some(payload);
                self.started = true;
                self.statistics.packets_skipped += 1;
                (ticks.saturating_sub(past), loud.unwrap_or(false))
            }
            PlayoutDecision::Fec { ticks, .. }
            | PlayoutDecision::Dred { ticks, .. }
            | PlayoutDecision::Conceal { ticks, .. }
            | PlayoutDecision::Silence { ticks } => (ticks, !self.quiet),
        };
        self.quiet = !loud;
        if !came {
            self.unheard = None;
        }
        if ticks > 0 {
            let off = self.jitter.excess().clamp(-i64::from(ticks), i64::from(ticks) - 1);
            self.filled = self.samples_of(u32::try_from(i64::from(ticks) - off).unwrap_or(ticks));
            self.sound[..self.filled].fill(0.0);
        }
    }

    fn rest(&mut self, samples: usize) {
        self.filled = samples.min(self.sound.len());
        self.restoring.fill_background(&mut self.sound[..self.filled]);
    }

    fn ticks_of(&self, samples: usize) -> u32 {
        let frames = (samples / usize::from(self.format.channels.max(1))) as u64;
        u32::try_from(frames * u64::from(self.config.jitter.clock_rate) / u64::from(self.format.sample_rate.max(1)))
            .unwrap_or(u32::MAX)
    }

    /// At least one frame of all channels, at most what the buffer holds.
    fn samples_of(&self, ticks: u32) -> usize {
        let frames =
            u64::from(ticks) * u64::from(self.format.sample_rate) / u64::from(self.config.jitter.clock_rate.max(1));
        let channels = usize::from(self.format.channels.max(1));
        (usize::try_from(frames.max(1)).unwrap_or(usize::MAX).saturating_mul(channels)).min(self.sound.len())
    }
}
