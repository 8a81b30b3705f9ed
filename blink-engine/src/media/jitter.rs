//! Putting packets back into order and time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use blink_api::RtpTime;
use bytes::Bytes;

use super::AudioStatistics;
use super::lateness::Lateness;
use super::timeline::{Numbered, Placement, Timeline};
use super::transit::{Transit, duration_of, ticks_in};

/// Concealment ends after so long; whatever comes then starts afresh.
const LONGEST_CONCEALMENT: Duration = Duration::from_millis(120);

/// The longest sound in one packet (RFC 6716 §2.1.4), and so the longest a packet may claim.
const LONGEST_PACKET: Duration = Duration::from_millis(120);

/// So much above the target is brought down at once; less only where nobody hears it.
const TOLERATED: Duration = Duration::from_millis(100);

/// Sound is asked for every so often: differences of less mean nothing.
const GRAIN: Duration = Duration::from_millis(10);

/// A gap longer than this (and the target) is not waited for.
const LONGEST_GAP: Duration = Duration::from_millis(500);

/// Where more packets than these are lost, waiting for the one after pays.
const LOSSY: f32 = 0.01;
/// How much of the estimate of loss each packet is: it is that of some 200 packets.
const LOSS_WEIGHT: f32 = 0.005;

/// How a [`JitterBuffer`] works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JitterConfig {
    /// RTP ticks per second; 48,000 for Opus (RFC 7587 §4.1). Not 0.
    pub clock_rate: u32,
    /// From a packet's arrival to its decoding: packets that are slower than the fastest by less than this are in time. With `adapt`, the delay to begin
    /// with.
    pub delay: Duration,
    /// Within which range the delay follows the network; `None` for a fixed one.
    pub adapt: Option<DelayRange>,
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
        Self { shortest: Duration::from_millis(20), longest: Duration::from_millis(250) }
    }
}

impl Default for JitterConfig {
    fn default() -> Self {
        Self { clock_rate: 48_000, delay: Duration::from_millis(40), adapt: None, max_packets: 150 }
    }
}

/// A packet of sound as it came.
#[derive(Debug, Clone)]
pub struct AudioPacket {
    /// The sequence number (RFC 3550 §5.1).
    pub sequence: u16,
    /// When its first sample was captured, in the sender's clock.
    pub timestamp: RtpTime,
    /// How much sound it holds, in ticks of the clock rate ([`Decoder::duration`](blink_api::Decoder::duration)).
    pub ticks: u32,
    /// The first of a talkspurt, says the sender.
    pub marker: bool,
    /// What to decode.
    pub payload: Bytes,
    /// When it came.
    pub arrival: Instant,
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
}

/// What to play next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Decode this packet.
    Packet {
        /// What to decode.
        payload: Bytes,
        /// The sound in it, in ticks.
        ticks: u32,
    },
    /// So many ticks are missing, and the packet after them is this one; it will come as `Packet` too.
    Recover {
        /// The packet after the missing ones.
        next: Bytes,
        /// How much is missing before it, in ticks.
        ticks: u32,
    },
    /// So many ticks are missing, and so is what comes after them; this packet is the next there is, and will come as `Packet` too. It may hold a description of them.
    Restore {
        /// The next packet that is here.
        later: Bytes,
        /// From the beginning of what is missing to the beginning of that packet's sound, in ticks.
        distance: u32,
        /// How much is missing now, in ticks.
        ticks: u32,
    },
    /// So many ticks are missing: make them up.
    Lost {
        /// How much to make up, in ticks.
        ticks: u32,
    },
    /// The sender sent nothing for so many ticks, because there was nothing to send.
    Silence {
        /// For how long, in ticks.
        ticks: u32,
    },
    /// Nothing is due yet: play silence and ask again at the next tick.
    Wait,
}

