//! The audio path allocates nothing once it runs: an allocation may block, and audio must not wait.
//!
//! From the samples of the microphone to those for the speaker everything is measured but the
//! transport between [`Capture`] and [`Playout`], and once as a whole: [`CallMedia`]. Its packets
//! share the bytes that the capture encoded them into, as in an engine; what a WebRTC stack
//! allocates is not measured. One exception: the tick in which a participant starts or stops
//! speaking allocates the event that reports it.

mod audio_path;
mod call;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use allocation_counter::measure;
use blink_api::{
    AudioCodec, AudioDecoderConfig, AudioEncoderConfig, AudioFormat, AudioProcessor, AudioSettings, AudioSink,
    AudioSource, DeviceId, Did, Endpoint, Mid, QualitySettings, ReadResult, Result, RtpIn, RtpOut, RtpTime, TrackId,
    TrackKind,
};
use blink_media::video::PayloadFormats;
use blink_media::{
    AudioStatistics, CallAudio, CallClock, CallMedia, CallMediaConfig, Capture, CaptureConfig, MediaCommand,
    MediaOutput, NegotiatedSection, OpenId, ParticipantLevel, PathId, Playout, Processors, ReceiveConfig, TICK,
    TapContents, TapId, TapQueue, TrackSelection, WorstCasePath,
};
use blink_media_cpal_opus::{OpusCodec, OpusConfig};
use blink_media_synthetic::speech_clip;

const PEOPLE: usize = 4;
/// All buffers have had their largest content, and each block of packets its turn.
const WARM_UP: u32 = 2_000;
const TICKS: u32 = 6_000;

/// Speech, round and round.
struct Speech {
    samples: Vec<f32>,
    at: usize,
}

impl AudioSource for Speech {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        for sample in out.iter_mut() {
            *sample = self.samples[self.at];
            self.at = (self.at + 1) % self.samples.len();
        }
        Ok(ReadResult::new(out.len()))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}

/// Hears, and keeps nothing.
struct Speaker;

impl AudioSink for Speaker {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        Ok(samples.len())
    }

    fn queued(&self) -> usize {
        0
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
