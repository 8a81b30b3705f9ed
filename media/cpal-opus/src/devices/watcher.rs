//! Watch over the list of devices and the open streams, about once a second.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use blink_api::{DeviceChange, DeviceDirection, DeviceInfo, Error, ErrorKind, Result};
use tokio::sync::broadcast;

use super::catalog;
use super::sound_system::ChosenSystem;
use super::stream_health::StreamHealth;

/// Time between two polls.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time for a sound system to list its devices. One that hangs does not answer at all.
const ANSWER: Duration = Duration::from_secs(1);

/// Polls without a callback after which a stream is dead: the longest callbacks are 2 s apart.
const MAX_SILENT_POLLS: u32 = 6;

/// Changes that wait for a reader.
const CHANGES: usize = 64;

/// Lists the devices of a sound system, says what changed, and ends streams of devices that are
/// gone: a sound server moves these to another device without a word, or lets them starve.
pub(super) struct Watcher {
    system: ChosenSystem,
    state: Mutex<State>,
    changes: broadcast::Sender<DeviceChange>,
}

#[derive(Default)]
struct State {
    host: Option<cpal::Host>,
    /// The last list; `None` before the first.
    devices: Option<Vec<DeviceInfo>>,
    streams: Vec<WatchedStream>,
    /// The list that the sound system has not answered with yet.
    listing: Option<Receiver<Result<Vec<DeviceInfo>>>>,
}

struct WatchedStream {
    health: Weak<StreamHealth>,
    name: String,
    direction: DeviceDirection,
    callbacks: u64,
    silent_polls: u32,
}

impl Watcher {
    /// A watcher of a sound system. Its owner calls [`poll`](Self::poll), or
    /// [`spawn`](Self::spawn)s a thread for that.
    pub(super) fn new(system: ChosenSystem) -> Self {
        Self { system, state: Mutex::default(), changes: broadcast::channel(CHANGES).0 }
    }

