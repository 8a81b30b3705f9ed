//! Handle of a session.

use std::net::IpAddr;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    Candidate, ChannelId, CodecName, Error, ErrorKind, MediaPath, Mid, Result, RtpOut, Session, SessionConfig,
    SessionStats, TrackId, TrackKind,
};
use blink_transport_kit::candidate::{self, CandidateUse};
use blink_transport_kit::check_budget::CheckBudget;
use blink_transport_kit::events::EventSender;
use blink_transport_kit::remote_candidate_filter::RemoteCandidateFilter;
use bytes::Bytes;
use rtc::peer_connection::transport::RTCIceCandidateType;
use rtc::statistics::stats::ice_candidate_pair::RTCIceCandidatePairStats;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc};
use webrtc::peer_connection::{PeerConnection, RTCStatsReport, RTCStatsReportEntry, StatsSelector};

use crate::config::WebRtcConfig;
use crate::negotiation::Negotiation;
use crate::outgoing::Outgoing;
use crate::shared::{Shared, State};
use crate::{NAME, outgoing, stack};

/// Limit of packets queued for the sender task: a few hundred milliseconds.
const PACKETS: usize = 512;
/// Maximum size of a message, as defined by the API.
const MAX_MESSAGE: usize = 16 * 1024;

/// Limit of concurrent lookups of mDNS names.
const MAX_LOOKUPS: usize = 16;

/// Session of the webrtc-rs transport. Dropping it closes it.
pub(crate) struct WebRtcSession {
    closer: SessionCloser,
    negotiation: Arc<Mutex<Negotiation>>,
    packets: mpsc::Sender<Outgoing>,
    runtime: Handle,
}

/// State needed to close a session.
#[derive(Clone)]
struct SessionCloser {
    connection: Arc<dyn PeerConnection>,
    shared: Arc<Shared>,
    /// Locked while closing, so that a second caller returns when it is done.
    once: Arc<Mutex<bool>>,
}

impl WebRtcSession {
    pub(crate) async fn open(
        config: &WebRtcConfig,
        session: SessionConfig,
        addresses: &[IpAddr],
        budget: CheckBudget,
        events: EventSender,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::new(events, &session, budget)?);
        let connection = stack::open(config, &session, addresses, &shared).await?;
        // The handler is called only after an offer or answer, and nothing else sets the
        // connection.
        let is_first = shared.connection.set(Arc::downgrade(&connection)).is_ok();
        debug_assert!(is_first);
        let (packets, queue) = mpsc::channel(PACKETS);
        shared.spawn(outgoing::run(Arc::clone(&shared), queue));
        let forwarding = shared.events.clone();
        shared.spawn(async move { forwarding.forward().await });
        let hosts = if session.ice.relay_only { Vec::new() } else { addresses.to_vec() };
        // A relay on loopback or a link-local address may relay to that scope.
        let servers = shared.packet_filter.servers.iter().filter_map(|server| server.host.parse().ok());
        let own: Vec<IpAddr> = addresses.iter().copied().chain(servers).collect();
        let remote = RemoteCandidateFilter::new(&own);
        let negotiation = Negotiation::new(Arc::clone(&connection), Arc::clone(&shared), hosts, remote);
        let negotiation = Arc::new(Mutex::new(negotiation));
        let closer = SessionCloser { connection, shared, once: Arc::default() };
        Ok(Self { closer, negotiation, packets, runtime: Handle::current() })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.closer.shared
    }

    fn check_open(&self, operation: &'static str) -> Result<MutexGuard<'_, State>> {
        let state = self.shared().lock();
        if state.is_closed { Err(closed(operation)) } else { Ok(state) }
    }

    fn enqueue(&self, operation: &'static str, outgoing: Outgoing) -> Result<()> {
        self.packets.try_send(outgoing).map_err(|error| match error {
            TrySendError::Full(_) => full(operation),
            TrySendError::Closed(_) => closed(operation),
        })
    }

    /// Runs a negotiation step. If the session is closed meanwhile, it fails with `Closed`.
    async fn negotiate<T>(
        &self,
        operation: &'static str,
        step: impl AsyncFnOnce(&mut Negotiation) -> Result<T>,
    ) -> Result<T> {
        drop(self.check_open(operation)?);
        let result = step(&mut *self.negotiation.lock().await).await;
        drop(self.check_open(operation)?);
        result.map_err(|error| error.backend(NAME).operation(operation))
    }

    /// Resolves and adds a candidate with an mDNS name. Names are resolved only if the local side
    /// uses mDNS too.
    fn resolve(&self, candidate: Candidate) {
        let Ok(CandidateUse::Resolve(name)) = candidate::classify(&candidate.attribute) else { return };
        let resolved = {
            let mut state = self.shared().lock();
            let Some(mdns) = state.mdns.as_ref().filter(|_| state.lookups < MAX_LOOKUPS) else { return };
            let resolved = mdns.resolve(&name);
            state.lookups += 1;
            resolved
        };
        let (shared, negotiation) = (Arc::clone(self.shared()), Arc::clone(&self.negotiation));
        self.shared().spawn(async move {
            let address = resolved.await;
            shared.lock().lookups -= 1;
            let Some(address) = address else { return };
            let attribute = candidate::with_address(&candidate.attribute, address);
            let candidate = Candidate { attribute, ..candidate };
            if let Err(error) = negotiation.lock().await.add_resolved(&candidate).await {
                tracing::debug!(%error, "resolved candidate ignored");
            }
        });
    }

    /// Round-trip time and path of the nominated candidate pair, or of the most used one before.
    async fn measured_path(&self) -> Option<(Duration, Option<MediaPath>)> {
        let report = self.closer.connection.get_stats(self.shared().clock.now(), StatsSelector::None).await;
        let measured = report.candidate_pairs().filter(|pair| pair.current_round_trip_time > 0.0);
        let newest = measured.max_by_key(|pair| (pair.nominated, pair.responses_received))?;
        let round_trip = Duration::try_from_secs_f64(newest.current_round_trip_time).ok()?;
        let path = self.shared().packet_filter.newest_path();
        Some((round_trip, path.or_else(|| path_of(&report, newest))))
    }
}

