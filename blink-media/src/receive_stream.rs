//! Receiving side of one audio track: jitter buffer, decoder, concealment, time stretching, volume.

mod delay_adaptation;
mod packet_input;
mod received_voice;

use web_time::{Duration, Instant};

use blink_api::{AudioDecoder, AudioFormat, AudioLevel, RtpTime};
use bytes::Bytes;

use super::concealer::PacketLossConcealer;
use super::jitter::{JitterBuffer, PlayoutDecision};
use super::mix;
use super::mix::power;
use super::playout::ReceiveConfig;
use super::relative_delay::duration_of;
use super::statistics::AudioStatistics;
use super::tick_scheduler::TICK;
use super::time_stretcher::TimeStretcher;
use received_voice::ReceivedVoice;

/// The longest frame there is (RFC 6716 §2.1.4).
const LONGEST_FRAME: Duration = Duration::from_millis(120);

/// Mean square (−45 dBov) below which a period more or less is inaudible.
const QUIET: f32 = 3.2e-5;

/// The same as a level: quieter packets have a greater one.
const QUIET_LEVEL: u8 = 45;

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

/// Decodes one participant's audio track for the mix. It buffers one decoded frame.
pub(super) struct ReceiveStream {
    config: ReceiveConfig,
    format: AudioFormat,
    jitter: JitterBuffer,
    concealer: PacketLossConcealer,
    time_stretcher: TimeStretcher,
    /// Samples of the frame decoded last, of which `played..filled` are not played yet.
    buffer: Vec<f32>,
    played: usize,
    filled: usize,
    /// Samples since the last time stretching.
    unstretched: usize,
    /// Samples that time stretching removed and inserted so far.
    removed_samples: u64,
    inserted_samples: u64,
    /// Samples of background since the last audio.
    paused: usize,
    quiet: bool,
    /// Samples of silence.
    quiet_for: usize,
    volume: f32,
    /// The volume at the end of the last tick; the next one goes from there to `volume`.
    gain: f32,
    /// Packet due now that was not decoded, because the stream is not audible.
    skipped: Option<Bytes>,
    started: bool,
    voice: ReceivedVoice,
    /// Whether ticks are slewed to the audio.
    follow_media_clock: bool,
    /// Nanoseconds by which ticks come after the audio reaches its target delay, negative where
    /// they come before; `None` while that is unknown.
    tick_lateness_ns: Option<i64>,
    pushed: u64,
    /// Packets discarded because they are of another codec.
    other_codec_packets: u64,
    /// Counts that the jitter buffer does not have.
    statistics: AudioStatistics,
}

impl ReceiveStream {
    pub(super) fn new(
        config: ReceiveConfig,
        format: AudioFormat,
        decoder: Box<dyn AudioDecoder>,
        follow_media_clock: bool,
    ) -> Self {
        let time_stretcher = TimeStretcher::new(format);
        Self {
            jitter: JitterBuffer::new(config.jitter),
            config,
            format,
            concealer: PacketLossConcealer::new(format, decoder),
            buffer: vec![0.0; format.samples_in(LONGEST_FRAME) + time_stretcher.most()],
            time_stretcher,
            played: 0,
            filled: 0,
            unstretched: 0,
            removed_samples: 0,
            inserted_samples: 0,
            paused: 0,
            quiet: false,
            quiet_for: 0,
            volume: 1.0,
            gain: 1.0,
            skipped: None,
            started: false,
            voice: ReceivedVoice::new(format),
            follow_media_clock,
            tick_lateness_ns: None,
            pushed: 0,
            other_codec_packets: 0,
            statistics: AudioStatistics::default(),
        }
    }

    pub(super) fn follow_media_clock(&mut self, follow: bool) {
        self.follow_media_clock = follow;
        self.tick_lateness_ns = None;
    }

    pub(super) fn set_volume(&mut self, volume: f32) {
        self.volume = volume;
    }

