//! Lists of the devices of all media hosts: on request, and as an event where they changed.

use std::sync::Arc;

use blink_api::{DeviceChange, DeviceDirection, DeviceInfo, MediaHost, Result, TrackKind};
use tokio::sync::oneshot;

use super::device_names::devices_of;
use super::driver_loop::{Driver, now};
use super::report::Report;
use blink_media::HostDevice;
use blink_proto::call::{Device, Event};

/// A host's own name of its default device.
const DEFAULT: &str = "default";

/// Microphone and speaker in use.
type InUse = [Option<HostDevice>; 2];

impl Driver {
    /// Lists all devices in the background.
    pub(super) fn list_devices(&self, reply: oneshot::Sender<Result<Vec<Device>>>) {
        let (hosts, in_use) = (self.parts.media_hosts.clone(), self.devices_in_use());
        tokio::spawn(async move {
            // The caller may have stopped waiting.
            reply.send(list(&hosts, &in_use).await).ok();
        });
    }

    /// Takes the list of a host.
    pub(super) fn handle_devices(&mut self, host: usize, devices: Vec<DeviceInfo>) {
        self.devices.manager.handle_devices(now(&self.parts).mono, host, devices);
        self.list_changed_devices();
    }

    /// Takes a change of a host's devices.
    pub(super) fn handle_device_change(&mut self, host: usize, change: DeviceChange) {
        self.devices.manager.handle_change(now(&self.parts).mono, host, change);
        self.list_changed_devices();
    }

    /// Lists all devices in the background since those of a host changed. One listing runs at a
    /// time, however many changes there are.
    fn list_changed_devices(&mut self) {
        if std::mem::replace(&mut self.devices.listing.is_running, true) {
            self.devices.listing.is_outdated = true;
            return;
        }
        let (hosts, in_use, reports) = (self.parts.media_hosts.clone(), self.devices_in_use(), self.reports.clone());
        tokio::spawn(async move {
            let devices = list(&hosts, &in_use).await;
            // An engine that has ended tells no one.
            reports.send(Report::DevicesListed(devices)).await.ok();
        });
    }

    /// Reports a new list where it is another one.
    pub(super) fn handle_device_list(&mut self, result: Result<Vec<Device>>) {
        let listing = &mut self.devices.listing;
        listing.is_running = false;
        let is_outdated = std::mem::take(&mut listing.is_outdated);
        match result {
            Ok(devices) => {
                let before = listing.known.replace(devices.clone());
                if before.is_some_and(|before| !is_same(&before, &devices)) {
                    self.emit(Event::DevicesChanged { devices });
                }
            }
            Err(error) => tracing::warn!(%error, "the devices cannot be listed"),
        }
        if is_outdated {
            self.list_changed_devices();
        }
    }

    fn devices_in_use(&self) -> InUse {
        [DeviceDirection::Source, DeviceDirection::Sink]
            .map(|direction| self.devices.manager.in_use(direction).map(|(_, device)| device.clone()))
    }
}

/// The same devices; which of them are in use is reported by other events.
fn is_same(before: &[Device], devices: &[Device]) -> bool {
    let key = |device: &Device| {
        let mut device = device.clone();
        device.in_use = false;
        device
    };
    before.iter().map(key).eq(devices.iter().map(key))
}

/// The devices of all hosts, in order of preference.
///
/// # Errors
/// The first host's where no host lists any.
async fn list(hosts: &[(String, Arc<dyn MediaHost>)], in_use: &InUse) -> Result<Vec<Device>> {
    let (mut devices, mut failed) = (Vec::new(), None);
    for (index, (name, host)) in hosts.iter().enumerate() {
        match devices_of(&**host).await {
            Ok(listed) => devices.extend(listed.into_iter().map(|info| {
                let [microphone, speaker] = in_use;
                let used = if info.direction == DeviceDirection::Source { microphone } else { speaker };
                let is_it = |used: &HostDevice| {
                    let names = used.name == info.name || (used.name == DEFAULT && info.is_default);
                    used.host == index && names && info.kind == TrackKind::Audio
                };
                let mut device = Device::new(name, info.name.clone(), info.summary, info.direction, info.kind);
                device.is_default = info.is_default;
                device.in_use = used.as_ref().is_some_and(is_it);
                device
            })),
            Err(error) => {
                tracing::warn!(%error, host = name, "a media host does not list its devices");
                failed.get_or_insert(error);
            }
        }
    }
    match failed {
        Some(error) if devices.is_empty() => Err(error),
        _ => Ok(devices),
    }
}
