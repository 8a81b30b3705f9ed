//! Putting packets back into order and time.

mod delay_manager;
mod next_frame;
mod padding;
mod slots;

use web_time::{Duration, Instant};

use blink_api::{Preference, RtpTime};
use bytes::Bytes;

use super::relative_delay::{RelativeDelay, duration_of, ticks_in};
use super::statistics::AudioStatistics;
use super::timeline::{Numbered, Placement, Timeline};
use delay_manager::DelayManager;
use padding::Padding;
use slots::{Inserted, Slot, Slots};

/// The longest sound in one packet (RFC 6716 §2.1.4), and so the longest a packet may claim.
const LONGEST_PACKET: Duration = Duration::from_millis(120);

/// A first packet that is so much later than the target comes over another path than those before,
/// or after a stall: it is the fastest so far.
const OTHER_PATH: Duration = Duration::from_millis(100);

/// How a [`JitterBuffer`] works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JitterConfig {
    /// RTP ticks per second; 48,000 for Opus (RFC 7587 §4.1). Not 0.
    pub clock_rate: u32,
    /// From a packet's arrival to its decoding: packets that are slower than the fastest by less
    /// than this are in time. With `adapt`, the delay to begin with.
    pub delay: Duration,
    /// Within which range the delay follows the network; `None` for a fixed one.
    pub adapt: Option<DelayRange>,
    /// What the delay is for, where it follows the network.
    pub prefer: Preference,
    /// Most packets held. Where one more comes, the oldest is dropped.
    pub max_packets: usize,
}

/// Delays that an adapting buffer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayRange {
    /// On a network without jitter.
    pub shortest: Duration,
    /// However bad the network is; not less than `shortest`.
    pub longest: Duration,
}

impl Default for DelayRange {
    fn default() -> Self {
        Self { shortest: Duration::from_millis(10), longest: Duration::from_millis(250) }
    }
}

impl Default for JitterConfig {
    fn default() -> Self {
        Self {
            clock_rate: 48_000,
            delay: Duration::from_millis(40),
            adapt: None,
            prefer: Preference::Latency,
            max_packets: 150,
        }
    }
}

/// A packet of sound as it came.
#[derive(Debug, Clone)]
pub struct AudioPacket {
    /// The sequence number (RFC 3550 §5.1).
    pub sequence: u16,
    /// When its first sample was captured, in the sender's clock.
    pub timestamp: RtpTime,
    /// How much sound it holds, in ticks of the clock rate
    /// ([`AudioDecoder::duration`](blink_api::AudioDecoder::duration)).
    pub ticks: u32,
    /// The first of a talkspurt, says the sender.
    pub marker: bool,
    /// Whether there is a voice in it, says the sender (RFC 6464).
    pub loud: Option<bool>,
    /// Whether the codec put a copy of the frame before into it
    /// ([`AudioDecoder::has_fec`](blink_api::AudioDecoder::has_fec)).
    pub has_fec: bool,
    /// What to decode.
    pub payload: Bytes,
    /// When it came.
    pub arrival: Instant,
}

/// An earlier packet's sound that came with a later packet (RFC 2198).
#[derive(Debug, Clone)]
pub struct AudioCopy {
    /// How much earlier than the packet's sound it begins, in ticks.
    pub offset: u32,
    /// How much sound it holds, in ticks.
    pub ticks: u32,
    /// As of an [`AudioPacket`].
    pub has_fec: bool,
    /// What to decode.
    pub payload: Bytes,
}

impl Numbered for AudioPacket {
    const MAX_MISORDER: i64 = 100;
    const MAX_AGE: i64 = i64::MAX;
    const SHARED_TIMESTAMPS: bool = false;

    fn sequence(&self) -> u16 {
        self.sequence
    }

    fn timestamp(&self) -> RtpTime {
        self.timestamp
    }

    fn arrival(&self) -> Instant {
        self.arrival
    }
}

