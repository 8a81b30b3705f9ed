use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::*;

const PACE: Duration = Duration::from_millis(20);

/// Sends this many packets of a size at a pace. Returns the number of each packet that arrived and
/// the time since the first one was sent, in the order of arrival.
fn through(impairments: Impairments, seed: u64, count: u32, size: usize, pace: Duration) -> Vec<(u32, Duration)> {
    let mut link = Link::new(impairments, seed);
    let (began, mut arrived) = (Instant::now(), Vec::new());
    let mut receive = |link: &mut Link<u32>, now: Instant| {
        while let Some((at, number)) = link.receive(now) {
            arrived.push((number, at - began));
        }
    };
    for number in 0..count {
        let now = began + pace * number;
        receive(&mut link, now);
        link.send(now, size, number);
    }
    receive(&mut link, began + pace * count + Duration::from_secs(3_600));
    assert!(link.is_empty());
    arrived
}

fn numbers(arrived: &[(u32, Duration)]) -> Vec<u32> {
    arrived.iter().map(|(number, _)| *number).collect()
}

#[test]
fn without_impairments_everything_arrives_at_once_and_in_order() {
    let arrived = through(Impairments::NONE, 0, 100, 100, PACE);
    assert!(arrived.iter().enumerate().all(|(n, (number, at))| n as u32 == *number && *at == PACE * *number));
    assert_eq!(arrived.len(), 100);
}

#[test]
fn delays_fill_the_range_from_the_delay_to_the_jitter_above_it() {
    let (delay, jitter) = (Duration::from_millis(51), Duration::from_millis(18));
    let arrived = through(Impairments { delay, jitter, ..Impairments::NONE }, 7, 2_000, 100, PACE);
    let delays: Vec<Duration> = arrived.iter().map(|(number, at)| *at - PACE * *number).collect();
    assert!(delays.iter().all(|taken| (delay..=delay + jitter).contains(taken)), "{delays:?}");
    assert!(delays.iter().any(|taken| *taken < delay + jitter / 4));
    assert!(delays.iter().any(|taken| *taken > delay + jitter * 3 / 4));
    assert_eq!(numbers(&arrived), (0..2_000).collect::<Vec<_>>(), "the jitter is less than the pace");
}

#[test]
fn jitter_above_the_pace_reorders_packets_unless_they_stay_in_order() {
    let jitter = PACE * 5;
    let arrived = |in_order| {
        let arrived = through(Impairments { jitter, in_order, ..Impairments::NONE }, 3, 2_000, 100, PACE);
        assert!(arrived.iter().all(|(number, at)| (PACE * *number..=PACE * *number + jitter).contains(at)));
        numbers(&arrived)
    };
    let overtaken = arrived(false).windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!(overtaken > 400, "{overtaken} of 2,000 were overtaken");
    assert_eq!(arrived(true), (0..2_000).collect::<Vec<_>>());
}

#[test]
fn losses_have_the_share_and_the_mean_length_asked_for() {
    // Independent losses are 1 / (1 - loss) packets long. The last case asks for shorter bursts
    // than the share allows.
    let cases = [
        (0.1, None, 1.0 / 0.9),
        (0.3, None, 1.0 / 0.7),
        (0.17, Some(3.0), 3.0),
        (0.0625, Some(4.0), 4.0),
        (0.0, None, 0.0),
        (0.0, Some(2.0), 0.0),
        (0.9, Some(3.0), 9.0),
    ];
    for (loss, burst, length) in cases {
        let impairments = Impairments { loss, burst, jitter: PACE, ..Impairments::delayed(PACE) };
        let arrived = through(impairments, 7, 200_000, 100, 2 * PACE);
        let lost = (200_000 - arrived.len()) as f64;
        let bursts = numbers(&arrived).windows(2).filter(|two| two[1] > two[0] + 1).count() as f64;
        assert!((lost / 200_000.0 - loss).abs() < 0.01, "{loss} {burst:?}: {lost}");
        assert!(loss == 0.0 || (lost / bursts - length).abs() < 0.1 * length, "{loss} {burst:?}: {}", lost / bursts);
    }
    assert!(through(Impairments { loss: 1.0, burst: Some(2.0), ..Impairments::NONE }, 1, 100, 1, PACE).is_empty());
    assert!(through(Impairments { loss: 1.0, ..Impairments::NONE }, 1, 100, 1, PACE).is_empty());
}

#[test]
fn bursts_come_as_far_apart_as_their_share_and_length_say() {
    let impairments = Impairments { loss: 4.0 / 64.0, burst: Some(4.0), ..Impairments::NONE };
    let arrived = numbers(&through(impairments, 5, 50_000, 100, PACE));
    let bursts: Vec<u32> = arrived.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|lost| *lost > 0).collect();
    let lost: u32 = bursts.iter().sum();
    let (length, every) = (f64::from(lost) / bursts.len() as f64, 50_000.0 / bursts.len() as f64);
    assert!((3.4..4.6).contains(&length), "bursts are {length} packets long");
    assert!((54.0..74.0).contains(&every), "bursts come every {every} packets");
}

