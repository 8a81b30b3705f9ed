//! Closes devices on threads of their own: where an audio system hangs, closing never returns, and
//! neither the driver nor the media waits for it.

use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::worker_host::WorkerHost;
use blink_media::RetiredDevice;

/// How long the end of a call waits for its devices to close, so that files are complete.
pub(super) const CLOSING: Duration = Duration::from_secs(1);

/// Closes devices, each on a thread. Returns at once where media runs on threads; where it runs as
/// tasks, within [`CLOSING`], so that tests see the same each time.
///
/// The result is ready when all are closed. It may be ignored.
pub(super) fn close_devices(
    workers: &WorkerHost,
    devices: impl IntoIterator<Item = RetiredDevice>,
) -> oneshot::Receiver<()> {
    let (all_closed, result) = oneshot::channel();
    let (closed, closings) = mpsc::channel::<()>();
    let mut count = 0;
    for device in devices {
        count += 1;
        let closed = closed.clone();
        spawn(move || {
            device.close();
            // The call may have stopped waiting.
            closed.send(()).ok();
        });
    }
    drop(closed);
    match workers {
        WorkerHost::Tasks => wait(count, &closings, Some(CLOSING), all_closed),
        WorkerHost::Thread(_) if count > 0 => spawn(move || wait(count, &closings, None, all_closed)),
        // Nothing to wait for: dropped, it is ready.
        WorkerHost::Thread(_) => drop(all_closed),
    }
    result
}

/// Runs something that may never return. On a system without a thread left it is dropped, which
/// drops its device.
fn spawn(work: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name("blink-close".to_owned()).spawn(work) {
        tracing::error!(%error, "no thread to close a device on");
    }
}

/// Waits for so many closings, or for the threads to end, each for so long at most.
fn wait(count: usize, closings: &mpsc::Receiver<()>, limit: Option<Duration>, all_closed: oneshot::Sender<()>) {
    for _ in 0..count {
        let is_over = match limit {
            Some(limit) => closings.recv_timeout(limit).is_err(),
            None => closings.recv().is_err(),
        };
        if is_over {
            return;
        }
    }
    // The call may have stopped waiting.
    all_closed.send(()).ok();
}
