//! A path for media and data between two devices.

use std::fmt;
use std::sync::Arc;
use web_time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{Clock, CodecName, Did, Error, IceConfig, Result, RtpCodec, RtpOut, RtpSink, TrackKind};

/// Opens sessions: one stack of WebRTC, or something that behaves like one.
///
/// SDP and candidates are in WebRTC's text forms (RFC 8829, RFC 8839), so that sessions of
/// different transports connect.
#[async_trait]
pub trait Transport: Send + Sync {
    /// What this transport can do. The same value as in its registry entry.
    fn capabilities(&self) -> TransportCapabilities;

    /// Opens a session towards one remote device.
    ///
    /// * Sends nothing and gathers nothing: that begins with [`Session::create_offer`] or
    ///   [`Session::accept_offer`].
    /// * The events end (`None`) after [`SessionEvent::Closed`].
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) where no socket can be had,
    /// [`Invalid`](crate::ErrorKind::Invalid) for a configuration that cannot work, such as
    /// `ice.interfaces` of which none is there now, [`Unsupported`](crate::ErrorKind::Unsupported)
    /// for `ice.relay_only` and `ice.host_candidates` that it cannot honour.
    ///
    /// # Cancellation
    /// Where the future is dropped, the session is closed and its sockets are freed.
    async fn open(&self, config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)>;
}

/// Capabilities of a transport. Every field that is false fails with
/// [`Unsupported`](crate::ErrorKind::Unsupported).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TransportCapabilities {
    /// Carries audio.
    pub audio: bool,
    /// Carries video.
    pub video: bool,
    /// Carries data channels.
    pub data_channels: bool,
    /// `create_offer(true)` restarts ICE.
    pub ice_restart: bool,
    /// Finds server-reflexive candidates through configured STUN servers.
    pub stun: bool,
    /// Finds relayed candidates through configured TURN servers (RFC 8656, over UDP), and honours
    /// `ice.relay_only`.
    pub relay: bool,
    /// Honours values of `ice.host_candidates` other than `address`.
    pub hidden_hosts: bool,
    /// Reports [`SessionEvent::BandwidthEstimate`].
    pub bandwidth_estimate: bool,
    /// Tracks can be added and removed after the first negotiation.
    pub renegotiation: bool,
    /// Sends real packets, so that a network can lose them.
    pub network: bool,
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
    };
}

/// The configuration of a session.
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionConfig {
    /// Servers, interfaces and the relay-only rule. Without servers by default.
    pub ice: IceConfig,
    /// Codecs to negotiate for audio, the preferred one first. An empty list means no audio.
    pub audio: Vec<RtpCodec>,
    /// Codecs to negotiate for video, as for `audio`. A section carries each codec that both sides
    /// have, under a payload type of its own.
    pub video: Vec<RtpCodec>,
    /// The clock of arrival times.
    pub clock: Arc<dyn Clock>,
    /// The receiver of all RTP packets.
    pub rtp: Arc<dyn RtpSink>,
    /// The identity at the other end, as far as it is known. Over all sessions with a participant,
    /// a transport bounds how many checks it sends to addresses that do not answer.
    pub participant: Option<Did>,
}

impl SessionConfig {
    /// A configuration without media, servers or a known participant.
    pub fn new(clock: Arc<dyn Clock>, rtp: Arc<dyn RtpSink>) -> Self {
        Self { ice: IceConfig::default(), audio: Vec::new(), video: Vec::new(), clock, rtp, participant: None }
    }

    /// With these servers, interfaces and rules.
    #[must_use]
    pub fn with_ice(self, ice: IceConfig) -> Self {
        Self { ice, ..self }
    }

    /// With these codecs for audio.
    #[must_use]
    pub fn with_audio(self, audio: Vec<RtpCodec>) -> Self {
        Self { audio, ..self }
    }

    /// With these codecs for video.
    #[must_use]
    pub fn with_video(self, video: Vec<RtpCodec>) -> Self {
        Self { video, ..self }
    }

