//! Simulated checks of the stack against the limits, in virtual time.

use super::*;

/// Check interval of the simulated stack, which checks all pairs in each.
const INTERVAL: Duration = Duration::from_millis(10);

fn route(local: u8, host: u8, port: u16) -> Route {
    let remote = SocketAddr::from(([192, 0, 2, host], port));
    Route { local: SocketAddr::from(([10, 0, 0, local], 5000)), relay: None, remote }
}

fn check(generation: u8, number: u32) -> Check {
    let mut transaction = [0; 12];
    transaction[..4].copy_from_slice(&number.to_be_bytes());
    Check { transaction: TransactionId(transaction), user: vec![generation], datagram: Vec::new() }
}

impl CheckPacer {
    /// Sends a check if it is admitted.
    fn admit(&mut self, now: Instant, route: Route, check: &Check) -> bool {
        let is_admitted = self.decide(now, route, check) != CheckDecision::Dropped;
        if is_admitted {
            self.handle_check(now, route, check);
        }
        is_admitted
    }
}

/// Checks all pairs in each interval; returns the number of checks sent per pair.
fn run(checks: &mut CheckPacer, began: Instant, intervals: u32, routes: &[Route], generation: u8) -> Vec<u32> {
    let mut sent = vec![0; routes.len()];
    for interval in 0..intervals {
        for (route, sent) in routes.iter().zip(&mut sent) {
            *sent += u32::from(checks.admit(began + INTERVAL * interval, *route, &check(generation, interval)));
        }
    }
    sent
}

#[test]
fn few_pairs_are_checked_at_once_and_retransmitted_soon() {
    let now = Instant::now();
    let mut checks = CheckPacer::new(now);
    let routes: Vec<Route> = (0..4).map(|host| route(1, host, 6000)).collect();
    assert_eq!(run(&mut checks, now, 1, &routes, 0), [1; 4]);
    assert_eq!(
        run(&mut checks, now + INTERVAL, 9, &routes, 0),
        [3; 4],
        "at 20, 40 and 80 ms: four pairs share the pace"
    );
    let one = [route(1, 9, 6000)];
    let mut checks = CheckPacer::new(now);
    assert_eq!(run(&mut checks, now, 10, &one, 0), [4], "at 0, 10, 30 and 70 ms");
    assert_eq!(run(&mut checks, now + 10 * INTERVAL, 490, &one, 0), [11], "every 500 ms in the end");
}

#[test]
fn many_pairs_are_checked_in_turn_at_the_pace() {
    let now = Instant::now();
    let mut checks = CheckPacer::new(now);
    let routes: Vec<Route> = (0..8).flat_map(|local| (0..16).map(move |host| route(local, host, 6000))).collect();
    let first = run(&mut checks, now, 1, &routes, 0);
    assert_eq!(first.iter().sum::<u32>(), BURST);
    let sent = run(&mut checks, now + INTERVAL, 64, &routes, 0);
    let sent: Vec<u32> = sent.iter().zip(&first).map(|(a, b)| a + b).collect();
    assert!(sent.iter().all(|sent| (1..=2).contains(sent)), "{sent:?}");
}

#[test]
fn checks_to_one_host_are_limited_across_candidates_and_generations() {
    let now = Instant::now();
    let mut checks = CheckPacer::new(now);
    let routes: Vec<Route> = (0..8).flat_map(|local| (0..16).map(move |port| route(local, 1, 6000 + port))).collect();
    let sent: u32 = (0..6u8)
        .map(|generation| {
            let began = now + Duration::from_secs(5) * u32::from(generation);
            run(&mut checks, began, 500, &routes, generation).iter().sum::<u32>()
        })
        .sum();
    assert!(sent <= HOST_BURST + 150 + 1, "30 s at 5 per second: {sent}");
}

#[test]
fn tracked_pairs_and_hosts_are_limited() {
    let now = Instant::now();
    let mut checks = CheckPacer::new(now);
    let routes: Vec<Route> = (1..4).flat_map(|local| (0..200).map(move |host| route(local, host, 6000))).collect();
    let sent = run(&mut checks, now, 3000, &routes, 0);
    assert_eq!(sent.iter().filter(|sent| **sent > 0).count(), MAX_PAIRS);
    assert_eq!(checks.pairs.len(), MAX_PAIRS);
    assert!(checks.hosts.len() <= MAX_HOSTS);
    let others: Vec<Route> = (0..100).map(|host| route(9, host, 6000)).collect();
    let sent = run(&mut checks, now + 3000 * INTERVAL + STALE, 100, &others, 0);
    assert!(sent.iter().all(|sent| *sent > 0), "pairs that the stack no longer checks are evicted");
}

#[test]
fn responses_lift_the_limits_of_a_pair_and_its_host() {
    let now = Instant::now();
    let mut checks = CheckPacer::new(now);
    let pair = route(1, 1, 6000);
    assert!(checks.admit(now, pair, &check(0, 1)));
    checks.handle_response(now, pair, check(0, 2).transaction);
    assert!(!checks.is_validated(pair.remote), "unknown transaction");
    checks.handle_response(now, route(1, 1, 6001), check(0, 1).transaction);
    assert!(!checks.is_validated(pair.remote), "checked on another route");
    checks.handle_response(now, pair, check(0, 1).transaction);
    assert!(checks.is_validated(pair.remote));
    assert!(checks.admit(now, pair, &check(0, 3)), "the nomination is sent at once");
    assert!(!checks.admit(now, pair, &check(0, 4)), "but not twice");
    for second in 1..100 {
        let now = now + Duration::from_secs(second);
        assert!(checks.admit(now, pair, &check(0, 5)), "a path is checked every second, with or without responses");
    }
}

#[test]
fn a_check_of_the_peer_triggers_one_in_return() {
    let now = Instant::now();
    let mut checks = CheckPacer::new(now);
    let known = route(1, 1, 6000);
    for interval in 0..100 {
        checks.admit(now + INTERVAL * interval, known, &check(0, interval));
    }
    let now = now + INTERVAL * 100;
    assert!(!checks.admit(now, known, &check(0, 200)));
    for pair in [known, route(1, 2, 7000)] {
        assert!(!checks.is_validated(pair.remote));
        checks.handle_request(now, pair);
        assert!(checks.is_validated(pair.remote));
        assert!(checks.admit(now, pair, &check(0, 201)));
        assert!(!checks.admit(now, pair, &check(0, 202)), "one per received check");
    }
}

#[test]
fn validated_addresses_are_limited_and_those_in_use_stay() {
    let now = Instant::now();
    let mut checks = CheckPacer::new(now);
    let used = route(1, 1, 6000);
    for port in 0..1000 {
        checks.handle_request(now, used);
        checks.handle_request(now, route(1, 2, 1000 + port));
    }
    assert!(checks.is_validated(used.remote));
    assert_eq!(checks.checked.len(), MAX_VALIDATED);
}
