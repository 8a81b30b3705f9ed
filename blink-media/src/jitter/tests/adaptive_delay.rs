//! A buffer whose delay follows the network.

use super::simulated_link::SimulatedLink;
use super::*;
use blink_api::Preference;

fn line(prefer: Preference) -> SimulatedLink {
    let adapt = Some(DelayRange::default());
    let mut line = SimulatedLink::new();
    line.jitter = JitterBuffer::new(JitterConfig { adapt, prefer, ..JitterConfig::default() });
    line.elastic = true;
    line
}

fn target(line: &SimulatedLink) -> u128 {
    line.jitter.statistics().jitter_buffer_target_delay.as_millis()
}

#[test]
fn on_a_steady_path_the_delay_goes_down_to_the_shortest_and_no_packet_is_missed() {
    let mut line = line(Preference::Latency);
    line.send_steadily(0..200, 30);
    line.run(4_000);
    let statistics = line.jitter.statistics();
    assert_eq!((target(&line), statistics.packets_late, statistics.concealed_samples), (10, 0, 0));
    assert!(statistics.jitter_buffer_delay <= Duration::from_millis(25), "{statistics:?}");
}

#[test]
fn on_an_uneven_path_nearly_all_packets_are_waited_for_and_no_more() {
    for prefer in [Preference::Latency, Preference::Quality] {
        let mut line = line(prefer);
        for number in 0..500 {
            line.send(number, u64::from(number) * 20 + u64::from(number * 37 % 100));
        }
        line.run(10_000);
        assert!((95..=100).contains(&target(&line)), "{}", target(&line));
    }
}

/// With every tenth packet lost: the next one, the packet that a copy comes with, or as many as
/// most bursts are long.
#[test]
fn where_packets_are_lost_what_makes_up_for_them_is_waited_for() {
    let frame = Duration::from_millis(20);
    for (copy, reach, prefer, expected) in [
        (None, Duration::ZERO, Preference::Latency, 20),
        (Some(1), Duration::ZERO, Preference::Latency, 20),
        (Some(4), Duration::ZERO, Preference::Latency, 80),
        (Some(4), Duration::ZERO, Preference::Quality, 80),
        (None, frame * 25, Preference::Latency, 80),
        (None, frame * 25, Preference::Quality, 160),
        (None, frame * 2, Preference::Quality, 40),
    ] {
        let mut line = line(prefer);
        line.jitter.observe_redundancy_span(reach);
        for number in (0..500u32).filter(|number| number % 10 != 0) {
            line.run(u64::from(number) * 20 + 5);
            let packet = line.packet(number, u64::from(number) * 20 + 5);
            let copy = copy.filter(|distance| number > *distance).map(|distance| {
                let payload = line.packet(number - distance, 0).payload;
                AudioCopy { offset: distance * 960, ticks: 960, has_fec: false, payload }
            });
            line.jitter.push_with(packet, copy.into_iter());
        }
        // And within a bin of the histogram, nearly all.
        let beyond = target(&line).checked_sub(expected);
        assert!(beyond.is_some_and(|beyond| beyond <= 5), "{copy:?}, {reach:?}, {prefer:?}: {}", target(&line));
    }
}

#[test]
fn however_late_packets_are_the_delay_has_a_bound() {
    let mut line = line(Preference::Quality);
    for number in 0..300 {
        line.send(number, u64::from(number) * 20 + if number % 3 == 0 { 2_000 } else { 0 });
    }
    line.run(8_000);
    assert_eq!(target(&line), 250);
}

/// A path that becomes slower by less than a stall: what is late is waited for, and from then on it
/// is in time.
#[test]
fn when_all_packets_are_late_at_once_they_are_waited_for() {
    let mut line = line(Preference::Latency);
    line.send_steadily(0..200, 5);
    line.send_steadily(200..400, 65);
    line.run(7_900);
    let statistics = line.jitter.statistics();
    assert!(statistics.inserted_samples_for_deceleration >= 10 * 48, "{statistics:?}");
    assert!(statistics.duration_of(statistics.concealed_samples).as_millis() <= 120, "{statistics:?}");
    assert!(line.delay_of(380) >= 65, "{} ms", line.delay_of(380));
}