    /// Adds the next 10 ms to `mix`, and writes them to `tapped` before the volume is applied.
    /// `audible` is whether the mix is played. An inaudible stream without a tap decodes nothing
    /// but advances all the same.
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
        let is_audible = audible && (from > 0.0 || to > 0.0);
        let decodes = is_audible || tapped.is_some();
        if decodes {
            self.decode_skipped();
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
            let samples = &self.buffer[self.played..self.played + count];
            if is_audible {
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
        let speaking = self.voice.tick();
        Played { first, started: self.started && !started_before, speaking }
    }

    /// The timestamp of the sample that is played next; `None` where nothing is played.
    pub(super) fn position(&self) -> Option<RtpTime> {
        let left = ((self.filled - self.played) / usize::from(self.format.channels.max(1))) as u64;
        let ticks = left * u64::from(self.config.jitter.clock_rate) / u64::from(self.format.sample_rate.max(1));
        self.jitter.position().map(|next| RtpTime(next.0.wrapping_sub(ticks as u32)))
    }

    /// Nanoseconds by which ticks are late for this stream, negative where they are early; `None`
    /// while that is unknown. A caller that moves the ticks updates the value.
    pub(super) fn tick_lateness_ns(&mut self) -> Option<&mut i64> {
        self.tick_lateness_ns.as_mut()
    }

    /// The loudest level since the last call, as it was sent.
    pub(super) fn take_level(&mut self) -> AudioLevel {
        self.voice.take_level()
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
            packets_discarded: jitter.packets_discarded + self.other_codec_packets,
            packets_skipped: own.packets_skipped,
            removed_samples_for_acceleration: self.removed_samples / channels,
            inserted_samples_for_deceleration: samples(jitter.inserted_samples_for_deceleration)
                + self.inserted_samples / channels,
            ..jitter
        }
    }

    /// Decodes the packet skipped last, so that a stream that becomes audible continues within it.
    fn decode_skipped(&mut self) {
        let Some(packet) = self.skipped.take() else { return };
        let left = self.filled - self.played;
        self.filled = self.concealer.decode(&packet, 0, &mut self.buffer).unwrap_or(0);
        self.played = self.filled.saturating_sub(left);
    }

    /// Fills the buffer with what is due at `now`. `false` where nothing is.
    fn refill(&mut self, now: Instant, at: usize, wanted: usize, decodes: bool) -> bool {
        loop {
            let due = self.jitter.next(now, self.ticks_of(wanted));
            let gone = !self.started || !decodes || self.paused >= self.format.samples_in(LONGEST_PAUSE);
            if matches!(due, PlayoutDecision::Wait) && gone {
                (self.quiet, self.tick_lateness_ns) = (true, None);
                self.voice.on_pause();
                return false;
            }
            (self.played, self.filled) = (0, 0);
            if decodes {
                self.fill(due, wanted, at);
            } else {
                self.skip(due);
            }
            // A packet that was concealed whole leaves nothing to play.
            if self.filled > self.played {
                return true;
            }
        }
    }

