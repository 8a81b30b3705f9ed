//! Runs several cases at a time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::case::{Case, Row};

/// Concurrency and cancellation of a run.
#[derive(Debug)]
pub struct Control {
    lanes: usize,
    stopped: AtomicBool,
}

impl Control {
    /// Runs `jobs` cases at a time, at least one. Scenarios that assert uninterrupted audio run
    /// after all others, a quarter as many at a time.
    pub fn new(lanes: usize) -> Self {
        Self { lanes: lanes.max(1), stopped: AtomicBool::new(false) }
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
pub(super) fn run(cases: Vec<Case>, control: &Control, signaled: &(dyn Fn(&Row) + Sync)) -> Vec<Row> {
    let (quiet, together): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.scenario.quiet_machine);
    let mut rows = in_lanes(together, control.lanes, control, signaled);
    rows.extend(in_lanes(quiet, control.lanes.div_ceil(4), control, signaled));
    rows
}

fn in_lanes(cases: Vec<Case>, lanes: usize, control: &Control, signaled: &(dyn Fn(&Row) + Sync)) -> Vec<Row> {
    let queue = Mutex::new(VecDeque::from(cases));
    let rows = Mutex::new(Vec::new());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while !control.is_stopped()
                    && let Some(case) = next()
                {
                    let row = case.run();
                    signaled(&row);
                    rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
                }
            });
        }
    });
    rows.into_inner().unwrap_or_else(PoisonError::into_inner)
}