    /// With another receiver of RTP packets.
    #[must_use]
    pub fn with_rtp(self, rtp: Arc<dyn RtpSink>) -> Self {
        Self { rtp, ..self }
    }

    /// With this identity at the other end.
    #[must_use]
    pub fn with_participant(self, participant: Did) -> Self {
        Self { participant: Some(participant), ..self }
    }
}

/// The control events of a session: bounded, 1,024 entries and 1 MiB of messages. RTP does not take
/// this way, but that of [`SessionConfig::rtp`].
///
/// While its reader is behind, a transport may drop [`SessionEvent::Rtcp`], [`SessionEvent::Data`]
/// and [`SessionEvent::KeyframeRequested`] (the network may lose them too), may merge repeated
/// requests and [`SessionEvent::BandwidthEstimate`]s, and keeps every other event until there is
/// room.
pub type SessionEvents = mpsc::Receiver<SessionEvent>;

/// A connection to one remote device, from before its negotiation until after its end.
///
/// The engine calls the asynchronous methods one after the other; `send_rtp` and `send_data` come
/// from other threads at any time. Where the future of a method is dropped, the session stays
/// usable and may or may not have done what was asked; the engine drops one only to close the
/// session. After [`close`](Session::close) every method fails with
/// [`Closed`](crate::ErrorKind::Closed).
#[async_trait]
pub trait Session: Send + Sync {
    /// Makes an SDP offer for all tracks and channels added so far, applies it locally and starts
    /// gathering.
    ///
    /// * With `ice_restart` the offer carries new ICE credentials (RFC 8445 §9); media goes on over
    ///   the old path meanwhile.
    /// * Candidates follow as [`SessionEvent::LocalCandidate`]; those already in the SDP need not.
    /// * Called again before the answer, the newest offer counts.
    ///
    /// # Errors
    /// [`State`](crate::ErrorKind::State) where there is nothing to offer.
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

    /// Adds a track to send. Takes part from the next negotiation on; nothing flows until it sends
    /// packets.
    ///
    /// * The n-th track of a kind that this side added shares the n-th media section of that kind,
    ///   in the order of the SDP, with the n-th track of that kind of the other side. The sections
    ///   are bundled (RFC 9143).
    /// * A side that has fewer tracks of a kind than there are sections only receives on those that
    ///   are left.
    /// * An offer has as many sections as its side has tracks. What the answering side has more
    ///   waits for an offer of its own ([`SessionEvent::NegotiationNeeded`]).
    /// * A side refuses video sections that it has no codec for (port 0, RFC 3264 §6); everything
    ///   else goes on without them.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a kind the transport does not carry or
    /// the configuration gave no codec for.
    async fn add_track(&self, kind: TrackKind) -> Result<TrackId>;

    /// Stops sending a track. The other side's half of the media section goes on.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for a track that is not there.
    async fn remove_track(&self, track: TrackId) -> Result<()>;

    /// The media section a track is sent on. Never blocks.
    ///
    /// `None` before the track was negotiated, where the other side refused its section, for an
    /// unknown track, and after [`close`](Session::close).
    fn mid(&self, track: TrackId) -> Option<Mid>;

    /// The codecs that a track may be sent with, in the order of the configuration. Never blocks.
    /// Empty where [`mid`](Session::mid) is `None`.
    fn codecs(&self, track: TrackId) -> Vec<CodecName>;

    /// Sends one RTP packet. Never blocks. Before the path is up, and on a track whose section was
    /// refused, the packet is dropped without an error.
    ///
    /// * [`RtpOut::codec`] chooses among the codecs of the section; it may change from one packet
    ///   to the next.
    /// * Sequence numbers go upwards, through their wrap; a packet whose number does not is
    ///   dropped.
    /// * On video sections a transport sends again what the other side missed (RFC 4585 §6.2.1, RFC
    ///   4588), as far as its stack does.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for an unknown track,
    /// [`Incompatible`](crate::ErrorKind::Incompatible) for a codec that was not negotiated,
    /// [`TooLarge`](crate::ErrorKind::TooLarge) for a payload of more than 1,200 bytes,
    /// [`Full`](crate::ErrorKind::Full) where the session cannot keep up (the packet is dropped).
    fn send_rtp(&self, track: TrackId, packet: RtpOut) -> Result<()>;

