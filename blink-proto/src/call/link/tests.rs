use super::*;

/// When pings go out in the first minute of a link on which packets come so often until then, in
/// milliseconds.
fn pings(packets: Duration, until: Duration) -> Vec<u128> {
    let (began, timers) = (Instant::now(), CallTimers { suspect: Duration::from_secs(100), ..CallTimers::default() });
    let mut link = Link::new([1; 16], true, SessionId(1), began, &timers);
    let mut actions = Vec::new();
    link.remote_described = true;
    link.handle_connected(began, &timers, &mut actions);
    link.handle_channel(began, &timers, &mut actions);
    link.handle_hello(&[1; 16], began, &mut actions);
    let mut sent = Vec::new();
    for ms in (0..60_000).step_by(10) {
        let passed = Duration::from_millis(ms);
        let now = began + passed;
        if passed < until && ms.is_multiple_of(packets.as_millis() as u64) {
            link.handle_traffic(now, &mut actions);
        }
        actions.clear();
        let is_due = link.deadline(&timers, false).is_some_and(|at| at <= now);
        link.handle_timeout(now, &timers, &mut || SessionId(2), false, &mut actions);
        if actions.iter().any(|action| matches!(action, LinkAction::Ping(_))) {
            assert!(is_due, "who asked for the deadline knew");
            sent.push(u128::from(ms));
        }
    }
    sent
}

#[test]
fn pings_are_frequent_where_nothing_else_comes_and_rare_where_it_does() {
    let quick = || (0..=700).step_by(100);
    let quiet: Vec<u128> = quick().chain((1_200..60_000).step_by(500)).collect();
    assert_eq!(pings(Duration::from_millis(20), Duration::ZERO), quiet);
    let busy: Vec<u128> = quick().chain((3_200..60_000).step_by(2_500)).collect();
    assert_eq!(pings(Duration::from_millis(20), Duration::from_secs(60)), busy);
    // Packets come until 10 s less 20 ms.
    let falls_quiet = pings(Duration::from_millis(20), Duration::from_secs(10));
    assert_eq!(falls_quiet[10..13], [8_200, 10_480, 10_980]);
}

/// When a link that is connected says hello, in milliseconds, until that time; the other side says
/// hello and is admitted when it is told so.
fn hellos(heard_at: Option<u64>, answered_at: Option<u64>) -> Vec<u64> {
    let (began, timers) = (Instant::now(), CallTimers::default());
    let mut link = Link::new([1; 16], true, SessionId(1), began, &timers);
    let mut said = Vec::new();
    for ms in (0..20_000).step_by(10) {
        let (now, mut actions) = (began + Duration::from_millis(ms), Vec::new());
        if ms == 0 {
            link.remote_described = true;
            link.handle_connected(now, &timers, &mut actions);
            link.handle_channel(now, &timers, &mut actions);
        }
        if heard_at == Some(ms) {
            link.handle_hello(&[1; 16], now, &mut actions);
        }
        if answered_at == Some(ms) {
            link.handle_admitted_message();
        }
        link.handle_traffic(now, &mut actions);
        let is_due = link.deadline(&timers, false).is_some_and(|at| at <= now);
        let first = actions.len();
        link.handle_timeout(now, &timers, &mut || SessionId(2), false, &mut actions);
        assert!(is_due || actions.len() == first, "who asked for the deadline knew");
        let hellos = actions.iter().filter(|action| **action == LinkAction::Hello).count();
        said.extend(std::iter::repeat_n(ms, hellos));
    }
    said
}

#[test]
fn hello_is_said_again_until_the_other_side_is_known_to_have_it() {
    let unanswered = [0, 250, 750, 1_750, 3_750, 5_750, 7_750, 9_750, 11_750, 13_750, 15_750, 17_750, 19_750];
    assert_eq!(hellos(None, None), unanswered);
    // Hearing the other side's hello does not tell whether it has ours.
    assert_eq!(hellos(Some(100), None), unanswered);
    assert_eq!(hellos(Some(100), Some(800)), unanswered[..3]);
    assert_eq!(hellos(Some(0), Some(10)), [0]);
}

