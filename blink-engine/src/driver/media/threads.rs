//! The threads that sound and pictures are worked on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use blink_api::{Clock, Result};
use tokio::sync::mpsc;

use super::Worker;
use blink_media::TICK;

/// Engines that share a thread are woken together: for a tick that is due between two times of a
/// grid of this width, at the later of them.
const GRID: Duration = Duration::from_millis(1);

/// Threads that several engines of one process work their sound on, where each would otherwise have
/// one of its own. A thread that wakes for one engine's tick does those of all others that are due,
/// which is most of what a call costs beside its codec.
///
/// Engines that share a thread wait for each other's work: use about as many threads as there are
/// processors. A thread ends when the last handle is dropped and no engine uses it any more.
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
    /// Does what there is to do; with a context, if it was told something.
    fn go(&mut self, told: Option<&mut Context<'_>>) -> Next;

    /// Sends what came of it. On a thread that engines share, that is once all of them have done
    /// their work: whoever receives from several then wakes once.
    fn send(&mut self);
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
    /// Commands come first: a worker that does not keep up with its ticks must still hear that it
    /// should stop.
    fn go(&mut self, told: Option<&mut Context<'_>>) -> Next {
        if let Some(context) = told {
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
            self.worker.work();
        }
        self.worker.next().map_or(Next::Told, |due| Next::In(due.saturating_duration_since(self.clock.now())))
    }

    fn send(&mut self) {
        self.worker.send();
    }
}

/// A job that waits for its time, or to be told something.
struct Seated {
    job: Box<dyn Job>,
    bell: Arc<Bell>,
    waker: Waker,
    due: Option<Instant>,
    /// It may have made something that is to be sent.
    has_worked: bool,
}

impl Seated {
    /// It goes at once.
    fn new(job: Box<dyn Job>) -> Self {
        let (bell, waker) = Bell::ringing();
        Self { job, bell, waker, due: None, has_worked: false }
    }

    /// Lets it go where there is something to do. Returns whether it stays.
    fn go(&mut self, now: Instant) -> bool {
        let is_told = self.bell.has_rung();
        if !is_told && self.due.is_none_or(|due| due > now) {
            return true;
        }
        let mut context = Context::from_waker(&self.waker);
        self.has_worked = true;
        let told = is_told.then_some(&mut context);
        let Some(next) = guarded(&mut *self.job, |job| job.go(told)) else { return false };
        self.due = match next {
            Next::In(left) => Some(Instant::now() + left),
            Next::Told | Next::Never => None,
        };
        !matches!(next, Next::Never)
    }

    /// Sends what it made. Returns whether it stays.
    fn send(&mut self) -> bool {
        !std::mem::take(&mut self.has_worked) || guarded(&mut *self.job, |job| job.send()).is_some()
    }
}

/// Does something with a job; `None` where it panicked. A device may be anybody's code; whoever
/// else is here goes on.
fn guarded<T>(job: &mut dyn Job, work: impl FnOnce(&mut dyn Job) -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(|| work(job)));
    done.inspect_err(|_| tracing::error!(?job, "a media worker panicked and is gone")).ok()
}

/// Lets those work that have something to do. Together, all send when all have worked; otherwise
/// each when it has.
fn turn(seated: &mut Vec<Seated>, now: Instant, together: bool) {
    if together {
        seated.retain_mut(|seated| seated.go(now));
        seated.retain_mut(Seated::send);
    } else {
        seated.retain_mut(|seated| seated.go(now) && seated.send());
    }
}

/// Runs whatever jobs come. Sleeps by the system's clock, to within microseconds: timers of a
/// runtime count milliseconds.
fn run(mut queue: mpsc::UnboundedReceiver<Box<dyn Job>>, epoch: Instant, grid: Duration) {
    let (bell, waker) = Bell::ringing();
    let mut context = Context::from_waker(&waker);
    let mut seated: Vec<Seated> = Vec::new();
    let mut is_closed = false;
    loop {
        if bell.has_rung() {
            is_closed = loop {
                match queue.poll_recv(&mut context) {
                    Poll::Ready(Some(job)) => seated.push(Seated::new(job)),
                    Poll::Ready(None) => break true,
                    Poll::Pending => break false,
                }
            };
        }
        turn(&mut seated, Instant::now(), !grid.is_zero());
        if is_closed && seated.is_empty() {
            return;
        }
        match seated.iter().filter_map(|seated| seated.due).min() {
            // What rings ends the sleep; so may nothing at all, which does no harm.
            Some(due) => {
                // What is due on the grid was rounded a little when it was told.
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

/// The first time not before `at` on a grid that begins at `epoch`; `at` where it has no width.
fn up_to(epoch: Instant, at: Instant, grid: Duration) -> Instant {
    let into = at.saturating_duration_since(epoch).as_nanos().checked_rem(grid.as_nanos()).unwrap_or(0);
    if into == 0 { at } else { at + grid - Duration::from_nanos(into as u64) }
}

/// Wakes a thread, and says for whom.
struct Bell {
    has_rung: AtomicBool,
    thread: Thread,
}

impl Bell {
    /// One for this thread that has rung.
    fn ringing() -> (Arc<Self>, Waker) {
        let bell = Arc::new(Self { has_rung: AtomicBool::new(true), thread: std::thread::current() });
        (bell.clone(), bell.into())
    }

    /// Whether it has since it was last asked.
    fn has_rung(&self) -> bool {
        self.has_rung.load(Ordering::Relaxed) && self.has_rung.swap(false, Ordering::Acquire)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blink_api::SystemClock;
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

    /// Says when it works and sends; panics when told to.
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

        fn send(&mut self) {
            if self.next.is_some() {
                self.ticks.send("sent").ok();
            }
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
    fn all_work_before_any_sends_and_only_those_that_are_due() {
        let (ticks, mut ticked) = mpsc::unbounded_channel();
        let now = Instant::now();
        let (mut commands, mut seated) = (Vec::new(), Vec::new());
        for (name, next) in [("one", now), ("other", now), ("later", now + TICK)] {
            let (told, queue) = mpsc::channel(8);
            commands.push(told);
            let worker = Counting { next: Some(next), ticks: ticks.clone(), name, over: None };
            let job = Box::new(Seat { worker, commands: queue, clock: Arc::new(StandingClock(now)) });
            seated.push(Seated::new(job));
        }
        let mut turn = |at, together| {
            turn(&mut seated, at, together);
            std::iter::from_fn(|| ticked.try_recv().ok()).collect::<Vec<_>>()
        };
        assert_eq!(turn(now, true), ["one", "other", "sent", "sent", "sent"], "all have just come, and look around");
        assert!(turn(now, true).is_empty());
        assert_eq!(
            turn(now + Duration::from_secs(3_600), false),
            ["sent", "sent", "sent"],
            "the clock of the workers stands still"
        );
        commands.pop();
        assert!(turn(now, true).is_empty());
        assert_eq!(seated.len(), 2, "who is told nothing more is gone");
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
