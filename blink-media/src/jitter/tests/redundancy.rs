//! Replacement of missing packets: copies, and concealment.

use super::simulated_link::Played::{Lost, Packet, Recovered, Repaired};
use super::simulated_link::{SimulatedLink, packets};
use super::*;
use bytes::Bytes;

#[test]
fn a_lost_packet_is_recovered_from_the_next_and_of_several_only_the_last() {
    let mut line = SimulatedLink::new();
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
fn frames_without_a_copy_are_concealed_in_steps_so_that_a_late_packet_can_take_over() {
    for (late, sounds) in [(45, &[Lost, Repaired(10), Packet(11)][..]), (90, &[Lost, Lost, Packet(11), Packet(12)])] {
        let mut line = SimulatedLink::new();
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
fn a_packet_that_comes_during_its_concealment_is_played_from_there_on_or_repairs_what_follows() {
    for (late, sounds) in [(45, &[Lost, Repaired(10), Packet(11)][..]), (55, &[Lost, Lost, Repaired(10), Packet(11)])] {
        let mut line = SimulatedLink::new();
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
    let mut line = SimulatedLink::new();
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
    let mut line = SimulatedLink::new();
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
fn concealment_gives_up_after_120_ms() {
    let mut line = SimulatedLink::new();
    line.send_steadily(0..10, 0);
    line.run(1_000);
    assert_eq!(line.sounds()[10..], [Lost; 12]);
}
