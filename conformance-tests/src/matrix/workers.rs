//! Runs several cases at a time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::case::{Case, Row};

/// Concurrency and cancellation of a run.
#[derive(Debug)]
pub struct Control {
    jobs: usize,
    stopped: AtomicBool,
}

impl Control {
    /// Runs `jobs` cases at a time, at least one. Scenarios that assert uninterrupted audio run
    /// after all others, a quarter as many at a time.
    pub fn new(jobs: usize) -> Self {
        Self { jobs: jobs.max(1), stopped: AtomicBool::new(false) }
    }

    /// Starts no further case. Running cases complete.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// Runs all cases; the rows are in order of completion.
pub(super) fn run(cases: Vec<Case>, control: &Control, on_row: &(dyn Fn(&Row) + Sync)) -> Vec<Row> {
    let (quiet, together): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.scenario.quiet_machine);
    let mut rows = run_jobs(together, control.jobs, control, on_row);
    rows.extend(run_jobs(quiet, control.jobs.div_ceil(4), control, on_row));
    rows
}

fn run_jobs(cases: Vec<Case>, jobs: usize, control: &Control, on_row: &(dyn Fn(&Row) + Sync)) -> Vec<Row> {
    let queue = Mutex::new(VecDeque::from(cases));
    let rows = Mutex::new(Vec::new());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !control.is_stopped()
                    && let Some(case) = next()
                {
                    let row = case.run();
                    on_row(&row);
                    rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
                }
            });
        }
    });
    rows.into_inner().unwrap_or_else(PoisonError::into_inner)
}
