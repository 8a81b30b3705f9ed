//! Transports that are broken, each in one way: the memory transport behind a session that does not
//! do as it should.

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

/// The way in which one is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    DropsCandidates,
    NeverCloses,
    GathersEarly,
    Reorders,
    ClaimsVideo,
    HidesVideo,
    /// Not broken: it has no video and says so.
    NoVideo,
    StopsReading,
}

/// As they are registered, in the order of [`How`].
const ALL: [(How, &str); 8] = [
    (How::DropsCandidates, "drops-candidates"),
    (How::NeverCloses, "never-closes"),
    (How::GathersEarly, "gathers-early"),
    (How::Reorders, "reorders"),
    (How::ClaimsVideo, "claims-video"),
    (How::HidesVideo, "hides-video"),
    (How::NoVideo, "no-video"),
    (How::StopsReading, "stops-reading"),
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
};

/// The one that the others are made of.
pub(crate) fn sound() -> impl Transport {
    MemoryTransport::new(&Hub::default())
}

/// A broken one in a network of its own.
pub(crate) fn broken(how: How) -> impl Transport {
    Broken { how, inner: MemoryTransport::new(&Hub::default()) }
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
        How::HidesVideo | How::NoVideo => TransportCapabilities { video: false, ..SOUND },
        _ => SOUND,
    };

    async fn create(_: NoConfig, context: &Context) -> Result<Arc<dyn Transport>> {
        let inner = MemoryTransport::new(&context.shared.of::<Hub>());
        Ok(Arc::new(Broken { how: ALL[N].0, inner }))
    }
}

struct Broken {
    how: How,
    inner: MemoryTransport,
}

#[async_trait]
impl Transport for Broken {
    fn capabilities(&self) -> TransportCapabilities {
        let video = !matches!(self.how, How::HidesVideo | How::NoVideo);
        TransportCapabilities { video, ..self.inner.capabilities() }
    }

    async fn open(&self, mut config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        let taken = Arc::new(AtomicUsize::new(0));
        if self.how == How::StopsReading {
            config.rtp = Arc::new(StoppingRtp { taken: taken.clone(), inner: config.rtp });
        }
        let (inner, events) = self.inner.open(config).await?;
        if self.how == How::GathersEarly {
            inner.add_track(TrackKind::Audio).await?;
            inner.create_offer(false).await?;
        }
        let (queue, outer) = mpsc::channel(1_024);
        tokio::spawn(pass_on(self.how, taken, events, queue));
        Ok((Box::new(BrokenSession { how: self.how, inner }), outer))
    }
}

/// Packets and messages that are taken with [`How::StopsReading`].
const STOPS_AFTER: usize = 19;

/// A sink that takes no packets after the first ones.
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

/// Events as a broken one reports them.
async fn pass_on(how: How, taken: Arc<AtomicUsize>, mut events: SessionEvents, queue: mpsc::Sender<SessionEvent>) {
    let mut held = None;
    while let Some(event) = events.recv().await {
        let passes = match (how, &event) {
            (How::DropsCandidates, SessionEvent::LocalCandidate(_)) => false,
            (How::StopsReading, SessionEvent::Data { .. }) => taken.fetch_add(1, Ordering::Relaxed) < STOPS_AFTER,
            _ => true,
        };
        // The first message waits for the second.
        let is_data = matches!(event, SessionEvent::Data { .. });
        if how == How::Reorders && is_data && held.is_none() {
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
    how: How,
    inner: Box<dyn Session>,
}

impl BrokenSession {
    fn description(&self, sdp: String) -> String {
        if self.how != How::DropsCandidates {
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
        if kind == TrackKind::Video && matches!(self.how, How::ClaimsVideo | How::NoVideo) {
            return Err(Error::unsupported("broken", "add_track"));
        }
        self.inner.add_track(kind).await
    }

    async fn close(&self) {
        if self.how != How::NeverCloses {
            self.inner.close().await;
        }
    }
}

blink_conformance::forwards!(Session for BrokenSession);
