//! The swarm: DHT server, circuit relay and AutoNAT server.

mod admission;
mod behaviour;
mod dial_guard;
mod providers;
mod relay_limits;
mod task;

pub(crate) use behaviour::Behaviour;
pub(crate) use task::{Command, Task};
