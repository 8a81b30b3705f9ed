//! Devices of a sound system, with their names in the configuration.

use blink_api::{DeviceDirection, DeviceInfo, Result, TrackKind};
use cpal::traits::{DeviceTrait, HostTrait};

use super::opening::{failure, not_found};

/// Name of the default device.
const DEFAULT: &str = "default";

/// ALSA plugins that are no devices: they discard audio, or lead to another plugin.
const PLUGINS: [&str; 10] =
    ["null", "lavrate", "samplerate", "speexrate", "speex", "jack", "oss", "upmix", "vdownmix", "usbstream"];

/// Lists the devices, microphones first.
///
/// # Errors
/// [`Io`](blink_api::ErrorKind::Io) where the sound system does not answer.
pub(super) fn list(host: &cpal::Host) -> Result<Vec<DeviceInfo>> {
    let found: Vec<_> = host.devices().map_err(|error| failure(error, "devices"))?.collect();
    let is_card = |device: &cpal::Device| name_of(device).is_some_and(|name| !is_alias(host, &name));
    if !found.iter().any(is_card) {
        return Ok(Vec::new());
    }
    let mut devices = Vec::new();
    for direction in [DeviceDirection::Source, DeviceDirection::Sink] {
        let default = default_device(host, direction).and_then(|device| name_of(&device));
        for device in found.iter().filter(|device| supports(device, direction)) {
            let Some(name) = name_of(device).filter(|name| is_device(host, name)) else { continue };
            let summary = device.description().map_or_else(|_| name.clone(), |text| one_line(text.name()));
            let mut info = DeviceInfo::new(name, summary, direction, TrackKind::Audio);
            info.is_default = default.as_deref() == Some(&*info.name);
            let is_known = |other: &DeviceInfo| (&other.name, other.direction) == (&info.name, direction);
            if !devices.iter().any(is_known) {
                devices.push(info);
            }
        }
    }
    Ok(devices)
}

/// Finds a device by its name, by its description if only one has it, or the default one. Returns
/// it with its name.
///
/// # Errors
/// [`NotFound`](blink_api::ErrorKind::NotFound), [`Io`](blink_api::ErrorKind::Io).
pub(super) fn find(host: &cpal::Host, direction: DeviceDirection, name: &str) -> Result<(cpal::Device, String)> {
    let listed = list(host)?;
    let mut listed = listed.iter().filter(|info| info.direction == direction);
    if name == DEFAULT && listed.next().is_some() {
        let device = default_device(host, direction).ok_or_else(|| not_found(direction, name))?;
        let name = name_of(&device).unwrap_or_else(|| DEFAULT.to_owned());
        return Ok((device, name));
    }
    let listed: Vec<_> = listed.collect();
    let by_name = listed.iter().find(|info| info.name == name);
    let mut by_summary = listed.iter().filter(|info| info.summary == name);
    let info = by_name.or_else(|| by_summary.next().filter(|_| by_summary.next().is_none()));
    let info = info.ok_or_else(|| not_found(direction, name))?;
    let mut devices = host.devices().map_err(|error| failure(error, "devices"))?;
    let device = devices.find(|device| supports(device, direction) && name_of(device).as_ref() == Some(&info.name));
    Ok((device.ok_or_else(|| not_found(direction, name))?, info.name.clone()))
}

fn default_device(host: &cpal::Host, direction: DeviceDirection) -> Option<cpal::Device> {
    match direction {
        DeviceDirection::Source => host.default_input_device(),
        DeviceDirection::Sink => host.default_output_device(),
    }
}

fn supports(device: &cpal::Device, direction: DeviceDirection) -> bool {
    match direction {
        DeviceDirection::Source => device.supports_input(),
        DeviceDirection::Sink => device.supports_output(),
    }
}

fn name_of(device: &cpal::Device) -> Option<String> {
    device.id().ok().map(|id| id.id().to_owned())
}

fn is_device(host: &cpal::Host, name: &str) -> bool {
    host.id().name() != "ALSA" || !PLUGINS.contains(&name)
}

/// Whether a device of ALSA only stands for one of its cards, or for that of a sound server.
fn is_alias(host: &cpal::Host, name: &str) -> bool {
    host.id().name() == "ALSA" && !name.contains(":CARD=")
}

/// A description of ALSA has two lines.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
}
