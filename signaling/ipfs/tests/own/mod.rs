//! Backend under test, under the names that the shared tests use.

pub(crate) use blink_signaling_ipfs::{IpfsConfig as Config, IpfsSignaling as Node};

/// Name of the backend in a configuration.
#[allow(dead_code, reason = "each test file uses a part")]
pub(crate) const NAME: &str = "ipfs";
