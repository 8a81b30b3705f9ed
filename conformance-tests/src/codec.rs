//! Conformance tests for audio codecs.
//!
//! Each function verifies one property, and panics with a sentence that names it. The author of a
//! codec calls [`verify`], which calls them all, from a test of their own crate:
//!
//! ```no_run
//! # fn test(mine: &dyn blink_api::AudioCodec) {
//! blink_conformance::codec::verify(mine);
//! # }
//! ```
//!
//! Undeclared abilities are tested for their fallbacks, which the traits define:
//! [`Conceal`](blink_api::DecoderInput::Conceal) produces silence without concealment, and
//! [`Fec`](blink_api::DecoderInput::Fec) the same as [`Conceal`](blink_api::DecoderInput::Conceal)
//! without redundancy.

use std::time::Duration;

use blink_api::{
    AudioCodec, AudioDecoder, AudioDecoderConfig, AudioEncoder, AudioEncoderConfig, AudioFormat, DecoderInput,
    EncoderHint, ErrorKind,
};

use crate::clause::Clause;
use crate::tone;

/// Frame duration that every codec supports.
const FRAME: Duration = Duration::from_millis(20);
/// Maximum payload size (`RtpOut::payload`).
const LARGEST: usize = 1_200;
/// Maximum packet duration of any codec.
const ROOM: Duration = Duration::from_millis(120);
/// Frames of a tone: one second.
const FRAMES: usize = 50;
/// Frequency of a tone in Hz that every speech codec carries, including narrowband ones.
const PITCH: f32 = 500.0;
/// Amplitude of the tone.
const AMPLITUDE: f32 = 0.3;

/// Runs all tests of this module.
pub fn verify(codec: &dyn AudioCodec) {
    Clause("tones_are_decoded_in_every_format", "AudioEncoder::encode and AudioDecoder::decode: a frame in, the same frame out, in up to `max_channels` channels")
        .verify(|| tones_are_decoded_in_every_format(codec));
    Clause(
        "packets_have_a_known_duration",
        "AudioDecoder::duration: that of a packet without decoding it; AudioEncoder::encode: at most 1,200 bytes",
    )
    .verify(|| packets_have_a_known_duration(codec));
    Clause("missing_audio_is_filled_exactly", "AudioDecoder::decode: Conceal, Fec and Dred fill the whole buffer")
        .verify(|| missing_audio_is_filled_exactly(codec));
    Clause(
        "concealment_matches_the_capabilities",
        "AudioCodecCapabilities::concealment: declared, lost audio goes on; else it is silence",
    )
    .verify(|| concealment_matches_the_capabilities(codec));
    Clause(
        "fec_matches_the_capabilities",
        "AudioCodecCapabilities::forward_error_correction and deep_redundancy: in packets only where declared",
    )
    .verify(|| fec_matches_the_capabilities(codec));
    Clause(
        "the_bitrate_follows_hints_where_declared",
        "AudioCodecCapabilities::variable_bitrate and AudioEncoder::hint",
    )
    .verify(|| the_bitrate_follows_hints_where_declared(codec));
    Clause(
        "unsupported_settings_are_refused",
        "AudioCodec::encoder, AudioCodec::decoder, AudioEncoder::hint and encode: Invalid for what is not supported",
    )
    .verify(|| unsupported_settings_are_refused(codec));
    Clause(
        "malformed_packets_are_harmless",
        "AudioDecoder::decode: Invalid for what is no packet, and the next one is decoded",
    )
    .verify(|| malformed_packets_are_harmless(codec));
}

/// A tone is decoded in every declared number of channels: with its frequency, and about its
/// amplitude.
pub fn tones_are_decoded_in_every_format(codec: &dyn AudioCodec) {
    let channels = codec.capabilities().max_channels;
    assert!(channels > 0, "a codec has at least one channel");
    for channels in 1..=channels.min(2) {
        let format = AudioFormat { channels, ..AudioFormat::CALL };
        let packets = encode(&mut *encoder(codec, format), format);
        let mut decoder = decoder(codec, format);
        let mut heard = Vec::new();
        let mut room = vec![0.0; format.samples_in(ROOM)];
        for packet in &packets {
            let samples = decoder.decode(DecoderInput::Packet(packet), &mut room).expect("its own packet is decoded");
            assert_eq!(samples, format.samples_in(FRAME), "a packet holds one frame");
            heard.extend_from_slice(&room[..samples]);
        }
        let mono: Vec<f32> = heard.chunks(channels.into()).map(|frame| frame[0]).skip(4_800).collect();
        let level = tone::amplitude(&mono, PITCH, format.sample_rate);
        assert!((0.5..1.5).contains(&(level / AMPLITUDE)), "a tone of amplitude {AMPLITUDE} was decoded with {level}");
        let power = mono.iter().map(|sample| sample * sample).sum::<f32>() / mono.len() as f32;
        assert!(level * level / 2.0 > 0.7 * power, "the output contains more than the tone: power {power}");
    }
}

