//! Media host `cpal`: microphones and loudspeakers of the sound system.
//!
//! ```text
//!  device thread                          media thread
//!  input callback ──► ring of frames ──► resampler ──► AudioSource::read
//!                └──► ring of stamps ──► rate control ──┘ ratio
//!  output callback ◄── ring of frames ◄── resampler ◄── AudioSink::write
//!                └──► ring of stamps ──► rate control ──┘ ratio
//! ```
//!
//! * Callbacks convert samples and channels, and allocate nothing. Resampling is done by the thread
//!   that reads or writes.
//! * Both directions run on the clock of the caller: a rate control compares the device's position,
//!   which the stamps of its callbacks tell, with what was read or written, and changes the
//!   resampling ratio by parts per million. Frames are dropped only where a source was not read for
//!   so long that they are worthless.
//! * A stream latches its first fatal error, and is dropped on a thread of its own, because the
//!   drop of some streams of a device that is gone never returns.

mod catalog;
mod cpal_config;
mod device_clock;
mod host;
mod input;
mod opening;
mod output;
mod rate_control;
mod resampler;
mod sound_system;
mod stream_config;
mod stream_health;
mod watcher;

#[cfg(test)]
mod tests;

pub use cpal_config::{CpalConfig, SoundSystem};
pub(crate) use host::CAPABILITIES;
pub use host::CpalHost;

/// Name of the host in configurations and errors.
pub(crate) const NAME: &str = "cpal";
