//! The voice of a lab's participant, and its headset.

use std::sync::atomic::Ordering;

use super::failure::Result;
use super::fault::Fault;
use super::headset::{Headset, Unplugging};
use super::participant::Participant;

/// Its voice and its devices.
impl Participant {
    /// Speaks into its microphone, or is silent but for its tone.
    pub fn speaks(&self, speaks: bool) {
        self.log_action(if speaks { "speaks" } else { "is silent" });
        self.inner.devices.speaks.store(speaks, Ordering::Relaxed);
    }

    /// Unplugs its headset.
    pub fn unplugs_headset(&self, unplugging: Unplugging) -> Result<()> {
        self.log_action(format!("unplugs its headset: {unplugging:?}"));
        if !matches!(self.core.fault, Some(Fault::LosesDevicesSilently)) {
            self.headset()?.unplug(unplugging);
        }
        Ok(())
    }

    /// Plugs its headset in.
    pub fn plugs_headset_in(&self) -> Result<()> {
        self.log_action("plugs its headset in");
        self.headset()?.plug_in();
        Ok(())
    }

    fn headset(&self) -> Result<&Headset> {
        self.inner.devices.headset.as_ref().ok_or_else(|| self.fails("has no headset"))
    }
}
