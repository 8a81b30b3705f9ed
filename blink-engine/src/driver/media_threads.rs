//! Threads that media workers run on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use blink_api::{Clock, Result};
use tokio::sync::mpsc;

use super::worker::Worker;

/// Engines that share a thread are woken together: for a tick that is due between two times of a
/// grid of this width, at the later of them.
const GRID: Duration = Duration::from_millis(1);

/// Threads for the media of several engines of one process, each of which would otherwise have a
/// thread of its own. A thread that wakes for one engine's tick does those of all others that are
/// due; waking up is most of what a call costs beside its codec.
///
/// Engines that share a thread wait for each other's ticks: use about as many threads as there are
/// processors. A thread ends when the last handle is dropped and no engine uses it any more.
#[derive(Debug, Clone)]
pub struct MediaThreads {
    threads: Arc<[MediaThread]>,
    used: Arc<AtomicUsize>,
}

impl MediaThreads {
    /// Starts `count` threads, at least one.
    ///
    /// # Errors
    /// [`Io`](blink_api::ErrorKind::Io) where the system starts no thread.
    pub fn new(count: usize) -> Result<Self> {
        let threads: Result<Vec<_>> = (0..count.max(1)).map(|_| MediaThread::start("blink-media", GRID)).collect();
        Ok(Self { threads: threads?.into(), used: Arc::default() })
    }

    /// The next one in turn.
    pub(super) fn next(&self) -> MediaThread {
        self.threads[self.used.fetch_add(1, Ordering::Relaxed) % self.threads.len()].clone()
    }
}

/// A thread that workers run on. It ends with the last of these handles and of the workers.
#[derive(Debug, Clone)]
pub(crate) struct MediaThread {
    jobs: mpsc::UnboundedSender<Box<dyn Job>>,
    /// Ticks that begin a multiple of [`TICK`](blink_media::TICK) after this are due together.
    epoch: Instant,
}

impl MediaThread {
    pub(super) fn start(name: &str, grid: Duration) -> Result<Self> {
        let (jobs, queue) = mpsc::unbounded_channel();
        let epoch = Instant::now();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || run(queue, epoch, grid))?;
        Ok(Self { jobs, epoch })
    }

    /// A thread for one engine: its ticks wait for those of no other.
    pub(super) fn dedicated(name: &str) -> Result<Self> {
        Self::start(name, Duration::ZERO)
    }

    /// Runs a worker until its command channel is closed.
    pub(super) fn add_worker<W>(&self, worker: W, commands: mpsc::Receiver<W::Command>, clock: Arc<dyn Clock>)
    where
        W: Worker + Send + 'static,
        W::Command: Send,
    {
        // The thread is there while this is.
        self.jobs.send(Box::new(WorkerSlot { worker, commands, clock })).ok();
    }

    /// Ticks that begin a multiple of [`TICK`](blink_media::TICK) after this are due together.
    pub(super) fn tick_grid(&self) -> Instant {
        self.epoch
    }
}

/// A worker with its commands, as a thread runs it beside others.
trait Job: Send + std::fmt::Debug {
    /// Takes commands, if there are new ones (with a context), and ticks, if that is due.
    fn run(&mut self, commanded: Option<&mut Context<'_>>) -> Next;

    /// Sends what the tick made. On a thread that engines share, that is once all of them have
    /// ticked: a receiver of packets from several of them then wakes once.
    fn flush(&mut self);
}

/// Time at which a job is to run again.
enum Next {
    /// After this time, or with the next command.
    In(Duration),
    /// With the next command.
    OnCommand,
    Never,
}

/// A worker with its command channel.
struct WorkerSlot<W: Worker> {
    worker: W,
    commands: mpsc::Receiver<W::Command>,
    clock: Arc<dyn Clock>,
}

impl<W: Worker> std::fmt::Debug for WorkerSlot<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::any::type_name::<W>())
    }
}

