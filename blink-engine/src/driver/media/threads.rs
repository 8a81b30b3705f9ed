//! The threads that sound and pictures are worked on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use blink_api::{Clock, Result};
use tokio::sync::mpsc;

use super::Worker;
use crate::media::TICK;

/// Engines that share a thread are woken together: for a tick that is due between two times of a grid of this width, at the later of them.
const GRID: Duration = Duration::from_millis(1);

/// Threads that several engines of one process work their sound on, where each would otherwise have one of its own. A thread that wakes for one engine's tick does those
/// of all others that are due, which is most of what a call costs beside its codec.
///
/// Engines that share a thread wait for each other's work: use about as many threads as there are processors. A thread ends when the last handle is dropped and no engine uses it any more.
#[derive(Debug, Clone)]
pub struct MediaThreads {
    threads: Arc<[MediaThread]>,
    used: Arc<AtomicUsize>,
}

impl MediaThreads {
    /// So many threads; at least one.
    ///
    /// # Errors
    /// [`Io`](blink_api::ErrorKind::Io) where the system starts no more.
    pub fn new(count: usize) -> Result<Self> {
        let threads: Result<Vec<_>> = (0..count.max(1)).map(|_| MediaThread::start("blink-media", GRID)).collect();
        Ok(Self { threads: threads?.into(), used: Arc::default() })
    }

    /// The next one in turn.
    pub(in crate::driver) fn next(&self) -> MediaThread {
        self.threads[self.used.fetch_add(1, Ordering::Relaxed) % self.threads.len()].clone()
    }
}

/// A thread that workers can be put on. It ends with the last of these and of the workers.
#[derive(Debug, Clone)]
pub(crate) struct MediaThread {
    jobs: mpsc::UnboundedSender<Box<dyn Job>>,
    /// Ticks that begin a multiple of [`TICK`] after this are due together.
    epoch: Instant,
}

impl MediaThread {
    pub(super) fn start(name: &str, grid: Duration) -> Result<Self> {
        let (jobs, queue) = mpsc::unbounded_channel();
        let epoch = Instant::now();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || run(queue, epoch, grid))?;
        Ok(Self { jobs, epoch })
    }

    /// For one engine: its ticks wait for nothing.
    pub(in crate::driver) fn alone(name: &str) -> Result<Self> {
        Self::start(name, Duration::ZERO)
    }

    /// Runs a worker until nobody can tell it anything more.
    pub(super) fn put<W>(&self, worker: W, commands: mpsc::Receiver<W::Command>, clock: Arc<dyn Clock>)
    where
        W: Worker + Send + 'static,
        W::Command: Send,
    {
        // The thread is there while this is.
        self.jobs.send(Box::new(Seat { worker, commands, clock })).ok();
    }

    /// The first time not before `now` at which others tick too.
    pub(super) fn align(&self, now: Instant) -> Instant {
        up_to(self.epoch, now, TICK)
    }
}

/// What a thread runs beside others.
trait Job: Send + std::fmt::Debug {
    /// Does what there is to do.
    fn go(&mut self, context: &mut Context<'_>) -> Next;
}

/// When a job wants to go on.
enum Next {
    /// After so long, or with the next command.
    In(Duration),
    /// With the next command.
    Told,
    Never,
}

/// A worker with what it is told.
struct Seat<W: Worker> {
    worker: W,
    commands: mpsc::Receiver<W::Command>,
    clock: Arc<dyn Clock>,
}

impl<W: Worker> std::fmt::Debug for Seat<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::any::type_name::<W>())
    }
}

impl<W> Job for Seat<W>
where
    W: Worker + Send,
    W::Command: Send,
{
    /// Commands come first: a worker that does not keep up with its ticks must still hear that it should stop.
    fn go(&mut self, context: &mut Context<'_>) -> Next {
        loop {
            match self.commands.poll_recv(context) {
                Poll::Ready(Some(command)) => self.worker.handle(command),
                Poll::Ready(None) => {
                    self.worker.finish();
                    return Next::Never;
                }
                Poll::Pending => break,
            }
        }
        let left = |worker: &W| worker.next().map(|due| due.saturating_duration_since(self.clock.now()));
        if left(&self.worker) == Some(Duration::ZERO) {
            self.worker.work();
        }
        left(&self.worker).map_or(Next::Told, Next::In)
    }
}