    /// Fills the buffer as decided, and stretches received audio towards the target delay.
    fn fill(&mut self, due: PlayoutDecision, wanted: usize, at: usize) {
        let (background, is_packet) = (
            matches!(due, PlayoutDecision::Wait | PlayoutDecision::Silence { .. }),
            matches!(due, PlayoutDecision::Packet { .. }),
        );
        // The level of a packet; a redundant copy has none.
        let (mut in_time, mut sent_level) = (false, None);
        match due {
            PlayoutDecision::Wait => self.fill_background(wanted),
            PlayoutDecision::Silence { ticks } => self.fill_background(self.samples_of(ticks)),
            PlayoutDecision::Conceal { ticks, extends_delay } => {
                self.filled = self.samples_of(ticks);
                self.concealer.conceal(&mut self.buffer[..self.filled], extends_delay);
            }
            PlayoutDecision::Dred { later, distance, ticks } => {
                self.filled = self.samples_of(ticks);
                let distance = duration_of(distance.into(), self.config.jitter.clock_rate);
                let restored = self.concealer.decode_dred(&later, distance, &mut self.buffer[..self.filled]);
                if restored {
                    self.statistics.dred_recovered_samples += u64::from(ticks);
                }
            }
            PlayoutDecision::Fec { next, ticks, already_concealed } => {
                self.filled = self.samples_of(ticks + already_concealed);
                self.played = self.filled - self.samples_of(ticks);
                self.concealer.decode_fec(&next, self.played, &mut self.buffer[..self.filled]);
            }
            PlayoutDecision::Packet { payload, ticks, already_concealed, redundant, level } => {
                in_time = already_concealed == 0;
                sent_level = (!redundant).then_some(level);
                self.decode(&payload, ticks, already_concealed, redundant);
            }
        }
        let samples = &mut self.buffer[self.played..self.filled];
        if samples.is_empty() {
            return;
        }
        self.concealer.cross_fade(samples);
        let mut power = power(samples);
        if !power.is_finite() {
            samples.fill(0.0);
            power = 0.0;
        }
        self.quiet = power < QUIET || background;
        self.quiet_for = if self.quiet { self.quiet_for.saturating_add(samples.len()) } else { 0 };
        self.paused = if background { self.paused.saturating_add(samples.len()) } else { 0 };
        match sent_level {
            Some(level) => self.voice.on_packet(level, Some(&self.buffer[self.played..self.filled])),
            None if background => self.voice.on_pause(),
            None => {}
        }
        if is_packet {
            self.concealer.observe(&self.buffer[self.played..self.filled], power);
        }
        self.unstretched = self.unstretched.saturating_add(self.filled - self.played);
        if in_time {
            self.adapt(at);
        }
    }

    fn decode(&mut self, payload: &[u8], ticks: u32, already_concealed: u32, redundant: bool) {
        let over = if already_concealed == 0 { 0 } else { self.samples_of(already_concealed) };
        match self.concealer.decode(payload, over, &mut self.buffer) {
            Ok(samples @ 1..) => {
                self.filled = samples;
                self.played = over.min(samples);
                self.started = true;
                self.statistics.packets_decoded += u64::from(!redundant);
                self.statistics.late_repairs += u64::from(already_concealed > 0);
            }
            Ok(_) | Err(_) => {
                self.statistics.packets_corrupt += 1;
                let missing = ticks.saturating_sub(already_concealed);
                if missing > 0 {
                    self.filled = self.samples_of(missing);
                    self.concealer.conceal(&mut self.buffer[..self.filled], false);
                }
            }
        }
    }

    /// Advances as [`fill`](Self::fill) without decoding, and brings the delay to its target at
    /// once.
    fn skip(&mut self, due: PlayoutDecision) {
        let is_packet = matches!(due, PlayoutDecision::Packet { .. });
        let (ticks, is_quiet) = match due {
            PlayoutDecision::Wait => (0, true),
            PlayoutDecision::Packet { payload, ticks, already_concealed, level, redundant } => {
                self.skipped = Some(payload);
                self.started = true;
                self.statistics.packets_skipped += 1;
                if !redundant {
                    self.voice.on_packet(level, None);
                }
                let is_quiet = level.is_none_or(|level| level.minus_dbov() > QUIET_LEVEL);
                (ticks.saturating_sub(already_concealed), is_quiet)
            }
            PlayoutDecision::Fec { ticks, .. }
            | PlayoutDecision::Dred { ticks, .. }
            | PlayoutDecision::Conceal { ticks, .. }
            | PlayoutDecision::Silence { ticks } => (ticks, self.quiet),
        };
        self.quiet = is_quiet;
        if !is_packet {
            self.skipped = None;
        }
        if ticks > 0 {
            let off = self.jitter.excess().clamp(-i64::from(ticks), i64::from(ticks) - 1);
            self.filled = self.samples_of(u32::try_from(i64::from(ticks) - off).unwrap_or(ticks));
            self.buffer[..self.filled].fill(0.0);
        }
    }

    /// Fills the buffer with background noise.
    fn fill_background(&mut self, samples: usize) {
        self.filled = samples.min(self.buffer.len());
        self.concealer.fill_background(&mut self.buffer[..self.filled]);
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
        (usize::try_from(frames.max(1)).unwrap_or(usize::MAX).saturating_mul(channels)).min(self.buffer.len())
    }
}
