//! Where workers run: on threads for media, or as tasks.

use std::sync::Arc;
use std::time::Instant;

use blink_api::{Clock, Result};
use tokio::sync::mpsc;

use super::media_threads::{MediaThread, MediaThreads};
use super::worker::{self, Worker};

/// How an engine's media workers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pacing {
    /// On threads for media ([`MediaThreads`](crate::MediaThreads)): audio does not wait for other
    /// tasks.
    #[default]
    Threads,
    /// As tasks of the runtime that the engine was started on, so that its clock decides, such as a
    /// paused one in a test.
    Tasks,
}

/// The place where an engine's workers run.
#[derive(Clone)]
pub(crate) enum WorkerHost {
    Thread(MediaThread),
    Tasks,
}

impl WorkerHost {
    /// # Errors
    /// [`Io`](blink_api::ErrorKind::Io) where the system starts no thread.
    pub(crate) fn new(pacing: Pacing, shared: Option<&MediaThreads>) -> Result<Self> {
        Ok(match (pacing, shared) {
            (Pacing::Tasks, _) => Self::Tasks,
            (Pacing::Threads, Some(shared)) => Self::Thread(shared.next()),
            (Pacing::Threads, None) => Self::Thread(MediaThread::dedicated("blink-media")?),
        })
    }

    /// Runs a worker that audio must not wait for: on a thread of its own.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn spawn_dedicated<W>(
        &self,
        name: &str,
        worker: W,
        commands: mpsc::Receiver<W::Command>,
        clock: Arc<dyn Clock>,
    ) -> Result<()>
    where
        W: Worker + Send + 'static,
        W::Command: Send,
    {
        let host = match self {
            Self::Thread(_) => Self::Thread(MediaThread::dedicated(name)?),
            Self::Tasks => Self::Tasks,
        };
        host.add_worker(worker, commands, clock);
        Ok(())
    }

    /// Runs a worker until its command channel is closed.
    pub(super) fn add_worker<W>(&self, worker: W, commands: mpsc::Receiver<W::Command>, clock: Arc<dyn Clock>)
    where
        W: Worker + Send + 'static,
        W::Command: Send,
    {
        match self {
            Self::Thread(thread) => thread.add_worker(worker, commands, clock),
            Self::Tasks => drop(tokio::spawn(worker::run(worker, commands))),
        }
    }

    /// Grid that the ticks of all workers here are on; `None` where there is none.
    pub(super) fn tick_grid(&self) -> Option<Instant> {
        match self {
            Self::Thread(thread) => Some(thread.tick_grid()),
            Self::Tasks => None,
        }
    }
}
