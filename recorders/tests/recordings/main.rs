//! Recordings of a call as other programs read them: ffmpeg, ffprobe, symphonia, the crate `mp4`.

mod aligned;
mod broken;
mod browser;
mod call;
mod hostile;
mod killed;
mod tools;
