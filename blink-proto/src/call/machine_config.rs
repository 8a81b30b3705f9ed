//! Configuration of the machine.

use std::fmt;

use blink_api::{CallSettings, Endpoint};

use super::memory::Memory;
use crate::secure::Identity;

/// Configuration of a [`Machine`](super::Machine).
#[derive(Clone)]
pub struct MachineConfig {
    /// Identity of this person.
    pub identity: Identity,
    /// This device.
    pub own: Endpoint,
    /// Boot counter: greater than at every earlier start.
    pub boot: u64,
    /// Ring time, busy policy, timers.
    pub settings: CallSettings,
    /// Seed of all random numbers.
    pub seed: [u8; 32],
    /// State persisted by earlier runs.
    pub memory: Memory,
}

/// Shows the endpoint only: identity, seed and memory are secret.
impl fmt::Debug for MachineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own, boot, settings, .. } = self;
        f.debug_struct("MachineConfig")
            .field("own", own)
            .field("boot", boot)
            .field("settings", settings)
            .finish_non_exhaustive()
    }
}
