//! Jitter buffer: packets back in order and time, on RTP time.

mod audio_packet;
mod delay_manager;
mod gap;
mod jitter_config;
mod next_frame;
mod padding;
mod playout_decision;
mod slots;

use web_time::{Duration, Instant};

use blink_api::RtpTime;

use super::relative_delay::{RelativeDelay, duration_of, ticks_in};
use super::statistics::AudioStatistics;
use super::timeline::{Placement, Timeline};
pub use audio_packet::{AudioCopy, AudioPacket};
use delay_manager::DelayManager;
use gap::Gap;
pub use jitter_config::{DelayRange, JitterConfig};
use padding::Padding;
pub use playout_decision::PlayoutDecision;
use slots::{Inserted, Slot, Slots};

/// Longest audio in one packet (RFC 6716 §2.1.4), and so the longest that a packet may claim.
const LONGEST_PACKET: Duration = Duration::from_millis(120);

/// First packet after a pause that is later than the target by this: it comes over another path, or
/// after a stall, and is the fastest so far.
const OTHER_PATH: Duration = Duration::from_millis(100);

/// Reorders one sender's packets on RTP time and releases them a delay after their arrival, which
/// is fixed or follows the network.
///
/// * The first packet is due the target delay after its arrival. From then on time advances by what
///   was released, so that the delay stays. [`excess`](JitterBuffer::excess) is its distance from
///   the target, for time stretching.
/// * Missing audio is taken from a copy in a later packet ([`push_with`](JitterBuffer::push_with)),
///   else from the codec's own copy in the next one ([`PlayoutDecision::Fec`]), else from deep
///   redundancy ([`PlayoutDecision::Dred`]), else concealed ([`PlayoutDecision::Conceal`]). A
///   packet that comes during its concealment is released with the part that is over. After 120 ms
///   with nothing to play, the buffer waits for the next packet.
/// * Where the delay is much shorter than the target, time stands still for missing audio.
/// * After a stall of the network all packets come at once: what is 200 ms over the target is
///   dropped, the oldest first, until 60 ms are left for acceleration.
/// * With [`JitterConfig::adapt`], the target is the delay within which nearly all packets of the
///   last seconds came, and with losses long enough for what makes up for them: copies in later
///   packets, or deep redundancy.
/// * A gap in timestamps without one in sequence numbers is a pause of the sender.
#[derive(Debug)]
pub struct JitterBuffer {
    config: JitterConfig,
    /// Target delay in ticks; all else follows it.
    target: i64,
    delay_manager: Option<DelayManager>,
    timeline: Timeline<AudioPacket>,
    relative_delay: RelativeDelay,
    slots: Slots,
    padding: Padding,
    state: State,
    /// Sequence number after that of the last packet released.
    next_sequence: Option<i64>,
    /// Duration of the last packet released, in ticks.
    frame: i64,
    /// Concealment since then.
    gap: Gap,
    /// Ticks concealed so far, of all gaps.
    concealed: i64,
    /// Ticks of concealment since then that extended the delay.
    extended: i64,
    delay: i64,
    statistics: AudioStatistics,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing to play.
    Idle,
    /// The first packet came.
    Filling,
    /// This timestamp is due next.
    Playing(i64),
}

impl JitterBuffer {
    /// An empty buffer.
    pub fn new(config: JitterConfig) -> Self {
        let config =
            JitterConfig { clock_rate: config.clock_rate.max(1), max_packets: config.max_packets.max(2), ..config };
        Self {
            config,
            target: ticks_in(config.delay, config.clock_rate),
            delay_manager: config.adapt.map(|range| DelayManager::new(range, config.prefer)),
            timeline: Timeline::new(config.clock_rate),
            relative_delay: RelativeDelay::new(config.clock_rate),
            slots: Slots::new(config.max_packets),
            padding: Padding::default(),
            state: State::Idle,
            next_sequence: None,
            frame: 0,
            gap: Gap::default(),
            concealed: 0,
            extended: 0,
            delay: 0,
            statistics: AudioStatistics::default(),
        }
    }

    /// Takes a packet, in any order.
    pub fn push(&mut self, packet: AudioPacket) {
        self.push_with(packet, std::iter::empty());
    }

