//! Transports: media and data channels between two devices.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{CodecName, Error, FailureReason, Result, RtpOut, SessionConfig, SessionStats, TrackKind, TransportState};

/// A WebRTC stack, or an equivalent of one. Opens sessions.
///
/// SDP and candidates have WebRTC's text forms (RFC 8829, RFC 8839), so that sessions of different
/// transports connect.
///
/// # Encryption
/// With [`encryption`](TransportCapabilities::encryption), which every transport on a network has:
///
/// * Each session has a key pair (in WebRTC a DTLS certificate) of its own. Its description has one
///   SHA-256 fingerprint of the public key, on `a=fingerprint` lines.
/// * A session connects only with the owner of the key whose fingerprint is in the remote
///   description. The engine authenticates descriptions; nothing else tells who the other side is.
///   With any other key there is no [`SessionEvent::Connected`], and no packet and no message is
///   delivered.
/// * Packets and messages are encrypted and authenticated. Nothing of a payload or message is
///   readable on the wire.
///
/// # Timing
/// Control methods return within 5 s, [`Session::close`] within 2 s, also while the network is
/// gone. Methods that are documented to never block return within 10 ms, whatever other tasks and
/// threads do.
///
/// # Drop
/// A session that is dropped without [`Session::close`] closes by itself: tasks end and sockets
/// are free within 5 s, and the other side loses the path. A transport that is dropped leaves its
/// sessions alone.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Capabilities of this transport, as in its registry entry.
    fn capabilities(&self) -> TransportCapabilities;

    /// Opens a session towards one remote device.
    ///
    /// * Sends and gathers nothing before [`Session::create_offer`] or [`Session::accept_offer`].
    /// * The events end (`None`) after [`SessionEvent::Closed`].
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) where no socket can be opened,
    /// [`Invalid`](crate::ErrorKind::Invalid) for a configuration that cannot work, such as
    /// `ice.interfaces` of which none exists now, [`Unsupported`](crate::ErrorKind::Unsupported)
    /// for `ice.relay_only` and `ice.host_candidates` that its capabilities exclude.
    ///
    /// # Cancellation
    /// Where the future is dropped, the session is closed and its sockets are freed.
    async fn open(&self, config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)>;
}

/// Capabilities of a transport. Use of a missing one is [`Unsupported`](crate::ErrorKind).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TransportCapabilities {
    /// Audio.
    pub audio: bool,
    /// Video.
    pub video: bool,
    /// Data channels (RFC 8831).
    pub data_channels: bool,
    /// ICE restarts by `create_offer(true)` (RFC 8445 §9).
    pub ice_restart: bool,
    /// Server-reflexive candidates from configured STUN servers (RFC 8489).
    pub stun: bool,
    /// Relayed candidates from configured TURN servers (RFC 8656, over UDP), and `ice.relay_only`.
    pub relay: bool,
    /// Values of `ice.host_candidates` other than `address`.
    pub hidden_hosts: bool,
    /// Bandwidth estimation ([`SessionEvent::BandwidthEstimate`]).
    pub bandwidth_estimate: bool,
    /// Renegotiation: tracks are added and removed after the first offer and answer.
    pub renegotiation: bool,
    /// Packets on a network, which may lose them.
    pub network: bool,
    /// Encryption and the check of fingerprints, as the clauses of [`Transport`] say. A transport
    /// without it is for tests within one process.
    pub encryption: bool,
}

impl TransportCapabilities {
    /// No capability: the base for entries, which stay valid when a field is added.
    pub const NONE: Self = Self {
        audio: false,
        video: false,
        data_channels: false,
        ice_restart: false,
        stun: false,
        relay: false,
        hidden_hosts: false,
        bandwidth_estimate: false,
        renegotiation: false,
        network: false,
        encryption: false,
    };
}

/// Control events of a session, in a queue of 1,024 entries and 1 MiB of messages. RTP packets go
/// to [`SessionConfig::rtp`] instead.
///
/// While the queue is full, a transport may drop [`SessionEvent::Rtcp`], [`SessionEvent::Data`]
/// and [`SessionEvent::KeyframeRequested`], may merge repeated
/// requests and [`SessionEvent::BandwidthEstimate`]s, and keeps every other event until there is
/// room.
pub type SessionEvents = mpsc::Receiver<SessionEvent>;

