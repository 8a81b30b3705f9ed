//! Which packets are played, and when.

mod adaptive_delay;
mod redundancy;
mod robustness;
mod simulated_link;

use super::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use simulated_link::Played::{Packet, Recovered};
use simulated_link::{SimulatedLink, packets};

#[test]
fn without_loss_every_packet_is_played_in_order_40_ms_after_it_came() {
    let mut line = SimulatedLink::new();
    line.send_steadily(0..500, 30);
    line.run(9_000);
    assert_eq!(line.sounds(), packets(0..line.sounds().len() as u32));
    for number in 0..400 {
        assert_eq!(line.delay_of(number), 30 + 40);
    }
    let statistics = line.jitter.statistics();
    assert_eq!((statistics.concealed_samples, statistics.packets_late, statistics.packets_discarded), (0, 0, 0));
    assert_eq!(
        (statistics.jitter_buffer_delay, statistics.jitter_buffer_target_delay),
        (Duration::from_millis(40), Duration::from_millis(40))
    );
    assert_eq!(statistics.buffered, Duration::from_millis(40));
}

#[test]
fn frames_of_every_length_are_played_after_the_same_delay() {
    for frame in [120, 240, 480, 960, 1_920, 2_880, 5_760] {
        let mut line = SimulatedLink::new();
        line.frame = frame;
        line.send_steadily(0..1_000_000 / frame, 0);
        line.run(10_000);
        let statistics = line.jitter.statistics();
        assert_eq!(
            (statistics.concealed_samples, statistics.fec_recovered, statistics.packets_late),
            (0, 0, 0),
            "{frame} ticks"
        );
        assert_eq!(line.delay_of(0), 40);
        assert!(line.delay_of(9_000 * 48 / frame) <= 50, "{frame} ticks");
    }
}

#[test]
fn packets_out_of_order_within_the_delay_are_played_in_order() {
    let mut line = SimulatedLink::new();
    for pair in (0..400).step_by(2) {
        line.send(pair, u64::from(pair) * 20 + if pair == 0 { 0 } else { 30 });
        line.send(pair + 1, u64::from(pair + 1) * 20);
    }
    line.run(7_000);
    assert_eq!(line.sounds(), packets(0..line.sounds().len() as u32));
    assert_eq!(line.delay_of(300), 40);
}

#[test]
fn lost_packets_are_told_apart_from_late_ones() {
    let mut line = SimulatedLink::new();
    for number in (0..500u32).filter(|number| !matches!(number % 50, 10..13 | 30)) {
        let late = if number % 20 == 7 { 150 } else { 0 };
        line.send(number, u64::from(number) * 20 + late);
    }
    line.run(11_000);
    let statistics = line.jitter.statistics();
    assert_eq!((statistics.packets_lost, statistics.loss_bursts), (40, 20), "{statistics:?}");
    assert_eq!(statistics.packets_late, 25, "{statistics:?}");
}

#[test]
fn a_packet_after_its_time_is_counted_late_and_not_played() {
    let mut line = SimulatedLink::new();
    line.send_steadily(0..10, 0);
    line.send(10, 10 * 20 + 70);
    line.send_steadily(11..40, 0);
    line.run(600);
    assert_eq!(line.time_of(10), None);
    assert_eq!(line.sounds()[9..12], [Packet(9), Recovered(11), Packet(11)]);
    assert_eq!(line.jitter.statistics().packets_late, 1);
}

#[test]
fn sequence_numbers_and_timestamps_wrap_with_reordering_and_loss() {
    let mut line = SimulatedLink::new();
    line.first = (65_530, u32::MAX - 7 * 960);
    line.send_steadily(0..5, 0);
    line.send(6, 101);
    line.send(5, 110);
    line.send_steadily(7..8, 0);
    line.send_steadily(9..100, 0);
    line.run(1_000);
    let mut wanted = packets(0..8);
    wanted.push(Recovered(9));
    wanted.extend(packets(9..40));
    assert_eq!(line.sounds()[..wanted.len()], wanted);
}

#[test]
fn a_sender_that_begins_anew_is_heard_40_ms_later() {
    for first in [(40_000, 3_000_000_000), (900, 12), (1_100, 60_000)] {
        let mut line = SimulatedLink::new();
        line.send_steadily(0..100, 0);
        line.run(2_000);
        line.first = first;
        for number in 0..100 {
            line.send(number, 2_200 + u64::from(number) * 20);
        }
        line.played.clear();
        line.run(4_000);
        let statistics = line.jitter.statistics();
        let (begin, _) = line.played.iter().find(|(_, played)| *played == Packet(1)).unwrap();
        assert!((2_240..=2_290).contains(begin), "{first:?}: {begin} ms");
        assert!(
            statistics.restarts <= 1 && statistics.jitter_buffer_delay <= Duration::from_millis(60),
            "{first:?}: {statistics:?}"
        );
    }
}

