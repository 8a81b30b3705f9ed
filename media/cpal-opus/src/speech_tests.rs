//! Encoder and decoder together: audio quality, forward error correction and concealment.

use std::time::Duration;

use blink_api::{
    AudioCodec, AudioDecoder, AudioDecoderConfig, AudioEncoder, AudioEncoderConfig, AudioFormat, DecoderInput,
};

use crate::{OpusCodec, OpusConfig};

const FORMAT: AudioFormat = AudioFormat { sample_rate: 16_000, channels: 1 };
const FRAME: Duration = Duration::from_millis(20);

fn pair(format: AudioFormat, bitrate: u32) -> (Box<dyn AudioEncoder>, Box<dyn AudioDecoder>) {
    let codec = OpusCodec::new(OpusConfig::default()).unwrap();
    let encoder = codec.encoder(AudioEncoderConfig { format, frame: FRAME, bitrate: Some(bitrate) }).unwrap();
    (encoder, codec.decoder(AudioDecoderConfig { format }).unwrap())
}

fn encode_all(encoder: &mut dyn AudioEncoder, audio: &[f32]) -> Vec<Vec<u8>> {
    let mut packet = Vec::new();
    let frames = audio.chunks_exact(encoder.frame_samples());
    frames.map(|frame| encoder.encode(frame, &mut packet).map(|()| packet.clone()).unwrap()).collect()
}

fn decibels(samples: &[f32]) -> f64 {
    10.0 * (samples.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / samples.len() as f64).log10()
}

fn speech() -> Vec<f32> {
    let clip = include_bytes!("../../../assets/speech/sense_and_sensibility_01_austen_64kb-0870.wav");
    let samples = hound::WavReader::new(&clip[..]).unwrap().into_samples::<i16>();
    samples.map(|sample| f32::from(sample.unwrap()) / 32_768.0).collect()
}

#[test]
fn a_tone_and_noise_keep_their_level_in_every_format() {
    for (sample_rate, channels) in [(8_000, 1), (12_000, 1), (16_000, 2), (24_000, 1), (48_000, 1), (48_000, 2)] {
        let format = AudioFormat { sample_rate, channels };
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        let seconds = sample_rate as usize;
        let angle = |n: usize| n as f32 * 440.0 * std::f32::consts::TAU / sample_rate as f32;
        let both = |sample: f32| std::iter::repeat_n(sample, channels.into());
        let tone: Vec<f32> = (0..seconds).flat_map(|n| both(0.2 * angle(n).sin())).collect();
        let hiss: Vec<f32> = (0..seconds).flat_map(|_| both(0.1 * noise())).collect();
        for (name, audio, tolerance) in [("tone", &tone, 1.0), ("noise", &hiss, 2.5)] {
            let (mut encoder, mut decoder) = pair(format, 64_000);
            let mut out = vec![0.0; encoder.frame_samples()];
            let mut heard = Vec::new();
            for packet in encode_all(encoder.as_mut(), audio) {
                assert_eq!(decoder.decode(DecoderInput::Packet(&packet), &mut out).unwrap(), out.len());
                heard.extend_from_slice(&out);
            }
            let change = decibels(&heard[heard.len() / 4..]) - decibels(audio);
            assert!(change.abs() < tolerance, "{name}, {format:?}: {change:.2} dB");
        }
    }
}

/// Every eighth packet of real speech is lost: FEC is closer to the original than concealment.
#[test]
fn fec_is_closer_to_the_original_than_concealment() {
    let audio = speech();
    let (mut encoder, mut whole) = pair(FORMAT, 32_000);
    let packets = encode_all(encoder.as_mut(), &audio);
    let (_, mut recovering) = pair(FORMAT, 32_000);
    let (_, mut concealing) = pair(FORMAT, 32_000);
    let mut frames = [vec![0.0; 320], vec![0.0; 320], vec![0.0; 320]];
    let [reference, recovered, concealed] = &mut frames;
    let (mut recovery_error, mut concealment_error) = (0.0, 0.0);
    let error = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    for (n, two) in packets.windows(2).enumerate() {
        let (own, next) = (&two[0], &two[1]);
        let lost = n % 8 == 7;
        whole.decode(DecoderInput::Packet(own), reference).unwrap();
        recovering.decode(if lost { DecoderInput::Fec(next) } else { DecoderInput::Packet(own) }, recovered).unwrap();
        concealing.decode(if lost { DecoderInput::Conceal } else { DecoderInput::Packet(own) }, concealed).unwrap();
        if lost {
            recovery_error += error(reference, recovered);
            concealment_error += error(reference, concealed);
        }
    }
    assert!(
        recovery_error * 2.0 < concealment_error,
        "recovered {recovery_error:.3}, concealed {concealment_error:.3}"
    );
}
