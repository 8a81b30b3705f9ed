//! Watchdog of cases: where a backend blocks, it names the case and the methods in progress, and
//! it reports methods that exceed the time limits of the contract.
//!
//! A case runs on a thread of its own. A backend that never returns cannot be stopped: its thread
//! is left behind when the case fails.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Factor on the limits of the contract before a method counts as too slow: other tests may take
/// the processor.
const TOLERANCE: u32 = 2;

/// Methods of backends in progress, shared by all that belong to a case. Cheap to clone.
#[derive(Clone, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    next: u64,
    running: Vec<Running>,
    overruns: Vec<String>,
}

#[derive(Clone)]
struct Running {
    number: u64,
    node: String,
    method: &'static str,
    since: Instant,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

/// A method in progress, until it is dropped.
#[derive(Debug)]
pub struct InProgress {
    progress: Progress,
    number: u64,
    limit: Duration,
}

impl Progress {
    /// Records that a method of a node begins, which must return within `limit`.
    pub fn begin(&self, node: &str, method: &'static str, limit: Duration) -> InProgress {
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        state.running.push(Running { number, node: node.to_owned(), method, since: Instant::now() });
        InProgress { progress: self.clone(), number, limit }
    }

    /// All methods in progress, one a line, the oldest first.
    pub fn describe(&self) -> String {
        let running = self.state().running.clone();
        if running.is_empty() {
            return "no method of a backend".to_owned();
        }
        let line = |running: &Running| {
            let Running { node, method, since, .. } = running;
            format!("{node}: {method}, for {:.1} s", since.elapsed().as_secs_f32())
        };
        running.iter().map(line).collect::<Vec<_>>().join("\n  ")
    }

    /// Methods that took longer than the contract allows, in order.
    pub fn overruns(&self) -> Vec<String> {
        self.state().overruns.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        let mut state = self.progress.state();
        let Some(place) = state.running.iter().position(|running| running.number == self.number) else { return };
        let Running { node, method, since, .. } = state.running.remove(place);
        let took = since.elapsed();
        if took > self.limit * TOLERANCE {
            state.overruns.push(format!(
                "node {node}: {method} took {:.1} s, and the contract allows {:.1} s (section Timing of the trait)",
                took.as_secs_f32(),
                self.limit.as_secs_f32()
            ));
        }
    }
}

/// Runs a case on a thread of its own. Returns the result, or why there is none.
///
/// # Errors
/// The case has not ended after `limit`: the methods in progress.
pub fn run<T: Send + 'static>(
    limit: Duration,
    progress: &Progress,
    case: impl FnOnce() -> T + Send + 'static,
) -> Result<std::thread::Result<T>, String> {
    let (done, ended) = channel();
    let thread = std::thread::Builder::new().name("case".to_owned()).spawn(move || {
        // The receiver is gone after the limit.
        done.send(std::panic::catch_unwind(AssertUnwindSafe(case))).ok();
    });
    if let Err(error) = thread {
        return Err(format!("there is no thread for the case: {error}"));
    }
    match ended.recv_timeout(limit) {
        Ok(result) => Ok(result),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(format!(
            "the case has not ended after {limit:?}. A backend blocks a thread, or a method never returns. \
             In progress:\n  {}",
            progress.describe()
        )),
    }
}

/// Runs a case as a test: panics where it panics, does not end, or a method took too long.
///
/// # Panics
/// With the name of the case and the reason.
pub fn run_test(name: &str, limit: Duration, progress: &Progress, case: impl FnOnce() + Send + 'static) {
    match run(limit, progress, case) {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(why) => panic!("{name}: {why}"),
    }
    let overruns = progress.overruns();
    assert!(overruns.is_empty(), "{name}: too slow\n  {}", overruns.join("\n  "));
}

/// Runs an asynchronous case as [`run_test`] does, on a runtime of its own with two threads.
///
/// # Panics
/// As [`run_test`].
pub fn run_async_test<F: Future<Output = ()>>(
    name: &str,
    limit: Duration,
    progress: &Progress,
    case: impl FnOnce() -> F + Send + 'static,
) {
    run_test(name, limit, progress, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime can be built").block_on(async { case().await });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn a_case_that_blocks_is_told_with_the_method_in_progress() {
        let progress = Progress::default();
        let (release, blocked) = channel::<()>();
        let inside = progress.clone();
        let result = run(SHORT, &progress, move || {
            let _publish = inside.begin("a", "Signaling::publish", SHORT);
            blocked.recv().ok();
        });
        let why = result.expect_err("it blocks");
        assert!(why.contains("a: Signaling::publish"), "{why}");
        drop(release);
    }

    #[test]
    fn a_method_beyond_its_limit_is_reported_once_it_returns() {
        let progress = Progress::default();
        drop(progress.begin("a", "Signaling::publish", SHORT));
        assert!(progress.overruns().is_empty());
        let slow = progress.begin("b", "Signaling::shutdown", Duration::ZERO);
        std::thread::sleep(Duration::from_millis(1));
        drop(slow);
        let overruns = progress.overruns();
        assert!(matches!(&overruns[..], [one] if one.contains("node b: Signaling::shutdown")), "{overruns:?}");
    }

    #[test]
    fn a_panic_of_a_case_is_passed_on() {
        let panic = std::panic::catch_unwind(|| {
            run_test("case", Duration::from_secs(60), &Progress::default(), || panic!("why"));
        });
        assert_eq!(panic.expect_err("it panics").downcast_ref::<&str>(), Some(&"why"));
    }
}
