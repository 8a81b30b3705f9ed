//! Inputs and outputs of the call machine: the complete interface between it and its driver.

use std::fmt;

use blink_api::{CallId, Endpoint, FailureReason, QualityReason, StreamId, Topic, TrackKey, TransportState};
use web_time::Instant;

use super::event::Event;
use super::memory::Change;
use crate::secure::{AgreementKey, BootRollback, CallKeys, Channel, Refusal};
use crate::wire::{Body, ChannelMessage};

/// The time of an input, on two clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Monotonic time; drives every timer.
    pub mono: Instant,
    /// Milliseconds since the Unix epoch, for display and for what outlives the process. No
    /// decision between participants depends on it.
    pub unix_ms: u64,
}

/// Identifier of a transport session, assigned by the machine before the session is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An input from signaling, a session or media. User commands are methods of
/// [`Machine`](super::Machine).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Input {
    /// A message that passed every check of [`EnvelopeCodec`](crate::secure::EnvelopeCodec).
    Signal(Signal),
    /// A message was refused because its sender has already been heard under a greater boot.
    BootRollback(BootRollback),
    /// A node subscribed to a topic.
    SubscriberJoined(Topic),
    /// Voice activity of a participant of the current call, or of this device, started or stopped.
    Speaking {
        /// The participant, or this device.
        endpoint: Endpoint,
        /// Whether voice activity is detected.
        speaking: bool,
    },
    /// A participant's media is degraded or has recovered.
    Quality {
        /// The call.
        call: CallId,
        /// The participant.
        endpoint: Endpoint,
        /// The reason that was added; `None` once there is none.
        degraded: Option<QualityReason>,
    },
    /// A session reports.
    Session {
        /// The session.
        session: SessionId,
        /// Its report.
        event: SessionInput,
    },
}

/// A decrypted and verified message.
#[derive(Debug, Clone)]
pub struct Signal {
    /// Channel on which it arrived.
    pub channel: Channel,
    /// Endpoint that signed it.
    pub from: Endpoint,
    /// Boot counter of the sender.
    pub boot: u64,
    /// Call that it is about.
    pub call: CallId,
    /// Message body.
    pub body: Body,
}

/// Report of a session.
#[derive(Clone)]
#[non_exhaustive]
pub enum SessionInput {
    /// A local description, as requested by [`Negotiation::Offer`] or
    /// [`Negotiation::AcceptOffer`].
    Described {
        /// Generation of the request.
        generation: u32,
        /// SDP text.
        sdp: String,
    },
    /// A local ICE candidate.
    Candidate {
        /// SDP attribute value, beginning with `candidate:` (RFC 8839 §5.1).
        attribute: String,
    },
    /// ICE and DTLS are connected.
    Connected,
    /// The data channel is open.
    ChannelOpen,
    /// A message on the data channel; counts as received traffic.
    Channel(ChannelMessage),
    /// The first complete frame of a requested stream arrived.
    FirstFrame(StreamId),
    /// A stream that the remote endpoint requested cannot be sent on this session.
    StreamRefused(StreamId),
    /// Packets arrived since the last report. Sent at most every 100 ms, and at once after a
    /// silence.
    Traffic,
    /// How far ICE and DTLS have come.
    State(TransportState),
    /// A negotiation step failed, the session found why it cannot connect, or it ended by itself.
    Failed(FailureReason),
}

impl SessionInput {
    /// Name of the report without its content, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Described { .. } => "described",
            Self::Candidate { .. } => "candidate",
            Self::Connected => "connected",
            Self::ChannelOpen => "channel open",
            Self::Channel(_) => "channel message",
            Self::FirstFrame(_) => "first frame",
            Self::StreamRefused(_) => "stream refused",
            Self::Traffic => "traffic",
            Self::State(_) => "state",
            Self::Failed(_) => "failed",
        }
    }
}

