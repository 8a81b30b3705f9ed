//! A synthetic call on virtual time, given to recorders as the engine does.

use std::path::Path;
use std::time::Duration;

use blink_api::{
    AudioCodec, AudioDecoder, AudioDecoderConfig, AudioEncoder, AudioEncoderConfig, AudioFormat, CallTime,
    DecoderInput, DeviceId, Did, EncodedVideoFrame, Endpoint, RecordedTrack, Recorder, Recording, RecordingConfig,
    RecordingId, RecordingSummary, RtpCodec, RtpSample, RtpTime, Sample, StreamId, TrackFormat, TrackKey,
};
use blink_media_cpal_opus::{OpusCodec, OpusConfig};
use blink_media_synthetic::fuzzing;
use bytes::Bytes;
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) const FRAME: Duration = Duration::from_millis(20);
const RATE: usize = 48_000;
/// Duration of the chirp at each whole second.
pub(crate) const CHIRP: Duration = Duration::from_millis(200);

/// The sample at a time: a chirp of 400 to 2,000 Hz at each whole second, silence between.
pub(crate) fn signal(at: usize) -> f32 {
    let seconds = (at % RATE) as f64 / RATE as f64;
    if seconds >= CHIRP.as_secs_f64() {
        return 0.0;
    }
    let phase = std::f64::consts::TAU * (400.0 * seconds + 800.0 / CHIRP.as_secs_f64() * seconds * seconds);
    (0.5 * phase.sin()) as f32
}

pub(crate) fn opus() -> OpusCodec {
    // Keeps the waveform, so that chirps can be compared.
    let config =
        OpusConfig { bitrate: 64_000, fec: false, redundancy_ms: 0, decoder_complexity: 4, ..OpusConfig::default() };
    OpusCodec::new(config).expect("the values are in range")
}

/// A participant and what happens to it.
pub(crate) struct Participant {
    pub(crate) key: TrackKey,
    pub(crate) name: &'static str,
    /// Times in which it is in the call.
    pub(crate) present: Vec<std::ops::Range<f64>>,
    pub(crate) muted: std::ops::Range<f64>,
    /// Time of a change of devices, which loses 60 ms.
    pub(crate) device_change: f64,
    pub(crate) loss: f64,
    random: ChaCha8Rng,
    encoder: Box<dyn AudioEncoder>,
    decoder: Box<dyn AudioDecoder>,
    sequence: u16,
    base: u32,
    was_present: bool,
}

impl Participant {
    pub(crate) fn new(number: u8, name: &'static str) -> Self {
        let endpoint =
            Endpoint { did: Did::from_public_key([number; 32]), device: DeviceId::from_random([number; 16]) };
        let mut random = ChaCha8Rng::seed_from_u64(number.into());
        let config = AudioEncoderConfig { format: AudioFormat::CALL, frame: FRAME, bitrate: None };
        Self {
            key: TrackKey::microphone(endpoint),
            name,
            present: vec![0.0..f64::MAX],
            muted: -1.0..-1.0,
            device_change: -1.0,
            loss: 0.0,
            encoder: opus().encoder(config).expect("Opus has this format"),
            decoder: opus().decoder(AudioDecoderConfig { format: AudioFormat::CALL }).expect("Opus has this format"),
            sequence: random.random(),
            base: random.random(),
            random,
            was_present: false,
        }
    }

    /// Whether its signal can be expected in the recording at a time.
    pub(crate) fn is_heard(&self, seconds: f64) -> bool {
        let changed = self.device_change - 0.1..self.device_change + 0.3;
        self.present.iter().any(|present| present.contains(&seconds))
            && !self.muted.contains(&seconds)
            && !changed.contains(&seconds)
    }

    /// The packet captured at a time, unless it does not speak; and whether it is lost.
    fn packet(&mut self, at: Duration) -> Option<(Vec<u8>, u16, RtpTime, bool)> {
        let seconds = at.as_secs_f64();
        let present = self.present.iter().any(|present| present.contains(&seconds));
        if present && !self.was_present {
            // A device that joins chooses numbers at random (RFC 3550 §5.1).
            (self.sequence, self.base) = (self.random.random(), self.random.random());
        }
        self.was_present = present;
        let changing = (self.device_change..self.device_change + 0.06).contains(&seconds);
        if !present || self.muted.contains(&seconds) || changing {
            return None;
        }
        let first = (at.as_micros() * 48 / 1_000) as usize;
        let samples: Vec<f32> = (first..first + self.encoder.frame_samples()).map(signal).collect();
        let mut payload = Vec::new();
        self.encoder.encode(&samples, &mut payload).expect("a whole frame");
        self.sequence = self.sequence.wrapping_add(1);
        let lost = self.random.random_bool(self.loss);
        Some((payload, self.sequence, RtpTime(self.base.wrapping_add(first as u32)), lost))
    }
}

