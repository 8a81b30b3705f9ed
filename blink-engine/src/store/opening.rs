//! Opening of a data directory that an earlier engine of this process may still be closing.

use std::path::Path;
use std::time::Duration;

use blink_api::{ErrorKind, Result, private};
use tokio::time::sleep;

use super::database::Store;

/// File with the process that opened the directory last.
const OWNER: &str = "blink.pid";
/// Attempts to open it, and the pause after each: 10 s. A shutdown with calls to leave and devices
/// to close takes no longer.
const ATTEMPTS: u32 = 400;
const PAUSE: Duration = Duration::from_millis(20);
/// Part of the pause that passes on the machine's clock, also where a test pauses the runtime's:
/// files are closed by threads.
const REAL_PAUSE: Duration = Duration::from_millis(5);

/// Opens a data directory. Where an engine of this very process has not closed it yet, waits for
/// that, at most 10 s.
///
/// # Errors
/// Those of [`Store::open`], with the process that uses the directory.
pub(crate) async fn open(directory: &Path) -> Result<Store> {
    for _ in 1..ATTEMPTS {
        match Store::open(directory) {
            Err(error) if error.kind() == ErrorKind::Busy && owner(directory) == Some(std::process::id()) => {
                // It does nothing that could fail.
                tokio::task::spawn_blocking(|| std::thread::sleep(REAL_PAUSE)).await.ok();
                sleep(PAUSE).await;
            }
            other => return opened(directory, other),
        }
    }
    opened(directory, Store::open(directory))
}

fn opened(directory: &Path, result: Result<Store>) -> Result<Store> {
    match result {
        Ok(store) => {
            write_owner(directory);
            Ok(store)
        }
        Err(error) if error.kind() == ErrorKind::Busy => Err(match owner(directory) {
            Some(owner) => error.with("process", owner),
            None => error,
        }),
        Err(error) => Err(error),
    }
}

/// Names this process in the directory. Without that name, a restart does not wait.
fn write_owner(directory: &Path) {
    let written = private::create(&directory.join(OWNER)).and_then(|mut file| {
        use std::io::Write;
        write!(file, "{}", std::process::id())
    });
    if let Err(error) = written {
        tracing::debug!(%error, "the process is not named in the data directory");
    }
}

fn owner(directory: &Path) -> Option<u32> {
    std::fs::read_to_string(directory.join(OWNER)).ok()?.trim().parse().ok()
}
