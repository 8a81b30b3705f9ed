//! Recorders of the Blink call engine, and tools for their files.

mod config;
mod opus_packet;
mod output_file;
mod timeline;
mod wav;
mod wav_file;

pub use config::{Mp4Config, RtpLogConfig, SampleFormat, WavConfig};
pub use wav::WavRecorder;
