//! Finding nodes in the DHT.

#[path = "../../kit/tests/network/dht_node.rs"]
mod dht_node;
#[path = "../../kit/tests/network/nodes.rs"]
mod nodes;
mod own;
#[path = "../../kit/tests/network/rendezvous.rs"]
mod shared;
