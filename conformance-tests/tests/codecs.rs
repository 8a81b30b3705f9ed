//! Conformance tests of every registered codec, and of faulty ones: each must be detected by the
//! case that is about its fault.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use blink_api::{
    AudioCodec, AudioCodecCapabilities, AudioDecoder, AudioDecoderConfig, AudioEncoder, AudioEncoderConfig,
    Configuration, Context, DecoderInput, EncoderHint, Error, ErrorKind, Registry, Result, RtpCodec, SystemClock,
};
use blink_conformance::codec;
use blink_media_cpal_opus as _;

#[tokio::test]
async fn every_registered_codec_fulfils_the_contract() {
    let registry = Registry::discovered().unwrap();
    let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
    let mut verified = Vec::new();
    for entry in registry.entries::<dyn AudioCodec>() {
        let configuration = Configuration::builder(&registry).build().unwrap();
        let made = entry.create(&configuration, &context).await.unwrap();
        assert_eq!(made.capabilities(), entry.capabilities, "{} declares the same duplicate", entry.name);
        codec::verify(&*made);
        verified.push(entry.name);
    }
    assert!(verified.contains(&"opus"), "{verified:?}");
}

/// Fault of a codec, beside the function of the suite that must detect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Decodes at a third of the amplitude.
    Quiet,
    /// Tells twice the duration of a packet.
    WrongDuration,
    /// Fills half of what is missing.
    FillsHalf,
    /// Conceals by silence, and declares concealment.
    ConcealsBySilence,
    /// Declares redundancy, and sends none.
    ClaimsFec,
    /// Ignores bitrates, and declares that it follows them.
    IgnoresBitrate,
    /// Accepts hints out of range.
    AcceptsEveryHint,
    /// Decodes nothing more after a malformed packet.
    GivesUp,
}

const FAULTS: [(Fault, &str); 8] = [
    (Fault::Quiet, "tones_are_decoded_in_every_format"),
    (Fault::WrongDuration, "packets_have_a_known_duration"),
    (Fault::FillsHalf, "missing_audio_is_filled_exactly"),
    (Fault::ConcealsBySilence, "concealment_matches_the_capabilities"),
    (Fault::ClaimsFec, "fec_matches_the_capabilities"),
    (Fault::IgnoresBitrate, "the_bitrate_follows_hints_where_declared"),
    (Fault::AcceptsEveryHint, "unsupported_settings_are_refused"),
    (Fault::GivesUp, "malformed_packets_are_harmless"),
];

/// Opus with a fault.
struct FaultyCodec {
    fault: Fault,
    codec: Arc<dyn AudioCodec>,
}

struct FaultyEncoder(Fault, Box<dyn AudioEncoder>);

struct FaultyDecoder {
    fault: Fault,
    decoder: Box<dyn AudioDecoder>,
    gave_up: bool,
}

impl AudioCodec for FaultyCodec {
    fn capabilities(&self) -> AudioCodecCapabilities {
        self.codec.capabilities()
    }

    fn rtp(&self) -> RtpCodec {
        self.codec.rtp()
    }

    fn encoder(&self, config: AudioEncoderConfig) -> Result<Box<dyn AudioEncoder>> {
        Ok(Box::new(FaultyEncoder(self.fault, self.codec.encoder(config)?)))
    }

    fn decoder(&self, config: AudioDecoderConfig) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(FaultyDecoder { fault: self.fault, decoder: self.codec.decoder(config)?, gave_up: false }))
    }
}

impl AudioEncoder for FaultyEncoder {
    fn frame_samples(&self) -> usize {
        self.1.frame_samples()
    }

    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) -> Result<()> {
        self.1.encode(samples, out)
    }

    fn hint(&mut self, mut hint: EncoderHint) -> Result<()> {
        if self.0 == Fault::IgnoresBitrate {
            hint.bitrate = None;
        }
        let result = self.1.hint(hint);
        if self.0 == Fault::AcceptsEveryHint { Ok(()) } else { result }
    }

    fn lookahead(&self) -> Duration {
        self.1.lookahead()
    }
}

impl AudioDecoder for FaultyDecoder {
    fn decode(&mut self, input: DecoderInput<'_>, out: &mut [f32]) -> Result<usize> {
        if self.gave_up {
            return Err(Error::new(ErrorKind::Invalid, "gave up"));
        }
        let result = match input {
            DecoderInput::Conceal if self.fault == Fault::FillsHalf => {
                let half = out.len() / 2;
                self.decoder.decode(input, &mut out[..half])
            }
            _ => self.decoder.decode(input, out),
        };
        match (self.fault, input) {
            (Fault::Quiet, _) => out.iter_mut().for_each(|sample| *sample /= 3.0),
            (Fault::ConcealsBySilence, DecoderInput::Conceal) => out.fill(0.0),
            _ => {}
        }
        self.gave_up = self.fault == Fault::GivesUp && result.is_err();
        result
    }

    fn duration(&self, packet: &[u8]) -> Result<Duration> {
        let factor = if self.fault == Fault::WrongDuration { 2 } else { 1 };
        Ok(self.decoder.duration(packet)? * factor)
    }

    fn has_fec(&self, packet: &[u8]) -> bool {
        self.fault != Fault::ClaimsFec && self.decoder.has_fec(packet)
    }

    fn redundancy_span(&mut self, packet: &[u8]) -> Duration {
        self.decoder.redundancy_span(packet)
    }

    fn save_state(&mut self) -> bool {
        self.decoder.save_state()
    }

    fn restore_state(&mut self) {
        self.decoder.restore_state();
    }
}

/// Each fault fails the case that is about it, with the clause of the contract.
#[tokio::test]
async fn faulty_codecs_are_detected_by_the_matching_case() {
    let registry = Registry::discovered().unwrap();
    let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
    let configuration = Configuration::builder(&registry).build().unwrap();
    let opus = registry.entry::<dyn AudioCodec>("opus").unwrap().create(&configuration, &context).await.unwrap();
    let verify = |fault: Fault| {
        let codec = FaultyCodec { fault, codec: opus.clone() };
        catch_unwind(AssertUnwindSafe(|| codec::verify(&codec)))
    };
    verify(Fault::None).expect("the wrapper adds no fault of its own");
    for (fault, case) in FAULTS {
        let cause = verify(fault).expect_err(case);
        let text = cause.downcast_ref::<String>().unwrap();
        assert!(text.contains(&format!("case:     {case}\n  contract: Audio")), "{fault:?}: {text}");
    }
}
