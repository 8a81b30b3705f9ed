//! Assembly of video frames from packets.

use std::collections::VecDeque;
use web_time::{Duration, Instant};

use std::fmt;
use std::sync::Arc;

use blink_api::{CodecName, EncodedVideoFrame, FrameFragment, PayloadFormat, RtpIn, RtpTime};

use super::limits::CLOCK_RATE;
use super::video_statistics::VideoStatistics;
use crate::timeline::{Numbered, Placement, Timeline};

/// Configuration of a [`FrameAssembler`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssemblerConfig {
    /// Time that a missing packet is waited for, from the arrival of the first one after it.
    pub wait: Duration,
    /// Least time between two requests of a key frame.
    pub keyframe_interval: Duration,
    /// Most packets held. With more, the oldest frame is dropped.
    pub max_packets: usize,
    /// Most bytes of payload held. With more, the oldest frame is dropped; a larger frame is never
    /// assembled.
    pub max_bytes: usize,
}

impl Default for AssemblerConfig {
    fn default() -> Self {
        Self {
            wait: Duration::from_millis(100),
            keyframe_interval: Duration::from_millis(500),
            max_packets: 2_048,
            max_bytes: 2 * 1024 * 1024,
        }
    }
}

/// Frame that is complete and can be decoded after those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedFrame {
    /// The frame, with the arrival of its first packet for its time.
    pub frame: EncodedVideoFrame,
    /// Capture time on the sender's clock of 90,000 ticks a second.
    pub timestamp: RtpTime,
}

/// Assembles the frames of one stream from its packets, in any order and with losses.
///
/// * Frames come out in the order of sending, each as soon as it and all before it are complete.
/// * A missing packet is waited for a bounded time. Then its frame is dropped, and so is everything
///   until the next key frame, which is taken as soon as it is complete, and requested
///   ([`wants_keyframe`](FrameAssembler::wants_keyframe)). A new assembler waits for a key frame.
/// * Key frames are recognized by their bytes: VP8 by the frame tag (RFC 7741 §4.3), H.264 by an
///   IDR picture with its parameter sets.
/// * Packets that cannot be read are counted and dropped, as if lost.
pub struct FrameAssembler {
    config: AssemblerConfig,
    codec: CodecName,
    format: Arc<dyn PayloadFormat>,
    /// The first packet of every frame says so.
    marks_frame_start: bool,
    timeline: Timeline<RtpIn>,
    /// Packets in order of sequence.
    slots: VecDeque<Slot>,
    bytes: usize,
    /// Sequence number after all that was released or given up; `None` before the first.
    next: Option<i64>,
    /// Newest timestamp that was released or given up: later packets of it are late.
    done: i64,
    awaits_keyframe: bool,
    asked: Option<Instant>,
    statistics: VideoStatistics,
}

impl fmt::Debug for FrameAssembler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.slots.len();
        f.debug_struct("FrameAssembler").field("codec", &self.codec).field("waiting", &waiting).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Slot {
    sequence: i64,
    /// Extended timestamp; [`FILLER`] without payload.
    timestamp: i64,
    wire: RtpTime,
    marker: bool,
    arrival: Instant,
    fragment: FrameFragment,
}

/// Timestamp of a packet without payload, which belongs to no frame.
const FILLER: i64 = i64::MIN;

impl Slot {
    fn is_filler(&self) -> bool {
        self.timestamp == FILLER
    }
}

impl Numbered for RtpIn {
    // A retransmitted packet comes behind all that a large key frame sent meanwhile.
    const MAX_MISORDER: i64 = 1_000;
    // Ten seconds. A sender that restarts slightly behind where it was is recognized by its
    // timestamps.
    const MAX_AGE: i64 = 10 * CLOCK_RATE as i64;
    const SHARED_TIMESTAMPS: bool = true;

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

impl FrameAssembler {
    /// Creates an assembler that waits for a key frame.
    pub fn new(format: Arc<dyn PayloadFormat>, config: AssemblerConfig) -> Self {
        Self {
            config,
            codec: format.rtp().name,
            marks_frame_start: format.capabilities().marks_frame_start,
            format,
            timeline: Timeline::new(CLOCK_RATE),
            slots: VecDeque::new(),
            bytes: 0,
            next: None,
            done: i64::MIN,
            awaits_keyframe: true,
            asked: None,
            statistics: VideoStatistics::default(),
        }
    }

