//! Reports: what reaches the driver beside commands of the user and openings of devices.

use blink_api::{Delivery, DeviceChange, DeviceInfo, Endpoint, Result, StreamId, Topic};
use blink_media::{MediaEvent, RetiredDevice};
use blink_proto::call::{Device, SessionId, SessionInput};

use super::epoch::Epoch;
use super::recorder_worker::RecorderNotice;

/// A report to the driver. 1,024 wait; those who report wait with them.
pub(crate) enum Report {
    /// A message arrived.
    Delivery(Topic, Delivery),
    /// A subscription lost this many messages.
    Lagged(u64),
    /// An event of a session.
    Session(SessionId, SessionInput),
    /// A session received bytes that are no message.
    Malformed,
    /// A session received this many messages more than its other end may send.
    Flooded(u32),
    /// An event of the media of a call; ignored when the call is over.
    Media(Epoch, MediaEvent),
    /// A recorder failed, or does not keep up.
    Recorder(RecorderNotice),
    /// All devices of a media host, by the host's place in the order of preference.
    Devices(usize, Vec<DeviceInfo>),
    /// A change of a media host's devices.
    DeviceChanged(usize, DeviceChange),
    /// The devices of all hosts.
    DevicesListed(Result<Vec<Device>>),
    /// The frames of a requested stream were dropped.
    FramesDropped(Endpoint, StreamId),
    /// A device that the media no longer uses, to be closed.
    Retired(RetiredDevice),
}
