//! The signaling that is tested here, as tests of all signalings over a network of nodes name it.

pub(crate) use blink_signaling_libp2p::{Libp2pConfig as Config, Libp2pSignaling as Node};

/// Its name in a configuration.
#[allow(dead_code, reason = "each test file uses its part")]
pub(crate) const NAME: &str = "libp2p";