/// A video stream that begins in the middle of the call.
pub(crate) struct Stream {
    pub(crate) key: TrackKey,
    codec: RtpCodec,
    frames: Vec<EncodedVideoFrame>,
    begin: Duration,
    added: bool,
}

const FRAME_RATE: u32 = 15;

impl Stream {
    pub(crate) fn vp8(owner: &Participant, begin: Duration) -> Self {
        let file = Bytes::from_static(include_bytes!("../../../assets/clips/counter.ivf"));
        let frames = fuzzing::read_ivf(&file).expect("the clip is VP8");
        Self::new(owner, begin, "VP8", 1, frames, |frame| frame[0] & 1 == 0)
    }

    pub(crate) fn h264(owner: &Participant, begin: Duration) -> Self {
        let file = Bytes::from_static(include_bytes!("../../../assets/clips/counter.h264"));
        let frames = fuzzing::read_annex_b(&file).expect("the clip is H.264");
        Self::new(owner, begin, "H264", 2, frames, |frame| {
            frame.windows(4).any(|code| code[..3] == [0, 0, 1] && code[3] & 31 == 5)
        })
    }

    fn new(
        owner: &Participant,
        begin: Duration,
        name: &str,
        id: u8,
        frames: Vec<Bytes>,
        is_key: impl Fn(&[u8]) -> bool,
    ) -> Self {
        let now = std::time::Instant::now();
        let frames = frames.into_iter().map(|data| EncodedVideoFrame { key: is_key(&data), data, at: now });
        let codec =
            RtpCodec { name: blink_api::CodecName::new(name), clock_rate: 90_000, channels: 0, fmtp: String::new() };
        Self {
            key: TrackKey::stream(owner.key.endpoint, StreamId::from_random([id; 16])),
            codec,
            frames: frames.collect(),
            begin,
            added: false,
        }
    }

    /// Pushes the frames captured in the 20 ms from `now` on.
    fn push(&mut self, recording: &mut dyn Recording, now: Duration) -> blink_api::Result<()> {
        if now < self.begin {
            return Ok(());
        }
        if !self.added {
            self.added = true;
            recording.add_track(RecordedTrack::new(self.key, TrackFormat::Encoded(self.codec.clone())))?;
        }
        let due = |time: Duration| ((time - self.begin).as_nanos() * u128::from(FRAME_RATE)).div_ceil(1_000_000_000);
        for number in due(now)..due(now + FRAME) {
            let number = number as u32;
            let frame = &self.frames[number as usize % self.frames.len()];
            let at = self.begin + Duration::from_secs(1) * number / FRAME_RATE;
            let timestamp = RtpTime(4_000_000_000u32.wrapping_add(number * 90_000 / FRAME_RATE));
            recording.push(&self.key, CallTime(at), Sample::Video { timestamp, frame })?;
        }
        Ok(())
    }
}

/// Records participants for a time; with decoded audio or packets, as the recorder takes.
pub(crate) fn record(
    recorder: &dyn Recorder,
    directory: &Path,
    participants: &mut [Participant],
    streams: &mut [Stream],
    duration: Duration,
    mut ticked: impl FnMut(Duration),
) -> blink_api::Result<RecordingSummary> {
    let mut config = RecordingConfig::new(RecordingId::from_bytes([9; 16]), directory);
    config.begin = Some(CallTime::default());
    let mut recording = recorder.start(config)?;
    let rtp = opus().rtp();
    let samples = recorder.capabilities().samples;
    let mut added = vec![false; participants.len()];
    let mut now = Duration::ZERO;
    while now < duration {
        for (participant, added) in participants.iter_mut().zip(&mut added) {
            let packet = participant.packet(now);
            if packet.is_some() && !*added {
                *added = true;
                let format =
                    if samples { TrackFormat::Samples(AudioFormat::CALL) } else { TrackFormat::Encoded(rtp.clone()) };
                recording.add_track(RecordedTrack::new(participant.key, format).named(participant.name))?;
            }
            let Some((payload, sequence, timestamp, lost)) = packet else { continue };
            let (key, at) = (participant.key, CallTime(now));
            if samples {
                let mut decoded = vec![0.0; 960];
                let input = if lost { DecoderInput::Conceal } else { DecoderInput::Packet(&payload) };
                participant.decoder.decode(input, &mut decoded).expect("its own encoder's packet");
                recording.push(&key, at, Sample::Audio { timestamp, samples: &decoded })?;
            } else if !lost {
                let packet = RtpSample::new(&rtp.name, sequence, timestamp, &payload);
                recording.push(&key, at, Sample::Rtp(packet))?;
            }
        }
        if !samples {
            streams.iter_mut().try_for_each(|stream| stream.push(&mut *recording, now))?;
        }
        now += FRAME;
        if now.as_millis().is_multiple_of(100) {
            if let Err(error) = recording.tick(CallTime(now)) {
                recording.finish().expect("what was written can be completed");
                return Err(error);
            }
            ticked(now);
        }
    }
    recording.finish()
}