/// A connection to one remote device, from before its negotiation until after its end.
///
/// The engine calls the asynchronous methods one after the other, `send_rtp` and `send_data` from
/// other threads at any time. After [`close`](Session::close), every method fails with
/// [`Closed`](crate::ErrorKind::Closed).
///
/// # Cancellation
/// Where the future of a method is dropped, the session stays usable and the operation may or may
/// not have taken effect. The engine drops one only to close the session.
#[async_trait]
pub trait Session: Send + Sync {
    /// Makes an SDP offer for all tracks and channels added so far, applies it locally and starts
    /// gathering.
    ///
    /// * With `ice_restart` the offer carries new ICE credentials (RFC 8445 §9). Media continues on
    ///   the old path meanwhile.
    /// * Candidates follow as [`SessionEvent::LocalCandidate`]; those in the SDP may be omitted.
    /// * A further offer before the answer replaces the former one.
    ///
    /// # Errors
    /// [`State`](crate::ErrorKind::State) without tracks and channels.
    async fn create_offer(&self, ice_restart: bool) -> Result<String>;

    /// Applies a remote SDP offer and answers it; the tracks and channels added locally take part.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for text that is no SDP offer;
    /// [`Incompatible`](crate::ErrorKind::Incompatible) where an audio section shares no codec. The
    /// session is as it was.
    async fn accept_offer(&self, sdp: &str) -> Result<String>;

    /// Applies the remote SDP answer to the newest own offer.
    ///
    /// # Errors
    /// As [`accept_offer`](Session::accept_offer), and [`State`](crate::ErrorKind::State) without
    /// an open offer.
    async fn accept_answer(&self, sdp: &str) -> Result<()>;

    /// Adds a remote candidate. It may come before the remote description, is then kept, and may
    /// come twice.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for text that is no candidate. Candidates of unknown
    /// transports or with names that cannot be resolved are accepted and ignored.
    async fn add_candidate(&self, candidate: &Candidate) -> Result<()>;

    /// Adds a track to send, from the next negotiation on.
    ///
    /// * The n-th track of a kind that this side added shares the n-th media section of that kind,
    ///   in the order of the SDP, with the n-th track of that kind of the other side. The sections
    ///   are bundled (RFC 9143).
    /// * A removed track frees its place: sections stay, and the next track of the kind takes the
    ///   first section in the order of the SDP on which this side does not send.
    /// * A side with fewer tracks of a kind than sections only receives on the remaining sections.
    /// * An offer has as many sections as its side has tracks. Further tracks of the answering side
    ///   wait for an offer of its own ([`SessionEvent::NegotiationNeeded`]).
    /// * A side rejects video sections without a common codec (port 0, RFC 3264 §6); all other
    ///   sections are unaffected.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a kind the transport does not carry or
    /// the configuration gave no codec for.
    async fn add_track(&self, kind: TrackKind) -> Result<TrackId>;

    /// Stops sending a track. The other side's track in the same media section is unaffected.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for an unknown track.
    async fn remove_track(&self, track: TrackId) -> Result<()>;

    /// The media section a track is sent on. Never blocks.
    ///
    /// `None` before the track was negotiated, where the other side rejected its section, for an
    /// unknown track, and after [`close`](Session::close).
    fn mid(&self, track: TrackId) -> Option<Mid>;

    /// The codecs that a track may be sent with, in the order of the configuration. Never blocks.
    /// Empty where [`mid`](Session::mid) is `None`.
    fn codecs(&self, track: TrackId) -> Vec<CodecName>;

    /// Sends one RTP packet. Never blocks. Before the path is up, and on a track whose section was
    /// rejected, the packet is dropped without an error.
    ///
    /// * [`RtpOut::codec`] chooses among the codecs of the section; it may change from one packet
    ///   to the next.
    /// * Sequence numbers increase, modulo 2¹⁶; a packet with a lower one is dropped.
    /// * On video sections a transport retransmits on negative acknowledgements (RFC 4585 §6.2.1,
    ///   RFC 4588), as far as its stack supports it.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for an unknown track,
    /// [`Incompatible`](crate::ErrorKind::Incompatible) for a codec that was not negotiated,
    /// [`TooLarge`](crate::ErrorKind::TooLarge) for a payload of more than 1,200 bytes,
    /// [`Full`](crate::ErrorKind::Full) for a full queue (the packet is dropped).
    fn send_rtp(&self, track: TrackId, packet: RtpOut) -> Result<()>;

    /// Requests a key frame of the other side's track (PLI, RFC 4585 §6.3.1). Never blocks. The
    /// other side receives [`SessionEvent::KeyframeRequested`], unless the packet is lost.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) where no track is received on `mid`.
    fn request_keyframe(&self, mid: &Mid) -> Result<()>;

