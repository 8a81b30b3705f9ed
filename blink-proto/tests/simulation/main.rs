//! Random calls on an impaired network: after the last fault, all members of a call agree on its
//! state.
//!
//! Each seed is one simulation of two to eight devices, some of one identity. For at least a minute
//! their users perform random actions of the API, while messages are lost, duplicated, delayed and
//! reordered, devices crash and restart with and without memory, clocks jump, and paths and
//! signaling fail in one direction, both, or between halves of the network. Then all faults stop.
//! Within 40 s all devices must agree; then all leave, and no state may remain.
//!
//! Most simulations exchange message bodies, for speed. Every 20th seals and opens envelopes as the
//! driver does, and another 20th has attackers as well.
//!
//! `SIM_SEEDS=10000` sets the number of seeds, `SIM_FIRST` the first one, `SIM_LOSS=30` the message
//! loss in percent. A seed that fails is run again and prints its transcript.

mod actions;
mod callers;
mod faults;
mod floods;
mod forgery;
mod hostile;
mod invariants;
mod liveness;
mod plan;
mod replays;
mod tally;
mod user_view;

use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use plan::Plan;
use tally::Tally;

/// Number of seeds in CI.
const SEEDS: u64 = 3_000;
/// Number of seeds of one test.
const BATCH: u64 = 250;

/// Seeds that found a fault, which is fixed.
const FAILED_ONCE: [(&str, u64); 15] = [
    ("state_received_before_the_call_was_joined", 2),
    ("rejoining_deafened", 425),
    ("stream_offered_before_the_call_was_joined", 395),
    ("leaving_a_replaced_call", 341),
    ("restart_in_a_replaced_call", 478),
    ("two_devices_of_one_identity_and_a_revoked_call", 3_897),
    ("two_devices_of_one_identity_each_alone_in_a_group", 3_075),
    ("clock_set_back_and_memory_lost", 6_487),
    ("clock_set_back_and_no_member_to_report_it", 8_375),
    ("link_id_of_an_unverified_key", 4_810),
    ("late_failure_of_a_path", 3_905),
    ("restart_of_one_side_of_a_path", 5_961),
    ("path_up_on_one_side_and_given_up_on_the_other", 187),
    ("path_closed_on_one_side_only", 7_104),
    ("invitation_given_to_somebody_else", 190),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tally = Arc::new(Tally::default());
    let (first, seeds) = (setting("SIM_FIRST").unwrap_or(0), setting("SIM_SEEDS").unwrap_or(SEEDS));
    let mut trials = Vec::new();
    for begin in (first..first + seeds).step_by(BATCH as usize) {
        let range = begin..(begin + BATCH).min(first + seeds);
        let tally = tally.clone();
        let name = format!("all_members_agree_after_the_last_fault::{begin:06}");
        trials.push(Trial::test(name, move || simulate(range, &tally)));
    }
    for (what, seed) in FAILED_ONCE {
        trials.push(Trial::test(format!("failed_once::{what}"), move || simulate(seed..seed + 1, &Tally::default())));
    }
    trials.push(Trial::test("a_seed_is_reproducible", a_seed_is_reproducible));
    trials.extend(liveness::trials());
    trials.extend(floods::trials());
    trials.extend(replays::trials());
    trials.extend(callers::trials());
    let conclusion = libtest_mimic::run(&arguments, trials);
    tally.print();
    conclusion.exit_code()
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}

/// Runs a range of seeds, all of them even if one fails.
fn simulate(seeds: Range<u64>, tally: &Tally) -> Result<(), Failed> {
    let mut failed = Vec::new();
    for seed in seeds {
        let plan = Plan::of(seed).with_loss(setting("SIM_LOSS"));
        match plan.run(false) {
            Ok(simulation) => tally.count(seed, &simulation),
            Err(fault) => {
                tally.count_fault(seed, fault.kind);
                failed.push((seed, fault));
            }
        }
    }
    let Some((seed, _)) = failed.first() else { return Ok(()) };
    let transcript = Plan::of(*seed)
        .with_loss(setting("SIM_LOSS"))
        .run(true)
        .err()
        .map_or_else(|| "it does not fail twice".to_owned(), |again| again.text);
    let seeds: Vec<_> =
        failed.iter().map(|(seed, fault)| format!("seed {seed}: {:?}: {:.600}", fault.kind, fault.text)).collect();
    Err(format!("{transcript}\nthis was seed {seed}. {} failed:\n{}", failed.len(), seeds.join("\n")).into())
}

fn a_seed_is_reproducible() -> Result<(), Failed> {
    // Bodies, sealed envelopes, and attackers.
    for seed in [7, 20, 30] {
        let transcript = || Plan::of(seed).transcript();
        if transcript() != transcript() {
            return Err(format!("two runs of seed {seed} differ").into());
        }
    }
    if Plan::of(7).transcript() == Plan::of(8).transcript() {
        return Err("two seeds have the same transcript".into());
    }
    Ok(())
}
