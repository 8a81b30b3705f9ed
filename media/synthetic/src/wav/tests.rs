//! Files of every format, and invalid ones.

use std::io::Cursor;

use blink_api::ErrorKind;
use hound::{SampleFormat, WavSpec, WavWriter};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

mod headers;

fn spec(sample_rate: u32, channels: u16, bits_per_sample: u16, sample_format: SampleFormat) -> WavSpec {
    WavSpec { channels, sample_rate, bits_per_sample, sample_format }
}

/// Encodes samples of −1.0..=1.0 as a file.
fn wav(spec: WavSpec, samples: &[f32]) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, spec).unwrap();
    for sample in samples {
        match spec.sample_format {
            SampleFormat::Float => writer.write_sample(*sample).unwrap(),
            SampleFormat::Int => {
                let full_scale = (1u64 << (spec.bits_per_sample - 1)) as f64;
                writer.write_sample((f64::from(*sample) * (full_scale - 1.0)) as i32).unwrap();
            }
        }
    }
    writer.finalize().unwrap();
    file.into_inner()
}

fn read(bytes: &[u8]) -> Result<Pcm> {
    decode(bytes, bytes.len() as u64, MAX_SECONDS)
}

#[test]
fn every_sample_format_is_read_at_full_scale() {
    let sound = [0.0, 0.5, -0.5, 0.99, -0.99, 0.25];
    for (bits, format, tolerance) in [
        (8, SampleFormat::Int, 0.02),
        (16, SampleFormat::Int, 1e-4),
        (24, SampleFormat::Int, 1e-6),
        (32, SampleFormat::Int, 1e-6),
        (32, SampleFormat::Float, 0.0),
    ] {
        for (rate, channels) in [(8_000, 1), (44_100, 2), (192_000, 6)] {
            let pcm = read(&wav(spec(rate, channels, bits, format), &sound)).unwrap();
            assert_eq!(pcm.format, AudioFormat { sample_rate: rate, channels });
            assert_eq!(pcm.samples.len(), sound.len());
            let near = pcm.samples.iter().zip(sound).all(|(read, written)| (read - written).abs() <= tolerance);
            assert!(near, "{bits} bits {format:?}: {:?}", pcm.samples);
        }
    }
}

#[test]
fn channels_are_mixed_to_the_requested_number() {
    let stereo = Pcm { format: AudioFormat { sample_rate: 48_000, channels: 2 }, samples: vec![0.5, 0.1, -0.5, 0.5] };
    assert_eq!(stereo.into_format(AudioFormat::CALL), [0.3, 0.0]);
    let mono = Pcm { format: AudioFormat::CALL, samples: vec![0.5, -0.25] };
    assert_eq!(mono.into_format(AudioFormat { sample_rate: 48_000, channels: 2 }), [0.5, 0.5, -0.25, -0.25]);
}

#[test]
fn a_file_truncated_anywhere_is_refused() {
    for (bits, format) in [(16, SampleFormat::Int), (24, SampleFormat::Int), (32, SampleFormat::Float)] {
        let whole = wav(spec(16_000, 2, bits, format), &[0.1; 40]);
        for length in 0..whole.len() {
            let error = read(&whole[..length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{length} of {} bytes: {error}", whole.len());
        }
        read(&whole).unwrap();
    }
}

#[test]
fn random_and_damaged_bytes_do_not_panic() {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let whole = wav(spec(16_000, 1, 24, SampleFormat::Int), &[0.1; 20]);
    let float = wav(spec(16_000, 1, 32, SampleFormat::Float), &[0.1; 20]);
    for round in 0..20_000 {
        let mut bytes = if round % 2 == 0 { whole.clone() } else { float.clone() };
        for _ in 0..=random.next_u32() % 4 {
            let offset = random.next_u32() as usize % bytes.len();
            bytes[offset] = random.next_u32() as u8;
        }
        if let Ok(pcm) = read(&bytes) {
            assert!(pcm.samples.iter().all(|sample| sample.abs() <= 1.0));
        }
        let mut noise = vec![0; random.next_u32() as usize % 100];
        random.fill_bytes(&mut noise);
        assert_eq!(read(&noise).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn files_without_valid_audio_are_refused_with_the_reason() {
    let refused = |bytes: &[u8], why: &str| {
        let error = read(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(why), "{error}");
    };
    refused(&wav(spec(4_000, 1, 16, SampleFormat::Int), &[0.0; 8]), "8 to 192 kHz");
    refused(&wav(spec(384_000, 1, 16, SampleFormat::Int), &[0.0; 8]), "8 to 192 kHz");
    refused(&wav(spec(16_000, 9, 16, SampleFormat::Int), &[0.0; 9]), "more than 8 channels");
    refused(&wav(spec(16_000, 1, 16, SampleFormat::Int), &[]), "no audio");
    refused(&wav(spec(16_000, 1, 32, SampleFormat::Float), &[f32::NAN]), "not finite");
    let long = wav(spec(8_000, 1, 8, SampleFormat::Int), &vec![0.0; 8_000 * 3]);
    let error = decode(&long[..], long.len() as u64, 2).unwrap_err();
    assert!(error.to_string().contains("too long"), "{error}");
}

#[test]
fn errors_name_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("empty.wav"), []).unwrap();
    std::fs::write(path("text.wav"), "hello").unwrap();
    for (name, kind, why) in [
        ("missing.wav", ErrorKind::NotFound, "no such file"),
        ("empty.wav", ErrorKind::Invalid, "empty"),
        ("text.wav", ErrorKind::Invalid, "WAV"),
        ("", ErrorKind::Invalid, "directory"),
    ] {
        let error = read_wav(path(name)).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{text}");
        assert!(text.contains(why) && text.contains(name) && !text.contains('\n'), "{text}");
    }
    assert_eq!(read_wav("").unwrap_err().kind(), ErrorKind::Invalid);
    #[cfg(unix)]
    assert_eq!(read_wav("/dev/zero").unwrap_err().kind(), ErrorKind::Invalid);
}