/// What to play next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlayoutDecision {
    /// Decode this packet.
    Packet {
        /// What to decode.
        payload: Bytes,
        /// The sound in it, in ticks.
        ticks: u32,
        /// So much was made up from its beginning on, in ticks, because it was late; possibly more
        /// than it holds.
        past: u32,
        /// It is a copy that came with a later packet.
        copy: bool,
        /// Whether there is a voice in it, says the sender.
        loud: Option<bool>,
    },
    /// So many ticks are missing, and the packet after them is this one, which has a copy of them;
    /// it will come as `Packet` too.
    Fec {
        /// The packet after the missing ones.
        next: Bytes,
        /// How much is missing before it, in ticks.
        ticks: u32,
        /// So much before that was made up already, of a frame as long as the packet.
        past: u32,
    },
    /// So many ticks are missing; this packet is the next there is, and will come as `Packet` too.
    /// It may hold a description of them.
    Dred {
        /// The next packet that is here.
        later: Bytes,
        /// From the beginning of what is missing to the beginning of that packet's sound, in ticks.
        distance: u32,
        /// How much is missing now, in ticks.
        ticks: u32,
    },
    /// So many ticks are missing: make them up. They may come yet.
    Conceal {
        /// How much to make up, in ticks.
        ticks: u32,
        /// The time of what is missing does not go by meanwhile, because the delay is too short: it
        /// will be played whole.
        held: bool,
    },
    /// The sender sent nothing for so many ticks, because there was nothing to send.
    Silence {
        /// For how long, in ticks.
        ticks: u32,
    },
    /// Nothing is due yet: play silence and ask again at the next tick.
    Wait,
}

