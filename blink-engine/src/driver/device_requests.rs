//! Requests about devices that wait for an answer.

use blink_api::{DeviceDirection, Result};
use blink_proto::call::Device;
use tokio::sync::oneshot;

/// A choice that waits for its device to be in use.
pub(super) struct PendingChoice {
    pub(super) direction: DeviceDirection,
    /// The name that was configured before, for a device that cannot be opened.
    pub(super) before: String,
    pub(super) reply: oneshot::Sender<Result<()>>,
}

/// A name that is looked up at the media hosts.
pub(super) struct NamedChoice {
    pub(super) direction: DeviceDirection,
    /// Position in the order of the user's choices.
    pub(super) number: u64,
    pub(super) name: String,
    pub(super) reply: oneshot::Sender<Result<()>>,
}

/// The list that was reported last, and whether a newer one is under way.
#[derive(Default)]
pub(super) struct DeviceListing {
    /// `None` before the first one, which is no change.
    pub(super) known: Option<Vec<Device>>,
    pub(super) is_running: bool,
    /// Something changed since the running listing began.
    pub(super) is_outdated: bool,
}