    /// Takes a packet, in any order. To be followed by [`poll`](FrameAssembler::poll).
    pub fn push(&mut self, packet: RtpIn) {
        self.statistics.packets_received += 1;
        if packet.payload.is_empty() {
            self.place_padding(packet);
        } else if packet.codec == self.codec && self.format.parse(&packet.payload).is_some() {
            self.place(packet);
        } else {
            self.statistics.packets_malformed += 1;
        }
    }

    /// Next frame. To be asked until there is none, after packets came and at the
    /// [`deadline`](FrameAssembler::deadline).
    pub fn poll(&mut self, now: Instant) -> Option<ReceivedFrame> {
        while let Some(front) = self.slots.front() {
            let in_turn = self.next == Some(front.sequence);
            if in_turn && front.timestamp <= self.done {
                // Of a frame that was released or given up already.
                self.pop();
            } else if in_turn && let Some(length) = self.whole_frame(0) {
                if let Some(frame) = self.take(length) {
                    return Some(frame);
                }
            } else if in_turn && self.marks_frame_start && !front.fragment.begins {
                // Nothing is missing before it, and yet no frame begins: its beginning never came.
                self.statistics.packets_malformed += 1;
                self.drop_frame();
            } else if let Some(at) = self.awaited_keyframe() {
                // A key frame needs nothing before it: waiting for that would only cost time.
                self.skip_to(at);
            } else if self.deadline().is_some_and(|deadline| deadline <= now) {
                self.give_up();
            } else {
                return None;
            }
        }
        None
    }

    /// Time at which missing packets are given up; `None` where none is missing.
    pub fn deadline(&self) -> Option<Instant> {
        let front = self.slots.front()?;
        // The wait begins with the arrival of the first packet behind the gap: that revealed it.
        let after_gap = if self.next == Some(front.sequence) {
            let mut pairs = self.slots.iter().zip(self.slots.iter().skip(1));
            pairs.position(|(one, other)| other.sequence != one.sequence + 1)? + 1
        } else {
            0
        };
        let revealed = self.slots.range(after_gap..).map(|slot| slot.arrival).min()?;
        Some(revealed + self.config.wait)
    }

    /// Whether to request a key frame from the sender now: true once, and again after the
    /// configured interval while none came, since both the request and the key frame can be lost.
    pub fn wants_keyframe(&mut self, now: Instant) -> bool {
        let again = |asked| now.saturating_duration_since(asked) >= self.config.keyframe_interval;
        let wanted = self.awaits_keyframe && self.asked.is_none_or(again);
        if wanted {
            self.asked = Some(now);
        }
        wanted
    }

    /// Takes note that a released frame was lost on its way to the decoder: nothing is released
    /// before the next key frame, which is requested.
    pub fn restart(&mut self) {
        self.awaits_keyframe = true;
    }

    /// Statistics so far.
    pub fn statistics(&self) -> VideoStatistics {
        self.statistics
    }

    /// Packets and bytes held.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        (self.slots.len(), self.bytes)
    }

    fn place(&mut self, packet: RtpIn) {
        match self.timeline.place(packet) {
            Placement::At { sequence, timestamp, packet } => self.insert(sequence, timestamp, packet),
            Placement::Duplicate => self.statistics.packets_duplicated += 1,
            Placement::Stray => {}
            Placement::Restart(first, second) => {
                self.statistics.restarts += 1;
                while !self.slots.is_empty() {
                    self.drop_frame();
                }
                self.next = None;
                self.done = i64::MIN;
                self.awaits_keyframe = true;
                self.place(first);
                self.place(second);
            }
        }
    }

    /// Takes padding: its number is not missing, whatever else it says.
    fn place_padding(&mut self, packet: RtpIn) {
        if let Some(sequence) = self.timeline.place_padding(packet.sequence) {
            self.insert(sequence, FILLER, RtpIn { marker: false, ..packet });
        }
    }

    fn insert(&mut self, sequence: i64, timestamp: i64, packet: RtpIn) {
        let Some(fragment) = self.format.parse(&packet.payload) else { return };
        let before = self.next.is_some_and(|next| sequence < next);
        if timestamp != FILLER && (before || timestamp <= self.done) {
            self.statistics.packets_late += 1;
        }
        if before {
            return;
        }
        let at = self.slots.partition_point(|slot| slot.sequence < sequence);
        if self.slots.get(at).is_some_and(|slot| slot.sequence == sequence) {
            self.statistics.packets_duplicated += 1;
            return;
        }
        self.bytes += fragment.data.len();
        let (wire, marker, arrival) = (packet.timestamp, packet.marker, packet.arrival);
        self.slots.insert(at, Slot { sequence, timestamp, wire, marker, arrival, fragment });
        while self.slots.len() > self.config.max_packets || self.bytes > self.config.max_bytes {
            self.drop_frame();
        }
    }

