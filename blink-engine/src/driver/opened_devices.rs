//! Devices that are open and not yet in use, with the [`DeviceManager`] that decides about them.

use std::collections::BTreeMap;
use std::sync::Arc;

use blink_api::{AudioSink, AudioSource, MediaHost};
use blink_media::{DeviceManager, HostDevice, HostEntry, OpenId};

/// The media hosts with the manager of their devices.
pub(super) struct Devices {
    pub(super) manager: DeviceManager,
    hosts: Vec<(String, Arc<dyn MediaHost>)>,
    /// Devices that were opened and are not in use yet, with whether they have a hardware clock.
    opened: BTreeMap<OpenId, (OpenedDevice, bool)>,
    /// The host of each opening that is under way.
    opening: BTreeMap<OpenId, usize>,
}

/// A device that was opened.
pub(super) enum OpenedDevice {
    Microphone(Box<dyn AudioSource>),
    Speaker(Box<dyn AudioSink>),
}

impl Devices {
    pub(super) fn new(hosts: &[(String, Arc<dyn MediaHost>)]) -> Self {
        let entries = hosts.iter().map(|(name, host)| {
            let capabilities = host.capabilities();
            HostEntry { name: name.clone(), sources: capabilities.audio_sources, sinks: capabilities.audio_sinks }
        });
        Self {
            manager: DeviceManager::new(entries.collect()),
            hosts: hosts.to_vec(),
            opened: BTreeMap::new(),
            opening: BTreeMap::new(),
        }
    }

    /// An opening begins. Returns the host of the device.
    pub(super) fn begin(&mut self, id: OpenId, device: &HostDevice) -> Option<Arc<dyn MediaHost>> {
        let (_, host) = self.hosts.get(device.host)?;
        self.opening.insert(id, device.host);
        Some(host.clone())
    }

    /// An opening ended; the device waits to be used or closed.
    pub(super) fn end(&mut self, id: OpenId, device: Option<OpenedDevice>) {
        let host = self.opening.remove(&id).and_then(|host| self.hosts.get(host));
        let hardware_clock = host.is_some_and(|(_, host)| host.capabilities().hardware_clock);
        if let Some(device) = device {
            self.opened.insert(id, (device, hardware_clock));
        }
    }

    /// The device of an opening, and whether it has a hardware clock.
    pub(super) fn take(&mut self, id: OpenId) -> Option<(OpenedDevice, bool)> {
        self.opened.remove(&id)
    }
}

/// Media hosts that may have a device, the preferred one first, with the host's own name of it:
/// `HOST/NAME` names a device of that host, and any other name one of any host.
pub(super) fn candidates<'a>(
    hosts: &'a [(String, Arc<dyn MediaHost>)],
    name: &'a str,
) -> impl Iterator<Item = (&'a dyn MediaHost, &'a str)> {
    let named = name.split_once('/').and_then(|(prefix, rest)| {
        let (_, host) = hosts.iter().find(|(host, _)| host == prefix)?;
        Some((&**host, rest))
    });
    let is_named = named.is_some();
    let any = hosts.iter().filter(move |_| !is_named).map(move |(_, host)| (&**host, name));
    named.into_iter().chain(any)
}