    /// Takes a packet that carries copies of earlier ones.
    pub fn push_with(&mut self, packet: AudioPacket, copies: impl Iterator<Item = AudioCopy> + Clone) {
        self.statistics.packets_received += 1;
        if packet.ticks == 0 || i64::from(packet.ticks) > self.ticks(LONGEST_PACKET) {
            self.statistics.packets_corrupt += 1;
            // It cannot be played, but the network did not lose it.
            self.timeline.place_padding(packet.sequence);
            return;
        }
        self.place(packet, copies);
    }

    /// Takes a packet without payload: padding, such as of a bandwidth probe (RFC 3550 §5.1). It is
    /// not lost, nothing is missing where it stands, and its arrival says nothing of the others.
    pub fn push_padding(&mut self, sequence: u16) {
        self.statistics.packets_received += 1;
        if let Some(sequence) = self.timeline.place_padding(sequence) {
            self.padding.insert(sequence);
            self.next_sequence = self.next_sequence.map(|next| self.padding.pass(next));
        }
    }

    /// Takes the span of the past that a packet's deep redundancy describes
    /// ([`AudioDecoder::redundancy_span`](blink_api::AudioDecoder::redundancy_span)).
    pub fn observe_redundancy_span(&mut self, span: Duration) {
        if let Some(manager) = &mut self.delay_manager {
            manager.observe_redundancy_span(span);
        }
    }

    /// Delay less its target, in ticks, as of the last [`next`](JitterBuffer::next).
    pub fn excess(&self) -> i64 {
        self.delay - self.target
    }

    /// Changes the target delay.
    pub fn set_delay(&mut self, delay: Duration) {
        self.target = self.ticks(delay);
    }

    /// Timestamp of what [`next`](JitterBuffer::next) releases next; `None` where nothing is
    /// played.
    pub fn position(&self) -> Option<RtpTime> {
        match self.state {
            State::Playing(cursor) => Some(RtpTime(cursor as u32)),
            State::Idle | State::Filling => None,
        }
    }

    /// Statistics so far, with samples counted in ticks of the clock rate.
    pub fn statistics(&self) -> AudioStatistics {
        let start = match self.state {
            State::Playing(cursor) => Some(cursor),
            State::Idle | State::Filling => self.slots.front().map(|slot| slot.timestamp),
        };
        let buffered = start.zip(self.slots.back()).map_or(0, |(start, newest)| newest.end() - start);
        let duration = |ticks| duration_of(ticks, self.config.clock_rate);
        let losses = self.timeline.losses();
        AudioStatistics {
            sample_rate: self.config.clock_rate,
            packets_lost: losses.lost(),
            loss_bursts: losses.bursts(),
            concealed_samples: self.concealed.unsigned_abs(),
            buffered: duration(buffered),
            jitter_buffer_delay: duration(self.delay),
            jitter_buffer_target_delay: duration(self.target),
            ..self.statistics
        }
    }

    fn place(&mut self, packet: AudioPacket, copies: impl Iterator<Item = AudioCopy> + Clone) {
        match self.timeline.place(packet) {
            Placement::At { sequence, timestamp, packet } => {
                let furthest = copies.clone().map(|copy| copy.offset).max();
                self.observe(packet.arrival, timestamp, furthest);
                // Copies first: where nothing is played yet, playout begins with the oldest slot.
                for copy in copies {
                    self.insert_copy((sequence, timestamp), copy);
                }
                self.insert(sequence, timestamp, packet);
            }
            Placement::Duplicate => self.statistics.packets_duplicated += 1,
            Placement::Stray => {}
            Placement::Restart(first, second) => {
                self.statistics.restarts += 1;
                self.statistics.packets_discarded += self.slots.len() as u64;
                self.slots.clear();
                self.padding.clear();
                self.state = State::Idle;
                self.next_sequence = None;
                (self.gap, self.extended) = (Gap::default(), 0);
                self.relative_delay.reset();
                self.place(first, std::iter::empty::<AudioCopy>());
                self.place(second, std::iter::empty::<AudioCopy>());
            }
        }
    }

