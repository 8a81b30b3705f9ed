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
//! Outputs: [`DeviceAction`], from [`poll`](DeviceManager::poll). After each input, poll until
//! there is none.
//!
//! ```text
//!              set_wanted                    opened                          lost
//!   nothing ──────────────► opening chosen ─────────► chosen in use ─────────────────┐
//!      ▲                      ▲   │ failed                                           ▼
//!      │                      │   ▼ (device known)                  opened    opening default
//!      └─ "none"    retry, ───┘  opening default ─────────────────► fallback ◄──────┘
//!                   device added  (backoff 0.5 s to 10 s)           in use ── retry ──► opening chosen
//! ```
//!
//! * A name is opened by the first host that knows it, `HOST/NAME` by that host. `"default"` is
//!   that of the first host that has one.
//! * A device is in use until the next one is open: changing devices makes no gap.
//! * Where the chosen device dies or is busy, the default one stands in until the chosen one can be
//!   opened again. A microphone that was never there, such as a misspelt file, has no stand-in:
//!   another microphone than the chosen one would be heard by surprise.
//! * One opening at a time for each direction; one that takes 5 s has failed, and is closed should
//!   it succeed later. Until it ends, that device is not opened again, and with 8 of them none is.
//! * A chosen device that failed to write (`Io`), such as a file on a full disk, is not opened
//!   again before the user asks: opening would truncate the file.
//! * Failures are retried after 0.5 s, doubling to 10 s; a device that worked for 10 s starts anew.
//!   Each outage is reported once.

mod backoff;
mod hosts;
mod port;

use std::collections::VecDeque;

use web_time::Instant;

use blink_api::{DeviceChange, DeviceDirection, DeviceInfo, Error};

use hosts::Hosts;
use port::Port;

/// One opening of a device. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpenId(pub u64);

/// A device of a media host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostDevice {
    /// The host's position in the order of preference.
    pub host: usize,
    /// The host's name for the device; `"default"` for its default.
    pub name: String,
}