/// Runs whatever jobs come. Sleeps by the system's clock, to within microseconds: timers of a runtime count milliseconds.
fn run(mut queue: mpsc::UnboundedReceiver<Box<dyn Job>>, epoch: Instant, grid: Duration) {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut jobs: Vec<Box<dyn Job>> = Vec::new();
    loop {
        let closed = loop {
            match queue.poll_recv(&mut context) {
                Poll::Ready(Some(job)) => jobs.push(job),
                Poll::Ready(None) => break true,
                Poll::Pending => break false,
            }
        };
        let mut least: Option<Duration> = None;
        jobs.retain_mut(|job| {
            // A device may be anybody's code; whoever else is here goes on.
            let next = catch_unwind(AssertUnwindSafe(|| job.go(&mut context))).unwrap_or_else(|_| {
                tracing::error!(?job, "a media worker panicked and is gone");
                Next::Never
            });
            if let Next::In(left) = next {
                least = Some(least.map_or(left, |least| least.min(left)));
            }
            !matches!(next, Next::Never)
        });
        if closed && jobs.is_empty() {
            return;
        }
        match least {
            Some(Duration::ZERO) => {}
            // A command ends the sleep; so may nothing at all, which does no harm.
            Some(left) => {
                let now = Instant::now();
                std::thread::park_timeout(up_to(epoch, now + left, grid) - now);
            }
            None => std::thread::park(),
        }
    }
}

/// The first time not before `at` on a grid that begins at `epoch`; `at` where it has no width.
fn up_to(epoch: Instant, at: Instant, grid: Duration) -> Instant {
    let into = at.saturating_duration_since(epoch).as_nanos().checked_rem(grid.as_nanos()).unwrap_or(0);
    if into == 0 { at } else { at + grid - Duration::from_nanos(into as u64) }
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blink_api::SystemClock;
    use tokio::sync::oneshot;

    /// Says when it works; panics when told to.
    struct Counting {
        next: Option<Instant>,
        ticks: mpsc::UnboundedSender<&'static str>,
        name: &'static str,
        over: Option<oneshot::Sender<()>>,
    }

    impl Worker for Counting {
        type Command = bool;

        fn next(&self) -> Option<Instant> {
            self.next
        }

        fn work(&mut self) {
            self.next = self.next.map(|next| next + TICK);
            self.ticks.send(self.name).ok();
        }

        fn handle(&mut self, panics: bool) {
            assert!(!panics, "told to panic");
            self.next = Some(Instant::now());
        }

        fn finish(&mut self) {
            self.over.take().map(|over| over.send(()));
        }
    }

    #[tokio::test]
    async fn workers_of_a_thread_go_on_when_one_of_them_panics_and_end_with_their_commands() {
        let threads = MediaThreads::new(1).unwrap();
        let (ticks, mut ticked) = mpsc::unbounded_channel();
        let put = |name| {
            let (commands, queue) = mpsc::channel(8);
            let (over, ended) = oneshot::channel();
            let worker = Counting { next: None, ticks: ticks.clone(), name, over: Some(over) };
            threads.next().put(worker, queue, Arc::new(SystemClock));
            (commands, ended)
        };
        let (broken, sound) = (put("broken"), put("sound"));
        broken.0.send(false).await.unwrap();
        while ticked.recv().await != Some("broken") {}
        broken.0.send(true).await.unwrap();
        assert!(broken.1.await.is_err(), "it was not finished, it is gone");
        sound.0.send(false).await.unwrap();
        while ticked.recv().await != Some("sound") {}
        drop(threads);
        while ticked.recv().await != Some("sound") {}
        drop(sound.0);
        assert_eq!(sound.1.await, Ok(()));
    }

    #[test]
    fn times_are_rounded_up_to_the_grid() {
        let epoch = Instant::now();
        let at = |micros| epoch + Duration::from_micros(micros);
        for (given, grid, found) in
            [(0, 1_000, 0), (1, 1_000, 1_000), (10_000, 1_000, 10_000), (10_001, 10_000, 20_000)]
        {
            assert_eq!(up_to(epoch, at(given), Duration::from_micros(grid)), at(found));
        }
        assert_eq!(up_to(epoch, at(17), Duration::ZERO), at(17));
        assert_eq!(up_to(at(5_000), at(17), GRID), at(17));
    }
}
