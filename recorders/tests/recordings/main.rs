//! Recordings of a call as other programs read them: ffmpeg, ffprobe, symphonia, the crate `mp4`.

mod aligned;
mod broken;
mod call;
mod killed;
mod tools;