    /// Asks the other side for a key frame of its track (RFC 4585 §6.3.1, PLI). Never blocks. It
    /// gets [`SessionEvent::KeyframeRequested`]. Like any packet, the request may be lost.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) where no track comes in on `mid`.
    fn request_keyframe(&self, mid: &Mid) -> Result<()>;

    /// Opens a reliable, ordered data channel (RFC 8831). Only the side that makes the first offer
    /// opens; the other sees it in [`SessionEvent::ChannelOpen`]. Takes part from the next
    /// negotiation on.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without data channels.
    async fn open_channel(&self, label: &str) -> Result<()>;

    /// Sends one binary message of at most 16 KiB. Never blocks.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for a channel that is not open,
    /// [`TooLarge`](crate::ErrorKind::TooLarge) for a message of more than 16 KiB,
    /// [`Full`](crate::ErrorKind::Full) where the session cannot keep up (the message is dropped).
    fn send_data(&self, channel: ChannelId, message: Bytes) -> Result<()>;

    /// Figures of the session up to now.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed).
    async fn stats(&self) -> Result<SessionStats>;

    /// Ends the session and frees its sockets before it returns. Idempotent.
    ///
    /// # Cancellation
    /// Where the future is dropped, the session closes all the same.
    async fn close(&self);
}

/// A control event of a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SessionEvent {
    /// A local candidate to send to the other side.
    LocalCandidate(Candidate),
    /// No more local candidates for this negotiation.
    CandidatesDone,
    /// A configured server gave no candidate; the session goes on with what there is.
    ServerFailed {
        /// The server's URL, as configured.
        url: String,
        /// Why: [`Security`](crate::ErrorKind::Security) where it does not take the credentials,
        /// [`Full`](crate::ErrorKind::Full) where it has no relay to spare,
        /// [`Timeout`](crate::ErrorKind::Timeout) where it does not answer,
        /// [`NotFound`](crate::ErrorKind::NotFound) where its name has no address,
        /// [`Io`](crate::ErrorKind::Io) for anything else it says.
        error: Error,
    },
    /// ICE and DTLS are up, and what is sent arrives. Again after a path was lost and found.
    Connected,
    /// The stack takes the path for lost. It may come back.
    Disconnected,
    /// The other side sends a track from now on; reported before its first packet is delivered.
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
    /// One RTCP packet came, decrypted, as on the wire (RFC 3550 §6). Not every transport shows
    /// them.
    Rtcp(Bytes),
    /// A data channel is open in both directions.
    ChannelOpen {
        /// Its id in this session.
        channel: ChannelId,
        /// Its label.
        label: String,
    },
    /// A data channel's message came.
    Data {
        /// On which channel.
        channel: ChannelId,
        /// Its bytes.
        message: Bytes,
    },
    /// The other side wants a key frame of the track sent on this media section (RFC 4585 §6.3.1,
    /// PLI; RFC 5104 §4.3.1, FIR).
    KeyframeRequested {
        /// The media section.
        mid: Mid,
    },
    /// What the path can carry now, in bits per second.
    BandwidthEstimate {
        /// Bits per second, all media together.
        bits_per_second: u64,
    },
    /// A track was added or removed and waits for a negotiation.
    NegotiationNeeded,
    /// The session ended; nothing follows.
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

/// Statistics of a session since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct SessionStats {
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP packets received.
    pub packets_received: u64,
    /// RTP packets that were sent to us and never came, by their sequence numbers.
    pub packets_lost: u64,
    /// RTP payload bytes sent.
    pub bytes_sent: u64,
    /// RTP payload bytes received.
    pub bytes_received: u64,
    /// The newest round trip time; `None` before the first measurement.
    pub round_trip: Option<Duration>,
}
