//! Tests of the suite itself: broken backends, each of which a named scenario or conformance test
//! must detect.

mod broken_signaling;
mod broken_transport;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use blink_api::{Registry, Signaling, Transport};
use blink_conformance::lab::{FailureKind, LabConfig, Timing};
use blink_conformance::matrix::{Control, Matrix, Pairing, Verdict};
use blink_conformance::{scenarios, transport as contract};
use blink_signaling_memory as _;
use blink_transport_memory as _;

use broken_transport::Defect;

/// Verifies that a scenario passes over working backends, and fails by an assertion if the first or
/// the second participant has a broken one.
fn is_caught_by(transports: [&str; 2], signalings: [&str; 2], number: u8) {
    let config = |transports: [&str; 2], signalings: [&str; 2]| {
        let config = LabConfig::new(registry().unwrap(), "memory", "memory", Timing::Virtual);
        LabConfig { transports: transports.map(str::to_owned), signalings: signalings.map(str::to_owned), ..config }
    };
    let scenario =
        scenarios::all().into_iter().find(|scenario| scenario.number == number).expect("it is a number of one");
    on_paused_time(scenario.run_on(&config(["memory"; 2], ["memory"; 2])))
        .expect("the scenario holds over working backends");
    let failure = on_paused_time(scenario.run_on(&config(transports, signalings)));
    let failure = failure.expect_err("the scenario does not detect the broken backend");
    assert_eq!(failure.kind(), FailureKind::Assertion, "{failure}");
}

#[test]
fn dropped_candidates_are_caught_by_01_accept() {
    is_caught_by(["drops-candidates", "memory"], ["memory"; 2], 1);
    is_caught_by(["memory", "drops-candidates"], ["memory"; 2], 1);
}

#[test]
fn a_transport_that_stops_reading_is_caught_by_21_three_way() {
    is_caught_by(["stops-reading", "memory"], ["memory"; 2], 21);
    is_caught_by(["memory", "stops-reading"], ["memory"; 2], 21);
}

#[test]
fn reordered_messages_of_the_data_channel_are_caught_by_the_contract() {
    is_caught_by_contract(Defect::Reorders, |broken| {
        Box::pin(contract::messages_are_delivered_both_ways(broken, broken))
    });
}

#[test]
fn sessions_that_never_close_are_caught_by_the_contract() {
    is_caught_by_contract(Defect::NeverCloses, |broken| {
        Box::pin(contract::everything_fails_after_close(broken, broken))
    });
}

#[test]
fn gathering_and_sending_before_negotiation_is_caught_by_the_contract() {
    is_caught_by_contract(Defect::GathersEarly, |broken| {
        Box::pin(contract::nothing_happens_before_negotiation(broken))
    });
}

/// A declared ability that is missing fails in the scenario that needs it; an ability that is
/// present but not declared is detected too.
#[test]
fn lies_about_capabilities_are_caught_by_41_offer_request_close() {
    is_caught_by(["claims-video", "memory"], ["memory"; 2], 41);
    let names = |name: &str| [name.to_owned(), name.to_owned()];
    let verdict = |transport: &str| {
        let pairing = Pairing { transports: names(transport), signalings: names("memory") };
        let matrix = Matrix::new(registry, vec![pairing]).only(|number| number == 41);
        matrix.run(&Control::new(1), &|_| {}).remove(0).verdict
    };
    let Verdict::Failed(why) = verdict("hides-video") else { panic!("it was not noticed") };
    assert!(why.contains("does not refuse it"), "{why}");
    assert!(matches!(verdict("no-video"), Verdict::Unsupported(_)), "what is declared and expect_error is no failure");
}

#[test]
fn signaling_that_stops_reading_is_caught_by_03_cancel() {
    is_caught_by(["memory"; 2], ["memory", "stops-reading"], 3);
}

#[test]
fn signaling_without_subscriber_events_is_caught_by_06_starts_after_expiry() {
    is_caught_by(["memory"; 2], ["tells-no-subscribers", "memory"], 6);
}

/// All backends, including the broken ones.
fn registry() -> blink_api::Result<Registry> {
    let mut registry = Registry::discovered()?;
    for entry in broken_transport::ENTRIES {
        registry = registry.with::<dyn Transport>(entry)?;
    }
    for entry in broken_signaling::ENTRIES {
        registry = registry.with::<dyn Signaling>(entry)?;
    }
    Ok(registry)
}

type Verification = for<'a> fn(&'a dyn Transport) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Verifies that a conformance test passes for the working transport, and panics for the broken
/// one.
fn is_caught_by_contract(defect: Defect, verify: Verification) {
    let verify = |transport: &dyn Transport| {
        on_paused_time(async {
            tokio::time::timeout(Duration::from_secs(60), verify(transport)).await.expect("it ends");
        });
    };
    verify(&broken_transport::working());
    let broken = broken_transport::broken(defect);
    let caught = std::panic::catch_unwind(AssertUnwindSafe(|| verify(&broken)));
    assert!(caught.is_err(), "the test does not detect the broken transport");
}

fn on_paused_time<T>(run: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().expect("a single-threaded runtime");
    runtime.block_on(run)
}