impl<W> Job for WorkerSlot<W>
where
    W: Worker + Send,
    W::Command: Send,
{
    /// Commands come first: a worker that does not keep up with its ticks must still hear that it
    /// should stop.
    fn run(&mut self, commanded: Option<&mut Context<'_>>) -> Next {
        if let Some(context) = commanded {
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
        }
        let now = self.clock.now();
        if self.worker.next().is_some_and(|due| due <= now) {
            self.worker.tick();
        }
        self.worker.next().map_or(Next::OnCommand, |due| Next::In(due.saturating_duration_since(self.clock.now())))
    }

    fn flush(&mut self) {
        self.worker.flush();
    }
}

/// A job that waits for its time or a command.
struct ScheduledWorker {
    job: Box<dyn Job>,
    commanded: Arc<ThreadWaker>,
    waker: Waker,
    due: Option<Instant>,
    /// It ran, and may have something to send.
    has_run: bool,
}

impl ScheduledWorker {
    /// A job that runs at once.
    fn new(job: Box<dyn Job>) -> Self {
        let (commanded, waker) = ThreadWaker::woken();
        Self { job, commanded, waker, due: None, has_run: false }
    }

    /// Runs it where that is due. Returns whether it stays.
    fn run(&mut self, now: Instant) -> bool {
        let is_commanded = self.commanded.take();
        if !is_commanded && self.due.is_none_or(|due| due > now) {
            return true;
        }
        let mut context = Context::from_waker(&self.waker);
        self.has_run = true;
        let commanded = is_commanded.then_some(&mut context);
        let Some(next) = guarded(&mut *self.job, |job| job.run(commanded)) else { return false };
        self.due = match next {
            Next::In(left) => Some(Instant::now() + left),
            Next::OnCommand | Next::Never => None,
        };
        !matches!(next, Next::Never)
    }

    /// Sends what it made. Returns whether it stays.
    fn flush(&mut self) -> bool {
        !std::mem::take(&mut self.has_run) || guarded(&mut *self.job, |job| job.flush()).is_some()
    }
}

/// Calls a job; `None` where it panicked. Devices and processors are foreign code: the other jobs
/// of the thread go on.
fn guarded<T>(job: &mut dyn Job, work: impl FnOnce(&mut dyn Job) -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(|| work(job)));
    done.inspect_err(|_| tracing::error!(?job, "a media worker panicked and is gone")).ok()
}

/// Runs the workers that are due. With `together`, all flush once all have ticked; otherwise each
/// after its own tick.
fn turn(workers: &mut Vec<ScheduledWorker>, now: Instant, together: bool) {
    if together {
        workers.retain_mut(|worker| worker.run(now));
        workers.retain_mut(ScheduledWorker::flush);
    } else {
        workers.retain_mut(|worker| worker.run(now) && worker.flush());
    }
}

/// Runs jobs until the last handle of the thread is dropped. Sleeps by the system's clock, to
/// within microseconds: timers of a runtime count milliseconds.
fn run(mut queue: mpsc::UnboundedReceiver<Box<dyn Job>>, epoch: Instant, grid: Duration) {
    let (added, waker) = ThreadWaker::woken();
    let mut context = Context::from_waker(&waker);
    let mut workers: Vec<ScheduledWorker> = Vec::new();
    let mut is_closed = false;
    loop {
        if added.take() {
            is_closed = loop {
                match queue.poll_recv(&mut context) {
                    Poll::Ready(Some(job)) => workers.push(ScheduledWorker::new(job)),
                    Poll::Ready(None) => break true,
                    Poll::Pending => break false,
                }
            };
        }
        turn(&mut workers, Instant::now(), !grid.is_zero());
        if is_closed && workers.is_empty() {
            return;
        }
        match workers.iter().filter_map(|worker| worker.due).min() {
            // A waker ends the sleep. It may also end for no reason, which does no harm.
            Some(due) => {
                // Times on the grid were rounded a little when they were passed on as durations.
                let early = due.checked_sub(grid / 10).unwrap_or(due);
                let left = up_to(epoch, early, grid).max(due).saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    std::thread::park_timeout(left);
                }
            }
            None => std::thread::park(),
        }
    }
}

