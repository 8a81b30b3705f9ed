//! Custom backend: an audio codec, L16 (RFC 3551 §4.5.11) with 16 kHz and one channel.
//!
//! Two engines of this program call each other with it over the memory transport and signaling:
//!
//! ```sh
//! cargo run -p blink-examples --bin own_codec
//! ```

mod exchange;

use std::sync::Arc;
use std::time::Duration;

use blink_api::macros::{async_trait, submit};
use blink_api::{
    AudioCodec, AudioCodecCapabilities, AudioDecoder, AudioDecoderConfig, AudioEncoder, AudioEncoderConfig,
    AudioFormat, CodecName, Configuration, Context, DecoderInput, EncoderHint, Entry, Error, ErrorKind, Plugin,
    Registry, Result, RtpCodec,
};
use blink_engine::Blink;
use serde::{Deserialize, Serialize};

use {blink_media_synthetic as _, blink_signaling_memory as _, blink_transport_memory as _};

submit! { Entry::<dyn AudioCodec>::of::<L16>() }

/// Name in the configuration: `codec = "l16"`.
const NAME: &str = "l16";
const CAPABILITIES: AudioCodecCapabilities = AudioCodecCapabilities { max_channels: 1, ..AudioCodecCapabilities::NONE };
/// Samples per second in packets; calls have three times as many.
const RATE: u32 = 16_000;
const STEP: usize = 3;

/// `[codecs.l16]` has no keys.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct L16Config {}

struct L16;

#[async_trait]
impl Plugin<dyn AudioCodec> for L16 {
    type Config = L16Config;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "uncompressed samples of 16 bits with 16 kHz";
    const CAPABILITIES: AudioCodecCapabilities = CAPABILITIES;

    async fn create(_: L16Config, _: &Context) -> Result<Arc<dyn AudioCodec>> {
        Ok(Arc::new(Self))
    }
}

impl AudioCodec for L16 {
    fn capabilities(&self) -> AudioCodecCapabilities {
        CAPABILITIES
    }

    fn rtp(&self) -> RtpCodec {
        RtpCodec { name: CodecName::new("L16"), clock_rate: RATE, channels: 1, fmtp: String::new() }
    }

    fn encoder(&self, config: AudioEncoderConfig) -> Result<Box<dyn AudioEncoder>> {
        check(config.format)?;
        // 40 ms are 1,280 bytes, and a packet has at most 1,200.
        if config.frame > Duration::from_millis(20) {
            return Err(invalid("a packet has at most 20 ms"));
        }
        Ok(Box::new(Encoder { frame: config.format.samples_in(config.frame) }))
    }

    fn decoder(&self, config: AudioDecoderConfig) -> Result<Box<dyn AudioDecoder>> {
        check(config.format)?;
        Ok(Box::new(Decoder))
    }
}

fn check(format: AudioFormat) -> Result<()> {
    match format {
        AudioFormat { sample_rate: 48_000, channels: 1 } => Ok(()),
        _ => Err(invalid("it takes 48 kHz with one channel")),
    }
}

fn invalid(why: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, why).backend(NAME)
}

struct Encoder {
    /// Samples of a packet before every third is taken.
    frame: usize,
}

impl AudioEncoder for Encoder {
    fn frame_samples(&self) -> usize {
        self.frame
    }

    /// Averages three samples, a simple low-pass filter, and writes them in network byte order.
    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) -> Result<()> {
        if samples.len() != self.frame {
            return Err(invalid("the frame has another length"));
        }
        out.clear();
        for group in samples.chunks(STEP) {
            let mean = group.iter().sum::<f32>() / STEP as f32;
            out.extend(((mean.clamp(-1.0, 1.0) * 32_767.0) as i16).to_be_bytes());
        }
        Ok(())
    }

    fn hint(&mut self, _: EncoderHint) -> Result<()> {
        Ok(())
    }

    fn lookahead(&self) -> Duration {
        Duration::ZERO
    }
}

struct Decoder;

impl AudioDecoder for Decoder {
    fn decode(&mut self, input: DecoderInput<'_>, out: &mut [f32]) -> Result<usize> {
        match input {
            DecoderInput::Packet(packet) => {
                let length = packet.len() / 2 * STEP;
                if packet.is_empty() || packet.len() % 2 != 0 || length > out.len() {
                    return Err(invalid("not a packet of whole samples"));
                }
                for (group, bytes) in out.chunks_mut(STEP).zip(packet.chunks_exact(2)) {
                    group.fill(f32::from(i16::from_be_bytes([bytes[0], bytes[1]])) / 32_768.0);
                }
                Ok(length)
            }
            // Without the capability `concealment` what is missing is silence.
            DecoderInput::Conceal => {
                out.fill(0.0);
                Ok(out.len())
            }
            DecoderInput::Fec(_) | DecoderInput::Dred { .. } => {
                Err(Error::new(ErrorKind::Unsupported, "packets have no copies of others").backend(NAME))
            }
        }
    }

    fn duration(&self, packet: &[u8]) -> Result<Duration> {
        match packet.len() {
            length if length > 0 && length % 2 == 0 => Ok(Duration::from_secs(length as u64 / 2) / RATE),
            _ => Err(invalid("not a packet of whole samples")),
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let registry = Registry::discovered()?;
    let configuration = ["codec=l16", "media_host=synthetic", "microphone=speech", "speaker=null"]
        .iter()
        .fold(Configuration::builder(&registry), |it, setting| it.set_argument("example", setting))
        .build()?;
    let people = [Blink::start(&configuration).await?, Blink::start(&configuration).await?];
    exchange::call(&people).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for other in people[1].statistics().await? {
        println!("sent with {}, decoded {} packets", other.codec, other.audio.packets_decoded);
    }
    for person in people {
        person.shutdown().await;
    }
    Ok(())
}
