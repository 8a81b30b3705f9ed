//! The signaling that is tested here, as tests of all signalings over a network of nodes name it.

pub(crate) use blink_signaling_ipfs::{IpfsConfig as Config, IpfsSignaling as Node};

/// Its name in a configuration.
#[allow(dead_code, reason = "each test file uses its part")]
pub(crate) const NAME: &str = "ipfs";
