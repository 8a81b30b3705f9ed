//! Backends with one defect each, and the case of the suite that names it. The table in
//! `docs/backends.md` has a row for each test.

mod leaky_transport;
mod sabotaged_signaling;
mod sabotaged_transport;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use blink_api::{Registry, Transport};
use blink_conformance::{signaling, transport};

use leaky_transport::Leaky;
use sabotaged_signaling::{Sabotage, Sabotaged};
use sabotaged_transport::{Fault, Faulty};

/// Time limit of a case whose backend blocks a thread.
const SHORT: Duration = Duration::from_secs(2);

/// Verifies that a case passes with the working backend and fails with the sabotaged one, with a
/// failure that contains all of these texts.
fn signaling_case(name: &'static str, case: signaling::Case, sabotage: Sabotage, tells: &[&str]) {
    signaling::run_case(name, || Sabotaged::new(Sabotage::None), case);
    let limit = if sabotage == Sabotage::BlocksForEver { SHORT } else { Duration::from_secs(120) };
    let run = AssertUnwindSafe(|| signaling::run_case_within(limit, name, move || Sabotaged::new(sabotage), case));
    let failure = text_of(std::panic::catch_unwind(run).expect_err("the case does not detect the sabotage"));
    for text in tells {
        assert!(failure.contains(text), "the failure does not say {text:?}: {failure}");
    }
}

fn transport_case(name: &'static str, case: transport::Case, fault: Fault, tells: &[&str]) {
    let pair = |fault| move || (Faulty::new(fault), Faulty::new(Fault::None));
    transport::run_case(name, pair(Fault::None), case);
    let run = AssertUnwindSafe(|| transport::run_case(name, pair(fault), case));
    let failure = text_of(std::panic::catch_unwind(run).expect_err("the case does not detect the fault"));
    for text in tells {
        assert!(failure.contains(text), "the failure does not say {text:?}: {failure}");
    }
}

fn text_of(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

macro_rules! signaling_cases {
    ($($test:ident: $sabotage:ident is told by $case:ident with $tells:expr;)*) => {
        $(#[test]
        fn $test() {
            let case: signaling::Case = |network| Box::pin(signaling::$case(network));
            signaling_case(stringify!($case), case, Sabotage::$sabotage, &$tells);
        })*
    };
}

macro_rules! transport_cases {
    ($($test:ident: $fault:ident is told by $case:ident with $tells:expr;)*) => {
        $(#[test]
        fn $test() {
            let case: transport::Case = |offerer, answerer| {
                Box::pin(async move { _ = transport::$case(offerer, answerer).await })
            };
            transport_case(stringify!($case), case, Fault::$fault, &$tells);
        })*
    };
}

signaling_cases! {
    truncated_messages: Truncates is told by carries_all_sizes with ["node b", "expected: ", "SHA-256", "contract: "];
    repeated_messages: DeliversTwice is told by each_message_is_delivered_once with ["at most once", "again"];
    own_messages: Echoes is told by own_messages_do_not_come_back with ["node a", "\"b's\"", "\"a's\""];
    messages_of_other_topics: MixesTopics is told by topics_are_separate with ["\"second\"", "\"first\""];
    subscriptions_that_stay: NeverUnsubscribes is told by dropping_unsubscribes with ["last subscription is dropped"];
    unheard_messages: AcceptsEverything is told by publishing_without_subscribers_fails with ["NoSubscribers", "got:      Ok"];
    a_slow_publish: SleepsInPublish is told by delivers_both_ways with ["node a: Signaling::publish took", "Timing"];
    a_publish_that_blocks: BlocksForEver is told by delivers_both_ways with ["delivers_both_ways: ", "a: Signaling::publish"];
    a_shutdown_that_never_ends: NeverShutsDown is told by shutdown_sends_what_was_published with ["node a: shuts down"];
    a_leak_on_drop: LeaksOnDrop is told by a_dropped_node_leaves_the_network with ["section Drop"];
    no_forwarding: NeverForwards is told by forwarding_is_as_declared with ["node c", "`forwarding`"];
    unannounced_subscribers: TellsNoSubscribers is told by subscribers_are_announced with ["SubscriberJoined"];
    events_after_shutdown: TellsAfterShutdown is told by nothing_is_told_after_shutdown with ["no further events"];
}

transport_cases! {
    truncated_packets: Truncates is told by packets_are_delivered_unchanged with ["the payload", "bytes"];
    repeated_packets: DeliversTwice is told by packets_are_delivered_unchanged with ["each packet is delivered once"];
    a_slow_send: SleepsInSend is told by packets_are_delivered_unchanged with ["offerer: Session::send_rtp took"];
    unchecked_fingerprints: IgnoresFingerprints is told by other_fingerprints_are_refused with ["offerer", "Encryption"];
    a_network_without_encryption: IsPlain is told by other_fingerprints_are_refused with ["`network` without `encryption`"];
    a_session_that_never_closes: NeverCloses is told by everything_fails_after_close with [""];
}

#[test]
fn payloads_in_plain_text() {
    let name = "nothing_is_readable_on_the_wire";
    let case: transport::Case = |offerer, answerer| {
        Box::pin(async move { _ = transport::nothing_is_readable_on_the_wire(offerer, answerer).await })
    };
    let pair = |leaks| move || (Leaky::new(leaks), Leaky::new(false));
    transport::run_case(name, pair(false), case);
    let run = AssertUnwindSafe(|| transport::run_case(name, pair(true), case));
    let failure = text_of(std::panic::catch_unwind(run).expect_err("the case does not detect the fault"));
    assert!(failure.contains("in plain text") && failure.contains("section Encryption"), "{failure}");
}

/// An entry that declares more than its backend does.
#[test]
fn other_capabilities_than_those_of_the_entry() {
    let registry = Registry::discovered().expect("backends have different names");
    assert!(registry.entry::<dyn Transport>("declares-video").is_ok());
    let verify = || blink_conformance::registration::verify::<dyn Transport>("declares-video");
    let failure = text_of(std::panic::catch_unwind(verify).expect_err("the difference is not noticed"));
    assert!(failure.contains("declares other capabilities than its entry"), "{failure}");
    blink_conformance::registration::verify::<dyn Transport>("memory");
}
