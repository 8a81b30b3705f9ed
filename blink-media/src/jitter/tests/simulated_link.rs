//! A sender and the buffer it sends to, on virtual time: packets arrive when a test says, and 10 ms
//! of audio are played every 10 ms.

use std::collections::VecDeque;

use super::*;
use bytes::Bytes;

/// Ticks of the clock rate in 10 ms.
pub(super) const TICKS: i64 = 480;

/// A step of playout, by the number of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Played {
    Packet(u32),
    /// A part of it, or nothing, because it was late: it repaired the decoder.
    Repaired(u32),
    Recovered(u32),
    Lost,
    Silence,
}

use Played::{Lost, Packet, Recovered, Repaired, Silence};

/// A sender's numbering, and the buffer it sends to.
pub(super) struct SimulatedLink {
    pub(super) jitter: JitterBuffer,
    pub(super) start: Instant,
    pub(super) now: u64,
    pub(super) first: (u16, u32),
    /// RTP ticks in each packet.
    pub(super) frame: u32,
    /// Packet number, and when it arrives in ms.
    pub(super) coming: VecDeque<(u64, AudioPacket)>,
    pub(super) ahead: i64,
    /// Each packet is stretched so that the delay comes nearer to its target.
    pub(super) elastic: bool,
    pub(super) stretched: u32,
    pub(super) played: Vec<(u64, Played)>,
}

impl SimulatedLink {
    pub(super) fn new() -> Self {
        Self {
            jitter: JitterBuffer::new(JitterConfig::default()),
            start: Instant::now(),
            now: 0,
            first: (1_000, 70_000),
            frame: 960,
            coming: VecDeque::new(),
            ahead: 0,
            elastic: false,
            stretched: 0,
            played: Vec::new(),
        }
    }

    pub(super) fn packet(&self, number: u32, at: u64) -> AudioPacket {
        AudioPacket {
            sequence: self.first.0.wrapping_add(number as u16),
            timestamp: RtpTime(self.first.1.wrapping_add(number * self.frame)),
            ticks: self.frame,
            marker: false,
            level: None,
            has_fec: true,
            payload: Bytes::copy_from_slice(&number.to_be_bytes()),
            arrival: self.start + Duration::from_millis(at),
        }
    }

    /// The packet arrives at `at` ms.
    pub(super) fn send(&mut self, number: u32, at: u64) {
        let packet = self.packet(number, at);
        self.send_packet(packet, at);
    }

    pub(super) fn send_packet(&mut self, packet: AudioPacket, at: u64) {
        let place = self.coming.iter().rposition(|(time, _)| *time <= at).map_or(0, |before| before + 1);
        self.coming.insert(place, (at, packet));
    }

    /// Each of these packets arrives when it was captured, and `delay` ms.
    pub(super) fn send_steadily(&mut self, numbers: std::ops::Range<u32>, delay: u64) {
        for number in numbers {
            self.send(number, u64::from(number * self.frame) / 48 + delay);
        }
    }

    pub(super) fn deliver(&mut self) {
        while self.coming.front().is_some_and(|(at, _)| *at <= self.now) {
            let (_, packet) = self.coming.pop_front().unwrap();
            self.jitter.push(packet);
        }
    }

    pub(super) fn run(&mut self, until: u64) {
        while self.now < until {
            self.deliver();
            let mut asked = 0;
            while self.ahead < TICKS {
                asked += 1;
                assert!(asked < 1_000, "no progress at {} ms", self.now);
                let now = self.start + Duration::from_millis(self.now);
                let (played, ticks) = match self.jitter.next(now, (TICKS - self.ahead) as u32) {
                    PlayoutDecision::Packet { payload, ticks, already_concealed, .. } => {
                        let left = i64::from(ticks) - i64::from(already_concealed).min(ticks.into());
                        (
                            if already_concealed == 0 { Packet(number(&payload)) } else { Repaired(number(&payload)) },
                            self.stretch(left),
                        )
                    }
                    PlayoutDecision::Fec { next, ticks, .. } => (Recovered(number(&next)), ticks.into()),
                    PlayoutDecision::Conceal { ticks, .. } | PlayoutDecision::Dred { ticks, .. } => {
                        (Lost, ticks.into())
                    }
                    PlayoutDecision::Silence { ticks } => (Silence, ticks.into()),
                    PlayoutDecision::Wait => {
                        self.ahead = TICKS;
                        break;
                    }
                };
                assert!(ticks > 0 || matches!(played, Repaired(_)));
                self.ahead += ticks;
                self.played.push((self.now, played));
            }
            self.ahead -= TICKS;
            self.now += 10;
        }
    }

    /// Ticks for which a packet is played.
    fn stretch(&mut self, ticks: i64) -> i64 {
        let excess = self.jitter.excess();
        if !self.elastic || excess.abs() < TICKS {
            return ticks;
        }
        self.stretched += 1;
        ticks - excess.clamp(-ticks / 2, ticks / 2)
    }

    pub(super) fn sounds(&self) -> Vec<Played> {
        self.played.iter().map(|(_, played)| *played).collect()
    }

    /// When a packet was played; `None` for one that was not.
    pub(super) fn time_of(&self, number: u32) -> Option<u64> {
        self.played.iter().find(|(_, played)| *played == Packet(number)).map(|(at, _)| *at)
    }

    /// From the capture of a packet to its playing, in ms.
    pub(super) fn delay_of(&self, number: u32) -> u64 {
        self.time_of(number).unwrap() - u64::from(number * self.frame) / 48
    }
}

pub(super) fn number(payload: &Bytes) -> u32 {
    u32::from_be_bytes(payload[..].try_into().unwrap())
}

pub(super) fn packets(numbers: std::ops::Range<u32>) -> Vec<Played> {
    numbers.map(Packet).collect()
}
