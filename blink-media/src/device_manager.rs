//! Which microphone and which speaker are open: a pure state machine over several media hosts.
//!
//! Inputs, by source:
//!
//! | source | input |
//! |---|---|
//! | user, configuration | [`set_wanted`](DeviceManager::set_wanted) |
//! | openings that ended | [`handle_opened`](DeviceManager::handle_opened), [`handle_open_failed`](DeviceManager::handle_open_failed) |
//! | capture and playout | [`handle_lost`](DeviceManager::handle_lost) |
//! | media hosts | [`handle_devices`](DeviceManager::handle_devices), [`handle_change`](DeviceManager::handle_change) |
//! | time | [`handle_timeout`](DeviceManager::handle_timeout) at [`deadline`](DeviceManager::deadline) |
//!
//! Outputs: [`DeviceAction`], from [`poll`](DeviceManager::poll). After each input, poll until there
//! is none.

use std::collections::VecDeque;

use web_time::Instant;

use blink_api::{DeviceChange, DeviceDirection, DeviceInfo, Error};

/// One opening of a device. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpenId(u64);

/// A device of a media host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostDevice {
    /// The host's position in the order of preference.
    pub host: usize,
    /// The host's name for the device; `"default"` for its default.
    pub name: String,
}

/// What the owner of the devices does next.
#[derive(Debug, Clone)]
pub enum DeviceAction {
    /// Open a device ([`MediaHost::open_source`](blink_api::MediaHost::open_source),
    /// [`open_sink`](blink_api::MediaHost::open_sink)), and answer with
    /// [`handle_opened`](DeviceManager::handle_opened) or
    /// [`handle_open_failed`](DeviceManager::handle_open_failed).
    Open {
        /// Names this opening.
        id: OpenId,
        /// Microphone or speaker.
        direction: DeviceDirection,
        /// What to open.
        device: HostDevice,
    },
    /// Use an opened device from now on, in place of the one in use; `None`: silence, or nowhere.
    Use {
        /// Microphone or speaker.
        direction: DeviceDirection,
        /// The opening.
        id: Option<OpenId>,
    },
    /// Drop an opened device that is not, or no longer, in use.
    Close(OpenId),
    /// Tell the user.
    Report(DeviceEvent),
}

/// What a user is told about devices.
#[derive(Debug, Clone)]
pub enum DeviceEvent {
    /// The device in use is gone.
    Lost {
        /// Microphone or speaker.
        direction: DeviceDirection,
        /// The device.
        device: HostDevice,
        /// Why, where the device said so.
        error: Option<Error>,
    },
    /// Another device is in use.
    Changed {
        /// Microphone or speaker.
        direction: DeviceDirection,
        /// The device; `None` where none is wanted.
        device: Option<HostDevice>,
        /// Whether it stands in for the wanted one.
        fallback: bool,
    },
    /// No device can be opened. Openings are tried again.
    Unavailable {
        /// Microphone or speaker.
        direction: DeviceDirection,
        /// Why the wanted device cannot be opened.
        error: Error,
    },
}

/// A media host, in order of preference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    /// The name in the configuration, as in `HOST/NAME`.
    pub name: String,
    /// Whether it has microphones.
    pub sources: bool,
    /// Whether it has speakers.
    pub sinks: bool,
}

/// Decides which devices are open.
#[derive(Debug)]
pub struct DeviceManager {
    outputs: VecDeque<DeviceAction>,
}

impl DeviceManager {
    /// Creates a manager that wants no device, over media hosts in order of preference.
    pub fn new(_hosts: Vec<HostEntry>) -> Self {
        Self { outputs: VecDeque::new() }
    }

    /// Sets the wanted device: `"default"`, `"none"`, a name of any host, or `HOST/NAME`.
    pub fn set_wanted(&mut self, _now: Instant, _direction: DeviceDirection, _name: &str) {}

    /// Takes the success of an opening.
    pub fn handle_opened(&mut self, _now: Instant, _id: OpenId) {}

    /// Takes the failure of an opening.
    pub fn handle_open_failed(&mut self, _now: Instant, _id: OpenId, _error: Error) {}

    /// Takes the news that a device in use is gone. Further calls about it change nothing.
    pub fn handle_lost(&mut self, _now: Instant, _id: OpenId, _error: Option<Error>) {}

    /// Takes the whole list of a host's devices.
    pub fn handle_devices(&mut self, _now: Instant, _host: usize, _devices: Vec<DeviceInfo>) {}

    /// Takes a change of a host's devices.
    pub fn handle_change(&mut self, _now: Instant, _host: usize, _change: DeviceChange) {}

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` where nothing waits for time.
    pub fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Next thing to do.
    pub fn poll(&mut self) -> Option<DeviceAction> {
        self.outputs.pop_front()
    }

    /// Device in use and its opening.
    pub fn in_use(&self, _direction: DeviceDirection) -> Option<(OpenId, &HostDevice)> {
        None
    }
}
