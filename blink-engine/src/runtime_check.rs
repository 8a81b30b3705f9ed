//! Check of the runtime that an engine is started on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use blink_api::{Error, ErrorKind, Result};
use tokio::runtime::Handle;

/// Checks that the caller's runtime has what an engine needs: timers, and for backends with sockets
/// input and output.
///
/// tokio (1.54) does not tell without a panic: no stable method of a `Handle` or of its metrics
/// knows the drivers, and whatever uses one that is not enabled panics. So it does in here, and the
/// panic hook of the process writes a line to standard error before it is caught, though only where
/// the start fails anyway. Replacing the hook meanwhile would silence other threads too, and may
/// undo what the program does to it at that moment: it belongs to the program.
///
/// # Errors
/// [`State`](ErrorKind::State) outside of a tokio runtime and on one that lacks a driver.
pub(crate) fn check(needs_network: bool) -> Result<()> {
    let unusable = |why: &'static str| Err(Error::new(ErrorKind::State, why).operation("start"));
    if Handle::try_current().is_err() {
        return unusable("the engine must be started within a tokio runtime");
    }
    let has = |drive: &dyn Fn()| catch_unwind(AssertUnwindSafe(drive)).is_ok();
    if !has(&|| drop(tokio::time::sleep(Duration::ZERO))) {
        return unusable("the tokio runtime has no timers: build it with `enable_time` or `enable_all`");
    }
    if needs_network && !has(&register_socket) {
        return unusable("the tokio runtime has no input and output: build it with `enable_io` or `enable_all`");
    }
    Ok(())
}

/// Registers a socket with the runtime. A system that gives none has an error for the backends.
fn register_socket() {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0));
    if let Some(socket) = socket.ok().filter(|socket| socket.set_nonblocking(true).is_ok()) {
        // The registration is all that matters.
        drop(tokio::net::UdpSocket::from_std(socket));
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn each_missing_driver_is_an_error_that_names_it() {
        assert!(check(false).unwrap_err().message().contains("within a tokio runtime"));
        let without = Builder::new_current_thread().build().unwrap();
        assert!(without.block_on(async { check(false) }).unwrap_err().message().contains("enable_time"));
        let timed = Builder::new_current_thread().enable_time().build().unwrap();
        assert!(timed.block_on(async { check(true) }).unwrap_err().message().contains("enable_io"));
        timed.block_on(async { check(false) }).expect("backends without sockets need no input and output");
        let whole = Builder::new_current_thread().enable_all().build().unwrap();
        whole.block_on(async { check(true) }).expect("everything is enabled");
    }
}
