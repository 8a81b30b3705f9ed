//! Configuration `[codecs.opus]`.

use std::ops::RangeInclusive;

use blink_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::NAME;

/// Bitrates supported by libopus, in bits per second.
pub(crate) const BITRATES: RangeInclusive<u32> = 6_000..=510_000;

/// Maximum span of deep redundancy, in milliseconds.
const MAX_REDUNDANCY_MS: u16 = 1_000;

/// Configuration `[codecs.opus]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpusConfig {
    /// Bits per second unless the engine requests another rate: 6,000 to 510,000.
    pub bitrate: u32,
    /// Encoder complexity, 0 to 10. A 20 ms frame takes about 82, 229 and 250 µs of a core at 0, 5
    /// and 10.
    pub complexity: u8,
    /// In-band forward error correction: each packet contains a low-bitrate copy of the previous
    /// frame.
    pub fec: bool,
    /// Packet loss in percent assumed while less is reported, 0 to 100. Determines the bitrate of
    /// the FEC copies.
    pub expected_loss: u8,
    /// Span of deep redundancy (DRED) per packet during burst losses, 0 to 1,000 ms; 0 disables it.
    pub redundancy_ms: u16,
    /// Discontinuous transmission: sends nothing in silence. libopus counts steady noise as silence
    /// at complexity 5, but not at 9.
    pub dtx: bool,
    /// Decoder complexity, 0 to 10. From 5 on, neural networks conceal losses and decode deep
    /// redundancy (about 0.3 ms per 20 ms of loss); from 6 on, they also enhance low bitrates (0.1
    /// to 0.4 ms per frame).
    pub decoder_complexity: u8,
}

impl Default for OpusConfig {
    fn default() -> Self {
        Self {
            bitrate: 32_000,
            complexity: 9,
            fec: true,
            expected_loss: 10,
            redundancy_ms: 500,
            dtx: false,
            decoder_complexity: 6,
        }
    }
}

impl OpusConfig {
    /// Checks that all values are in range.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) with the key.
    pub fn check(&self) -> Result<()> {
        if !BITRATES.contains(&self.bitrate) {
            return Err(out_of_range("codecs.opus.bitrate", "6000 to 510000 bits per second", self.bitrate));
        }
        if self.complexity > 10 {
            return Err(out_of_range("codecs.opus.complexity", "0 to 10", self.complexity.into()));
        }
        if self.expected_loss > 100 {
            return Err(out_of_range("codecs.opus.expected_loss", "0 to 100 percent", self.expected_loss.into()));
        }
        if self.redundancy_ms > MAX_REDUNDANCY_MS {
            return Err(out_of_range("codecs.opus.redundancy_ms", "0 to 1000 ms", self.redundancy_ms.into()));
        }
        if self.decoder_complexity > 10 {
            return Err(out_of_range("codecs.opus.decoder_complexity", "0 to 10", self.decoder_complexity.into()));
        }
        Ok(())
    }
}

fn out_of_range(key: &'static str, range: &'static str, value: u32) -> Error {
    Error::new(ErrorKind::Invalid, format!("this must be {range}")).backend(NAME).with("key", key).with("value", value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use blink_api::{AudioCodec, Configuration, Context, Registry, Shared, SystemClock};
    use std::sync::Arc;

    #[test]
    fn values_out_of_range_are_refused_by_key() {
        let refused = |config: OpusConfig, key: &str| {
            let error = config.check().unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
            assert_eq!(error.kind(), ErrorKind::Invalid);
        };
        OpusConfig::default().check().unwrap();
        refused(OpusConfig { bitrate: 5_999, ..OpusConfig::default() }, "codecs.opus.bitrate");
        refused(OpusConfig { bitrate: 510_001, ..OpusConfig::default() }, "codecs.opus.bitrate");
        refused(OpusConfig { complexity: 11, ..OpusConfig::default() }, "codecs.opus.complexity");
        refused(OpusConfig { expected_loss: 101, ..OpusConfig::default() }, "codecs.opus.expected_loss");
    }

    /// The codec is found by name, reads its section, and an invalid one is refused before anything
    /// is opened.
    #[test]
    fn the_registry_creates_it_from_its_configuration_section() {
        let registry = Registry::discovered().unwrap();
        let configuration =
            Configuration::builder(&registry).set("test", "codecs.opus.bitrate", 24_000).build().unwrap();
        let context = Context { clock: Arc::new(SystemClock), shared: Shared::default() };
        let mut making = std::pin::pin!(configuration.create::<dyn AudioCodec>(&context));
        let mut waker = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(made) = making.as_mut().poll(&mut waker) else {
            panic!("creating a codec does not wait")
        };
        assert_eq!(made.unwrap().rtp().name.as_str(), "opus");

        let refused =
            Configuration::builder(&registry).set("test", "codecs.opus.complexity", 12).build().err().unwrap();
        assert!(refused.to_string().contains("codecs.opus.complexity"), "{refused}");
        let unknown = Configuration::builder(&registry).set("test", "codecs.opus.quality", 12).build().err().unwrap();
        assert!(unknown.to_string().contains("quality"), "{unknown}");
    }
}
