//! Tests of the behaviour shared by all network signaling backends, for this one.

#[cfg(target_os = "linux")]
#[path = "../../kit/tests/network/connection_flood.rs"]
mod connection_flood;
#[path = "../../kit/tests/network/listening.rs"]
mod listening;
#[path = "../../kit/tests/network/nodes.rs"]
mod nodes;
mod own;
#[path = "../../kit/tests/network/reconnecting.rs"]
mod reconnecting;
#[path = "../../kit/tests/network/verdicts.rs"]
mod verdicts;
#[cfg(target_os = "linux")]
#[path = "../../kit/tests/network/wrong_clock.rs"]
mod wrong_clock;
