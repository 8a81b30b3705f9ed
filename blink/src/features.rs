//! Backends by cargo feature: linked where the feature is on, named in errors where it is off.

use blink_api::{Error, ErrorKind};

#[cfg(any(feature = "opus", feature = "cpal"))]
use blink_media_cpal_opus as _;
#[cfg(feature = "g711")]
use blink_media_g711 as _;
#[cfg(feature = "processing")]
use blink_media_processing as _;
#[cfg(feature = "synthetic")]
use blink_media_synthetic as _;
#[cfg(feature = "recorders")]
use blink_recorders as _;
#[cfg(feature = "ipfs")]
use blink_signaling_ipfs as _;
#[cfg(feature = "libp2p")]
use blink_signaling_libp2p as _;
#[cfg(feature = "memory")]
use blink_signaling_memory as _;
#[cfg(feature = "memory")]
use blink_transport_memory as _;
#[cfg(feature = "str0m")]
use blink_transport_str0m as _;
#[cfg(feature = "webrtc-rs")]
use blink_transport_webrtc_rs as _;

/// A backend of this project: kind, name, and the feature that has it.
type Known = (&'static str, &'static str, &'static str);

/// All backends of this project. Within a kind, the first one that is there is the default.
const KNOWN: [Known; 16] = [
    ("transport", "str0m", "str0m"),
    ("transport", "webrtc-rs", "webrtc-rs"),
    ("transport", "memory", "memory"),
    ("signaling", "libp2p", "libp2p"),
    ("signaling", "ipfs", "ipfs"),
    ("signaling", "memory", "memory"),
    ("codec", "opus", "opus"),
    ("codec", "pcmu", "g711"),
    ("codec", "pcma", "g711"),
    ("media_host", "cpal", "cpal"),
    ("media_host", "synthetic", "synthetic"),
    ("processor", "sonora", "processing"),
    ("processor", "nnnoiseless", "processing"),
    ("recorder", "wav", "recorders"),
    ("recorder", "mp4", "recorders"),
    ("recorder", "rtp-log", "recorders"),
];

/// Names of a kind in order of preference.
pub(crate) fn preferred(kind: &str) -> impl Iterator<Item = &'static str> {
    KNOWN.iter().filter(move |(of, ..)| *of == kind).map(|(_, name, _)| *name)
}

/// Adds to the error about a backend that is not there the feature that has it.
pub(crate) fn explain(error: Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    let text = error.to_string();
    let missing = KNOWN.iter().find(|(kind, name, _)| text.contains(&format!("there is no {kind} `{name}`")));
    match missing {
        Some((_, _, feature)) => error.with("needs the feature", format!("`{feature}` of the crate `blink`")),
        None => error,
    }
}
