//! What all signalings over a network of nodes do, on this one.

#[cfg(target_os = "linux")]
#[path = "../../kit/tests/network/clock.rs"]
mod clock;
#[cfg(target_os = "linux")]
#[path = "../../kit/tests/network/crowding.rs"]
mod crowding;
#[path = "../../kit/tests/network/listening.rs"]
mod listening;
#[path = "../../kit/tests/network/nodes.rs"]
mod nodes;
mod own;
#[path = "../../kit/tests/network/reconnecting.rs"]
mod reconnecting;
#[path = "../../kit/tests/network/verdicts.rs"]
mod verdicts;
