//! Condition of an open stream: whether its device still works.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use blink_api::{Error, ErrorKind, Result};

use super::NAME;

/// Condition of a stream, shared by its callbacks, its reader or writer, and the watcher.
#[derive(Debug, Default)]
pub(super) struct StreamHealth {
    is_gone: AtomicBool,
    error: OnceLock<Error>,
    callbacks: AtomicU64,
    xruns: AtomicU64,
    underruns: AtomicU64,
}

impl StreamHealth {
    /// Takes an error of the sound system. The first fatal one is latched; there may be millions.
    pub(super) fn handle(&self, error: &cpal::Error) {
        match error.kind() {
            cpal::ErrorKind::Xrun => {
                self.xruns.fetch_add(1, Ordering::Relaxed);
            }
            // The stream goes on.
            cpal::ErrorKind::RealtimeDenied | cpal::ErrorKind::DeviceChanged => {}
            _ if self.is_gone.load(Ordering::Relaxed) => {}
            _ => self.fail(|| Error::new(ErrorKind::Closed, "the device is gone").source(error.to_string())),
        }
    }

    /// Latches a fatal error, unless there was one.
    pub(super) fn fail(&self, error: impl FnOnce() -> Error) {
        self.error.get_or_init(|| error().backend(NAME));
        self.is_gone.store(true, Ordering::Release);
    }

    /// The fatal error, if there was one.
    pub(super) fn check(&self) -> Result<()> {
        if !self.is_gone.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(self.error.get().cloned().unwrap_or_else(|| Error::new(ErrorKind::Closed, "the device is gone")))
    }

    /// Counts a callback.
    pub(super) fn count_callback(&self) {
        self.callbacks.fetch_add(1, Ordering::Relaxed);
    }

    /// Callbacks so far.
    pub(super) fn callbacks(&self) -> u64 {
        self.callbacks.load(Ordering::Relaxed)
    }

    /// Counts a gap: a source that had nothing when a block was due, a sink that had nothing to
    /// play.
    pub(super) fn count_underrun(&self) {
        self.underruns.fetch_add(1, Ordering::Relaxed);
    }

    /// Gaps so far.
    pub(super) fn underruns(&self) -> u64 {
        self.underruns.load(Ordering::Relaxed)
    }

    /// Buffer overruns and underruns that the sound system reported.
    pub(super) fn xruns(&self) -> u64 {
        self.xruns.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fatal_error_of_millions_is_kept() {
        let health = StreamHealth::default();
        for harmless in [cpal::ErrorKind::Xrun, cpal::ErrorKind::DeviceChanged, cpal::ErrorKind::RealtimeDenied] {
            health.handle(&cpal::Error::new(harmless));
            health.check().unwrap();
        }
        assert_eq!(health.xruns(), 1);
        health.handle(&cpal::Error::with_message(cpal::ErrorKind::StreamInvalidated, "first"));
        for _ in 0..2_000_000 {
            health.handle(&cpal::Error::new(cpal::ErrorKind::DeviceNotAvailable));
        }
        let error = health.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.to_string().contains("first"), "{error}");
    }
}
