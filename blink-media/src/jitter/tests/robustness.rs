//! Packets that are duplicated, too many, damaged or nonsense.

use super::simulated_link::{SimulatedLink, packets};
use super::*;

#[test]
fn duplicates_are_played_once_whether_before_or_after_their_time() {
    let mut line = SimulatedLink::new();
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
fn one_stray_packet_does_not_disturb() {
    let mut line = SimulatedLink::new();
    line.send_steadily(0..100, 0);
    let stray = AudioPacket { sequence: 30_000, timestamp: RtpTime(5), ..line.packet(0, 500) };
    line.send_packet(stray, 505);
    line.run(1_500);
    assert_eq!(line.sounds(), packets(0..line.sounds().len() as u32));
    assert_eq!(line.jitter.statistics().restarts, 0);
}

#[test]
fn it_holds_no_more_packets_than_it_may() {
    let mut line = SimulatedLink::new();
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
        let mut line = SimulatedLink::new();
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
        let mut line = SimulatedLink::new();
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
    let mut line = SimulatedLink::new();
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