/// Path of a candidate pair; `None` if the report does not tell.
fn path_of(report: &RTCStatsReport, pair: &RTCIceCandidatePairStats) -> Option<MediaPath> {
    // The report gives candidates a prefix that it omits in pairs.
    let is_relayed = |side: &str, id: &str| match report.get(&format!("RTC{side}IceCandidate_{id}"))? {
        RTCStatsReportEntry::LocalCandidate(candidate) | RTCStatsReportEntry::RemoteCandidate(candidate) => {
            Some(candidate.candidate_type == RTCIceCandidateType::Relay)
        }
        _ => None,
    };
    match (is_relayed("Local", &pair.local_candidate_id), is_relayed("Remote", &pair.remote_candidate_id)) {
        (Some(true), _) | (_, Some(true)) => Some(MediaPath::Relayed),
        (_, Some(false)) => Some(MediaPath::Direct),
        // The remote address was seen before its candidate was signaled (peer-reflexive), and is
        // not reported: only candidates of one kind leave no doubt.
        (_, None) => {
            let mut kinds = report.iter().filter_map(|entry| match entry {
                RTCStatsReportEntry::RemoteCandidate(candidate) => {
                    Some(candidate.candidate_type == RTCIceCandidateType::Relay)
                }
                _ => None,
            });
            let first = kinds.next().unwrap_or(false);
            let path = if first { MediaPath::Relayed } else { MediaPath::Direct };
            kinds.all(|kind| kind == first).then_some(path)
        }
    }
}

#[async_trait]
impl Session for WebRtcSession {
    async fn create_offer(&self, ice_restart: bool) -> Result<String> {
        self.negotiate("create_offer", async |negotiation| negotiation.create_offer(ice_restart).await).await
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        let (answer, named) =
            self.negotiate("accept_offer", async |negotiation| negotiation.accept_offer(sdp).await).await?;
        named.into_iter().for_each(|candidate| self.resolve(candidate));
        Ok(answer)
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        let named = self.negotiate("accept_answer", async |negotiation| negotiation.accept_answer(sdp).await).await?;
        named.into_iter().for_each(|candidate| self.resolve(candidate));
        Ok(())
    }

    async fn add_candidate(&self, candidate: &Candidate) -> Result<()> {
        let added = async |negotiation: &mut Negotiation| negotiation.add_candidate(candidate).await;
        let is_named = self.negotiate("add_candidate", added).await?;
        if is_named {
            self.resolve(candidate.clone());
        }
        Ok(())
    }