/// Shows the name only: descriptions and candidates contain passwords and addresses.
impl fmt::Debug for SessionInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An action for the driver, or an event for the user.
///
/// Not `#[non_exhaustive]`, and neither is [`Negotiation`]: a driver has to handle every output.
#[derive(Debug, Clone)]
pub enum Output {
    /// Seal and publish a message.
    Send {
        /// Destination.
        channel: Channel,
        /// X25519 keys of the recipients.
        recipients: Vec<[u8; 32]>,
        /// Call that the message is about.
        call: CallId,
        /// Message body.
        body: Box<Body>,
    },
    /// Subscribe to a call's topic and decrypt it with the given key. Repeated with a new key after
    /// rejoining, and with another topic after a removal: the previous topic is still read, but
    /// nothing is published there any more.
    Subscribe(Box<JoinedTopic>),
    /// Unsubscribe from an earlier topic of a call that has moved to another one.
    RetireTopic(Topic),
    /// Unsubscribe from a call's topic and discard its keys.
    Unsubscribe(CallId),
    /// Open a session to a remote endpoint.
    OpenSession {
        /// Identifier for all later outputs and reports.
        session: SessionId,
        /// Call that the session belongs to.
        call: CallId,
        /// Remote endpoint.
        remote: Endpoint,
        /// Whether this side makes the SDP offers and opens the data channel.
        is_offerer: bool,
    },
    /// Perform a negotiation step; steps of a session are in order.
    Negotiate {
        /// The session.
        session: SessionId,
        /// The step.
        step: Negotiation,
    },
    /// Send a message on a session's data channel.
    SendChannelMessage {
        /// The session.
        session: SessionId,
        /// The message.
        message: ChannelMessage,
    },
    /// Let media flow on a session: its path is verified.
    Admit {
        /// The session.
        session: SessionId,
    },
    /// Start or stop a stream on a session. When a requested stream ends for good,
    /// [`Output::EndStream`] follows.
    SetStreamFlow {
        /// The session; media is admitted on it.
        session: SessionId,
        /// An own stream to send, or a stream of the remote endpoint to receive.
        stream: StreamId,
        /// Direction, seen from this endpoint.
        direction: StreamDirection,
        /// Whether the stream flows from now on.
        active: bool,
    },
    /// Drop a requested stream: it will not arrive any more.
    EndStream(TrackKey),
    /// Close a session.
    CloseSession {
        /// The session.
        session: SessionId,
    },
    /// Open microphone and speaker for a call that the user accepted, or close them.
    SetActiveCall(Option<CallId>),
    /// Close microphone, speaker, streams and recording of the active call; its sessions stay open,
    /// and no call is active.
    HoldCall(CallId),
    /// Open microphone and speaker for a call that is held: it is active.
    ResumeCall(CallId),
    /// A call ended that was held.
    EndHeldCall(CallId),
    /// Persist a change of what is remembered.
    Persist(Change),
    /// Use a greater boot counter from now on.
    SetBoot(u64),
    /// Deliver an event to the user.
    Emit(Event),
    /// Count a refused message.
    CountRefusal(Refusal),
}

/// Direction of a stream, seen from this endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamDirection {
    /// To the remote endpoint.
    Send,
    /// From the remote endpoint.
    Receive,
}

/// A call's topic and the key that decrypts it.
#[derive(Clone)]
pub struct JoinedTopic {
    /// Keys derived from the call's secret.
    pub keys: CallKeys,
    /// This endpoint's key pair in the call.
    pub key: AgreementKey,
}

/// Shows the call only: keys are secret.
impl fmt::Debug for JoinedTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinedTopic").field("call", &self.keys.id).finish_non_exhaustive()
    }
}

/// A step of the SDP offer/answer exchange (RFC 3264) of one session.
#[derive(Clone, PartialEq)]
pub enum Negotiation {
    /// Create an offer and report it as [`SessionInput::Described`].
    Offer {
        /// Generation to be named in the report.
        generation: u32,
        /// Whether to restart ICE with new credentials.
        ice_restart: bool,
    },
    /// Accept a remote offer and report the answer as [`SessionInput::Described`].
    AcceptOffer {
        /// Generation to be named in the report.
        generation: u32,
        /// Remote description.
        sdp: String,
    },
    /// Accept the answer to the newest offer.
    Answer {
        /// Remote description.
        sdp: String,
    },
    /// Add a remote ICE candidate.
    Candidate {
        /// SDP attribute value, beginning with `candidate:`.
        attribute: String,
    },
}

/// Shows the kind of step only: descriptions and candidates contain passwords and addresses.
impl fmt::Debug for Negotiation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offer { generation, ice_restart } => write!(f, "offer {generation}, ICE restart {ice_restart}"),
            Self::AcceptOffer { generation, .. } => write!(f, "accept offer {generation}"),
            Self::Answer { .. } => f.write_str("accept answer"),
            Self::Candidate { .. } => f.write_str("add candidate"),
        }
    }
}
