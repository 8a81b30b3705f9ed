//! A buffer whose delay follows the network.

use super::tests::Line;
use super::*;

fn line() -> Line {
    let adapt = Some(DelayRange::default());
    let mut line = Line::new();
    line.jitter = JitterBuffer::new(JitterConfig { adapt, ..JitterConfig::default() });
    line
}

fn target(line: &Line) -> u128 {
    line.jitter.statistics().target.as_millis()
}

#[test]
fn on_a_steady_path_the_delay_goes_down_to_the_shortest_and_no_packet_is_missed() {
    let mut line = line();
    line.quiet = true;
    line.send_steadily(0..200, 30);
    line.run(4_000);
    let statistics = line.jitter.statistics();
    assert_eq!((target(&line), statistics.late, statistics.concealed), (20, 0, 0));
    assert!(statistics.delay <= Duration::from_millis(30), "{statistics:?}");
}

#[test]
fn on_an_uneven_path_nearly_all_packets_are_waited_for_and_no_more() {
    let mut line = line();
    for number in 0..500 {
        line.send(number, u64::from(number) * 20 + u64::from(number * 37 % 100));
    }
    line.run(10_000);
    assert!((105..=110).contains(&target(&line)), "and a tick: {}", target(&line));
}

#[test]
fn where_packets_are_lost_the_one_after_is_waited_for() {
    let mut line = line();
    (0..500).filter(|number| number % 10 != 0).for_each(|number| line.send_steadily(number..number + 1, 5));
    line.run(10_000);
    assert_eq!(target(&line), 35, "a bin, a tick and a frame");
}

#[test]
fn however_late_packets_are_the_delay_has_a_bound() {
    let mut line = line();
    for number in 0..300 {
        line.send(number, u64::from(number) * 20 + if number % 3 == 0 { 2_000 } else { 0 });
    }
    line.run(8_000);
    assert_eq!(target(&line), 250);
}
