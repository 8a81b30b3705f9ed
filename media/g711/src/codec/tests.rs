use std::f32::consts::TAU;
use std::time::Duration;

use blink_api::{
    AudioCodec, AudioDecoderConfig, AudioEncoderConfig, AudioFormat, DecoderInput, EncoderHint, ErrorKind, Registry,
};

use super::*;

const FORMATS: [(u32, u16); 5] = [(8_000, 1), (16_000, 2), (24_000, 1), (32_000, 2), (48_000, 1)];

fn tone(format: AudioFormat, duration: Duration, hertz: f32) -> Vec<f32> {
    let channels = usize::from(format.channels);
    let sample = |n: usize| 0.3 * ((n / channels) as f32 * hertz / format.sample_rate as f32 * TAU).sin();
    (0..format.samples_in(duration)).map(sample).collect()
}

fn power(samples: &[f32]) -> f32 {
    samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32
}

/// A narrowband tone is reproduced with a delay, by both laws, in every format and at every frame
/// length; one above the band is removed.
#[test]
fn tones_in_the_band_are_reproduced_and_those_above_it_are_removed() {
    for law in [Law::Mu, Law::A] {
        for (sample_rate, channels) in FORMATS {
            for frame_ms in [10, 20, 40, 60] {
                let format = AudioFormat { sample_rate, channels };
                let frame = Duration::from_millis(frame_ms);
                let codec = G711Codec::new(law);
                let through = |sound: &[f32]| {
                    let mut encoder = codec.encoder(AudioEncoderConfig { format, frame, bitrate: None }).unwrap();
                    let mut decoder = codec.decoder(AudioDecoderConfig { format }).unwrap();
                    let (mut packet, mut frame_out, mut heard) = (Vec::new(), vec![0.0; 11_520], Vec::new());
                    for frame in sound.chunks_exact(encoder.frame_samples()) {
                        encoder.encode(frame, &mut packet).unwrap();
                        assert_eq!(packet.len(), frame_ms as usize * 8);
                        assert_eq!(decoder.duration(&packet).unwrap(), Duration::from_millis(frame_ms));
                        let samples = decoder.decode(DecoderInput::Packet(&packet), &mut frame_out).unwrap();
                        assert_eq!(samples, frame.len());
                        heard.extend_from_slice(&frame_out[..samples]);
                    }
                    let delay = format.samples_in(encoder.lookahead());
                    (heard, delay)
                };
                let sound = tone(format, Duration::from_millis(480), 1_000.0);
                let (heard, delay) = through(&sound);
                let steady = format.samples_in(Duration::from_millis(60))..sound.len() - delay;
                let noise: Vec<f32> = steady.clone().map(|n| heard[n + delay] - sound[n]).collect();
                let ratio = power(&sound[steady]) / power(&noise);
                // ITU-T G.712 requires 33 dB of G.711 for tones; the resampling filters take a part
                // of it.
                assert!(ratio > 1_000.0, "{law:?} {sample_rate} Hz, {channels} channels, {frame_ms} ms: {ratio}");
                if sample_rate > 16_000 {
                    let (heard, _) = through(&tone(format, Duration::from_millis(480), 6_000.0));
                    assert!(power(&heard) < 1e-4, "{law:?} {sample_rate} Hz: {}", power(&heard));
                }
            }
        }
    }
}

#[test]
fn invalid_input_is_refused_and_leaves_codec_state_intact() {
    let codec = G711Codec::new(Law::Mu);
    let frame = Duration::from_millis(20);
    let format = AudioFormat::CALL;
    let mut encoder = codec.encoder(AudioEncoderConfig { format, frame, bitrate: None }).unwrap();
    let mut decoder = codec.decoder(AudioDecoderConfig { format }).unwrap();
    let mut packet = vec![1];
    for length in [0, 959, 961, 1_920] {
        assert_eq!(encoder.encode(&vec![0.0; length], &mut packet).unwrap_err().kind(), ErrorKind::Invalid);
        assert!(packet.is_empty());
    }
    for value in [f32::NAN, f32::INFINITY, f32::MIN, 1e30] {
        encoder.encode(&[value; 960], &mut packet).unwrap();
    }
    for loss in [-0.1, 1.1, f32::NAN] {
        assert!(encoder.hint(EncoderHint { loss, ..EncoderHint::default() }).is_err());
    }
    let mut out = [9.0; 5_760];
    for bytes in [0, 1, 79, 81, 161, 1_040] {
        let error = decoder.decode(DecoderInput::Packet(&vec![0; bytes]), &mut out).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bytes} bytes");
    }
    assert!(decoder.decode(DecoderInput::Packet(&packet), &mut [0.0; 959]).is_err());
    assert_eq!(decoder.decode(DecoderInput::Packet(&packet), &mut out).unwrap(), 960);
    assert!(out[..960].iter().all(|sample| sample.abs() <= 1.0));
    for input in [DecoderInput::Conceal, DecoderInput::Fec(&packet)] {
        let mut out = [9.0; 480];
        assert_eq!(decoder.decode(input, &mut out).unwrap(), 480);
        assert_eq!(out, [0.0; 480], "G.711 has no redundancy");
    }
    for (sample_rate, channels) in [(44_100, 1), (0, 1), (12_000, 1), (48_000, 0), (48_000, 3)] {
        let format = AudioFormat { sample_rate, channels };
        assert!(codec.encoder(AudioEncoderConfig { format, frame, bitrate: None }).is_err());
        assert!(codec.decoder(AudioDecoderConfig { format }).is_err());
    }
    for frame_ms in [0, 5, 30, 120] {
        let frame = Duration::from_millis(frame_ms);
        assert!(codec.encoder(AudioEncoderConfig { format, frame, bitrate: None }).is_err());
    }
}

/// Both codecs are found by name, with the SDP names of payload types 0 and 8 (RFC 3551 §6).
#[test]
fn both_codecs_are_registered() {
    let registry = Registry::discovered().unwrap();
    let names: Vec<_> = registry.entries::<dyn AudioCodec>().map(|entry| entry.name).collect();
    assert_eq!(names, ["pcma", "pcmu"]);
    for (law, name) in [(Law::Mu, "PCMU"), (Law::A, "PCMA")] {
        let rtp = G711Codec::new(law).rtp();
        assert_eq!((rtp.name.as_str(), rtp.clock_rate, rtp.channels), (name, 8_000, 1));
    }
}
