//! Devices that are open and not yet in use, with the [`DeviceManager`] that decides about them.

use std::collections::BTreeMap;
use std::sync::Arc;

use blink_api::{AudioFormat, AudioSink, AudioSource, DeviceDirection, MediaHost};
use blink_media::{DeviceManager, HostDevice, HostEntry, OpenId, RetiredDevice};

use super::device_requests::{DeviceListing, PendingChoice};

/// The media hosts with the manager of their devices.
pub(super) struct Devices {
    pub(super) manager: DeviceManager,
    hosts: Vec<(String, Arc<dyn MediaHost>)>,
    /// Devices that were opened and are not in use yet, with whether they have a hardware clock.
    opened: BTreeMap<OpenId, (OpenedDevice, bool)>,
    /// Directions whose wanted device is not in use, as the user was told.
    disturbed: Vec<DeviceDirection>,
    /// The host of each opening that is under way.
    opening: BTreeMap<OpenId, usize>,
    /// Names of microphone and speaker as they were reported last.
    names: [Option<String>; 2],
    /// At most one for each direction.
    pub(super) choices: Vec<PendingChoice>,
    /// Number of the user's choices, and the last one that was followed, of microphone and speaker.
    made_choices: u64,
    followed_choices: [u64; 2],
    /// The microphone opens once its processors are there.
    pub(super) awaits_processors: bool,
    pub(super) listing: DeviceListing,
}

/// A device that was opened.
pub(super) enum OpenedDevice {
    Microphone(Box<dyn AudioSource>),
    Speaker(Box<dyn AudioSink>),
}

impl OpenedDevice {
    pub(super) fn format(&self) -> AudioFormat {
        match self {
            Self::Microphone(source) => source.format(),
            Self::Speaker(sink) => sink.format(),
        }
    }
}

impl From<OpenedDevice> for RetiredDevice {
    fn from(device: OpenedDevice) -> Self {
        match device {
            OpenedDevice::Microphone(source) => Self::Source(source),
            OpenedDevice::Speaker(sink) => Self::Sink(sink),
        }
    }
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
            disturbed: Vec::new(),
            opening: BTreeMap::new(),
            names: [None, None],
            choices: Vec::new(),
            made_choices: 0,
            followed_choices: [0; 2],
            awaits_processors: false,
            listing: DeviceListing::default(),
        }
    }

    /// The number of the choice that the user makes now.
    pub(super) fn number_choice(&mut self) -> u64 {
        self.made_choices += 1;
        self.made_choices
    }

    /// Returns whether a choice is newer than the one that was followed last, and notes that it is
    /// followed then: names are looked up side by side, and a slow host answers late.
    pub(super) fn follow_choice(&mut self, direction: DeviceDirection, number: u64) -> bool {
        let followed = &mut self.followed_choices[usize::from(direction == DeviceDirection::Sink)];
        let is_newest = number > *followed;
        *followed = number.max(*followed);
        is_newest
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

    /// Name of a device as in the configuration: `HOST/NAME`.
    pub(super) fn full_name(&self, device: &HostDevice) -> String {
        let host = self.hosts.get(device.host).map_or("", |(host, _)| host.as_str());
        format!("{host}/{}", device.name)
    }

    /// Replaces the name of the device in use. Returns the one before.
    pub(super) fn set_name(&mut self, direction: DeviceDirection, name: Option<String>) -> Option<String> {
        let [microphone, speaker] = &mut self.names;
        let known = if direction == DeviceDirection::Source { microphone } else { speaker };
        std::mem::replace(known, name)
    }

    /// The user is told that the wanted device is not in use, or that it is again. Returns which of
    /// the two the user was told before.
    pub(super) fn set_disturbed(&mut self, direction: DeviceDirection, disturbed: bool) -> bool {
        let before = self.disturbed.contains(&direction);
        self.disturbed.retain(|other| *other != direction);
        self.disturbed.extend(disturbed.then_some(direction));
        before
    }

    /// Another call begins: nothing was told of its devices.
    pub(super) fn forget_call(&mut self) {
        self.disturbed.clear();
        self.names = [None, None];
        self.awaits_processors = false;
    }

    /// The device of an opening, and whether it has a hardware clock.
    pub(super) fn take(&mut self, id: OpenId) -> Option<(OpenedDevice, bool)> {
        self.opened.remove(&id)
    }
}

/// Media hosts that may have a device, the preferred one first, each with its index and its own
/// name of the device: `HOST/NAME` names a device of that host, any other name one of any host.
pub(super) fn candidates<'a>(
    hosts: &'a [(String, Arc<dyn MediaHost>)],
    name: &'a str,
) -> impl Iterator<Item = (usize, &'a dyn MediaHost, &'a str)> {
    let named = name.split_once('/').and_then(|(prefix, rest)| {
        let index = hosts.iter().position(|(host, _)| host == prefix)?;
        Some((index, &*hosts[index].1, rest))
    });
    let is_named = named.is_some();
    let any = hosts.iter().enumerate().filter(move |_| !is_named);
    let any = any.map(move |(index, (_, host))| (index, &**host, name));
    named.into_iter().chain(any)
}
