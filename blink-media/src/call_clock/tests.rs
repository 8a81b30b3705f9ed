//! The call clock on virtual time.

mod virtual_sender;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use blink_api::{DeviceId, StreamId};

use super::*;
use virtual_sender::{Receiver, START, Sender, endpoint};

fn worst(errors: &[(f64, f64)], from: f64, to: f64) -> f64 {
    let within = errors.iter().filter(|(at, _)| (from..to).contains(at));
    within.map(|(_, error)| error.abs()).fold(0.0, f64::max)
}

/// Jitter is even and the same for pings, of which there is one every 2.5 s: in the first minutes
/// few of them were fast both ways.
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
        assert!(
            late.clone().all(|(_, error)| (error - expected).abs() < 6.0),
            "{:?}",
            late.max_by(|a, b| a.1.total_cmp(&b.1))
        );
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
    let audio = Sender { jitter: 0.1, clock_ppm: 80.0, ..Sender::new(9) };
    let track = TrackKey::stream(audio.track.endpoint, StreamId::from_bytes([1; 16]));
    let video = Sender { track, clock_rate: 90_000, seed: 90, rtp_ppm: 80.0, pings: false, ..audio.clone() };
    let mut receiver = Receiver::new();
    receiver.run(&[audio.clone(), video.clone()]);
    let heard = receiver.clock.call_time(&audio.track, audio.stamp(590.0)).unwrap();
    let seen = receiver.clock.call_time(&track, video.stamp(590.0)).unwrap();
    let apart = heard.0.abs_diff(seen.0);
    assert!(apart < Duration::from_millis(4), "{apart:?}");
}

#[test]
fn sender_reports_keep_the_tracks_of_an_endpoint_together() {
    let mut receiver = Receiver::new();
    let audio = TrackKey::microphone(endpoint(1));
    let video = TrackKey::stream(endpoint(1), StreamId::from_bytes([1; 16]));
    let stamp =
        |rate: u32, time: f64| RtpStamp { timestamp: RtpTime((time * f64::from(rate)) as u32), clock_rate: rate };
    // Video take 80 ms longer to encode than audio does, and only the reports tell.
    for n in 0..3_000 {
        let captured = START + f64::from(n) * 0.02;
        receiver.clock.handle_packet(audio, stamp(48_000, captured), receiver.at(captured + 0.04));
        receiver.clock.handle_packet(video, stamp(90_000, captured), receiver.at(captured + 0.12));
        if n % 50 == 0 {
            let ntp = ((3_900_000_000.0 + captured) * 2f64.powi(32)) as u64;
            for (track, rate) in [(audio, 48_000), (video, 90_000)] {
                receiver.clock.handle_sender_report(track, stamp(rate, captured), ntp, receiver.at(captured + 0.1));
            }
        }
    }
    let call_time = |track, rate| receiver.clock.call_time(track, stamp(rate, START + 59.0)).unwrap().0;
    assert!(call_time(&audio, 48_000).abs_diff(call_time(&video, 90_000)) < Duration::from_millis(3));
    assert_eq!(receiver.clock.basis(&audio, 48_000), Some(ClockBasis::SenderReports));
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