/// Reorders one sender's packets on RTP time and gives them out a delay after their arrival, which is fixed or follows the network.
///
/// * The first packet is due the target delay after it came. From then on time goes on by what was given out, so that the delay stays.
/// * What is missing when it is due is lost: [`Due::Recover`] where the packet after it is here, else [`Due::Lost`]. After 120 ms with nothing
///   to play, it waits for the next packet and starts with it as with the first.
/// * Where more is waiting than the target (a stall and a burst, a path that became faster, a clock that is), the oldest is dropped: at once
///   where it is 100 ms too much, otherwise where it is quiet ([`skip`](JitterBuffer::skip)).
/// * With [`JitterConfig::adapt`], the target is what 99 of 100 packets of the last seconds came within, and a packet more where some were lost: what is lost can be
///   recovered only from the packet after it. It is reached while it is quiet, too.
/// * A gap in timestamps without one in sequence numbers is a pause of the sender.
#[derive(Debug)]
pub struct JitterBuffer {
    config: JitterConfig,
    /// The delay to keep, in ticks; all else follows it.
    target: i64,
    lateness: Lateness,
    /// The share of packets that were lost lately.
    loss: f32,
    timeline: Timeline<AudioPacket>,
    transit: Transit,
    /// In order of sequence; never more than `max_packets`.
    slots: VecDeque<Slot>,
    state: State,
    /// The sequence number after that of the last packet given out.
    next_sequence: Option<i64>,
    /// The length of the last packet given out, in ticks.
    frame: i64,
    /// What was made up since, in ticks and in frames.
    concealed: (i64, u64),
    delay: i64,
    statistics: AudioStatistics,
}

#[derive(Debug)]
struct Slot {
    sequence: i64,
    timestamp: i64,
    ticks: i64,
    payload: Bytes,
}

