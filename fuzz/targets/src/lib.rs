//! Fuzz targets: a function for each parser or state machine with external input.
//!
//! Each function accepts any bytes and panics on a bug: the code under test must not panic, and
//! must keep the property that the module documents. `fuzz/` runs the functions with libFuzzer, the
//! tests of this crate run them over the committed corpus.

mod body;
mod configuration;
mod envelope;
mod files;
mod input;
mod jitter;
mod machine;
mod recordings;
mod rtp;
mod sdp;
mod store;
mod video;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// All targets, by the names of their corpora.
pub const TARGETS: &[(&str, Target)] = &[
    ("body", body::run),
    ("clip", files::clip),
    ("configuration", configuration::run),
    ("envelope", envelope::run),
    ("jitter", jitter::run),
    ("machine", machine::run),
    ("recorded_mp4", recordings::recorded_mp4),
    ("recorded_wav", recordings::recorded_wav),
    ("rtp", rtp::run),
    ("rtp_log", recordings::rtp_log),
    ("sdp", sdp::run),
    ("store", store::run),
    ("video", video::run),
    ("wav", files::wav),
];

pub use body::run as body;
pub use configuration::run as configuration;
pub use envelope::run as envelope;
pub use files::{clip, wav};
pub use jitter::run as jitter;
pub use machine::run as machine;
pub use recordings::{recorded_mp4, recorded_wav, rtp_log};
pub use rtp::run as rtp;
pub use sdp::run as sdp;
pub use store::run as store;
pub use video::run as video;
