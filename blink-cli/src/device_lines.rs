//! Lines that list devices.

use blink_api::{DeviceDirection, TrackKind};
use blink_engine::Device;

/// Line of an audio device; `None` for a video device, which a stream names.
pub(crate) fn text(device: &Device) -> Option<String> {
    let what = match (device.kind, device.direction) {
        (TrackKind::Audio, DeviceDirection::Source) => "mic",
        (TrackKind::Audio, DeviceDirection::Sink) => "speaker",
        (TrackKind::Video, _) => return None,
    };
    let marks = [(device.in_use, "in use"), (device.is_default, "default")];
    let marks: Vec<_> = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
    let marks = if marks.is_empty() { String::new() } else { format!(" ({})", marks.join(", ")) };
    Some(format!("{what} {}{marks}  {}", device.full_name(), device.summary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_listed_by_the_name_that_chooses_it() {
        let mut device = Device::new("cpal", "USB", "a headset", DeviceDirection::Source, TrackKind::Audio);
        (device.in_use, device.is_default) = (true, true);
        assert_eq!(text(&device).unwrap().trim(), "mic cpal/USB (in use, default)  a headset");
        let camera = Device::new("v4l", "video0", "a camera", DeviceDirection::Source, TrackKind::Video);
        assert_eq!(text(&camera), None);
    }
}