#[test]
fn of_a_burst_after_a_stall_of_2_s_all_but_the_newest_is_dropped_and_that_is_played_faster() {
    let mut line = SimulatedLink::new();
    line.elastic = true;
    line.send_steadily(0..100, 0);
    for number in 100..200 {
        line.send(number, 4_000);
    }
    line.send_steadily(200..600, 0);
    line.run(11_000);
    assert!((40..=120).contains(&line.delay_of(202)), "{} ms", line.delay_of(202));
    for number in [220, 250, 400, 500] {
        assert!((40..=60).contains(&line.delay_of(number)), "packet {number}: {} ms", line.delay_of(number));
    }
    let statistics = line.jitter.statistics();
    assert!(statistics.buffered <= Duration::from_millis(60), "{statistics:?}");
    assert!((90..=97).contains(&statistics.packets_discarded), "{statistics:?}");
}

#[test]
fn after_2_s_without_a_question_the_delay_is_the_target_again() {
    let mut line = SimulatedLink::new();
    line.elastic = true;
    line.send_steadily(0..600, 0);
    line.run(2_000);
    line.now += 2_000;
    line.run(8_000);
    assert!((40..=60).contains(&line.delay_of(240)), "{} ms", line.delay_of(240));
    assert!(line.jitter.statistics().packets_discarded >= 90);
}

#[test]
fn a_slower_or_faster_path_gets_the_same_delay_before_long() {
    for (before, after) in [(20, 320), (320, 20), (20, 90), (90, 20)] {
        let mut line = SimulatedLink::new();
        line.elastic = true;
        line.send_steadily(0..100, before);
        line.send_steadily(100..600, after);
        line.run(11_000);
        let delay = line.delay_of(450) - after;
        assert!((20..=60).contains(&delay), "{before} ms, then {after} ms: {delay} ms");
        assert!(line.played.iter().rev().take(200).all(|(_, played)| matches!(played, Packet(_))));
    }
}

#[test]
fn a_gap_in_timestamps_alone_is_a_pause_and_no_loss() {
    for pause in [40, 60, 200, 1_000, 50_000] {
        let mut line = SimulatedLink::new();
        line.send_steadily(0..50, 0);
        let ticks = (pause * 48) as u32;
        for number in 50..100 {
            let at = u64::from(number) * 20 + pause;
            let mut packet = line.packet(number, at);
            packet.timestamp = packet.timestamp.wrapping_add(ticks);
            line.send_packet(packet, at);
        }
        line.run(1_900 + pause);
        let statistics = line.jitter.statistics();
        assert_eq!(
            (statistics.concealed_samples, statistics.fec_recovered, statistics.packets_late),
            (0, 0, 0),
            "pause of {pause} ms"
        );
        assert_eq!(line.time_of(50), Some(50 * 20 + pause + 40), "pause of {pause} ms");
        assert_eq!(line.time_of(80), Some(80 * 20 + pause + 40), "pause of {pause} ms");
    }
}

#[test]
fn a_senders_clock_that_is_off_changes_the_delay_by_no_more_than_a_frame() {
    for (seed, per_million) in [(1, 300), (2, -300)] {
        let mut line = SimulatedLink::new();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let packets = 300_000 / 20;
        for number in 0..packets {
            let at = i64::from(number) * 20_000 * (1_000_000 + per_million) / 1_000_000 / 1_000;
            let at = at.unsigned_abs() + random.random_range(0..20);
            line.send(number, at);
        }
        line.elastic = true;
        for second in 0..296 {
            line.run((second + 1) * 1_000);
            let delay = line.jitter.statistics().jitter_buffer_delay;
            assert!((10..=80).contains(&delay.as_millis()), "seed {seed}, {per_million} ppm, {second} s: {delay:?}");
        }
        let statistics = line.jitter.statistics();
        assert!(
            statistics.duration_of(statistics.concealed_samples).as_millis() < 100
                && statistics.fec_recovered + statistics.packets_late < 10,
            "seed {seed}: {statistics:?}"
        );
        assert!(line.stretched > 2, "seed {seed}");
    }
}
