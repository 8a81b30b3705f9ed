//! Media hosts and their devices, as far as they told.

use blink_api::{DeviceChange, DeviceDirection, DeviceInfo, TrackKind};

use super::{DEFAULT, HostDevice, HostEntry};

/// Media hosts in order of preference, with the devices that they told of.
#[derive(Debug)]
pub(super) struct Hosts {
    hosts: Vec<Host>,
}

#[derive(Debug)]
struct Host {
    entry: HostEntry,
    /// `None` before the host told.
    devices: Option<Vec<DeviceInfo>>,
}

impl Hosts {
    pub(super) fn new(hosts: Vec<HostEntry>) -> Self {
        Self { hosts: hosts.into_iter().map(|entry| Host { entry, devices: None }).collect() }
    }

    /// Devices that a name may stand for, in the order in which they are tried.
    pub(super) fn candidates(&self, direction: DeviceDirection, name: &str) -> Vec<HostDevice> {
        let fitting = || self.hosts.iter().enumerate().filter(|(_, host)| host.entry.has(direction));
        let device = |host, name: &str| HostDevice { host, name: name.to_owned() };
        // A slash may be a part of a name too (`wav:/tmp/a.wav`): only a host's name makes it one.
        if let Some((host, name)) = name.split_once('/')
            && let Some((host, _)) = fitting().find(|(_, known)| known.entry.name == host)
        {
            return vec![device(host, name)];
        }
        fitting().map(|(host, _)| device(host, name)).collect()
    }

    /// Whether a host lists one of these devices.
    pub(super) fn is_listed(&self, direction: DeviceDirection, devices: &[HostDevice]) -> bool {
        devices.iter().any(|device| self.of(device.host, direction).any(|info| info.name == device.name))
    }

    /// Name of the device that a host has for its default.
    pub(super) fn default_name(&self, host: usize, direction: DeviceDirection) -> Option<&str> {
        self.of(host, direction).find(|info| info.is_default).map(|info| info.name.as_str())
    }

    /// Takes a whole list. Returns the changes to the one before (to none: all that is there), each
    /// with the directions that it concerns.
    pub(super) fn replace(
        &mut self,
        host: usize,
        devices: Vec<DeviceInfo>,
    ) -> Vec<(DeviceChange, Vec<DeviceDirection>)> {
        let Some(known) = self.hosts.get_mut(host) else { return Vec::new() };
        let before = known.devices.get_or_insert_default();
        let is_in = |list: &[DeviceInfo], info: &DeviceInfo| {
            list.iter().any(|other| (&other.name, other.direction) == (&info.name, info.direction))
        };
        let removed = before.iter().filter(|info| !is_in(&devices, info));
        let added = devices.iter().filter(|info| !is_in(before, info));
        let default = devices.iter().filter(|info| info.is_default && !before.contains(info));
        let changes = removed
            .map(|info| (DeviceChange::Removed(info.name.clone()), audio(info)))
            .chain(added.map(|info| (DeviceChange::Added(info.clone()), audio(info))))
            .chain(default.map(|info| (DeviceChange::DefaultChanged(info.clone()), audio(info))))
            .collect();
        *before = devices;
        changes
    }

    /// Takes a change. Returns the directions that it concerns.
    pub(super) fn apply(&mut self, host: usize, change: &DeviceChange) -> Vec<DeviceDirection> {
        let both = vec![DeviceDirection::Source, DeviceDirection::Sink];
        let Some(known) = self.hosts.get_mut(host) else { return Vec::new() };
        let was_told = known.devices.is_some();
        let devices = known.devices.get_or_insert_default();
        match change {
            DeviceChange::Added(info) => {
                devices.retain(|other| (&other.name, other.direction) != (&info.name, info.direction));
                devices.push(info.clone());
                audio(info)
            }
            DeviceChange::Removed(name) => {
                let gone = devices.extract_if(.., |info| info.name == *name);
                let mut directions: Vec<_> = gone.flat_map(|info| audio(&info)).collect();
                // Of a host that told of no list, any device may be meant.
                if directions.is_empty() && !was_told {
                    directions = both;
                }
                directions
            }
            DeviceChange::DefaultChanged(info) => {
                devices.retain(|other| (&other.name, other.direction) != (&info.name, info.direction));
                let others =
                    devices.iter_mut().filter(|other| (other.direction, other.kind) == (info.direction, info.kind));
                others.for_each(|other| other.is_default = false);
                let mut info = info.clone();
                info.is_default = true;
                let directions = audio(&info);
                devices.push(info);
                directions
            }
            _ => Vec::new(),
        }
    }

    /// Default devices of all hosts, in order of preference.
    pub(super) fn defaults(&self, direction: DeviceDirection) -> Vec<HostDevice> {
        self.candidates(direction, DEFAULT)
    }

    fn of(&self, host: usize, direction: DeviceDirection) -> impl Iterator<Item = &DeviceInfo> {
        let devices = self.hosts.get(host).and_then(|host| host.devices.as_deref()).unwrap_or_default();
        devices.iter().filter(move |info| info.direction == direction && info.kind == TrackKind::Audio)
    }
}

impl HostEntry {
    fn has(&self, direction: DeviceDirection) -> bool {
        if direction == DeviceDirection::Source { self.sources } else { self.sinks }
    }
}

/// Direction of an audio device; none of a video device.
fn audio(info: &DeviceInfo) -> Vec<DeviceDirection> {
    if info.kind == TrackKind::Audio { vec![info.direction] } else { Vec::new() }
}
