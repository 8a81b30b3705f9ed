//! What every codec must do.
//!
//! Each function verifies one thing and panics with a sentence where the contract does not hold.
//! The author of a codec calls [`verify`], which calls them all, from a test of their own crate:
//!
//! ```no_run
//! # fn test(mine: &dyn blink_api::AudioCodec) {
//! blink_conformance::codec::verify(mine);
//! # }
//! ```
//!
//! What a codec declares that it cannot do is left to it, within what the traits say of everybody:
//! [`Lost`](blink_api::DecoderInput::Conceal) gives silence without concealment, and
//! [`Recover`](blink_api::DecoderInput::Fec) what [`Lost`](blink_api::DecoderInput::Conceal) gives
//! without a copy.

use std::time::Duration;

use blink_api::{
    AudioCodec, AudioDecoder, AudioDecoderConfig, AudioEncoder, AudioEncoderConfig, AudioFormat, DecoderInput,
    EncoderHint, ErrorKind,
};

use crate::tone;

/// Sound in a packet that every codec has.
const FRAME: Duration = Duration::from_millis(20);
/// The largest payload (`RtpOut::payload`).
const LARGEST: usize = 1_200;
/// The longest packet of any codec.
const ROOM: Duration = Duration::from_millis(120);
/// Frames that a tone lasts: a second.
const FRAMES: usize = 50;
/// A tone that every codec for speech carries, telephones included, in Hz.
const PITCH: f32 = 500.0;
/// How loud it is.
const AMPLITUDE: f32 = 0.3;

/// Runs everything in this module.
pub fn verify(codec: &dyn AudioCodec) {
    a_tone_comes_back_in_every_format(codec);
    packets_say_how_long_they_last(codec);
    what_is_missing_is_filled_exactly(codec);
    concealment_is_what_was_declared(codec);
    copies_are_what_was_declared(codec);
    the_bitrate_follows_hints_where_declared(codec);
    unusable_settings_are_refused(codec);
    unusable_packets_are_harmless(codec);
}

/// In every number of channels that it declares, a tone comes back: the loudest pitch is its own,
/// and it is about as loud.
pub fn a_tone_comes_back_in_every_format(codec: &dyn AudioCodec) {
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
        assert!((0.5..1.5).contains(&(level / AMPLITUDE)), "a tone of {AMPLITUDE} came back as {level}");
        let power = mono.iter().map(|sample| sample * sample).sum::<f32>() / mono.len() as f32;
        assert!(level * level / 2.0 > 0.7 * power, "more came back than the tone: {power} in all");
    }
}

/// The length of a packet is known without decoding it, and fits into RTP.
pub fn packets_say_how_long_they_last(codec: &dyn AudioCodec) {
    let decoder = decoder(codec, AudioFormat::CALL);
    for packet in encode(&mut *encoder(codec, AudioFormat::CALL), AudioFormat::CALL) {
        assert_eq!(decoder.duration(&packet).expect("its own packet has a length"), FRAME);
        assert!(packet.len() <= LARGEST, "a packet of {} bytes does not fit", packet.len());
    }
}

/// What is lost, and what is recovered or restored from another packet, fills exactly what is
/// missing, whatever its length.
pub fn what_is_missing_is_filled_exactly(codec: &dyn AudioCodec) {
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
            let filled = decoder.decode(input, &mut out).expect("whatever is missing can be filled");
            assert_eq!(filled, out.len(), "{input:?} must fill {missing:?}");
            assert!(out.iter().all(|sample| sample.is_finite()), "{input:?} gives numbers");
        }
    }
}

/// After a tone, what is lost goes on sounding where concealment is declared, and is silent where
/// it is not.
pub fn concealment_is_what_was_declared(codec: &dyn AudioCodec) {
    let mut decoder = decoder(codec, AudioFormat::CALL);
    let mut room = vec![0.0; AudioFormat::CALL.samples_in(ROOM)];
    for packet in encode(&mut *encoder(codec, AudioFormat::CALL), AudioFormat::CALL) {
        decoder.decode(DecoderInput::Packet(&packet), &mut room).expect("its own packet is decoded");
    }
    let mut out = vec![0.0; AudioFormat::CALL.samples_in(FRAME)];
    // The first may hold what a filter still has of the packet before.
    for _ in 0..2 {
        decoder.decode(DecoderInput::Conceal, &mut out).expect("whatever is missing can be filled");
    }
    let loudest = out.iter().fold(0.0, |loudest: f32, sample| loudest.max(sample.abs()));
    match codec.capabilities().concealment {
        true => assert!(loudest > 0.03, "concealment was declared, and what is lost is silent"),
        false => assert!(loudest < 0.001, "no concealment was declared, and what is lost sounds"),
    }
}

