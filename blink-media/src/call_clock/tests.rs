//! A sender and the paths to and from it, on virtual time: times are seconds of the receiver.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use blink_api::{DeviceId, Did, StreamId};

use super::*;

fn endpoint(n: u8) -> Endpoint {
    Endpoint { did: Did::from_public_key([n; 32]), device: DeviceId::from_bytes([n; 16]) }
}

/// One track of a sender, with what can go wrong.
#[derive(Clone)]
struct Sender {
    track: TrackKey,
    seed: u64,
    clock_rate: u32,
    first: u32,
    /// Drift of the sender's clock and of its RTP clock, in ppm.
    clock_ppm: f64,
    rtp_ppm: f64,
    /// Shortest delay each way, jitter on top, both in seconds; share of lost packets.
    delay: f64,
    jitter: f64,
    loss: f64,
    /// From a moment on the sender's clock is ahead by so many seconds.
    step: Option<(f64, f64)>,
    /// From a moment on timestamps are others.
    restart: Option<(f64, u32)>,
    /// From when to when packets are sent.
    sending: (f64, f64),
    reports: bool,
    pings: bool,
}

enum Evidence {
    Packet(RtpStamp, f64),
    Report(RtpStamp, u64),
    Round(SyncRound),
}

/// What the receiver starts with; its call begins 3 s after its clock.
struct Receiver {
    clock: CallClock,
    epoch: Instant,
}

const START: f64 = 3.0;

impl Receiver {
    fn new() -> Self {
        let epoch = Instant::now();
        Self { clock: CallClock::new(epoch, epoch + Duration::from_secs_f64(START)), epoch }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.epoch + Duration::from_secs_f64(seconds)
    }

