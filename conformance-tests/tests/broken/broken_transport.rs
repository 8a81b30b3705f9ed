//! Transports with one defect each, around the memory transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use blink_api::macros::async_trait;
use blink_api::{
    Context, Entry, Error, Plugin, Result, RtpIn, RtpSink, Session, SessionConfig, SessionEvent, SessionEvents,
    TrackId, TrackKind, Transport, TransportCapabilities,
};
use blink_conformance::forwarding::ForwardingSession;
use blink_transport_memory::{Hub, MemoryTransport};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Defect of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    DropsCandidates,
    NeverCloses,
    GathersEarly,
    Reorders,
    ClaimsVideo,
    HidesVideo,
    /// Works correctly: it declares and refuses video.
    DropsVideo,
    StopsReading,
}

/// Registered names, in the order of [`Defect`].
const ALL: [(Defect, &str); 8] = [
    (Defect::DropsCandidates, "drops-candidates"),
    (Defect::NeverCloses, "never-closes_stream"),
    (Defect::GathersEarly, "gathers-early"),
    (Defect::Reorders, "reorders"),
    (Defect::ClaimsVideo, "claims-video"),
    (Defect::HidesVideo, "hides-video"),
    (Defect::DropsVideo, "no-video"),
    (Defect::StopsReading, "stops-reading"),
];

pub(crate) static ENTRIES: [&Entry<dyn Transport>; 8] = [
    &Entry::of::<Registered<0>>(),
    &Entry::of::<Registered<1>>(),
    &Entry::of::<Registered<2>>(),
    &Entry::of::<Registered<3>>(),
    &Entry::of::<Registered<4>>(),
    &Entry::of::<Registered<5>>(),
    &Entry::of::<Registered<6>>(),
    &Entry::of::<Registered<7>>(),
];

const SOUND: TransportCapabilities = TransportCapabilities {
    audio: true,
    video: true,
    data_channels: true,
    ice_restart: true,
    stun: false,
    relay: false,
    hidden_hosts: false,
    bandwidth_estimate: false,
    renegotiation: true,
    network: false,
    encryption: false,
};

/// The working transport that the others wrap.
pub(crate) fn working() -> impl Transport {
    MemoryTransport::new(&Hub::default())
}

/// A broken transport in a network of its own.
pub(crate) fn broken(defect: Defect) -> impl Transport {
    Broken { defect, inner: MemoryTransport::new(&Hub::default()) }
}

struct Registered<const N: usize>;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoConfig {}

#[async_trait]
impl<const N: usize> Plugin<dyn Transport> for Registered<N> {
    type Config = NoConfig;
    const NAME: &'static str = ALL[N].1;
    const SUMMARY: &'static str = "broken on purpose";
    const CAPABILITIES: TransportCapabilities = match ALL[N].0 {
        Defect::HidesVideo | Defect::DropsVideo => TransportCapabilities { video: false, ..SOUND },
        _ => SOUND,
    };

    async fn create(_: NoConfig, context: &Context) -> Result<Arc<dyn Transport>> {
        let inner = MemoryTransport::new(&context.shared.of::<Hub>());
        Ok(Arc::new(Broken { defect: ALL[N].0, inner }))
    }
}

struct Broken {
    defect: Defect,
    inner: MemoryTransport,
}

#[async_trait]
impl Transport for Broken {
    fn capabilities(&self) -> TransportCapabilities {
        let video = !matches!(self.defect, Defect::HidesVideo | Defect::DropsVideo);
        TransportCapabilities { video, ..self.inner.capabilities() }
    }

    async fn open(&self, mut config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        let taken = Arc::new(AtomicUsize::new(0));
        if self.defect == Defect::StopsReading {
            config.rtp = Arc::new(StoppingRtp { taken: taken.clone(), inner: config.rtp });
        }
        let (inner, events) = self.inner.open(config).await?;
        if self.defect == Defect::GathersEarly {
            inner.add_track(TrackKind::Audio).await?;
            inner.create_offer(false).await?;
        }
        let (queue, outer) = mpsc::channel(1_024);
        tokio::spawn(pass_on(self.defect, taken, events, queue));
        Ok((Box::new(BrokenSession { defect: self.defect, inner }), outer))
    }
}

/// Packets and messages read before a session stops with [`Defect::StopsReading`].
const STOPS_AFTER: usize = 19;

/// RTP sink that drops all packets after the first ones.
struct StoppingRtp {
    taken: Arc<AtomicUsize>,
    inner: Arc<dyn RtpSink>,
}

impl RtpSink for StoppingRtp {
    fn deliver(&self, packet: RtpIn) {
        if self.taken.fetch_add(1, Ordering::Relaxed) < STOPS_AFTER {
            self.inner.deliver(packet);
        }
    }
}

/// Forwards the events of a session with its defect.
async fn pass_on(
    defect: Defect,
    taken: Arc<AtomicUsize>,
    mut events: SessionEvents,
    queue: mpsc::Sender<SessionEvent>,
) {
    let mut held = None;
    while let Some(event) = events.recv().await {
        let passes = match (defect, &event) {
            (Defect::DropsCandidates, SessionEvent::LocalCandidate(_)) => false,
            (Defect::StopsReading, SessionEvent::Data { .. }) => taken.fetch_add(1, Ordering::Relaxed) < STOPS_AFTER,
            _ => true,
        };
        // Hold the first message until the second one.
        let is_data = matches!(event, SessionEvent::Data { .. });
        if defect == Defect::Reorders && is_data && held.is_none() {
            held = Some(event);
            continue;
        }
        if passes && queue.send(event).await.is_err() {
            return;
        }
        if is_data
            && let Some(late) = held.take()
            && queue.send(late).await.is_err()
        {
            return;
        }
    }
}

struct BrokenSession {
    defect: Defect,
    inner: Box<dyn Session>,
}

impl BrokenSession {
    fn description(&self, sdp: String) -> String {
        if self.defect != Defect::DropsCandidates {
            return sdp;
        }
        sdp.lines().filter(|line| !line.starts_with("a=candidate:")).flat_map(|line| [line, "\r\n"]).collect()
    }
}

#[async_trait]
impl ForwardingSession for BrokenSession {
    fn behind(&self) -> &dyn Session {
        &*self.inner
    }

    async fn create_offer(&self, ice_restart: bool) -> Result<String> {
        Ok(self.description(self.inner.create_offer(ice_restart).await?))
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        Ok(self.description(self.inner.accept_offer(sdp).await?))
    }

    async fn add_track(&self, kind: TrackKind) -> Result<TrackId> {
        if kind == TrackKind::Video && matches!(self.defect, Defect::ClaimsVideo | Defect::DropsVideo) {
            return Err(Error::unsupported("broken", "add_track"));
        }
        self.inner.add_track(kind).await
    }

    async fn close(&self) {
        if self.defect != Defect::NeverCloses {
            self.inner.close().await;
        }
    }
}

blink_conformance::forwards!(Session for BrokenSession);
