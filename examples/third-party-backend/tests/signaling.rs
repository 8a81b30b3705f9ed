//! Conformance of the signaling, between nodes on the loopback interface.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use blink_api::Signaling;
use blink_api::macros::async_trait;
use blink_conformance::signaling::Network;
use third_party_backend::signaling::{TcpConfig, TcpSignaling};

blink_conformance::signaling_tests!(tcp, Loopback::default(), registered as "tcp");

/// Nodes that start again at the address of their name.
#[derive(Default)]
struct Loopback(Mutex<HashMap<String, SocketAddr>>);

#[async_trait]
impl Network for Loopback {
    async fn start(&self, name: &str) -> blink_api::Result<Arc<dyn Signaling>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied();
        let config = known.map_or_else(TcpConfig::default, |listen| TcpConfig { listen });
        let node = TcpSignaling::start(config).await?;
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.insert(name.to_owned(), node.address());
        Ok(Arc::new(node))
    }
}
