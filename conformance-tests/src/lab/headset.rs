//! A headset of the lab, which can be unplugged.

use std::sync::atomic::{AtomicBool, Ordering};

use blink_api::{DeviceChange, DeviceDirection, DeviceInfo, Error, ErrorKind, Result, TrackKind};
use tokio::sync::broadcast;

/// Name of a headset's microphone and loudspeaker.
pub(crate) const HEADSET: &str = "headset";

/// How a headset dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unplugging {
    /// Its microphone and loudspeaker fail, and it is no longer listed.
    Fails,
    /// It is no longer listed. The audio system moves its streams to another device, so that
    /// nothing fails.
    MovesSilently,
}

/// A headset: a microphone and a loudspeaker with one plug.
pub(crate) struct Headset {
    is_plugged: AtomicBool,
    fails: AtomicBool,
    changes: broadcast::Sender<DeviceChange>,
}

impl Headset {
    pub(crate) fn new() -> Self {
        Self { is_plugged: true.into(), fails: false.into(), changes: broadcast::channel(16).0 }
    }

    /// Checks that it can be opened.
    pub(crate) fn check_plugged(&self) -> Result<()> {
        if self.is_plugged.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotFound, "the headset is unplugged"))
    }

    /// Checks that a stream of it goes on.
    pub(crate) fn check_running(&self) -> Result<()> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Closed, "the headset was unplugged"));
        }
        Ok(())
    }

    pub(crate) fn unplug(&self, unplugging: Unplugging) {
        self.is_plugged.store(false, Ordering::Relaxed);
        self.fails.store(unplugging == Unplugging::Fails, Ordering::Relaxed);
        // Without a running engine there is no receiver.
        self.changes.send(DeviceChange::Removed(HEADSET.to_owned())).ok();
    }

    pub(crate) fn plug_in(&self) {
        self.fails.store(false, Ordering::Relaxed);
        self.is_plugged.store(true, Ordering::Relaxed);
        for info in infos() {
            // As above.
            self.changes.send(DeviceChange::Added(info)).ok();
        }
    }

    /// Its devices, where it is plugged in.
    pub(crate) fn devices(&self) -> Vec<DeviceInfo> {
        if self.is_plugged.load(Ordering::Relaxed) { infos().into() } else { Vec::new() }
    }

    pub(crate) fn changes(&self) -> broadcast::Receiver<DeviceChange> {
        self.changes.subscribe()
    }
}

fn infos() -> [DeviceInfo; 2] {
    [DeviceDirection::Source, DeviceDirection::Sink]
        .map(|direction| DeviceInfo::new(HEADSET, "a headset", direction, TrackKind::Audio))
}