#[test]
fn a_path_is_up_once_the_end_that_was_described_is_connected() {
    let (now, timers) = (Instant::now(), CallTimers::default());
    let mut link = Link::new([1; 16], true, SessionId(1), now, &timers);
    let mut actions = Vec::new();
    link.handle_connected(now, &timers, &mut actions);
    assert_eq!(actions, [LinkAction::Hello], "no one was described");
    link.remote_described = true;
    link.handle_connected(now, &timers, &mut actions);
    (0..3).for_each(|_| link.handle_hello(&[1; 16], now, &mut actions));
    assert_eq!(actions, [LinkAction::Hello, LinkAction::Up]);
    assert!(link.is_verified());
    link.handle_failed(FailureReason::SessionEnded, now, &mut actions);
    link.handle_hello(&[1; 16], now, &mut actions);
    let failure = PathFailure::local(FailureReason::SessionEnded, TransportState::default());
    assert_eq!(actions, [LinkAction::Hello, LinkAction::Up, LinkAction::Failed(failure)]);
    assert!(!link.is_verified());
}

/// A message that reports a generation as failed.
fn failed(generation: u32) -> crate::wire::Link {
    let failure = PathFailure::local(FailureReason::NoSession, TransportState::default());
    crate::wire::Link {
        link: [1; 16].into(),
        renegotiation_requests: 0,
        generation,
        role: crate::wire::LinkRole::Offer,
        sdp: None,
        first_candidate: 0,
        candidates: Vec::new(),
        ack_generation: 0,
        ack_candidates: 0,
        failed: true,
        cause: Some(failure.into()),
    }
}

#[test]
fn a_session_that_was_never_offered_fails_at_the_answerer_only() {
    let (now, timers) = (Instant::now(), CallTimers::default());
    let told = LinkAction::Failed(PathFailure::remote(FailureReason::NoSession, TransportState::default()));
    let hears = |link: &mut Link, generation| {
        let mut actions = Vec::new();
        link.handle_message(&failed(generation), SessionId(2), now, &timers, &mut actions);
        actions
    };
    let mut answerer = Link::new([1; 16], false, SessionId(1), now, &timers);
    assert_eq!(hears(&mut answerer, 1), [told], "its first session failed");
    assert_eq!(hears(&mut answerer, 2), [], "the next one failed too");
    // A description that was sent before the failure arrives after it.
    let sdp = Some("a=fingerprint:sha-256 AA".to_owned());
    let late = crate::wire::Link { failed: false, cause: None, sdp, ..failed(2) };
    let mut actions = Vec::new();
    answerer.handle_message(&late, SessionId(2), now, &timers, &mut actions);
    assert_eq!((actions, answerer.state()), (Vec::new(), LinkState::Failed(now)));
    let again = crate::wire::Link { generation: 3, ..late };
    let mut actions = Vec::new();
    answerer.handle_message(&again, SessionId(2), now, &timers, &mut actions);
    assert_eq!(actions.first(), Some(&LinkAction::Open(SessionId(2))));
    assert_eq!(hears(&mut answerer, 2), [], "of an earlier generation");
    assert_eq!(answerer.state(), LinkState::Connecting(now));

    let mut offerer = Link::new([1; 16], true, SessionId(1), now, &timers);
    offerer.start(&mut Vec::new());
    for generation in [0, 2, u32::MAX] {
        assert_eq!(hears(&mut offerer, generation), [], "only the offerer begins generations");
    }
    assert_eq!(offerer.state(), LinkState::Connecting(now));
}

/// An end that never says which link it means, or says another one, does not stay.
#[test]
fn a_path_without_the_hello_of_this_link_fails() {
    let (began, timers) = (Instant::now(), CallTimers::default());
    let connected = |says: Option<[u8; 16]>| {
        let mut link = Link::new([1; 16], true, SessionId(1), began, &timers);
        link.remote_described = true;
        let mut actions = Vec::new();
        link.handle_connected(began, &timers, &mut actions);
        says.into_iter().for_each(|id| link.handle_hello(&id, began, &mut actions));
        for second in 0..60 {
            let now = began + Duration::from_secs(second);
            link.handle_traffic(now, &mut actions);
            link.handle_timeout(now, &timers, &mut || SessionId(2), false, &mut actions);
            let failed = |action: &LinkAction| matches!(action, LinkAction::Failed(_) | LinkAction::Impostor);
            if actions.iter().any(failed) {
                return Some(second);
            }
        }
        None
    };
    assert_eq!(connected(Some([1; 16])), None);
    assert_eq!(connected(Some([2; 16])), Some(0));
    assert_eq!(connected(None), Some(timers.connect_limit.as_secs()));
}