    fn insert(&mut self, sequence: i64, timestamp: i64, packet: AudioPacket) {
        let level = packet.level;
        let AudioPacket { ticks, has_fec, payload, .. } = packet;
        let slot = Slot { sequence, timestamp, ticks: ticks.into(), level, redundant: false, has_fec, payload };
        if self.next_sequence.is_some_and(|next| sequence < next) {
            self.statistics.packets_late += 1;
            return;
        }
        // A packet whose time is over altogether is kept all the same while its gap lasts: it
        // repairs the decoder for what follows, as nothing after it was played yet.
        let over = matches!(self.state, State::Playing(cursor) if slot.end() <= cursor);
        self.statistics.packets_late += u64::from(over && self.gap.before_next > 0);
        if matches!(self.state, State::Idle) {
            self.state = State::Filling;
        }
        match self.slots.insert(slot) {
            Inserted::Added => {}
            Inserted::Refused => self.statistics.packets_discarded += 1,
            Inserted::Displaced => {
                self.statistics.packets_discarded += 1;
                self.jump_to_front();
            }
        }
    }

    fn insert_copy(&mut self, (carrier, at): (i64, i64), copy: AudioCopy) {
        let AudioCopy { has_fec, payload, .. } = copy;
        let (offset, ticks) = (i64::from(copy.offset), i64::from(copy.ticks));
        let after_last = self.next_sequence.unwrap_or(carrier - Self::FURTHEST_COPY);
        let played_to = match self.state {
            // Concealed audio can still be replaced.
            State::Playing(cursor) => cursor - self.gap.before_next,
            State::Idle | State::Filling => i64::MIN,
        };
        let timestamp = at - offset;
        if ticks <= 0 || offset < ticks || ticks > self.ticks(LONGEST_PACKET) || timestamp < played_to {
            return;
        }
        // RFC 2198 gives a copy's timestamp and not its sequence number: with frames of one length
        // it is as many packets before its carrier as frames fit between.
        let sequence = carrier - offset / ticks;
        let copy = Slot { sequence, timestamp, ticks, level: None, redundant: true, has_fec, payload };
        self.slots.insert_copy(copy, after_last, carrier);
    }

    /// Most packets between a copy and its carrier.
    const FURTHEST_COPY: i64 = 64;

    /// Learns from the arrival of a packet.
    fn observe(&mut self, arrival: Instant, timestamp: i64, furthest_copy: Option<u32>) {
        self.relative_delay.forget_before(arrival);
        if matches!(self.state, State::Idle) {
            let lateness = self.relative_delay.delay(arrival, timestamp);
            if lateness.is_none_or(|lateness| lateness > self.target + self.ticks(OTHER_PATH)) {
                self.relative_delay.reset();
            }
        }
        self.relative_delay.observe(arrival, timestamp);
        let rate = self.config.clock_rate;
        if let Some(manager) = &mut self.delay_manager {
            let ticks = self.relative_delay.delay(arrival, timestamp).unwrap_or_default();
            manager.observe(duration_of(ticks, rate), furthest_copy.map(|ticks| duration_of(ticks.into(), rate)));
            let (loss, frame) = (self.timeline.losses().share(), duration_of(self.frame, rate));
            if let Some(delay) = manager.delay(loss, frame) {
                // A few packets that were fast by chance do not shorten the delay.
                let least = if manager.is_settled() { Duration::ZERO } else { self.config.delay };
                self.target = ticks_in(delay.max(least), rate);
            }
        }
    }

    /// Goes on with the oldest packet: what was before it is dropped.
    fn jump_to_front(&mut self) {
        let Some(front) = self.slots.front() else { return };
        if let State::Playing(cursor) = self.state {
            self.state = State::Playing(cursor.max(front.timestamp));
            self.next_sequence = Some(self.padding.pass(front.sequence));
        }
    }

    /// Whether no packet with payload is missing before the one of this number.
    fn is_next(&self, sequence: i64) -> bool {
        self.next_sequence.is_some_and(|next| self.padding.reaches(next, sequence))
    }

    fn ticks(&self, duration: Duration) -> i64 {
        ticks_in(duration, self.config.clock_rate)
    }
}

#[cfg(test)]
mod tests;
