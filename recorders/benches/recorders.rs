//! CPU time of a participant: one second of 50 packets, with the ticks that are due.
//!
//! A time of 200 µs a second is 0.02 % of a core.

use std::time::Duration;

use blink_api::{
    AudioFormat, CallTime, CodecName, DeviceId, Did, Endpoint, RecordedTrack, Recorder, RecordingConfig, RecordingId,
    RtpCodec, RtpSample, RtpTime, Sample, TrackFormat, TrackKey,
};
use blink_recorders::{Mp4Config, Mp4Recorder, RtpLogConfig, RtpLogRecorder, WavConfig, WavRecorder};
use criterion::{Criterion, criterion_group, criterion_main};

fn participant_second(criterion: &mut Criterion, name: &str, recorder: &dyn Recorder) {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let config = RecordingConfig::new(RecordingId::from_bytes([1; 16]), directory.path());
    let mut recording = recorder.start(config).expect("the directory is there");
    let endpoint = Endpoint { did: Did::from_public_key([1; 32]), device: DeviceId::from_random([1; 16]) };
    let key = TrackKey::microphone(endpoint);
    let opus = CodecName::new("opus");
    let codec = RtpCodec { name: opus.clone(), clock_rate: 48_000, channels: 2, fmtp: String::new() };
    let samples = recorder.capabilities().samples;
    let format = if samples { TrackFormat::Samples(AudioFormat::CALL) } else { TrackFormat::Encoded(codec) };
    recording.add_track(RecordedTrack::new(key, format)).expect("the format is declared");
    let (audio, payload) = (vec![0.1f32; 960], [0x48u8; 80]);
    let mut packet = 0u32;
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            for _ in 0..50 {
                let (at, timestamp) = (Duration::from_millis(20) * packet, RtpTime(packet.wrapping_mul(960)));
                let sample = if samples {
                    Sample::Audio { timestamp, samples: &audio }
                } else {
                    Sample::Rtp(RtpSample::new(&opus, packet as u16, timestamp, &payload))
                };
                recording.push(&key, CallTime(at), sample).expect("there is room");
                packet += 1;
                if packet.is_multiple_of(5) {
                    recording.tick(CallTime(Duration::from_millis(20) * packet)).expect("there is room");
                }
            }
        });
    });
}

fn recorders(criterion: &mut Criterion) {
    let wav = WavRecorder::new(WavConfig::default()).expect("the default is valid");
    let mp4 = Mp4Recorder::new(Mp4Config::default()).expect("the default is valid");
    participant_second(criterion, "wav", &wav);
    participant_second(criterion, "mp4", &mp4);
    participant_second(criterion, "rtp-log", &RtpLogRecorder::new(RtpLogConfig::default()).unwrap());
}

criterion_group!(benches, recorders);
criterion_main!(benches);