/// Reorders one sender's packets on RTP time and gives them out a delay after their arrival, which
/// is fixed or follows the network.
///
/// * The first packet is due the target delay after it came. From then on time goes on by what was
///   given out, so that the delay stays. [`excess`](JitterBuffer::excess) tells how far it is from
///   the target: who plays the sound can play it a little faster or slower.
/// * What is missing when it is due is taken from a copy in a later packet
///   ([`push_with`](JitterBuffer::push_with)); where there is none, it is [`PlayoutDecision::Fec`]
///   where the packet after it is here and has the codec's own copy, else [`PlayoutDecision::Dred`]
///   or [`PlayoutDecision::Conceal`]. What comes while it is being made up is given out with the
///   part that is over. After 120 ms with nothing to play, it waits for the next packet.
/// * Where the delay is much shorter than the target, what is missing is waited for, and time
///   stands still.
/// * A stall of the network ends with all at once: what is 200 ms over the target is dropped, the
///   oldest first, until 60 ms are left to be played faster.
/// * With [`JitterConfig::adapt`], the target is what nearly all packets of the last seconds came
///   within, and where some are lost, long enough for what makes up for them: the copies in later
///   packets, or a description of the past.
/// * A gap in timestamps without one in sequence numbers is a pause of the sender.
#[derive(Debug)]
pub struct JitterBuffer {
    config: JitterConfig,
    /// The delay to keep, in ticks; all else follows it.
    target: i64,
    learnt: Option<DelayManager>,
    timeline: Timeline<AudioPacket>,
    transit: RelativeDelay,
    slots: Slots,
    padding: Padding,
    state: State,
    /// The sequence number after that of the last packet given out.
    next_sequence: Option<i64>,
    /// The length of the last packet given out, in ticks.
    frame: i64,
    /// What was made up since: what of it is still before the next packet, and all, in ticks.
    concealed: (i64, i64),
    /// All that was ever made up, in ticks.
    made_up: i64,
    /// How long it was waited for since, in ticks.
    held: i64,
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
            learnt: config.adapt.map(|range| DelayManager::new(range, config.prefer)),
            timeline: Timeline::new(config.clock_rate),
            transit: RelativeDelay::new(config.clock_rate),
            slots: Slots::new(config.max_packets),
            padding: Padding::default(),
            state: State::Idle,
            next_sequence: None,
            frame: 0,
            concealed: (0, 0),
            made_up: 0,
            held: 0,
            delay: 0,
            statistics: AudioStatistics::default(),
        }
    }

    /// Takes a packet, in whatever order they come.
    pub fn push(&mut self, packet: AudioPacket) {
        self.push_with(packet, std::iter::empty());
    }

    /// Takes a packet that carries copies of earlier ones.
    pub fn push_with(&mut self, packet: AudioPacket, copies: impl Iterator<Item = AudioCopy> + Clone) {
        self.statistics.packets_received += 1;
        if packet.ticks == 0 || i64::from(packet.ticks) > self.ticks(LONGEST_PACKET) {
            self.statistics.packets_corrupt += 1;
            // The network did not lose it.
            self.timeline.place_padding(packet.sequence);
            return;
        }
        self.place(packet, copies);
    }

    /// Takes a packet that holds nothing to play: padding, such as of a bandwidth probe (RFC 3550
    /// §5.1). It is not lost, what it stands between is not missing, and when it came says nothing
    /// of the others.
    pub fn push_padding(&mut self, sequence: u16) {
        self.statistics.packets_received += 1;
        if let Some(sequence) = self.timeline.place_padding(sequence) {
            self.padding.insert(sequence);
            self.next_sequence = self.next_sequence.map(|next| self.padding.pass(next));
        }
    }

    /// A packet describes so much of the past
    /// ([`AudioDecoder::redundancy_span`](blink_api::AudioDecoder::redundancy_span)).
    pub fn observe_redundancy_span(&mut self, reach: Duration) {
        if let Some(learnt) = &mut self.learnt {
            learnt.observe_redundancy_span(reach);
        }
    }

    /// How much longer the delay is than it should be, in ticks, as of the last
    /// [`next`](JitterBuffer::next); negative where it is shorter.
    pub fn excess(&self) -> i64 {
        self.delay - self.target
    }

    /// Changes the delay to keep.
    pub fn set_delay(&mut self, delay: Duration) {
        self.target = self.ticks(delay);
    }

    /// The timestamp of what [`next`](JitterBuffer::next) gives out next; `None` where nothing is
    /// played.
    pub fn position(&self) -> Option<RtpTime> {
        match self.state {
            State::Playing(cursor) => Some(RtpTime(cursor as u32)),
            State::Idle | State::Filling => None,
        }
    }

    /// What happened so far.
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
            concealed_samples: self.made_up.unsigned_abs(),
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
                // Where nothing is played, the sound begins with the oldest.
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
                (self.concealed, self.held) = ((0, 0), 0);
                self.transit.reset();
                self.place(first, std::iter::empty::<AudioCopy>());
                self.place(second, std::iter::empty::<AudioCopy>());
            }
        }
    }

    fn insert(&mut self, sequence: i64, timestamp: i64, packet: AudioPacket) {
        let loud = packet.loud;
        let AudioPacket { ticks, has_fec, payload, .. } = packet;
        let slot = Slot { sequence, timestamp, ticks: ticks.into(), loud, copy: false, has_fec, payload };
        if self.next_sequence.is_some_and(|next| sequence < next) {
            self.statistics.packets_late += 1;
            return;
        }
        // What is over can still mend what follows what was made up for it, as nothing after it was
        // played.
        let over = matches!(self.state, State::Playing(cursor) if slot.end() <= cursor);
        self.statistics.packets_late += u64::from(over && self.concealed.0 > 0);
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
            State::Playing(cursor) => cursor - self.concealed.0,
            State::Idle | State::Filling => i64::MIN,
        };
        let timestamp = at - offset;
        if ticks <= 0 || offset < ticks || ticks > self.ticks(LONGEST_PACKET) || timestamp < played_to {
            return;
        }
        let sequence = carrier - offset / ticks;
        let copy = Slot { sequence, timestamp, ticks, loud: None, copy: true, has_fec, payload };
        self.slots.insert_copy(copy, after_last, carrier);
    }

    /// Packets that a copy may be before the one it came with.
    const FURTHEST_COPY: i64 = 64;

    /// Learns from when a packet came.
    fn observe(&mut self, arrival: Instant, timestamp: i64, furthest_copy: Option<u32>) {
        self.transit.forget_before(arrival);
        if matches!(self.state, State::Idle) {
            let lateness = self.transit.delay(arrival, timestamp);
            if lateness.is_none_or(|lateness| lateness > self.target + self.ticks(OTHER_PATH)) {
                self.transit.reset();
            }
        }
        self.transit.observe(arrival, timestamp);
        let rate = self.config.clock_rate;
        if let Some(learnt) = &mut self.learnt {
            let ticks = self.transit.delay(arrival, timestamp).unwrap_or_default();
            learnt.observe(duration_of(ticks, rate), furthest_copy.map(|ticks| duration_of(ticks.into(), rate)));
            let (loss, frame) = (self.timeline.losses().share(), duration_of(self.frame, rate));
            if let Some(delay) = learnt.delay(loss, frame) {
                let least = if learnt.is_settled() { Duration::ZERO } else { self.config.delay };
                self.target = ticks_in(delay.max(least), rate);
            }
        }
    }

    fn jump_to_front(&mut self) {
        let Some(front) = self.slots.front() else { return };
        if let State::Playing(cursor) = self.state {
            self.state = State::Playing(cursor.max(front.timestamp));
            self.next_sequence = Some(self.padding.pass(front.sequence));
        }
    }

    /// Whether the packet of this number is the next one: none with payload is missing before it.
    fn is_next(&self, sequence: i64) -> bool {
        self.next_sequence.is_some_and(|next| self.padding.reaches(next, sequence))
    }

    fn ticks(&self, duration: Duration) -> i64 {
        ticks_in(duration, self.config.clock_rate)
    }
}

#[cfg(test)]
mod adapting;
#[cfg(test)]
mod line;
#[cfg(test)]
mod tests;