/// The first time not before `at` on a grid that begins at `epoch`; `at` on a grid without width.
fn up_to(epoch: Instant, at: Instant, grid: Duration) -> Instant {
    let into = at.saturating_duration_since(epoch).as_nanos().checked_rem(grid.as_nanos()).unwrap_or(0);
    if into == 0 { at } else { at + grid - Duration::from_nanos(into as u64) }
}

/// Wakes a thread, and remembers that it did.
struct ThreadWaker {
    is_woken: AtomicBool,
    thread: Thread,
}

impl ThreadWaker {
    /// A waker of this thread that was woken.
    fn woken() -> (Arc<Self>, Waker) {
        let waker = Arc::new(Self { is_woken: AtomicBool::new(true), thread: std::thread::current() });
        (waker.clone(), waker.into())
    }

    /// Whether it was woken since the last call.
    fn take(&self) -> bool {
        self.is_woken.load(Ordering::Relaxed) && self.is_woken.swap(false, Ordering::Acquire)
    }
}

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blink_api::SystemClock;
    use blink_media::TICK;
    use tokio::sync::oneshot;

    /// A clock that stands still.
    struct StandingClock(Instant);

    impl Clock for StandingClock {
        fn now(&self) -> Instant {
            self.0
        }

        fn unix_ms(&self) -> u64 {
            0
        }
    }

    /// Reports when it ticks and flushes; panics on command.
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

        fn tick(&mut self) {
            self.next = self.next.map(|next| next + TICK);
            self.ticks.send(self.name).ok();
        }

        fn flush(&mut self) {
            if self.next.is_some() {
                self.ticks.send("sent").ok();
            }
        }

        fn handle(&mut self, panics: bool) {
            assert!(!panics, "commanded to panic");
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
        let add = |name| {
            let (commands, queue) = mpsc::channel(8);
            let (over, ended) = oneshot::channel();
            let worker = Counting { next: None, ticks: ticks.clone(), name, over: Some(over) };
            threads.next().add_worker(worker, queue, Arc::new(SystemClock));
            (commands, ended)
        };
        let (broken, audio) = (add("broken"), add("audio"));
        broken.0.send(false).await.unwrap();
        while ticked.recv().await != Some("broken") {}
        broken.0.send(true).await.unwrap();
        assert!(broken.1.await.is_err(), "it was not finished, it is gone");
        audio.0.send(false).await.unwrap();
        while ticked.recv().await != Some("audio") {}
        drop(threads);
        while ticked.recv().await != Some("audio") {}
        drop(audio.0);
        assert_eq!(audio.1.await, Ok(()));
    }

    #[test]
    fn all_tick_before_any_flushes_and_only_those_that_are_due() {
        let (ticks, mut ticked) = mpsc::unbounded_channel();
        let now = Instant::now();
        let (mut commands, mut workers) = (Vec::new(), Vec::new());
        for (name, next) in [("one", now), ("other", now), ("later", now + TICK)] {
            let (sender, queue) = mpsc::channel(8);
            commands.push(sender);
            let worker = Counting { next: Some(next), ticks: ticks.clone(), name, over: None };
            let job = Box::new(WorkerSlot { worker, commands: queue, clock: Arc::new(StandingClock(now)) });
            workers.push(ScheduledWorker::new(job));
        }
        let mut turn = |at, together| {
            turn(&mut workers, at, together);
            std::iter::from_fn(|| ticked.try_recv().ok()).collect::<Vec<_>>()
        };
        assert_eq!(turn(now, true), ["one", "other", "sent", "sent", "sent"], "all were just added, and run once");
        assert!(turn(now, true).is_empty());
        assert_eq!(
            turn(now + Duration::from_secs(3_600), false),
            ["sent", "sent", "sent"],
            "the clock of the workers stands still"
        );
        commands.pop();
        assert!(turn(now, true).is_empty());
        assert_eq!(workers.len(), 2, "a worker without commands is gone");
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
