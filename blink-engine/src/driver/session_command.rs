//! Commands for the task of a session.

use blink_api::SessionStats;
use blink_proto::call::Negotiation;
use blink_proto::wire::ChannelMessage;
use tokio::sync::oneshot;

/// A command for the task of a session.
pub(super) enum SessionCommand {
    Negotiate(Negotiation),
    /// Sends a message on the data channel.
    Send(ChannelMessage),
    Stats(oneshot::Sender<SessionStats>),
    Close(oneshot::Sender<()>),
}
