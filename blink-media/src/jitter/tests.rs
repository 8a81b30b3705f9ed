//! What is played of what comes, and when.

use super::line::Played::{Lost, Mended, Packet, Recovered};
use super::line::{Line, packets};
use super::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[test]
fn without_loss_every_packet_is_played_in_order_40_ms_after_it_came() {
    let mut line = Line::new();
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
        let mut line = Line::new();
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
    let mut line = Line::new();
    for pair in (0..400).step_by(2) {
        line.send(pair, u64::from(pair) * 20 + if pair == 0 { 0 } else { 30 });
        line.send(pair + 1, u64::from(pair + 1) * 20);
    }
    line.run(7_000);
    assert_eq!(line.sounds(), packets(0..line.sounds().len() as u32));
    assert_eq!(line.delay_of(300), 40);
}

#[test]
fn a_lost_packet_is_recovered_from_the_next_and_of_several_only_the_last() {
    let mut line = Line::new();
    line.send_steadily(0..10, 0);
    line.send_steadily(11..20, 0);
    line.send_steadily(23..40, 0);
    line.run(600);
    let mut wanted = packets(0..10);
    wanted.push(Recovered(11));
    wanted.extend(packets(11..20));
    wanted.extend([Lost, Lost, Lost, Lost, Recovered(23)]);
    wanted.extend(packets(23..28));
    assert_eq!(line.sounds()[..wanted.len()], wanted);
    assert_eq!(line.delay_of(27), 40);
    let statistics = line.jitter.statistics();
    assert_eq!((statistics.fec_recovered, statistics.duration_of(statistics.concealed_samples).as_millis()), (2, 40));
}

#[test]
fn what_no_packet_has_a_copy_of_is_made_up_piece_by_piece_so_that_it_can_come_meanwhile() {
    for (late, sounds) in [(45, &[Lost, Mended(10), Packet(11)][..]), (90, &[Lost, Lost, Packet(11), Packet(12)])] {
        let mut line = Line::new();
        for number in (0..10).chain(11..40) {
            let at = u64::from(number) * 20;
            let packet = line.packet(number, at);
            line.send_packet(AudioPacket { has_fec: false, ..packet }, at);
        }
        line.send(10, 200 + late);
        line.run(600);
        assert_eq!(line.sounds()[10..10 + sounds.len()], *sounds, "{late} ms late");
        assert_eq!(line.jitter.statistics().fec_recovered, 0);
    }
}

#[test]
fn what_comes_while_it_is_made_up_is_played_from_there_on_or_mends_what_follows() {
    for (late, sounds) in [(45, &[Lost, Mended(10), Packet(11)][..]), (55, &[Lost, Lost, Mended(10), Packet(11)])] {
        let mut line = Line::new();
        line.send_steadily(0..10, 0);
        line.send(10, 200 + late);
        line.send_steadily(11..40, 35);
        line.run(600);
        assert_eq!(line.sounds()[10..10 + sounds.len()], *sounds, "{late} ms late");
        assert_eq!(line.delay_of(11), 40, "{late} ms late");
        assert_eq!(
            line.jitter.statistics().duration_of(line.jitter.statistics().concealed_samples).as_millis(),
            10 * (sounds.len() as u128 - 2)
        );
    }
}

#[test]
fn a_copy_is_played_in_the_place_of_its_packet_and_the_packet_in_the_place_of_its_copy() {
    let mut line = Line::new();
    let mut copies_played = 0;
    for number in 0..100 {
        let carried = number % 4 == 3;
        if number % 4 != 2 {
            let packet = line.packet(number, u64::from(number) * 20);
            line.now = u64::from(number) * 20;
            let copy = line.packet(number.saturating_sub(1), 0).payload;
            let copy = AudioCopy { offset: 960, ticks: 960, has_fec: false, payload: copy };
            line.jitter.push_with(packet, carried.then_some(copy).into_iter());
        }
        // Every other one that was copied comes yet, before its time.
        if number % 8 == 7 {
            let packet = line.packet(number - 1, line.now + 5);
            line.jitter.push(packet);
        }
        line.run(u64::from(number) * 20 + 20);
        copies_played += u64::from(number % 8 == 3);
    }
    assert_eq!(line.sounds(), packets(0..line.sounds().len() as u32));
    let statistics = line.jitter.statistics();
    assert!((copies_played - 1..=copies_played).contains(&statistics.red_recovered), "the last one may wait yet");
    assert_eq!((statistics.concealed_samples, statistics.fec_recovered, statistics.packets_late), (0, 0, 0));
}

#[test]
fn copies_of_what_was_played_or_has_no_place_are_ignored() {
    let mut line = Line::new();
    for number in 0..100u32 {
        let packet = line.packet(number, u64::from(number) * 20);
        let nonsense =
            |offset, ticks| AudioCopy { offset, ticks, has_fec: false, payload: Bytes::from_static(&[0; 4]) };
        let copies = [(960, 960), (4 * 960, 960), (480, 960), (960, 0), (960, 100_000), (100, 960), (16_000, 240)];
        let copies: Vec<_> = copies.into_iter().map(|(offset, ticks)| nonsense(offset, ticks)).collect();
        let copies = if number > 4 { copies } else { Vec::new() };
        line.jitter.push_with(packet, copies.into_iter());
        line.run(u64::from(number) * 20 + 20);
    }
    assert_eq!(line.sounds(), packets(0..line.sounds().len() as u32));
    assert_eq!(line.jitter.statistics().red_recovered, 0);
}