impl Slot {
    fn end(&self) -> i64 {
        self.timestamp + self.ticks
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing to play.
    Idle,
    /// The first packet came then.
    Filling(Instant),
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
            lateness: Lateness::new(),
            loss: 0.0,
            timeline: Timeline::default(),
            transit: Transit::new(config.clock_rate),
            slots: VecDeque::with_capacity(config.max_packets),
            state: State::Idle,
            next_sequence: None,
            frame: 0,
            concealed: (0, 0),
            delay: 0,
            statistics: AudioStatistics::default(),
        }
    }

    /// Takes a packet, in whatever order they come.
    pub fn push(&mut self, packet: AudioPacket) {
        self.statistics.received += 1;
        if packet.ticks == 0 || i64::from(packet.ticks) > self.ticks(LONGEST_PACKET) {
            self.statistics.corrupt += 1;
            return;
        }
        self.place(packet);
    }

    /// What to play next, and moves on by it; `Wait` moves nothing. `quiet` says that the sound before was, so that nobody hears it last longer.
    pub fn next(&mut self, now: Instant, quiet: bool) -> Due {
        let Some(cursor) = self.cursor(now) else { return Due::Wait };
        let cursor = self.shorten(now, cursor);
        self.state = State::Playing(cursor);
        let Some(front) = self.slots.front() else { return self.run_dry(cursor) };

        let excess = self.transit.delay(now, cursor).unwrap_or(self.target) - self.target;
        self.delay = excess + self.target;
        if quiet && excess <= -self.ticks(GRAIN) {
            self.statistics.stretched += 1;
            return Due::Lost { ticks: ticks_u32(self.ticks(GRAIN)) };
        }
        let gap = front.timestamp - cursor;
        if gap <= 0 || gap > self.target + self.ticks(LONGEST_GAP) {
            return self.play();
        }
        let nothing_missing = self.next_sequence == Some(front.sequence);
        let frame = if self.frame > 0 { self.frame } else { front.ticks };
        let (due, ticks) = if nothing_missing {
            let ticks = gap.min(frame);
            (Due::Silence { ticks: ticks_u32(ticks) }, ticks)
        } else if gap <= front.ticks {
            (Due::Recover { next: front.payload.clone(), ticks: ticks_u32(gap) }, gap)
        } else {
            let ticks = frame.min(gap - front.ticks);
            let ticks_wire = ticks_u32(ticks);
            let made_up = self.concealed.0 < self.ticks(LONGEST_CONCEALMENT);
            let later = front.payload.clone();
            let restore = Due::Restore { later, distance: ticks_u32(gap), ticks: ticks_wire };
            (if made_up { restore } else { Due::Silence { ticks: ticks_wire } }, ticks)
        };
        match &due {
            Due::Recover { .. } => self.statistics.recovered += 1,
            Due::Lost { .. } | Due::Restore { .. } => self.count_concealed(ticks),
            _ => {}
        }
        self.state = State::Playing(cursor + ticks);
        due
    }

    /// For a packet just given out that turned out to be quiet: whether to leave it out, which brings the delay nearer to the target. It is
    /// counted as discarded then.
    pub fn skip(&mut self, now: Instant) -> bool {
        let State::Playing(cursor) = self.state else { return false };
        // By now, this is the delay without the packet.
        let skip = self.transit.delay(now, cursor).is_some_and(|delay| delay >= self.target);
        self.statistics.discarded += u64::from(skip);
        skip
    }

    /// Changes the delay to keep. It is reached bit by bit, while it is quiet.
    pub fn set_delay(&mut self, delay: Duration) {
        self.target = self.ticks(delay);
    }

    /// The timestamp of what [`next`](JitterBuffer::next) gives out next; `None` where nothing is played.
    pub fn position(&self) -> Option<RtpTime> {
        match self.state {
            State::Playing(cursor) => Some(RtpTime(cursor as u32)),
            State::Idle | State::Filling(_) => None,
        }
    }

    /// What happened so far.
    pub fn statistics(&self) -> AudioStatistics {
        let start = match self.state {
            State::Playing(cursor) => Some(cursor),
            State::Idle | State::Filling(_) => self.slots.front().map(|slot| slot.timestamp),
        };
        let buffered = start.zip(self.slots.back()).map_or(0, |(start, newest)| newest.end() - start);
        let duration = |ticks| duration_of(ticks, self.config.clock_rate);
        AudioStatistics {
            buffered: duration(buffered),
            delay: duration(self.delay),
            target: duration(self.target),
            ..self.statistics
        }
    }

    fn place(&mut self, packet: AudioPacket) {
        match self.timeline.place(packet) {
            Placement::At { sequence, timestamp, packet } => self.insert(sequence, timestamp, packet),
            Placement::Duplicate => self.statistics.duplicated += 1,
            Placement::Stray => {}
            Placement::Restart(first, second) => {
                self.statistics.restarts += 1;
                self.statistics.discarded += self.slots.len() as u64;
                self.slots.clear();
                self.state = State::Idle;
                self.next_sequence = None;
                self.place(first);
                self.place(second);
            }
        }
    }

    fn insert(&mut self, sequence: i64, timestamp: i64, packet: AudioPacket) {
        let slot = Slot { sequence, timestamp, ticks: packet.ticks.into(), payload: packet.payload };
        let too_late = match self.state {
            State::Playing(cursor) => slot.end() <= cursor,
            State::Idle | State::Filling(_) => false,
        };
        if too_late || self.next_sequence.is_some_and(|next| sequence < next) {
            self.statistics.late += 1;
            // It was taken for lost and is only late: that is the delay's affair.
            self.loss = (self.loss - LOSS_WEIGHT).max(0.0);
            self.observe(packet.arrival, timestamp);
            return;
        }
        if matches!(self.state, State::Idle) {
            self.state = State::Filling(packet.arrival);
            self.transit.reset();
        }
        self.observe(packet.arrival, timestamp);
        let at = self.slots.iter().rposition(|other| other.sequence < sequence).map_or(0, |before| before + 1);
        if self.slots.len() < self.config.max_packets {
            self.slots.insert(at, slot);
            return;
        }
        // Full: the oldest goes, be it this one.
        self.statistics.discarded += 1;
        if at > 0 {
            self.slots.pop_front();
            self.slots.insert(at - 1, slot);
            self.jump_to_front();
        }
    }

    /// Learns from when a packet came.
    fn observe(&mut self, arrival: Instant, timestamp: i64) {
        self.transit.observe(arrival, timestamp);
        let Some(range) = self.config.adapt else { return };
        let ticks = self.transit.delay(arrival, timestamp).unwrap_or_default();
        self.lateness.observe(duration_of(ticks, self.config.clock_rate));
        if let Some(wait) = self.lateness.wait() {
            let frame = duration_of(self.frame, self.config.clock_rate);
            let recovery = if self.loss > LOSSY { frame } else { Duration::ZERO };
            self.target =
                self.ticks((wait + GRAIN + recovery).clamp(range.shortest, range.longest.max(range.shortest)));
        }
    }

    /// The timestamp that is due; starts playing when it is time. `None` where there is nothing to play yet.
    fn cursor(&mut self, now: Instant) -> Option<i64> {
        match self.state {
            State::Idle => None,
            State::Playing(cursor) => Some(cursor),
            State::Filling(since) => {
                if now.saturating_duration_since(since) < duration_of(self.target, self.config.clock_rate) {
                    return None;
                }
                self.slots.front().map(|first| first.timestamp)
            }
        }
    }

    /// Drops what is far over the target delay, and what is past; returns the timestamp that is due then.
    fn shorten(&mut self, now: Instant, mut cursor: i64) -> i64 {
        let grain = self.ticks(GRAIN);
        let mut dropping = false;
        while let Some(front) = self.slots.front() {
            let excess = self.transit.delay(now, cursor).map_or(0, |delay| delay - self.target);
            dropping |= excess >= self.ticks(TOLERATED) + front.ticks;
            let gap = front.timestamp - cursor;
            let pause = self.next_sequence == Some(front.sequence);
            if front.end() <= cursor {
                self.statistics.late += 1;
            } else if gap > 0 && (pause && excess > grain || dropping && excess >= gap) {
                // Nobody misses a part of a pause; nor, where much is dropped anyway, what is lost.
                cursor += gap.min(excess);
                continue;
            } else if gap <= 0 && dropping && excess >= front.ticks {
                self.statistics.discarded += 1;
                cursor = front.end();
                self.concealed = (0, 0);
            } else {
                break;
            }
            self.next_sequence = Some(front.sequence + 1);
            self.slots.pop_front();
        }
        cursor
    }

    fn play(&mut self) -> Due {
        let Some(slot) = self.slots.pop_front() else { return Due::Wait };
        let missing = self.next_sequence.map_or(0, |next| (slot.sequence - next).clamp(0, 10));
        for lost in std::iter::repeat_n(1.0, missing as usize).chain([0.0]) {
            self.loss += (lost - self.loss) * LOSS_WEIGHT;
        }
        if self.next_sequence == Some(slot.sequence) {
            // Nothing was missing: what was made up was a pause.
            self.statistics.concealed -= self.concealed.1;
        }
        self.concealed = (0, 0);
        self.next_sequence = Some(slot.sequence + 1);
        self.frame = slot.ticks;
        self.state = State::Playing(slot.end());
        Due::Packet { payload: slot.payload, ticks: ticks_u32(slot.ticks) }
    }

    fn run_dry(&mut self, cursor: i64) -> Due {
        let left = self.ticks(LONGEST_CONCEALMENT) - self.concealed.0;
        let ticks = self.frame.min(left);
        if ticks <= 0 {
            self.state = State::Idle;
            return Due::Wait;
        }
        self.count_concealed(ticks);
        self.state = State::Playing(cursor + ticks);
        Due::Lost { ticks: ticks_u32(ticks) }
    }

    fn count_concealed(&mut self, ticks: i64) {
        self.concealed.0 += ticks;
        self.concealed.1 += 1;
        self.statistics.concealed += 1;
    }

    fn jump_to_front(&mut self) {
        let Some(front) = self.slots.front() else { return };
        if let State::Playing(cursor) = self.state {
            self.state = State::Playing(cursor.max(front.timestamp));
            self.next_sequence = Some(front.sequence);
        }
    }

    fn ticks(&self, duration: Duration) -> i64 {
        ticks_in(duration, self.config.clock_rate)
    }
}

/// For ticks of a packet or of a part of one.
fn ticks_u32(ticks: i64) -> u32 {
    u32::try_from(ticks).unwrap_or(0)
}

#[cfg(test)]
mod adapting;
#[cfg(test)]
mod tests;
