//! A sender and the paths to and from it, on virtual time: times are seconds of the receiver.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use blink_api::{DeviceId, Did};

use super::super::*;

pub(super) fn endpoint(n: u8) -> Endpoint {
    Endpoint { did: Did::from_public_key([n; 32]), device: DeviceId::from_bytes([n; 16]) }
}

/// One track of a sender, with what can go wrong.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) track: TrackKey,
    pub(super) seed: u64,
    pub(super) clock_rate: u32,
    pub(super) first: u32,
    /// Drift of the sender's clock and of its RTP clock, in ppm.
    pub(super) clock_ppm: f64,
    pub(super) rtp_ppm: f64,
    /// Shortest delay each way, jitter on top, both in seconds; share of lost packets.
    pub(super) delay: f64,
    pub(super) jitter: f64,
    pub(super) loss: f64,
    /// From a moment on the sender's clock is ahead by so many seconds.
    pub(super) step: Option<(f64, f64)>,
    /// From a moment on timestamps are others.
    pub(super) restart: Option<(f64, u32)>,
    /// From when to when packets are sent.
    pub(super) sending: (f64, f64),
    pub(super) reports: bool,
    pub(super) pings: bool,
}

pub(super) enum Evidence {
    Packet(RtpStamp, f64),
    Report(RtpStamp, u64),
    Round(SyncRound),
}

/// Receiver whose call begins 3 s after its clock.
pub(super) struct Receiver {
    pub(super) clock: CallClock,
    pub(super) epoch: Instant,
}

pub(super) const START: f64 = 3.0;

impl Receiver {
    pub(super) fn new() -> Self {
        let epoch = Instant::now();
        Self { clock: CallClock::new(epoch, epoch + Duration::from_secs_f64(START)), epoch }
    }

    pub(super) fn at(&self, seconds: f64) -> Instant {
        self.epoch + Duration::from_secs_f64(seconds)
    }

    /// Feeds evidence in the order of its arrival. Returns when each packet came and how many
    /// milliseconds its call time was off then.
    pub(super) fn run(&mut self, senders: &[Sender]) -> Vec<(f64, f64)> {
        let mut events: Vec<_> = senders.iter().flat_map(Sender::events).collect();
        events.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
        let mut errors = Vec::new();
        let mut answered = BTreeMap::<TrackKey, (f64, CallTime)>::new();
        for (now, track, evidence) in events {
            let arrival = self.at(now);
            match evidence {
                Evidence::Packet(stamp, captured) => {
                    self.clock.handle_packet(track, stamp, arrival);
                    let Some(answer) = self.clock.call_time(&track, stamp) else { continue };
                    errors.push((now, (answer.0.as_secs_f64() + START - captured) * 1e3));
                    // For one track it never goes backwards.
                    let (newest, last) = answered.entry(track).or_insert((captured, answer));
                    if captured >= *newest {
                        assert!(answer >= *last, "{now}: {answer:?} after {last:?}");
                        (*newest, *last) = (captured, answer);
                    }
                    let back = self.clock.rtp_time(&track, stamp.clock_rate, answer).unwrap();
                    let ticks = back.since(stamp.timestamp).abs();
                    assert!(answer.0.is_zero() || ticks <= stamp.clock_rate as i32 / 50, "{now}: {ticks} ticks");
                }
                Evidence::Report(stamp, captured_us) => {
                    self.clock.handle_capture_report(track, stamp, captured_us, arrival);
                }
                Evidence::Round(round) => self.clock.handle_sync(track.endpoint, round),
            }
        }
        errors
    }
}

impl Sender {
    pub(super) fn new(n: u8) -> Self {
        Self {
            track: TrackKey::microphone(endpoint(n)),
            seed: n.into(),
            clock_rate: 48_000,
            first: 4_000_000_000,
            clock_ppm: 0.0,
            rtp_ppm: 0.0,
            delay: 0.02,
            jitter: 0.0,
            loss: 0.0,
            step: None,
            restart: None,
            sending: (START, 600.0),
            reports: true,
            pings: true,
        }
    }

    fn is_after(moment: Option<f64>, time: f64) -> bool {
        moment.is_some_and(|moment| time >= moment)
    }

    /// The sender's clock in microseconds.
    pub(super) fn clock(&self, time: f64) -> u64 {
        let step = self.step.filter(|(at, _)| Self::is_after(Some(*at), time)).map_or(0.0, |(_, by)| by);
        ((7_000.0 + step + time * (1.0 + self.clock_ppm / 1e6)) * 1e6) as u64
    }

    pub(super) fn stamp(&self, time: f64) -> RtpStamp {
        let ticks = (time * f64::from(self.clock_rate) * (1.0 + self.rtp_ppm / 1e6)).round() as u64 as u32;
        let restarted = self.restart.filter(|(at, _)| Self::is_after(Some(*at), time));
        let first = restarted.map_or(self.first, |(_, first)| first);
        RtpStamp { timestamp: RtpTime(first.wrapping_add(ticks)), clock_rate: self.clock_rate }
    }

    fn events(&self) -> Vec<(f64, TrackKey, Evidence)> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let (from, to) = self.sending;
        let mut events = Vec::new();
        for n in 0..((to - from) / 0.02) as u32 {
            let captured = from + f64::from(n) * 0.02;
            // A packet leaves when its 20 ms are over.
            let way = 0.02 + self.delay + self.jitter * random.random_range(0.0..1.0);
            let (stamp, is_lost) = (self.stamp(captured), random.random_bool(self.loss));
            if !is_lost {
                events.push((captured + way, self.track, Evidence::Packet(stamp, captured)));
            }
            if self.reports && n % 50 == 0 {
                // The sender's own word is a little off, as capture times are.
                let noise = random.random_range(-300..=300);
                let captured_us = self.clock(captured).saturating_add_signed(noise);
                let at = captured + self.delay + self.jitter * random.random_range(0.0..1.0);
                events.push((at, self.track, Evidence::Report(stamp, captured_us)));
            }
        }
        let mut sent = START;
        for n in 0.. {
            let mut way = || self.delay + self.jitter * random.random_range(0.0..1.0);
            let there = sent + way();
            let back = there + way();
            let micros = |time: f64| (time * 1e6) as u64;
            let round = SyncRound { sent_us: micros(sent), received_us: self.clock(there), answered_us: micros(back) };
            if self.pings && sent < to {
                events.push((back, self.track, Evidence::Round(round)));
            }
            sent += if n < 4 { 0.5 } else { 2.5 };
            if sent >= to {
                break;
            }
        }
        events
    }
}