/// Next action of the owner of the devices.
#[derive(Debug, Clone)]
pub enum DeviceAction {
    /// Open a device ([`MediaHost::open_audio_source`](blink_api::MediaHost::open_audio_source),
    /// [`open_audio_sink`](blink_api::MediaHost::open_audio_sink)), and answer with
    /// [`handle_opened`](DeviceManager::handle_opened) or
    /// [`handle_open_failed`](DeviceManager::handle_open_failed).
    Open {
        /// Names this opening.
        id: OpenId,
        /// Microphone or speaker.
        direction: DeviceDirection,
        /// The device to open.
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

/// Event for the user.
#[derive(Debug, Clone)]
pub enum DeviceEvent {
    /// The device in use is gone.
    Lost {
        /// Microphone or speaker.
        direction: DeviceDirection,
        /// The device.
        device: HostDevice,
        /// Whether it was the wanted one, and neither a stand-in nor wanted before.
        chosen: bool,
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
    /// The wanted device cannot be opened, or no device is there; told once until it was in use for
    /// a while. Openings are tried again.
    Unavailable {
        /// Microphone or speaker.
        direction: DeviceDirection,
        /// Why.
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

/// Name of a host's default device, and name for no device at all.
const DEFAULT: &str = "default";
const NONE: &str = "none";

/// Decides which devices are open.
#[derive(Debug)]
pub struct DeviceManager {
    hosts: Hosts,
    ports: [Port; 2],
    next_id: u64,
    outputs: VecDeque<DeviceAction>,
}

impl DeviceManager {
    /// Creates a manager that wants no device, over media hosts in order of preference.
    pub fn new(hosts: Vec<HostEntry>) -> Self {
        Self {
            hosts: Hosts::new(hosts),
            ports: [DeviceDirection::Source, DeviceDirection::Sink].map(Port::new),
            next_id: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Sets the wanted device: `"default"`, `"none"`, a name of any host, or `HOST/NAME`. The
    /// device in use stays in use until the wanted one is open. Setting the same one again tries at
    /// once.
    pub fn set_wanted(&mut self, now: Instant, direction: DeviceDirection, name: &str) {
        let candidates = if name == NONE { None } else { Some(self.hosts.candidates(direction, name)) };
        let is_known = self.hosts.is_listed(direction, candidates.as_deref().unwrap_or_default());
        self.port(direction).set_wanted(name, candidates, is_known);
        self.advance(now);
    }

    /// Takes the success of an opening. One that nothing waits for any more is closed.
    pub fn handle_opened(&mut self, now: Instant, id: OpenId) {
        let Self { ports, hosts, outputs, .. } = self;
        let taken = ports.iter_mut().any(|port| port.handle_opened(now, id, hosts, outputs));
        if !taken {
            self.outputs.push_back(DeviceAction::Close(id));
        }
        self.advance(now);
    }

    /// Takes the failure of an opening. [`NotFound`](blink_api::ErrorKind::NotFound) and
    /// [`Unsupported`](blink_api::ErrorKind::Unsupported) say that the host does not know the name.
    pub fn handle_open_failed(&mut self, now: Instant, id: OpenId, error: Error) {
        for port in &mut self.ports {
            port.handle_open_failed(now, id, &error, &mut self.outputs);
        }
        self.advance(now);
    }

    /// Takes the news that a device in use is gone. Further calls about it change nothing.
    pub fn handle_lost(&mut self, now: Instant, id: OpenId, error: Option<Error>) {
        for port in &mut self.ports {
            port.handle_lost(now, id, error.clone(), &mut self.outputs);
        }
        self.advance(now);
    }

    /// Takes the whole list of a host's devices, such as one that was polled; what changed since
    /// the last one counts as [`handle_change`](Self::handle_change).
    pub fn handle_devices(&mut self, now: Instant, host: usize, devices: Vec<DeviceInfo>) {
        for (change, directions) in self.hosts.replace(host, devices) {
            self.handle_change_of(now, host, &change, &directions);
        }
        self.ports.iter_mut().for_each(|port| port.learn_default(&self.hosts));
    }

    /// Takes a change of a host's devices.
    pub fn handle_change(&mut self, now: Instant, host: usize, change: DeviceChange) {
        let directions = self.hosts.apply(host, &change);
        self.handle_change_of(now, host, &change, &directions);
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        for port in &mut self.ports {
            port.handle_timeout(now, &mut self.outputs);
        }
        self.advance(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` where nothing waits for time.
    pub fn deadline(&self) -> Option<Instant> {
        self.ports.iter().filter_map(Port::deadline).min()
    }

    /// Next thing to do.
    pub fn poll(&mut self) -> Option<DeviceAction> {
        self.outputs.pop_front()
    }

    /// Device in use and its opening.
    pub fn in_use(&self, direction: DeviceDirection) -> Option<(OpenId, &HostDevice)> {
        self.ports.iter().find(|port| port.direction() == direction)?.in_use()
    }

    /// Whether what the user wants is in use: the wanted device, or none where none is wanted.
    pub fn is_settled(&self, direction: DeviceDirection) -> bool {
        self.ports.iter().find(|port| port.direction() == direction).is_none_or(Port::is_settled)
    }

    fn handle_change_of(&mut self, now: Instant, host: usize, change: &DeviceChange, directions: &[DeviceDirection]) {
        for port in self.ports.iter_mut().filter(|port| directions.contains(&port.direction())) {
            port.handle_change(now, host, change, &mut self.outputs);
        }
        self.advance(now);
    }

    fn port(&mut self, direction: DeviceDirection) -> &mut Port {
        let [source, sink] = &mut self.ports;
        if direction == DeviceDirection::Source { source } else { sink }
    }

    /// Lets each direction start what is due.
    fn advance(&mut self, now: Instant) {
        let Self { hosts, ports, next_id, outputs } = self;
        for port in ports {
            port.advance(now, hosts, outputs, &mut || {
                *next_id += 1;
                OpenId(*next_id)
            });
        }
    }
}

#[cfg(test)]
mod tests;
