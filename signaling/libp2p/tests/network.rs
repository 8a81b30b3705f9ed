//! What all signalings over a network of nodes do, on this one.

#[path = "../../kit/tests/network/listening.rs"]
mod listening;
#[path = "../../kit/tests/network/nodes.rs"]
mod nodes;
mod own;
#[path = "../../kit/tests/network/reconnecting.rs"]
mod reconnecting;
#[path = "../../kit/tests/network/verdicts.rs"]
mod verdicts;