    /// Number of packets from the one at `at` on that are a complete frame; `None` where no frame
    /// begins there or a packet of it is missing.
    fn whole_frame(&self, at: usize) -> Option<usize> {
        if !self.begins(at) {
            return None;
        }
        let first = &self.slots[at];
        for (number, slot) in self.slots.range(at..).enumerate() {
            if slot.sequence != first.sequence + number as i64 {
                return None;
            }
            if slot.is_filler() {
                continue;
            }
            if slot.timestamp != first.timestamp {
                return Some(number);
            }
            if slot.marker {
                return Some(number + 1);
            }
        }
        None
    }

    fn begins(&self, at: usize) -> bool {
        let slot = &self.slots[at];
        if slot.fragment.begins || self.marks_frame_start || slot.is_filler() {
            return slot.fragment.begins;
        }
        // The packet before ended a frame, or is of another one. Padding may stand between them.
        let mut sequence = slot.sequence;
        for before in self.slots.range(..at).rev() {
            if before.sequence + 1 != sequence {
                return false;
            }
            if !before.is_filler() {
                return before.marker || before.timestamp != slot.timestamp;
            }
            sequence = before.sequence;
        }
        self.next == Some(sequence)
    }

    /// Position of a complete key frame, if one is waited for.
    fn awaited_keyframe(&self) -> Option<usize> {
        let starts = 0..if self.awaits_keyframe { self.slots.len() } else { 0 };
        starts.into_iter().find(|&at| {
            let is_key = |length| self.slots.range(at..at + length).any(|slot| slot.fragment.key);
            self.slots[at].timestamp > self.done && self.whole_frame(at).is_some_and(is_key)
        })
    }

    /// Removes a complete frame from the front; `None` where it cannot be decoded.
    fn take(&mut self, length: usize) -> Option<ReceivedFrame> {
        let slots = self.slots.range(..length).filter(|slot| !slot.is_filler());
        let fragments: Vec<_> = slots.clone().map(|slot| &slot.fragment).collect();
        let joined = self.format.join(&fragments);
        let at = slots.map(|slot| slot.arrival).min()?;
        let timestamp = self.slots.front()?.wire;
        self.done = self.done.max(self.slots.front()?.timestamp);
        for _ in 0..length {
            self.pop();
        }
        match joined {
            Some((data, key)) if key || !self.awaits_keyframe => {
                self.awaits_keyframe = false;
                self.statistics.frames_received += 1;
                self.statistics.key_frames_received += u64::from(key);
                return Some(ReceivedFrame { frame: EncodedVideoFrame { data, key, at }, timestamp });
            }
            Some(_) => self.statistics.frames_dropped += 1,
            None => {
                self.statistics.packets_malformed += 1;
                self.statistics.frames_dropped += 1;
                self.awaits_keyframe = true;
            }
        }
        None
    }

    /// Gives up what is missing, and goes on behind it.
    fn give_up(&mut self) {
        match self.slots.front() {
            Some(front) if front.fragment.begins && self.next != Some(front.sequence) => self.skip_to(0),
            _ => self.drop_frame(),
        }
    }

    /// Drops everything before the packet at `at`, which begins a frame.
    fn skip_to(&mut self, at: usize) {
        let Some(target) = self.slots.get(at).map(|slot| slot.sequence) else { return };
        while self.slots.front().is_some_and(|front| front.sequence < target) {
            self.drop_frame();
        }
        self.awaits_keyframe = true;
        match self.next {
            Some(next) if next >= target => {}
            next => {
                self.statistics.packets_lost += next.map_or(0, |next| target - next).unsigned_abs();
                self.next = Some(target);
            }
        }
    }

    /// Drops the packets of the frame at the front.
    fn drop_frame(&mut self) {
        let Some(timestamp) = self.slots.front().map(|front| front.timestamp) else { return };
        self.statistics.frames_dropped += u64::from(timestamp > self.done);
        self.done = self.done.max(timestamp);
        self.awaits_keyframe = true;
        while self.slots.front().is_some_and(|front| front.timestamp == timestamp) {
            self.pop();
        }
    }

    /// Removes a packet from the front, and counts those that are missing before it.
    fn pop(&mut self) {
        let Some(slot) = self.slots.pop_front() else { return };
        self.bytes -= slot.fragment.data.len();
        self.statistics.packets_lost += self.next.map_or(0, |next| slot.sequence - next).unsigned_abs();
        self.next = Some(slot.sequence + 1);
    }
}
