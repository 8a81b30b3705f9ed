//! The Blink call engine.

pub mod secure;
pub mod wire;