    /// Feeds evidence in the order of its arrival. Returns when each packet came and how many
    /// milliseconds its call time was off then.
    fn run(&mut self, senders: &[Sender]) -> Vec<(f64, f64)> {
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
    fn new(n: u8) -> Self {
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
    fn clock(&self, time: f64) -> u64 {
        let step = self.step.filter(|(at, _)| Self::is_after(Some(*at), time)).map_or(0.0, |(_, by)| by);
        ((7_000.0 + step + time * (1.0 + self.clock_ppm / 1e6)) * 1e6) as u64
    }

    fn stamp(&self, time: f64) -> RtpStamp {
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

fn worst(errors: &[(f64, f64)], from: f64, to: f64) -> f64 {
    let within = errors.iter().filter(|(at, _)| (from..to).contains(at));
    within.map(|(_, error)| error.abs()).fold(0.0, f64::max)
}

/// Jitter is even and the same for pings, of which there is one every 2.5 s: in the first minutes few
/// of them were fast both ways.
#[test]
fn within_6_ms_over_10_minutes_with_jitter_of_150_ms_and_drift_of_80_ppm() {
    for seed in 1..=12 {
        let sign = if seed % 2 == 0 { 80.0 } else { -80.0 };
        for (clock_ppm, rtp_ppm) in [(sign, 0.0), (0.0, sign), (sign, sign)] {
            let sender = Sender { jitter: 0.15, loss: 0.1, clock_ppm, rtp_ppm, ..Sender::new(seed) };
            let (mut receiver, track) = (Receiver::new(), sender.track);
            let errors = receiver.run(&[sender]);
            for (from, most) in [(0.0, 120.0), (10.0, 35.0), (30.0, 16.0), (60.0, 8.0), (240.0, 4.0)] {
                let worst = worst(&errors, from, 600.0);
                let about = format!("seed {seed}, {clock_ppm} and {rtp_ppm} ppm");
                assert!(worst < most, "{about}: off by {worst} ms after {from} s");
            }
            assert_eq!(receiver.clock.basis(&track, 48_000), Some(ClockBasis::Synchronized));
        }
    }
}

#[test]
fn within_6_ms_after_half_a_minute_with_jitter_of_50_ms() {
    for seed in 1..=12 {
        let sender = Sender { jitter: 0.05, loss: 0.05, clock_ppm: 80.0, rtp_ppm: -80.0, ..Sender::new(seed) };
        let worst = worst(&Receiver::new().run(&[sender]), 30.0, 600.0);
        assert!(worst < 6.0, "seed {seed}: off by {worst} ms");
    }
}

#[test]
fn drift_of_300_ppm_is_followed_at_all_clock_rates() {
    for (clock_rate, ppm, first) in [(8_000, 300.0, 0), (48_000, -300.0, u32::MAX - 9), (90_000, 300.0, 1 << 31)] {
        let sender = Sender { clock_rate, first, clock_ppm: -ppm, rtp_ppm: ppm, jitter: 0.03, ..Sender::new(1) };
        let errors = Receiver::new().run(&[sender]);
        let settled = worst(&errors, 30.0, 600.0);
        assert!(settled < 4.0, "{clock_rate} Hz: off by {settled} ms");
    }
}

/// Without reports the packetization and the path remain in the answer, as far as no ping measured
/// the path.
#[test]
fn arrivals_stand_in_where_there_are_no_reports() {
    for (pings, expected) in [(true, 20.0), (false, 40.0)] {
        let sender = Sender { reports: false, pings, jitter: 0.15, rtp_ppm: 80.0, ..Sender::new(4) };
        let (mut receiver, track) = (Receiver::new(), sender.track);
        let errors = receiver.run(&[sender]);
        let late = errors.iter().filter(|(at, _)| *at > 60.0);
        assert!(late.clone().all(|(_, error)| (error - expected).abs() < 6.0), "{:?}", late.last());
        assert_eq!(receiver.clock.basis(&track, 48_000), Some(ClockBasis::Arrivals));
    }
}

#[test]
fn a_step_of_the_other_clock_is_followed_without_going_back() {
    for step in [3_600.0, -3_600.0, 2.0, -2.0] {
        let sender = Sender { step: Some((200.0, step)), jitter: 0.05, clock_ppm: 40.0, ..Sender::new(5) };
        let errors = Receiver::new().run(&[sender]);
        assert!(worst(&errors, 60.0, 200.0) < 6.0);
        let meanwhile = worst(&errors, 200.0, 210.0);
        assert!(meanwhile < 20.0, "{step}: off by {meanwhile} ms");
        let settled = worst(&errors, 210.0, 600.0);
        assert!(settled < 6.0, "{step}: off by {settled} ms");
    }
}

#[test]
fn a_late_joiner_and_one_that_joins_again_are_placed_on_the_same_line() {
    let early = Sender { jitter: 0.03, ..Sender::new(6) };
    let late = Sender { jitter: 0.03, sending: (400.0, 600.0), clock_ppm: 80.0, ..Sender::new(7) };
    let mut receiver = Receiver::new();
    let errors = receiver.run(&[early, late.clone()]);
    assert!(worst(&errors, 410.0, 600.0) < 6.0);

    receiver.clock.remove_endpoint(&late.track.endpoint);
    assert_eq!(receiver.clock.call_time(&late.track, late.stamp(600.0)), None);
    let again = Sender { sending: (700.0, 800.0), first: 17, step: Some((650.0, -5_000.0)), ..late };
    let errors = receiver.run(&[again]);
    assert!(worst(&errors, 700.0, 702.0) < 60.0);
    assert!(worst(&errors, 710.0, 800.0) < 6.0);
}

#[test]
fn a_restart_with_other_timestamps_goes_on() {
    for first in [0, 4_000_000_000u32.wrapping_add(1 << 31), 3_000_000_000, 4_100_000_000] {
        let sender = Sender { restart: Some((100.0, first)), sending: (START, 160.0), ..Sender::new(8) };
        let errors = Receiver::new().run(&[sender]);
        // The first packet of the new numbers is not answered for; the second one is.
        let settled = worst(&errors, 110.0, 160.0);
        assert!(settled < 6.0, "{first}: off by {settled} ms");
        assert!(worst(&errors, 100.2, 110.0) < 60.0, "{first}");
        assert!(errors.len() > 7_800, "{} answers", errors.len());
    }
}

#[test]
fn two_tracks_of_one_endpoint_agree() {
    let sound = Sender { jitter: 0.1, clock_ppm: 80.0, ..Sender::new(9) };
    let track = TrackKey::stream(sound.track.endpoint, StreamId::from_bytes([1; 16]));
    let pictures = Sender { track, clock_rate: 90_000, seed: 90, rtp_ppm: 80.0, pings: false, ..sound.clone() };
    let mut receiver = Receiver::new();
    receiver.run(&[sound.clone(), pictures.clone()]);
    let heard = receiver.clock.call_time(&sound.track, sound.stamp(590.0)).unwrap();
    let seen = receiver.clock.call_time(&track, pictures.stamp(590.0)).unwrap();
    let apart = heard.0.abs_diff(seen.0);
    assert!(apart < Duration::from_millis(4), "{apart:?}");
}

#[test]
fn sender_reports_keep_the_tracks_of_an_endpoint_together() {
    let mut receiver = Receiver::new();
    let sound = TrackKey::microphone(endpoint(1));
    let pictures = TrackKey::stream(endpoint(1), StreamId::from_bytes([1; 16]));
    let stamp =
        |rate: u32, time: f64| RtpStamp { timestamp: RtpTime((time * f64::from(rate)) as u32), clock_rate: rate };
    // Pictures take 80 ms longer to encode than sound does, and only the reports tell.
    for n in 0..3_000 {
        let captured = START + f64::from(n) * 0.02;
        receiver.clock.handle_packet(sound, stamp(48_000, captured), receiver.at(captured + 0.04));
        receiver.clock.handle_packet(pictures, stamp(90_000, captured), receiver.at(captured + 0.12));
        if n % 50 == 0 {
            let ntp = ((3_900_000_000.0 + captured) * 2f64.powi(32)) as u64;
            for (track, rate) in [(sound, 48_000), (pictures, 90_000)] {
                receiver.clock.handle_sender_report(track, stamp(rate, captured), ntp, receiver.at(captured + 0.1));
            }
        }
    }
    let call_time = |track, rate| receiver.clock.call_time(track, stamp(rate, START + 59.0)).unwrap().0;
    assert!(call_time(&sound, 48_000).abs_diff(call_time(&pictures, 90_000)) < Duration::from_millis(3));
    assert_eq!(receiver.clock.basis(&sound, 48_000), Some(ClockBasis::SenderReports));
}

#[test]
fn own_captures_become_capture_points_that_the_other_end_understands() {
    let mut receiver = Receiver::new();
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let track = TrackKey::microphone(endpoint(1));
    let stamp = |n: u32| RtpStamp { timestamp: RtpTime(u32::MAX - 100_000).wrapping_add(n * 960), clock_rate: 48_000 };
    for n in 0..3_000 {
        let captured = START + f64::from(n) * 0.02;
        // A device says when only to a few milliseconds.
        let noise = random.random_range(-0.004..0.004);
        receiver.clock.handle_capture(track, stamp(n), receiver.at(captured + noise));
    }
    let points: Vec<_> = receiver.clock.capture_points().collect();
    let [point] = points[..] else { panic!("{points:?}") };
    assert_eq!((point.track, point.stamp), (track, stamp(2_999)));
    let expected = (START + 2_999.0 * 0.02) * 1e6;
    assert!((point.captured_us as f64 - expected).abs() < 2_000.0, "{point:?}");
    assert_eq!(receiver.clock.basis(&track, 48_000), Some(ClockBasis::Captured));
    let call_time = receiver.clock.call_time(&track, stamp(2_900)).unwrap().0.as_secs_f64();
    assert!((call_time - 58.0).abs() < 0.003, "{call_time}");

    // Another track goes on, this one ended long ago.
    let other = TrackKey::stream(endpoint(1), StreamId::from_bytes([2; 16]));
    receiver.clock.handle_capture(other, stamp(0), receiver.at(100.0));
    assert_eq!(receiver.clock.capture_points().map(|point| point.track).collect::<Vec<_>>(), [other]);
}

/// Whatever an endpoint reports, its own tracks are placed between 10 s before they arrived and
/// then, others as before, and memory is bounded.
#[test]
fn hostile_reports_are_bounded() {
    let mut receiver = Receiver::new();
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let (liar, honest) = (Sender::new(1), Sender { jitter: 0.02, sending: (START, 60.0), ..Sender::new(2) });
    for n in 0..20_000_u32 {
        let now = START + f64::from(n) * 0.003;
        let absurd = |random: &mut ChaCha8Rng| match random.random_range(0..4) {
            0 => 0,
            1 => u64::MAX,
            2 => random.random(),
            _ => liar.clock(now).wrapping_add(random.random_range(0..20_000_000)),
        };
        let stamp = |random: &mut ChaCha8Rng| RtpStamp {
            timestamp: if random.random_bool(0.5) { liar.stamp(now).timestamp } else { RtpTime(random.random()) },
            clock_rate: [0, 1, 8_000, 48_000, u32::MAX, random.random_range(0..200_000)][random.random_range(0..6)],
        };
        let source = StreamId::from_bytes([random.random_range(0..30); 16]);
        let track = [liar.track, TrackKey::stream(liar.track.endpoint, source)][random.random_range(0..2)];
        let (stamped, captured_us) = (stamp(&mut random), absurd(&mut random));
        receiver.clock.handle_capture_report(track, stamped, captured_us, receiver.at(now));
        receiver.clock.handle_sender_report(track, stamped, captured_us, receiver.at(now));
        let [sent_us, received_us, answered_us] = [(); 3].map(|()| absurd(&mut random));
        receiver.clock.handle_sync(liar.track.endpoint, SyncRound { sent_us, received_us, answered_us });
        if n % 7 == 0 {
            let stamp = liar.stamp(now - 0.04);
            receiver.clock.handle_packet(liar.track, stamp, receiver.at(now));
            if let Some(answer) = receiver.clock.call_time(&liar.track, stamp) {
                let answer = answer.0.as_secs_f64() + START;
                assert!(answer < now + 1.5, "{answer} at {now}");
            }
        }
        assert!(receiver.clock.tracks.len() <= MAX_TRACKS && receiver.clock.endpoints.len() == 1);
    }
    let errors = receiver.run(&[honest]);
    assert!(worst(&errors, 10.0, 60.0) < 6.0);
    for n in 0..1_000_u32 {
        let mut other = endpoint(0);
        other.device = DeviceId::from_bytes([n.to_be_bytes(); 4].concat().try_into().unwrap());
        receiver.clock.handle_packet(TrackKey::microphone(other), honest_stamp(n), receiver.at(100.0 + f64::from(n)));
    }
    assert!(receiver.clock.endpoints.len() <= MAX_ENDPOINTS, "{}", receiver.clock.endpoints.len());
    assert!(receiver.clock.tracks.len() <= MAX_ENDPOINTS * MAX_TRACKS);
}

fn honest_stamp(n: u32) -> RtpStamp {
    RtpStamp { timestamp: RtpTime(n), clock_rate: 48_000 }
}

#[test]
fn unknown_tracks_and_distant_timestamps_have_no_answer() {
    let mut receiver = Receiver::new();
    let sender = Sender { sending: (START, 10.0), ..Sender::new(1) };
    assert_eq!(receiver.clock.call_time(&sender.track, sender.stamp(4.0)), None);
    assert_eq!(receiver.clock.basis(&sender.track, 48_000), None);
    receiver.run(std::slice::from_ref(&sender));
    assert!(receiver.clock.call_time(&sender.track, sender.stamp(9.0)).is_some());
    assert_eq!(receiver.clock.call_time(&sender.track, sender.stamp(80.0)), None);
    assert_eq!(receiver.clock.call_time(&sender.track, RtpStamp { clock_rate: 8_000, ..sender.stamp(9.0) }), None);
    assert_eq!(receiver.clock.rtp_time(&sender.track, 48_000, CallTime(Duration::from_secs(1_000))), None);
    receiver.clock.remove_track(&sender.track);
    assert_eq!(receiver.clock.call_time(&sender.track, sender.stamp(9.0)), None);
}

#[test]
fn call_times_and_moments_are_each_other_s_inverse() {
    let receiver = Receiver::new();
    let moment = receiver.at(START + 2.0);
    assert_eq!(receiver.clock.call_time_at(moment), CallTime(Duration::from_secs(2)));
    assert_eq!(receiver.clock.instant_at(CallTime(Duration::from_secs(2))), moment);
    assert_eq!(receiver.clock.call_time_at(receiver.epoch), CallTime(Duration::ZERO));
}
