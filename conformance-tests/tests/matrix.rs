//! Matrix of call scenarios on real sockets, for every ordered pair of network transports and of
//! network signaling backends, in real time.
//!
//! The default is the quick set, a selection for every pairing; `BLINK_MATRIX=full` runs all
//! scenarios. Scenarios that are not implemented are listed as ignored. A pairing without a case is
//! a failure.

use blink_api::{Registry, Signaling, Transport};
use blink_conformance::matrix::{Case, Matrix, Pairing, QUICK, Row, Verdict};
use blink_media_cpal_opus as _;
use blink_signaling_ipfs as _;
use blink_signaling_libp2p as _;
use blink_transport_str0m as _;
use blink_transport_webrtc_rs as _;
use libtest_mimic::{Arguments, Failed, Trial};

/// Concurrent cases, which are mostly idle.
const LANES: usize = 16;

fn main() {
    let mut arguments = Arguments::from_args();
    let full = std::env::var("BLINK_MATRIX").is_ok_and(|which| which == "full");
    let matrix = Matrix::new(Registry::discovered, pairings()).settings([
        r#"signalings.libp2p.listen=["/ip4/127.0.0.1/tcp/0"]"#,
        "signalings.libp2p.mdns=false",
        r#"signalings.ipfs.listen=["/ip4/127.0.0.1/tcp/0"]"#,
        "signalings.ipfs.mdns=false",
        r#"ice.interfaces=["127.0.0.1"]"#,
    ]);
    let matrix = if full { matrix } else { matrix.only(|number| QUICK.contains(&number)) };
    let (quiet, together): (Vec<_>, Vec<_>) = matrix.cases().into_iter().partition(|case| case.scenario.quiet_machine);
    let trial = |case: Case| Trial::test(case.name(), move || decide(&case.run()));
    let mut trials: Vec<Trial> = together.into_iter().map(trial).collect();
    let quiet = quiet.into_iter().map(trial);
    let counted = matrix.clone();
    trials.push(Trial::test("every_pairing_has_cases", move || has_cases(&counted)));
    let waits = |row: Row| Trial::test(row.name(), || Ok(())).with_ignored_flag(true);
    trials.extend(matrix.waiting().into_iter().map(waits));
    // nextest runs a process per test; `.config/nextest.toml` limits what runs concurrently.
    if std::env::var_os("NEXTEST").is_some() || arguments.list {
        trials.extend(quiet);
        libtest_mimic::run(&arguments, trials).exit();
    }
    let lanes = *arguments.test_threads.get_or_insert(LANES);
    let first = libtest_mimic::run(&arguments, trials);
    arguments.test_threads = Some(lanes.div_ceil(4));
    let second = libtest_mimic::run(&arguments, quiet.collect());
    if first.has_failed() { first.exit() } else { second.exit() }
}

/// Every ordered pair of all backends that use a network.
fn pairings() -> Vec<Pairing> {
    let registry = Registry::discovered().expect("backends have different names");
    let transports = registry.entries::<dyn Transport>().filter(|entry| entry.capabilities.network);
    let transports: Vec<_> = transports.map(|entry| entry.name.to_owned()).collect();
    let signalings = registry.entries::<dyn Signaling>().filter(|entry| entry.capabilities.network);
    let signalings: Vec<_> = signalings.map(|entry| entry.name.to_owned()).collect();
    Pairing::all(&transports, &signalings)
}

/// All backends of this repository support everything, so that `Unsupported` is a failure.
fn decide(row: &Row) -> Result<(), Failed> {
    match &row.verdict {
        Verdict::Passed => Ok(()),
        Verdict::Failed(why) => Err(why.into()),
        Verdict::Waiting(what) => Err(format!("waits for {what}, and was run").into()),
        Verdict::Unsupported(what) => Err(format!("is not supported: {what}").into()),
    }
}

fn has_cases(matrix: &Matrix) -> Result<(), Failed> {
    let cases = matrix.cases();
    for pairing in matrix.pairings() {
        if !cases.iter().any(|case| case.pairing == *pairing) {
            return Err(format!("{pairing} has no case").into());
        }
    }
    if matrix.pairings().len() < 16 { Err("there are fewer than sixteen pairings".into()) } else { Ok(()) }
}