#[test]
fn as_many_packets_are_duplicated_as_asked_for() {
    let mut times: HashMap<u32, usize> = HashMap::new();
    let impairments = Impairments { duplicate: 0.2, ..Impairments::NONE };
    let arrived = through(impairments, 11, 10_000, 100, PACE);
    arrived.iter().for_each(|(number, _)| *times.entry(*number).or_default() += 1);
    let twice = times.values().filter(|times| **times == 2).count();
    assert!(times.len() == 10_000 && (1_850..2_150).contains(&twice), "{twice} of 10,000 came twice");

    let impairments = Impairments { loss: 0.2, duplicate: 0.1, ..Impairments::NONE };
    let arrived = numbers(&through(impairments, 5, 5_000, 100, PACE));
    let twice = arrived.windows(2).filter(|two| two[0] == two[1]).count();
    let once = arrived.len() - twice;
    assert!((3_880..4_120).contains(&once), "{once} of 5,000 arrived");
    assert!((340..460).contains(&twice), "{twice} of {once} came twice");
}

#[test]
fn each_nth_packet_overtakes_the_one_before_it() {
    let late = Impairments { reorder: Some(5), ..Impairments::delayed(Duration::from_millis(60)) };
    let arrived = numbers(&through(late, 0, 1_000, 100, PACE));
    let overtaken = arrived.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!((180..=200).contains(&overtaken), "{overtaken} of 1,000 were overtaken");
    assert_eq!(arrived.len(), 1_000);
    let arrived = numbers(&through(Impairments { in_order: true, ..late }, 0, 1_000, 100, PACE));
    assert!(arrived.windows(2).filter(|pair| pair[0] > pair[1]).count() >= 180);
    // A packet that has arrived is not overtaken.
    let fast = Impairments { reorder: Some(5), ..Impairments::NONE };
    assert_eq!(numbers(&through(fast, 0, 100, 100, PACE)), (0..100).collect::<Vec<_>>());
}

#[test]
fn no_more_passes_than_the_rate_allows_and_a_full_queue_drops() {
    let rate = Some(Rate { bits_per_second: 400_000, queue: 25_000 });
    // 1,000 bytes every 10 ms are 800 kbit/s: twice as much as fits.
    let pace = Duration::from_millis(10);
    let arrived = through(Impairments { rate, ..Impairments::NONE }, 0, 1_000, 1_000, pace);
    for window in arrived.windows(51) {
        let (from, to) = (window[0].1, window[50].1);
        assert!(to - from >= Duration::from_millis(990), "50,000 bytes took {:?}", to - from);
    }
    assert!((490..=530).contains(&arrived.len()), "{} of 1,000 passed", arrived.len());
    let longest = arrived.iter().map(|(number, at)| *at - pace * *number).max().unwrap_or_default();
    // 25,000 bytes take half a second.
    assert!((450..=500).contains(&longest.as_millis()), "{longest:?} in the queue");

    let none = Some(Rate { bits_per_second: 0, queue: 25_000 });
    assert!(through(Impairments { rate: none, ..Impairments::NONE }, 0, 10, 1, PACE).is_empty());
}

#[test]
fn the_same_seed_gives_the_same_network_and_another_one_another() {
    let rough = Impairments { jitter: PACE / 4, loss: 0.2, duplicate: 0.1, ..Impairments::delayed(PACE) };
    let run = |seed| through(rough, seed, 500, 100, PACE);
    assert_eq!(run(1), run(1));
    assert_ne!(numbers(&run(1)), numbers(&run(2)));
}

#[test]
fn the_same_packets_are_lost_whatever_the_other_impairments_are() {
    let loss = Impairments { loss: 0.2, burst: Some(2.0), ..Impairments::NONE };
    let lost = |impairments: Impairments| {
        let mut arrived = numbers(&through(impairments, 3, 1_000, 100, PACE));
        arrived.sort_unstable();
        arrived.dedup();
        arrived
    };
    assert_eq!(lost(loss), lost(Impairments { jitter: PACE * 9, duplicate: 0.5, reorder: Some(3), ..loss }));
}

#[test]
fn new_impairments_hold_for_what_is_sent_afterwards() {
    let now = Instant::now();
    let mut link = Link::new(Impairments::delayed(PACE), 0);
    link.send(now, 1, "before");
    link.set_impairments(Impairments { loss: 1.0, ..Impairments::NONE });
    link.send(now, 1, "after");
    assert_eq!((link.receive(now), link.next_arrival()), (None, Some(now + PACE)));
    assert_eq!(link.receive(now + PACE), Some((now + PACE, "before")));
    assert_eq!((link.receive(now + PACE), link.len()), (None, 0));
}

#[test]
fn what_is_in_flight_has_a_bound_and_can_be_dropped() {
    let now = Instant::now();
    let mut link = Link::new(Impairments::delayed(PACE), 0);
    (0..100_000).for_each(|number| link.send(now, 1, number));
    assert_eq!(link.len(), 16_384);
    link.clear();
    assert_eq!((link.next_arrival(), link.is_empty()), (None, true));
}