    /// Opens a data channel (RFC 8831), reliable and ordered on the wire; a reader that is behind
    /// loses [`SessionEvent::Data`]. Only the side that makes the first SDP offer opens; the other
    /// learns of it by [`SessionEvent::ChannelOpen`]. Effective from the next negotiation on.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without data channels.
    async fn open_channel(&self, label: &str) -> Result<()>;

    /// Sends one binary message of at most 16 KiB (16,384 bytes). Never blocks. The channel stays
    /// usable after every error.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for a channel that is not open,
    /// [`TooLarge`](crate::ErrorKind::TooLarge) for a message of more than 16 KiB,
    /// [`Full`](crate::ErrorKind::Full) for a full queue (the message is dropped).
    fn send_data(&self, channel: ChannelId, message: Bytes) -> Result<()>;

    /// Statistics of the session since it was opened.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed).
    async fn stats(&self) -> Result<SessionStats>;

    /// Ends the session; its sockets are closed when it returns. Idempotent.
    ///
    /// # Cancellation
    /// Where the future is dropped, the session still closes.
    async fn close(&self);
}

/// A control event of a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SessionEvent {
    /// A local candidate to send to the other side.
    LocalCandidate(Candidate),
    /// End of local candidates for this negotiation (RFC 8838 §4).
    CandidatesDone,
    /// A configured server gave no candidate; the session continues with the others.
    ServerFailed {
        /// The server's URL, as configured.
        url: String,
        /// The cause: [`Security`](crate::ErrorKind::Security) for rejected credentials,
        /// [`Full`](crate::ErrorKind::Full) for a server without a free relay,
        /// [`Timeout`](crate::ErrorKind::Timeout) for one that does not answer,
        /// [`NotFound`](crate::ErrorKind::NotFound) for a name without an address,
        /// [`Io`](crate::ErrorKind::Io) for any other failure.
        error: Error,
    },
    /// ICE and DTLS are up in both directions. Repeated whenever a lost path is restored.
    Connected,
    /// The path is lost. It may be restored.
    Disconnected,
    /// How far ICE and DTLS have come, each time that changes. A transport that cannot tell sends
    /// none, and a failure is then reported without the states.
    State(TransportState),
    /// The session found why it cannot connect, such as DTLS versions that do not overlap. Only
    /// before the first [`Connected`](SessionEvent::Connected), which withdraws it where it comes
    /// within a second all the same: unauthenticated packets may suggest a failure. The engine
    /// gives the path up otherwise, and tells both users the reason.
    ///
    /// A transport reports what it knows for certain and at once. It does not report that no
    /// candidate pair has answered yet: the engine decides how long that may take.
    Failed(FailureReason),
    /// The other side began to send a track; comes before its first packet.
    TrackStarted {
        /// The media section.
        mid: Mid,
        /// Its kind.
        kind: TrackKind,
    },
    /// The other side stopped its track.
    TrackEnded {
        /// The media section.
        mid: Mid,
    },
    /// A received RTCP packet, decrypted, as on the wire (RFC 3550 §6). Not every transport reports
    /// them.
    Rtcp(Bytes),
    /// A data channel is open in both directions.
    ChannelOpen {
        /// Its id in this session.
        channel: ChannelId,
        /// Its label.
        label: String,
    },
    /// A message on a data channel.
    Data {
        /// The channel.
        channel: ChannelId,
        /// Its bytes.
        message: Bytes,
    },
    /// The other side requests a key frame of the track sent on this media section (PLI, RFC 4585
    /// §6.3.1; FIR, RFC 5104 §4.3.1).
    KeyframeRequested {
        /// The media section.
        mid: Mid,
    },
    /// A new estimate of the path's bandwidth.
    BandwidthEstimate {
        /// Bits per second for all media together.
        bits_per_second: u64,
    },
    /// A track was added or removed, which requires a negotiation.
    NegotiationNeeded,
    /// The session ended. The last event.
    Closed,
}

/// An ICE candidate in trickle form (RFC 8838).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The attribute's value, beginning with `candidate:` (RFC 8839 §5.1).
    pub attribute: String,
    /// The media section it belongs to; `None` for all (they are bundled).
    pub mid: Option<Mid>,
}

/// The identification tag of a media section (RFC 5888).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mid(Arc<str>);

impl Mid {
    /// A tag.
    pub fn new(mid: &str) -> Self {
        Self(mid.into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Mid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A track this side sends; unique in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u32);

/// A data channel; unique in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub u32);
