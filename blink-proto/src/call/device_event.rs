//! Contents of events about devices.

use blink_api::{DeviceDirection, TrackKind};
use serde::Serialize;

/// A device of a media host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Device {
    /// Name of the media host, as in `HOST/NAME`.
    pub host: String,
    /// The host's name of the device. One that takes a parameter is a pattern, such as `wav:PATH`.
    pub name: String,
    /// Its description for users.
    pub summary: String,
    /// Source (microphone, camera) or sink (speaker).
    pub direction: DeviceDirection,
    /// Audio or video.
    pub kind: TrackKind,
    /// Whether `default` opens it, of its host.
    pub is_default: bool,
    /// Whether the current call uses it as its microphone or speaker.
    pub in_use: bool,
}

impl Device {
    /// A device that is neither the default nor in use.
    pub fn new(
        host: impl Into<String>,
        name: impl Into<String>,
        summary: impl Into<String>,
        direction: DeviceDirection,
        kind: TrackKind,
    ) -> Self {
        let (host, name, summary) = (host.into(), name.into(), summary.into());
        Self { host, name, summary, direction, kind, is_default: false, in_use: false }
    }

    /// The name that means this device only: `HOST/NAME`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.host, self.name)
    }
}

/// Reason for which another device is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeviceChangeReason {
    /// The user chose it.
    Chosen,
    /// It stands in for the chosen device, which was lost or cannot be opened.
    FellBack,
    /// It is the chosen device again, or another default one, after it was lost.
    Returned,
}
