//! The Blink call engine.

pub mod call;
pub mod secure;
pub mod wire;