    async fn add_track(&self, kind: TrackKind) -> Result<TrackId> {
        self.negotiate("add_track", async |negotiation| negotiation.add_track(kind).await).await
    }

    async fn remove_track(&self, track: TrackId) -> Result<()> {
        self.negotiate("remove_track", async |negotiation| negotiation.remove_track(track).await).await
    }

    fn mid(&self, track: TrackId) -> Option<Mid> {
        let state = self.shared().lock();
        state.tracks.get(&track).filter(|_| !state.is_closed)?.mid()
    }

    fn codecs(&self, track: TrackId) -> Vec<CodecName> {
        let state = self.shared().lock();
        let Some(track) = state.tracks.get(&track).filter(|_| !state.is_closed) else { return Vec::new() };
        let Some(section) = &track.section else { return Vec::new() };
        let names = self.shared().codecs(track.kind).iter().map(|codec| &codec.name);
        names.filter(|name| section.payload_type(name).is_some()).cloned().collect()
    }

    fn send_rtp(&self, track: TrackId, packet: RtpOut) -> Result<()> {
        drop(self.check_open("send_rtp")?);
        packet.check_length().map_err(|error| error.backend(NAME).operation("send_rtp"))?;
        let packet = outgoing::packet(self.shared(), track, packet)
            .map_err(|error| error.backend(NAME).operation("send_rtp"))?;
        packet.map_or(Ok(()), |packet| self.enqueue("send_rtp", packet))
    }

    fn request_keyframe(&self, mid: &Mid) -> Result<()> {
        let state = self.check_open("request_keyframe")?;
        if !state.receiving.contains_key(mid) {
            return Err(not_found("request_keyframe", "no track is received on this section"));
        }
        // Before its first packet the stack does not know the track, and its sender starts with a
        // key frame.
        let track = state.incoming.get(mid).cloned();
        drop(state);
        track.map_or(Ok(()), |track| self.enqueue("request_keyframe", Outgoing::KeyframeRequest(track)))
    }

    async fn open_channel(&self, label: &str) -> Result<()> {
        self.negotiate("open_channel", async |negotiation| negotiation.open_channel(label).await).await
    }

    fn send_data(&self, channel: ChannelId, message: Bytes) -> Result<()> {
        let state = self.check_open("send_data")?;
        let queue =
            state.channels.get(&channel).ok_or_else(|| not_found("send_data", "there is no such open channel"))?;
        if message.len() > MAX_MESSAGE {
            return Err(Error::new(ErrorKind::TooLarge, "a message may have at most 16 KiB")
                .backend(NAME)
                .operation("send_data"));
        }
        let share = u32::try_from(message.len().max(1)).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.shared().send_capacity).try_acquire_many_owned(share);
        let share = share.map_err(|_| full("send_data"))?;
        queue.try_send((message, share)).map_err(|error| match error {
            TrySendError::Full(_) => full("send_data"),
            TrySendError::Closed(_) => not_found("send_data", "the channel was closed"),
        })
    }

    async fn stats(&self) -> Result<SessionStats> {
        drop(self.check_open("stats")?);
        let measured = self.measured_path().await;
        let mut stats = self.check_open("stats")?.traffic.stats(measured.map(|(round_trip, _)| round_trip));
        stats.path = measured.and_then(|(_, path)| path);
        Ok(stats)
    }

    async fn close(&self) {
        self.closer.close().await;
    }
}

impl SessionCloser {
    async fn close(&self) {
        self.shared.lock().is_closed = true;
        let mut is_closed = self.once.lock().await;
        if std::mem::replace(&mut *is_closed, true) {
            return;
        }
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "webrtc-rs");
        }
        let mut tasks = std::mem::take(&mut self.shared.lock().tasks);
        tasks.shutdown().await;
        tokio::spawn(self.shared.events.clone().finish());
    }
}

impl Drop for WebRtcSession {
    fn drop(&mut self) {
        if self.shared().lock().is_closed {
            return;
        }
        // The stack's task ends only when the connection is closed.
        let closer = self.closer.clone();
        self.runtime.spawn(async move { closer.close().await });
    }
}

fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, "the session is closed").backend(NAME).operation(operation)
}

fn full(operation: &'static str) -> Error {
    Error::new(ErrorKind::Full, "the session cannot keep up").backend(NAME).operation(operation)
}

fn not_found(operation: &'static str, message: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, message).backend(NAME).operation(operation)
}
