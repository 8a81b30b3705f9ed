//! Conformance tests of the memory transport: between two transports of a hub, and within one.

use blink_conformance::transport;
use blink_transport_memory::{Hub, MemoryTransport};

#[tokio::test]
async fn two_transports_of_a_hub_fulfil_the_contract() {
    let hub = Hub::default();
    let (alice, bob) = (MemoryTransport::new(&hub), MemoryTransport::new(&hub));
    transport::verify(&alice, &bob).await;
}

#[tokio::test]
async fn sessions_of_one_transport_fulfil_the_contract() {
    let transport = MemoryTransport::new(&Hub::default());
    transport::verify(&transport, &transport).await;
}

/// The transport never waits for time: the same tests on a paused clock.
#[tokio::test(start_paused = true)]
async fn the_contract_holds_under_a_paused_clock() {
    let hub = Hub::default();
    let (alice, bob) = (MemoryTransport::new(&hub), MemoryTransport::new(&hub));
    transport::verify(&alice, &bob).await;
}
