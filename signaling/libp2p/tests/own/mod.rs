//! Backend under test, under the names that the shared tests use.

pub(crate) use blink_signaling_libp2p::{Libp2pConfig as Config, Libp2pSignaling as Node};

/// Name of the backend in a configuration.
#[allow(dead_code, reason = "each test file uses a part")]
pub(crate) const NAME: &str = "libp2p";