/// Packets carry a copy of the frame before under reported loss if forward error correction is
/// declared, and never otherwise.
pub fn copies_are_what_was_declared(codec: &dyn AudioCodec) {
    let mut encoder = encoder(codec, AudioFormat::CALL);
    encoder.hint(EncoderHint { loss: 0.2, burst: 1.0, bitrate: None }).expect("a fifth may be lost");
    let packets = encode(&mut *encoder, AudioFormat::CALL);
    let mut decoder = decoder(codec, AudioFormat::CALL);
    let copies = packets.iter().filter(|packet| decoder.has_fec(packet)).count();
    match codec.capabilities().forward_error_correction {
        true => assert!(copies > FRAMES / 4, "{copies} of {FRAMES} packets carry a copy under 20 % of loss"),
        false => assert_eq!(copies, 0, "no forward error correction was declared, and packets carry copies"),
    }
    if !codec.capabilities().deep_redundancy {
        let reach = packets.iter().map(|packet| decoder.redundancy_span(packet)).max();
        assert_eq!(reach, Some(Duration::ZERO), "no deep redundancy was declared, and packets carry some");
    }
    assert!(!decoder.has_fec(&[]) && decoder.redundancy_span(&[]).is_zero(), "no packet carries nothing");
}

/// Where a variable bitrate is declared, a hint of half as much makes packets smaller; otherwise
/// they stay as they are.
pub fn the_bitrate_follows_hints_where_declared(codec: &dyn AudioCodec) {
    let bytes = |bitrate| {
        let mut encoder = encoder(codec, AudioFormat::CALL);
        encoder.hint(EncoderHint { bitrate: Some(bitrate), ..EncoderHint::default() }).expect("a usual bitrate");
        encode(&mut *encoder, AudioFormat::CALL).iter().map(Vec::len).sum::<usize>()
    };
    let (more, less) = (bytes(48_000), bytes(16_000));
    match codec.capabilities().variable_bitrate {
        true => assert!(less * 2 < more, "at a third of the bitrate {less} bytes instead of {more}"),
        false => assert_eq!(less, more, "no variable bitrate was declared"),
    }
}

/// Formats, frames and hints that make no sense are invalid, and an encoder is afterwards as it
/// was.
pub fn unusable_settings_are_refused(codec: &dyn AudioCodec) {
    let invalid = |what: &str, error: Option<blink_api::Error>| match error {
        Some(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{what}: {error}"),
        None => panic!("{what} was taken"),
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
        invalid("that share of loss", encoder.hint(EncoderHint { loss, ..EncoderHint::default() }).err());
    }
    let mut packet = vec![1, 2, 3];
    invalid("half a frame", encoder.encode(&vec![0.0; encoder.frame_samples() / 2], &mut packet).err());
    let sound = vec![0.1; encoder.frame_samples()];
    encoder.encode(&sound, &mut packet).expect("afterwards it encodes");
}

/// Bytes that are no packet are an error or sound, never more; and the decoder goes on with the
/// next packet.
pub fn unusable_packets_are_harmless(codec: &dyn AudioCodec) {
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
                Ok(samples) => assert!(samples <= room.len(), "no more is written than there is room for"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error}"),
            }
        }
        // Whether it is a packet is the codec's to say.
        decoder.duration(&garbage).ok();
        decoder.has_fec(&garbage);
        decoder.redundancy_span(&garbage);
    }
    let refused =
        decoder.decode(DecoderInput::Packet(&packets[0]), &mut [0.0; 1]).expect_err("there is no room for a frame");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let samples = decoder.decode(DecoderInput::Packet(&packets[1]), &mut room).expect("it goes on");
    assert_eq!(samples, AudioFormat::CALL.samples_in(FRAME));
}

fn encoder(codec: &dyn AudioCodec, format: AudioFormat) -> Box<dyn AudioEncoder> {
    let encoder =
        codec.encoder(AudioEncoderConfig { format, frame: FRAME, bitrate: None }).expect("frames of 20 ms at 48 kHz");
    assert_eq!(encoder.frame_samples(), format.samples_in(FRAME), "a frame is as long as was asked for");
    encoder
}

fn decoder(codec: &dyn AudioCodec, format: AudioFormat) -> Box<dyn AudioDecoder> {
    codec.decoder(AudioDecoderConfig { format }).expect("48 kHz")
}

/// A second of a tone.
fn encode(encoder: &mut dyn AudioEncoder, format: AudioFormat) -> Vec<Vec<u8>> {
    let channels = usize::from(format.channels);
    let frame = encoder.frame_samples();
    let sound = tone::wave(PITCH, AMPLITUDE, format.sample_rate, frame / channels * FRAMES);
    let interleaved: Vec<f32> = sound.iter().flat_map(|sample| std::iter::repeat_n(*sample, channels)).collect();
    let packets = interleaved.chunks(frame).map(|frame| {
        let mut packet = Vec::new();
        encoder.encode(frame, &mut packet).expect("a frame of the right length");
        assert!(!packet.is_empty(), "a tone is not silence");
        packet
    });
    packets.collect()
}