/// The duration of a packet is known without decoding it, and its size fits into RTP.
pub fn packets_have_a_known_duration(codec: &dyn AudioCodec) {
    let decoder = decoder(codec, AudioFormat::CALL);
    for packet in encode(&mut *encoder(codec, AudioFormat::CALL), AudioFormat::CALL) {
        assert_eq!(decoder.duration(&packet).expect("its own packet has a duration"), FRAME);
        assert!(packet.len() <= LARGEST, "a packet of {} bytes does not fit", packet.len());
    }
}

/// Concealment, FEC and DRED fill exactly the missing duration, whatever its length.
pub fn missing_audio_is_filled_exactly(codec: &dyn AudioCodec) {
    let packets = encode(&mut *encoder(codec, AudioFormat::CALL), AudioFormat::CALL);
    let later = &packets[FRAMES - 1];
    for milliseconds in [10, 20, 40, 60] {
        let missing = Duration::from_millis(milliseconds);
        let mut decoder = decoder(codec, AudioFormat::CALL);
        let mut out = vec![0.0; AudioFormat::CALL.samples_in(missing)];
        decoder
            .decode(DecoderInput::Packet(&packets[0]), &mut vec![0.0; AudioFormat::CALL.samples_in(ROOM)])
            .expect("a packet");
        let restore = DecoderInput::Dred { later, distance: Duration::from_millis(100) };
        for input in [DecoderInput::Conceal, DecoderInput::Fec(later), restore] {
            let filled = decoder.decode(input, &mut out).expect("missing audio can be filled");
            assert_eq!(filled, out.len(), "{input:?} must fill {missing:?}");
            assert!(out.iter().all(|sample| sample.is_finite()), "{input:?} produces finite samples");
        }
    }
}

/// After a tone, concealment continues the audio if it is declared, and is silent otherwise.
pub fn concealment_matches_the_capabilities(codec: &dyn AudioCodec) {
    let mut decoder = decoder(codec, AudioFormat::CALL);
    let mut room = vec![0.0; AudioFormat::CALL.samples_in(ROOM)];
    for packet in encode(&mut *encoder(codec, AudioFormat::CALL), AudioFormat::CALL) {
        decoder.decode(DecoderInput::Packet(&packet), &mut room).expect("its own packet is decoded");
    }
    let mut out = vec![0.0; AudioFormat::CALL.samples_in(FRAME)];
    // The first frame may contain the filter state of the previous packet.
    for _ in 0..2 {
        decoder.decode(DecoderInput::Conceal, &mut out).expect("missing audio can be filled");
    }
    let loudest = out.iter().fold(0.0, |loudest: f32, sample| loudest.max(sample.abs()));
    match codec.capabilities().concealment {
        true => assert!(loudest > 0.03, "concealment is declared, and lost audio is silent"),
        false => assert!(loudest < 0.001, "no concealment is declared, and lost audio is not silent"),
    }
}

/// Packets carry FEC under reported loss if it is declared, and never otherwise.
pub fn fec_matches_the_capabilities(codec: &dyn AudioCodec) {
    let mut encoder = encoder(codec, AudioFormat::CALL);
    encoder.hint(EncoderHint { loss: 0.2, burst: 1.0, bitrate: None }).expect("a loss of 20 % is a valid hint");
    let packets = encode(&mut *encoder, AudioFormat::CALL);
    let mut decoder = decoder(codec, AudioFormat::CALL);
    let copies = packets.iter().filter(|packet| decoder.has_fec(packet)).count();
    match codec.capabilities().forward_error_correction {
        true => assert!(copies > FRAMES / 4, "{copies} of {FRAMES} packets carry FEC under 20 % loss"),
        false => assert_eq!(copies, 0, "no FEC is declared, and packets carry it"),
    }
    if !codec.capabilities().deep_redundancy {
        let span = packets.iter().map(|packet| decoder.redundancy_span(packet)).max();
        assert_eq!(span, Some(Duration::ZERO), "no DRED is declared, and packets carry it");
    }
    assert!(!decoder.has_fec(&[]) && decoder.redundancy_span(&[]).is_zero(), "an empty packet carries no redundancy");
}

/// A lower bitrate hint reduces the packet size if a variable bitrate is declared, and has no
/// effect otherwise.
pub fn the_bitrate_follows_hints_where_declared(codec: &dyn AudioCodec) {
    let bytes = |bitrate| {
        let mut encoder = encoder(codec, AudioFormat::CALL);
        encoder.hint(EncoderHint { bitrate: Some(bitrate), ..EncoderHint::default() }).expect("a usual bitrate");
        encode(&mut *encoder, AudioFormat::CALL).iter().map(Vec::len).sum::<usize>()
    };
    let (more, less) = (bytes(48_000), bytes(16_000));
    match codec.capabilities().variable_bitrate {
        true => assert!(less * 2 < more, "{less} bytes at a third of the bitrate, {more} bytes before"),
        false => assert_eq!(less, more, "no variable bitrate is declared"),
    }
}