#[test]
fn what_the_network_lost_is_told_apart_from_what_came_late() {
    let mut line = Line::new();
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
fn duplicates_are_played_once_whether_before_or_after_their_time() {
    let mut line = Line::new();
    line.send_steadily(0..50, 0);
    line.send_steadily(0..50, 5);
    line.send_steadily(0..50, 100);
    line.run(800);
    assert_eq!(line.sounds(), packets(0..line.sounds().len() as u32));
    let statistics = line.jitter.statistics();
    assert_eq!((statistics.packets_late, statistics.concealed_samples), (0, 0));
    assert_eq!(statistics.packets_duplicated, statistics.packets_received - 40);
}

#[test]
fn a_packet_after_its_time_is_counted_late_and_not_played() {
    let mut line = Line::new();
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
    let mut line = Line::new();
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
        let mut line = Line::new();
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
fn one_stray_packet_does_not_disturb() {
    let mut line = Line::new();
    line.send_steadily(0..100, 0);
    let stray = AudioPacket { sequence: 30_000, timestamp: RtpTime(5), ..line.packet(0, 500) };
    line.send_packet(stray, 505);
    line.run(1_500);
    assert_eq!(line.sounds(), packets(0..line.sounds().len() as u32));
    assert_eq!(line.jitter.statistics().restarts, 0);
}

#[test]
fn of_a_burst_after_a_stall_of_2_s_all_but_the_newest_is_dropped_and_that_is_played_faster() {
    let mut line = Line::new();
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
fn when_nobody_asked_for_2_s_the_delay_is_the_target_again() {
    let mut line = Line::new();
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
        let mut line = Line::new();
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
        let mut line = Line::new();
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
fn concealment_gives_up_after_120_ms() {
    let mut line = Line::new();
    line.send_steadily(0..10, 0);
    line.run(1_000);
    assert_eq!(line.sounds()[10..], [Lost; 12]);
}

#[test]
fn a_senders_clock_that_is_off_changes_the_delay_by_no_more_than_a_frame() {
    for (seed, per_million) in [(1, 300), (2, -300)] {
        let mut line = Line::new();
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

#[test]
fn it_holds_no_more_packets_than_it_may() {
    let mut line = Line::new();
    for number in 0..10_000 {
        let packet = line.packet(number, 0);
        line.jitter.push(packet);
        assert!(line.jitter.slots.len() <= JitterConfig::default().max_packets);
    }
    assert_eq!(line.jitter.statistics().packets_discarded, 10_000 - 150);
}

#[test]
fn nonsense_ends_and_breaks_nothing() {
    for seed in 0..200 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut line = Line::new();
        let wild = seed % 4;
        for step in 0..500 {
            let sequence = if wild == 0 { random.random() } else { random.random_range(0..200) + step };
            let timestamp = if wild < 2 { random.random() } else { random.random_range(0..200_000) };
            let ticks = if wild < 3 { random.random() } else { random.random_range(0..6_000) };
            let at = u64::from(random.random_range(0..10_000u32));
            let packet = AudioPacket { sequence, timestamp: RtpTime(timestamp), ticks, ..line.packet(0, at) };
            line.send_packet(packet, at);
        }
        line.elastic = random.random();
        line.run(12_000);
        let statistics = line.jitter.statistics();
        assert_eq!(statistics.packets_received, 500, "seed {seed}");
        assert!(line.jitter.slots.front().is_none(), "seed {seed}: {statistics:?}");
    }
}

/// Padding (RFC 3550 §5.1) in the numbers of a sender: before its first packet, in a row, twice,
/// overtaken and overtaking.
#[test]
fn packets_without_payload_are_neither_lost_nor_missing() {
    for pause in [0, 60, 400] {
        let mut line = Line::new();
        line.jitter.push_padding(998);
        line.jitter.push_padding(999);
        line.send_steadily(0..50, 0);
        line.run(900);
        // Numbers 1,050 to 1,055 are padding; packet 50 overtakes the last two, and 1,053 came
        // twice.
        line.run(1_000);
        [1_050, 1_052, 1_051, 1_053, 1_053].into_iter().for_each(|number| line.jitter.push_padding(number));
        line.first.0 += 6;
        line.first.1 += (pause * 48) as u32;
        for number in 50..100 {
            line.send(number, u64::from(number) * 20 + pause);
        }
        line.run(1_000 + pause + 10);
        [1_055, 1_054].into_iter().for_each(|number| line.jitter.push_padding(number));
        line.run(1_900 + pause);
        let statistics = line.jitter.statistics();
        let missed =
            (statistics.packets_lost, statistics.concealed_samples, statistics.fec_recovered, statistics.packets_late);
        assert_eq!(missed, (0, 0, 0, 0), "pause of {pause} ms: {statistics:?}");
        // Five packets are still to come.
        assert_eq!(
            (statistics.packets_received, statistics.packets_corrupt, statistics.restarts),
            (104, 0, 0),
            "{statistics:?}"
        );
        assert_eq!(line.delay_of(80), 40 + pause, "pause of {pause} ms");
    }
}

/// Packets that cannot be read are concealed, and do not count as lost by the network.
#[test]
fn packets_that_cannot_be_read_are_not_lost() {
    let mut line = Line::new();
    for number in 0..200 {
        let at = u64::from(number) * 20;
        let ticks = if number % 10 == 5 { 0 } else { 960 };
        let packet = AudioPacket { ticks, has_fec: false, ..line.packet(number, at) };
        line.send_packet(packet, at);
    }
    line.run(4_100);
    let statistics = line.jitter.statistics();
    assert_eq!((statistics.packets_lost, statistics.packets_corrupt), (0, 20), "{statistics:?}");
    assert!(statistics.concealed_samples >= 960 * 19, "{statistics:?}");
}
