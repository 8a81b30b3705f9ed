//! The memory transport with a defect.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use blink_api::macros::{async_trait, submit};
use blink_api::{
    Context, Entry, Plugin, Result, RtpIn, RtpOut, RtpSink, Session, SessionConfig, SessionEvents, TrackId, TrackKind,
    Transport, TransportCapabilities,
};
use blink_conformance::forwarding::ForwardingSession;
use blink_transport_memory::{Hub, MemoryTransport};

use super::sabotaged_signaling::refused;

/// Defect of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Truncates,
    DeliversTwice,
    SleepsInSend,
    /// Connects with any peer that answers, whatever the fingerprint in its description.
    IgnoresFingerprints,
    /// Claims a network, and no encryption.
    IsPlain,
    NeverCloses,
    /// Refuses the video that its entry declares.
    HasNoVideo,
}

/// All transports of this process reach each other.
static HUB: LazyLock<Hub> = LazyLock::new(Hub::default);
/// Fingerprint lines of all descriptions, by the line with the ICE username fragment.
static FINGERPRINTS: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);

pub(crate) struct Faulty {
    fault: Fault,
    inner: MemoryTransport,
}

impl Faulty {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, inner: MemoryTransport::new(&HUB) }
    }
}

#[async_trait]
impl Transport for Faulty {
    fn capabilities(&self) -> TransportCapabilities {
        let inner = self.inner.capabilities();
        match self.fault {
            // The test of fingerprints asks both sides for encryption; the memory transport checks
            // them although it does not encrypt.
            Fault::IsPlain => TransportCapabilities { network: true, ..inner },
            Fault::HasNoVideo => TransportCapabilities { video: false, ..inner },
            _ => TransportCapabilities { encryption: true, ..inner },
        }
    }

    async fn open(&self, mut config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        if matches!(self.fault, Fault::Truncates | Fault::DeliversTwice) {
            config.rtp = Arc::new(FaultySink { fault: self.fault, inner: config.rtp });
        }
        let (inner, events) = self.inner.open(config).await?;
        Ok((Box::new(FaultySession { fault: self.fault, inner }), events))
    }
}

struct FaultySink {
    fault: Fault,
    inner: Arc<dyn RtpSink>,
}

impl RtpSink for FaultySink {
    fn deliver(&self, mut packet: RtpIn) {
        if self.fault == Fault::Truncates && !packet.payload.is_empty() {
            packet.payload = packet.payload.slice(..packet.payload.len() - 1);
        }
        if self.fault == Fault::DeliversTwice {
            self.inner.deliver(packet.clone());
        }
        self.inner.deliver(packet);
    }
}

struct FaultySession {
    fault: Fault,
    inner: Box<dyn Session>,
}

impl FaultySession {
    /// The description, with its own fingerprint again where this session ignores it.
    fn trusted(&self, sdp: &str) -> String {
        let known = FINGERPRINTS.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(user(sdp)).filter(|_| self.fault == Fault::IgnoresFingerprints) {
            Some(own) => {
                let line = |line: &str| if line.starts_with("a=fingerprint:") { own.clone() } else { line.to_owned() };
                sdp.lines().flat_map(|text| [line(text), "\r\n".to_owned()]).collect()
            }
            None => sdp.to_owned(),
        }
    }

    fn known(&self, sdp: String) -> String {
        let fingerprint = sdp.lines().find(|line| line.starts_with("a=fingerprint:")).unwrap_or_default();
        let mut known = FINGERPRINTS.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(user(&sdp).to_owned(), fingerprint.to_owned());
        drop(known);
        sdp
    }
}

fn user(sdp: &str) -> &str {
    sdp.lines().find(|line| line.starts_with("a=ice-ufrag:")).unwrap_or_default()
}

#[async_trait]
impl ForwardingSession for FaultySession {
    fn behind(&self) -> &dyn Session {
        &*self.inner
    }

    async fn create_offer(&self, ice_restart: bool) -> Result<String> {
        Ok(self.known(self.inner.create_offer(ice_restart).await?))
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        Ok(self.known(self.inner.accept_offer(&self.trusted(sdp)).await?))
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        self.inner.accept_answer(&self.trusted(sdp)).await
    }

    async fn add_track(&self, kind: TrackKind) -> Result<TrackId> {
        if kind == TrackKind::Video && self.fault == Fault::HasNoVideo {
            return Err(refused("add_track"));
        }
        self.inner.add_track(kind).await
    }

    fn send_rtp(&self, track: TrackId, packet: RtpOut) -> Result<()> {
        if self.fault == Fault::SleepsInSend && packet.sequence == u16::MAX {
            std::thread::sleep(Duration::from_secs(2));
        }
        self.inner.send_rtp(track, packet)
    }

    async fn close(&self) {
        if self.fault != Fault::NeverCloses {
            self.inner.close().await;
        }
    }
}

blink_conformance::forwards!(Session for FaultySession);

submit! { Entry::<dyn Transport>::of::<DeclaresVideo>() }

struct DeclaresVideo;

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoConfig {}

#[async_trait]
impl Plugin<dyn Transport> for DeclaresVideo {
    type Config = NoConfig;
    const NAME: &'static str = "declares-video";
    const SUMMARY: &'static str = "sabotaged on purpose";
    const CAPABILITIES: TransportCapabilities = TransportCapabilities {
        audio: true,
        video: true,
        data_channels: true,
        ice_restart: true,
        renegotiation: true,
        ..TransportCapabilities::NONE
    };

    async fn create(_: NoConfig, _: &Context) -> Result<Arc<dyn Transport>> {
        Ok(Arc::new(Faulty::new(Fault::HasNoVideo)))
    }
}