/// Unsupported formats, frame durations and hints fail with `Invalid`, and leave the encoder
/// unchanged.
pub fn unsupported_settings_are_refused(codec: &dyn AudioCodec) {
    let invalid = |what: &str, error: Option<blink_api::Error>| match error {
        Some(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{what}: {error}"),
        None => panic!("{what} was accepted"),
    };
    let usual = AudioEncoderConfig { format: AudioFormat::CALL, frame: FRAME, bitrate: None };
    let many = AudioFormat { channels: codec.capabilities().max_channels + 1, ..AudioFormat::CALL };
    let none = AudioFormat { channels: 0, ..AudioFormat::CALL };
    let slow = AudioFormat { sample_rate: 1, ..AudioFormat::CALL };
    for (what, format) in [("too many channels", many), ("no channel", none), ("one sample a second", slow)] {
        invalid(what, codec.encoder(AudioEncoderConfig { format, ..usual }).err());
        invalid(what, codec.decoder(AudioDecoderConfig { format }).err());
    }
    for frame in [Duration::ZERO, Duration::from_millis(7), Duration::from_secs(1)] {
        invalid("a frame of that length", codec.encoder(AudioEncoderConfig { frame, ..usual }).err());
    }
    let mut encoder = encoder(codec, AudioFormat::CALL);
    for loss in [-0.1, 1.1, f32::NAN] {
        invalid("a loss out of range", encoder.hint(EncoderHint { loss, ..EncoderHint::default() }).err());
    }
    let mut packet = vec![1, 2, 3];
    invalid("half a frame", encoder.encode(&vec![0.0; encoder.frame_samples() / 2], &mut packet).err());
    let audio = vec![0.1; encoder.frame_samples()];
    encoder.encode(&audio, &mut packet).expect("it still encodes");
}

/// Malformed packets fail or decode to at most the buffer's length, and the decoder continues with
/// the next packet.
pub fn malformed_packets_are_harmless(codec: &dyn AudioCodec) {
    let packets = encode(&mut *encoder(codec, AudioFormat::CALL), AudioFormat::CALL);
    let mut decoder = decoder(codec, AudioFormat::CALL);
    let mut room = vec![0.0; AudioFormat::CALL.samples_in(ROOM)];
    let mut bits = 0x2545_f491_4f6c_dd1d_u64;
    for length in (0..400).chain([1_500, 4_000]) {
        // Marsaglia's xorshift.
        let garbage = std::iter::repeat_with(|| {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            bits as u8
        });
        let garbage: Vec<u8> = garbage.take(length).collect();
        for input in [DecoderInput::Packet(&garbage), DecoderInput::Fec(&garbage)] {
            match decoder.decode(input, &mut room) {
                Ok(samples) => assert!(samples <= room.len(), "at most the buffer is filled"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error}"),
            }
        }
        // Either result is allowed: some random bytes are valid packets.
        decoder.duration(&garbage).ok();
        decoder.has_fec(&garbage);
        decoder.redundancy_span(&garbage);
    }
    let refused = decoder
        .decode(DecoderInput::Packet(&packets[0]), &mut [0.0; 1])
        .expect_err("the buffer is shorter than a frame");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let samples = decoder.decode(DecoderInput::Packet(&packets[1]), &mut room).expect("the decoder continues");
    assert_eq!(samples, AudioFormat::CALL.samples_in(FRAME));
}

fn encoder(codec: &dyn AudioCodec, format: AudioFormat) -> Box<dyn AudioEncoder> {
    let encoder =
        codec.encoder(AudioEncoderConfig { format, frame: FRAME, bitrate: None }).expect("frames of 20 ms at 48 kHz");
    assert_eq!(encoder.frame_samples(), format.samples_in(FRAME), "a frame has the requested duration");
    encoder
}

fn decoder(codec: &dyn AudioCodec, format: AudioFormat) -> Box<dyn AudioDecoder> {
    codec.decoder(AudioDecoderConfig { format }).expect("48 kHz")
}

/// Encodes one second of a tone.
fn encode(encoder: &mut dyn AudioEncoder, format: AudioFormat) -> Vec<Vec<u8>> {
    let channels = usize::from(format.channels);
    let frame = encoder.frame_samples();
    let audio = tone::wave(PITCH, AMPLITUDE, format.sample_rate, frame / channels * FRAMES);
    let interleaved: Vec<f32> = audio.iter().flat_map(|sample| std::iter::repeat_n(*sample, channels)).collect();
    let packets = interleaved.chunks(frame).map(|frame| {
        let mut packet = Vec::new();
        encoder.encode(frame, &mut packet).expect("a frame of the right length");
        assert!(!packet.is_empty(), "a tone is not encoded as silence");
        packet
    });
    packets.collect()
}
