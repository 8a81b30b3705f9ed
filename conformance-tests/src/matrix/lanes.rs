//! Several cases at a time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::case::{Case, Row};

/// How cases are run.
#[derive(Debug)]
pub struct Control {
    lanes: usize,
    stopped: AtomicBool,
}

impl Control {
    /// So many cases at a time, at least one. What asserts that sound is never interrupted runs
    /// after all others, a quarter as many at a time.
    pub fn new(lanes: usize) -> Self {
        Self { lanes: lanes.max(1), stopped: AtomicBool::new(false) }
    }

    /// No further case begins; those that run end as they do.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// Runs all cases; the rows are in the order in which they ended.
pub(super) fn run(cases: Vec<Case>, control: &Control, told: &(dyn Fn(&Row) + Sync)) -> Vec<Row> {
    let (quiet, together): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.scenario.quiet_machine);
    let mut rows = in_lanes(together, control.lanes, control, told);
    rows.extend(in_lanes(quiet, control.lanes.div_ceil(4), control, told));
    rows
}

fn in_lanes(cases: Vec<Case>, lanes: usize, control: &Control, told: &(dyn Fn(&Row) + Sync)) -> Vec<Row> {
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
                    told(&row);
                    rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
                }
            });
        }
    });
    rows.into_inner().unwrap_or_else(PoisonError::into_inner)
}
