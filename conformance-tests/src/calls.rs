//! Call scenarios as ordinary tests.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use blink_api::Registry;

use crate::matrix::{Case, Matrix, Pairing, Verdict};

/// Held for reading by scenarios that may run beside others, for writing by those that assert
/// uninterrupted audio. Under nextest each test is a process: see `docs/backends.md`.
static QUIET: RwLock<()> = RwLock::new(());

/// Filtered samples per second of audio that a participant needs, roughly: codec, echo cancellation
/// and mixing.
const WORK: usize = 2_000_000;
/// Sleep of the thread that measures how busy the machine is, and the delay that interrupts audio.
const SAMPLE: Duration = Duration::from_millis(5);
const LATE: Duration = Duration::from_millis(20);
/// Greatest share of real time for the work of one participant.
const MAX_SHARE: f64 = 0.25;

/// Runs one scenario over a pair of transports and a pair of signaling backends, in real time.
///
/// A scenario that needs an ability which a transport does not declare passes if the transport
/// refuses it with `Unsupported`. Scenarios that assert uninterrupted audio run alone in the
/// process; where one fails, and the machine or the profile is too slow for audio, the failure says
/// so first.
///
/// # Panics
/// The scenario fails, or there is none with this title.
pub fn run_call_test(title: &str, transports: [&str; 2], signalings: [&str; 2], settings: &[&str]) {
    let owned = |names: [&str; 2]| names.map(str::to_owned);
    let pairing = Pairing { transports: owned(transports), signalings: owned(signalings) };
    let matrix = Matrix::new(Registry::discovered, vec![pairing]).settings(settings.iter().copied());
    let case = matrix.cases().into_iter().find(|case| case.scenario.title() == title);
    let case = case.unwrap_or_else(|| panic!("there is no scenario {title}"));
    if case.scenario.quiet_machine {
        let _alone = QUIET.write().unwrap_or_else(PoisonError::into_inner);
        judge(&case);
    } else {
        let _beside_others = QUIET.read().unwrap_or_else(PoisonError::into_inner);
        judge(&case);
    }
}

#[expect(clippy::print_stderr, reason = "a test that verifies a refusal instead says so")]
fn judge(case: &Case) {
    let measures = case.scenario.quiet_machine;
    let slow = if measures { too_slow() } else { None };
    let (verdict, busy) = if measures { watched(|| case.run().verdict) } else { (case.run().verdict, None) };
    let slow = slow.or(busy);
    match verdict {
        Verdict::Passed => {}
        Verdict::Unsupported(what) => eprintln!("{}: {what}, and is refused with Unsupported", case.name()),
        Verdict::Waiting(what) => panic!("{}: waits for {what}", case.name()),
        Verdict::Failed(why) => match slow {
            None => panic!("{}: {why}", case.name()),
            Some(slow) => panic!("{}: {slow}\n{why}", case.name()),
        },
    }
}

/// Runs a case, and measures how late a thread wakes meanwhile. Returns why audio may have been
/// interrupted, if the machine was too busy for it.
fn watched<T>(run: impl FnOnce() -> T) -> (T, Option<String>) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampling = scope.spawn(|| {
            let (mut late, mut longest) = (0, Duration::ZERO);
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                std::thread::sleep(SAMPLE);
                let delay = began.elapsed().saturating_sub(SAMPLE);
                late += usize::from(delay > LATE);
                longest = longest.max(delay);
            }
            (late, longest)
        });
        let result = run();
        is_over.store(true, Ordering::Relaxed);
        let (late, longest) = sampling.join().unwrap_or_default();
        let busy = (late > 0).then(|| {
            format!(
                "this scenario asserts uninterrupted audio, and the machine was busy with something else: {late} times \
                 a thread woke more than {LATE:?} late, by up to {longest:?}. Run it again alone"
            )
        });
        (result, busy)
    })
}

/// Measures whether this machine, with this profile, has the time for uninterrupted audio.
fn too_slow() -> Option<String> {
    let measure = || {
        let began = Instant::now();
        let (mut state, mut sum) = (0.5f32, 0.0f32);
        for number in 0..WORK {
            state = black_box(state).mul_add(0.97, (number % 7) as f32 * 0.01);
            sum += black_box(state * state);
        }
        black_box(sum);
        began.elapsed()
    };
    // The best of three: others may have had the processor.
    let took = (0..3).map(|_| measure()).min().unwrap_or_default();
    let share = took.as_secs_f64() / Duration::from_secs(1).as_secs_f64();
    (share > MAX_SHARE).then(|| {
        format!(
            "this scenario asserts uninterrupted audio, for which this build is too slow: work of 1 s of audio took \
             {took:?}, more than {:.0} %. Compile tests with `opt-level = 1` in `[profile.dev]` and \
             `[profile.dev.package.\"*\"]` (docs/backends.md)",
            MAX_SHARE * 100.0
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::scenarios;

    /// The titles in the macro, which cannot be computed there.
    #[test]
    fn the_macro_has_a_test_for_each_scenario() {
        let source = include_str!("call_tests.rs");
        for scenario in scenarios::all() {
            assert!(source.contains(&format!("\"{}\"", scenario.title())), "{} is missing", scenario.title());
        }
        assert_eq!(source.matches(" = \"").count(), scenarios::all().len(), "each title is that of a scenario");
    }
}
