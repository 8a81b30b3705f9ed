//! Typed lines that list and choose devices, in a call and before one.

use blink_api::{DeviceDirection, TrackKind};
use blink_engine::{Blink, Device};
use serde_json::json;

use crate::output::Output;

/// Help for the lines.
pub(crate) const HELP: &str = "d lists devices, mic NAME and speaker NAME choose one";

/// A typed line about devices.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DeviceLine<'a> {
    /// Lists the devices.
    List,
    /// Chooses the microphone.
    Microphone(&'a str),
    /// Chooses the speaker.
    Speaker(&'a str),
}

impl<'a> DeviceLine<'a> {
    /// Reads a line; `None` for one about something else. Names keep their case.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let (word, name) = line.split_once(' ').map_or((line, ""), |(word, name)| (word, name.trim()));
        match (word.to_lowercase().as_str(), name) {
            ("d" | "devices", "") => Some(Self::List),
            ("mic" | "microphone", name) if !name.is_empty() => Some(Self::Microphone(name)),
            ("spk" | "speaker", name) if !name.is_empty() => Some(Self::Speaker(name)),
            _ => None,
        }
    }

    /// Carries it out, and shows the result. A change in a call is shown by its event, too.
    pub(crate) async fn run(self, blink: &Blink, output: &Output) {
        let (what, name, result) = match self {
            Self::List => return list(blink, output).await,
            Self::Microphone(name) => ("microphone", name, blink.set_microphone(name).await),
            Self::Speaker(name) => ("speaker", name, blink.set_speaker(name).await),
        };
        match result {
            Ok(()) => {
                output.event(&format!("            {what}: `{name}`"));
                output.json_event(&json!({ "event": "device_chosen", "device": what, "name": name }));
            }
            Err(error) => {
                output.event(&format!("            {error}"));
                output.json_event(&json!({ "event": "refused", "error": error.to_string() }));
            }
        }
    }
}

async fn list(blink: &Blink, output: &Output) {
    match blink.devices().await {
        Ok(devices) => {
            devices.iter().filter_map(text).for_each(|line| output.event(&line));
            output.json_event(&json!({ "event": "devices", "devices": devices }));
        }
        Err(error) => output.event(&format!("            {error}")),
    }
}

/// Line of an audio device; `None` for a video device, which a stream names.
fn text(device: &Device) -> Option<String> {
    let what = match (device.kind, device.direction) {
        (TrackKind::Audio, DeviceDirection::Source) => "mic",
        (TrackKind::Audio, DeviceDirection::Sink) => "speaker",
        (TrackKind::Video, _) => return None,
    };
    let marks = [(device.in_use, "in use"), (device.is_default, "default")];
    let marks: Vec<_> = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
    let marks = if marks.is_empty() { String::new() } else { format!(" ({})", marks.join(", ")) };
    Some(format!("            {what} {}{marks}  {}", device.full_name(), device.summary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_case_and_other_lines_are_not_taken() {
        assert_eq!(DeviceLine::parse(" Mic  cpal/USB Headset "), Some(DeviceLine::Microphone("cpal/USB Headset")));
        assert_eq!(DeviceLine::parse("speaker wav:/tmp/A.wav"), Some(DeviceLine::Speaker("wav:/tmp/A.wav")));
        assert_eq!(DeviceLine::parse("D"), Some(DeviceLine::List));
        for other in ["", "y", "mic", "h", "hang up", "microphones x", "d x"] {
            assert_eq!(DeviceLine::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_device_is_listed_by_the_name_that_chooses_it() {
        let mut device = Device::new("cpal", "USB", "a headset", DeviceDirection::Source, TrackKind::Audio);
        (device.in_use, device.is_default) = (true, true);
        assert_eq!(text(&device).unwrap().trim(), "mic cpal/USB (in use, default)  a headset");
        let camera = Device::new("v4l", "video0", "a camera", DeviceDirection::Source, TrackKind::Video);
        assert_eq!(text(&camera), None);
    }
}
