//! What is fuzzed: one plain function for each place that reads bytes from outside.
//!
//! Each takes any bytes and panics where something is wrong: the code under test must not panic
//! itself, and what each module says of it must hold. `fuzz/` runs them with libFuzzer, the tests
//! of this crate over the corpus that is committed there.

mod body;
mod configuration;
mod envelope;
mod files;
mod input;
mod jitter;
mod machine;
mod recording;
mod rtp;
mod sdp;
mod store;
mod video;

/// A function that is fuzzed.
pub type Target = fn(&[u8]);

/// All of them, by the names of their corpora.
pub const TARGETS: &[(&str, Target)] = &[
    ("body", body::run),
    ("clip", files::clip),
    ("configuration", configuration::run),
    ("envelope", envelope::run),
    ("jitter", jitter::run),
    ("machine", machine::run),
    ("recording", recording::run),
    ("rtp", rtp::run),
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
pub use recording::run as recording;
pub use rtp::run as rtp;
pub use sdp::run as sdp;
pub use store::run as store;
pub use video::run as video;