    /// Polls on a thread, until what is returned is dropped.
    pub(super) fn spawn(watcher: &Arc<Self>) -> Result<mpsc::Sender<()>> {
        let (stop, stopped) = mpsc::channel();
        let watcher = Arc::downgrade(watcher);
        let poll = move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                match watcher.upgrade() {
                    Some(watcher) => watcher.poll_if_needed(),
                    None => break,
                }
            }
        };
        std::thread::Builder::new().name("device-watch".into()).spawn(poll).map_err(|error| {
            Error::new(ErrorKind::Io, "no thread to watch the devices").backend(super::NAME).source(error)
        })?;
        Ok(stop)
    }

    /// Changes of the list from now on.
    pub(super) fn changes(&self) -> broadcast::Receiver<DeviceChange> {
        self.changes.subscribe()
    }

    /// Ends a stream when its device is gone.
    pub(super) fn watch(&self, health: &Arc<StreamHealth>, name: String, direction: DeviceDirection) {
        let health = Arc::downgrade(health);
        self.state().streams.push(WatchedStream { health, name, direction, callbacks: 0, silent_polls: 0 });
    }

    fn poll_if_needed(self: &Arc<Self>) {
        let is_needed = self.changes.receiver_count() > 0 || {
            let mut state = self.state();
            state.streams.retain(|stream| stream.health.strong_count() > 0);
            !state.streams.is_empty()
        };
        if is_needed {
            self.poll();
        }
    }

    /// Lists the devices, tells what changed, and ends streams that are dead. A sound system that
    /// does not answer has no devices.
    pub(super) fn poll(self: &Arc<Self>) {
        let listed = self.list_in_time();
        if let Err(error) = &listed {
            tracing::debug!(%error, "the devices cannot be listed");
        }
        let mut state = self.state();
        state.streams.retain_mut(|stream| stream.is_alive(listed.as_deref().ok()));
        self.learn(&mut state, listed.unwrap_or_default());
    }

    /// The devices that exist now.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) where the sound system does not answer.
    pub(super) fn devices(&self) -> Result<Vec<DeviceInfo>> {
        let devices = self.list()?;
        self.learn(&mut self.state(), devices.clone());
        Ok(devices)
    }

    /// Lists on a thread of its own, so that streams are watched while a sound system hangs.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io), [`Timeout`](ErrorKind::Timeout).
    fn list_in_time(self: &Arc<Self>) -> Result<Vec<DeviceInfo>> {
        let error = |kind, why| Error::new(kind, why).backend(super::NAME);
        let under_way = self.state().listing.take();
        let listing = match under_way {
            Some(listing) => listing,
            None => {
                let (sender, listing) = mpsc::channel();
                let watcher = self.clone();
                // The receiver is dropped with the watcher only, which this thread holds.
                let list = move || drop(sender.send(watcher.list()));
                std::thread::Builder::new()
                    .name("device-list".into())
                    .spawn(list)
                    .map_err(|source| error(ErrorKind::Io, "no thread to list the devices").source(source))?;
                listing
            }
        };
        match listing.recv_timeout(ANSWER) {
            Ok(listed) => listed,
            Err(RecvTimeoutError::Disconnected) => Err(error(ErrorKind::Io, "listing the devices panicked")),
            Err(RecvTimeoutError::Timeout) => {
                self.state().listing = Some(listing);
                Err(error(ErrorKind::Timeout, "the sound system does not answer"))
            }
        }
    }

    /// Lists without the lock: a sound system may take its time.
    fn list(&self) -> Result<Vec<DeviceInfo>> {
        let host = self.state().host.take();
        if let Some(host) = host
            && let Ok(devices) = catalog::list(&host)
        {
            self.state().host = Some(host);
            return Ok(devices);
        }
        let host = (self.system.connect)().map_err(|error| super::opening::failure(error, "devices"))?;
        let devices = catalog::list(&host)?;
        self.state().host = Some(host).filter(|_| self.system.lists_changes);
        Ok(devices)
    }

    /// Tells the changes from the last list to this one.
    fn learn(&self, state: &mut State, devices: Vec<DeviceInfo>) {
        let Some(before) = state.devices.replace(devices) else { return };
        let now = state.devices.as_deref().unwrap_or_default();
        let is_in = |list: &[DeviceInfo], info: &DeviceInfo| {
            list.iter().any(|other| (&other.name, other.direction) == (&info.name, info.direction))
        };
        let removed =
            before.iter().filter(|info| !is_in(now, info)).map(|info| DeviceChange::Removed(info.name.clone()));
        let added = now.iter().filter(|info| !is_in(&before, info)).map(|info| DeviceChange::Added(info.clone()));
        let was_default = |info: &DeviceInfo| {
            before.iter().any(|other| other.is_default && other.name == info.name && other.direction == info.direction)
        };
        let default = now.iter().filter(|info| info.is_default && !was_default(info));
        for change in removed.chain(added).chain(default.map(|info| DeviceChange::DefaultChanged(info.clone()))) {
            // Fails only without a reader of the changes.
            self.changes.send(change).ok();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatchedStream {
    /// Whether the stream is open and works. `devices` is the list, where there is one.
    fn is_alive(&mut self, devices: Option<&[DeviceInfo]>) -> bool {
        let Some(health) = self.health.upgrade() else { return false };
        let is_listed = |devices: &[DeviceInfo]| {
            devices.iter().any(|info| info.name == self.name && info.direction == self.direction)
        };
        if devices.is_some_and(|devices| !is_listed(devices)) {
            health.fail(|| Error::new(ErrorKind::Closed, "the device was removed").with("name", &self.name));
        }
        let callbacks = health.callbacks();
        self.silent_polls = if callbacks == self.callbacks { self.silent_polls + 1 } else { 0 };
        self.callbacks = callbacks;
        if self.silent_polls >= MAX_SILENT_POLLS {
            health.fail(|| Error::new(ErrorKind::Closed, "the device has stopped").with("name", &self.name));
        }
        health.check().is_ok()
    }
}
