//! A session: its sockets, its tasks, and the lock around its state.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blink_api::macros::async_trait;
use blink_api::{
    Candidate, ChannelId, CodecName, Error, ErrorKind, Mid, Result, RtpOut, Session, SessionConfig, SessionEvents,
    SessionStats, TrackId, TrackKind,
};
use blink_transport_kit::events::{self, EventSender};
use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::NAME;
use super::state::State;

/// Pause between two rounds of checks, pings and repetitions.
const TICK: Duration = Duration::from_millis(20);
/// Longest datagram.
const DATAGRAM: usize = 2_048;

/// A session. Dropping it closes it.
pub(super) struct UdpSession {
    /// `None` once it is closed.
    state: Arc<Mutex<Option<State>>>,
    events: EventSender,
    /// The tasks own the sockets; dropping the set ends them.
    tasks: Mutex<JoinSet<()>>,
}

impl UdpSession {
    pub(super) async fn open(config: SessionConfig, addresses: &[IpAddr]) -> Result<(Self, SessionEvents)> {
        let mut sockets = Vec::new();
        let mut own = Vec::new();
        for address in addresses {
            let io = |source| Error::new(ErrorKind::Io, "cannot open a socket").with("address", address).source(source);
            let socket = UdpSocket::bind(SocketAddr::new(*address, 0)).await.map_err(io)?;
            own.push(socket.local_addr().map_err(io)?);
            sockets.push(Arc::new(socket));
        }
        let mut random = [0; 64];
        getrandom::fill(&mut random).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "there are no random numbers").source(error.to_string())
        })?;
        let (sender, events) = events::channel();
        let state = State::new(config, sender.clone(), sockets.clone(), &own, random);
        let state = Arc::new(Mutex::new(Some(state)));
        let mut tasks = JoinSet::new();
        for (number, socket) in sockets.into_iter().enumerate() {
            tasks.spawn(receive(number, socket, state.clone()));
        }
        let (ticking, forwarding) = (state.clone(), sender.clone());
        tasks.spawn(async move {
            let mut interval = tokio::time::interval(TICK);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                if let Some(state) = &mut *lock(&ticking) {
                    state.tick(Instant::now());
                }
            }
        });
        tasks.spawn(async move { forwarding.forward().await });
        Ok((Self { state, events: sender, tasks: Mutex::new(tasks) }, events))
    }

    fn with<T>(&self, operation: &'static str, run: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = lock(&self.state);
        let closed = || Error::new(ErrorKind::Closed, "the session is closed");
        let result = state.as_mut().ok_or_else(closed).and_then(|state| {
            let result = run(state);
            state.report();
            result
        });
        result.map_err(|error| error.backend(NAME).operation(operation))
    }

    fn end(&self) -> JoinSet<()> {
        if let Some(mut state) = lock(&self.state).take() {
            state.close();
        }
        std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn receive(number: usize, socket: Arc<UdpSocket>, state: Arc<Mutex<Option<State>>>) {
    let mut datagram = [0; DATAGRAM];
    loop {
        // Errors are those of earlier datagrams, such as an unreachable port.
        let Ok((length, from)) = socket.recv_from(&mut datagram).await else { continue };
        if let Some(state) = &mut *lock(&state) {
            state.receive(number, from, &datagram[..length], Instant::now());
        }
    }
}

fn lock(state: &Mutex<Option<State>>) -> MutexGuard<'_, Option<State>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Session for UdpSession {
    async fn create_offer(&self, ice_restart: bool) -> Result<String> {
        self.with("create_offer", |state| state.negotiation.create_offer(ice_restart))
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        self.with("accept_offer", |state| state.accept_offer(sdp))
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        self.with("accept_answer", |state| state.accept_answer(sdp))
    }

    async fn add_candidate(&self, candidate: &Candidate) -> Result<()> {
        self.with("add_candidate", |state| state.add_candidate(candidate))
    }

    async fn add_track(&self, kind: TrackKind) -> Result<TrackId> {
        self.with("add_track", |state| state.add_track(kind))
    }

    async fn remove_track(&self, track: TrackId) -> Result<()> {
        self.with("remove_track", |state| state.negotiation.remove_track(track))
    }

    fn mid(&self, track: TrackId) -> Option<Mid> {
        lock(&self.state).as_ref()?.negotiation.mid(track)
    }

    fn codecs(&self, track: TrackId) -> Vec<CodecName> {
        lock(&self.state).as_ref().map(|state| state.codecs(track)).unwrap_or_default()
    }

    fn send_rtp(&self, track: TrackId, packet: RtpOut) -> Result<()> {
        self.with("send_rtp", |state| state.send_rtp(track, packet))
    }

    fn request_keyframe(&self, mid: &Mid) -> Result<()> {
        self.with("request_keyframe", |state| state.request_keyframe(mid))
    }

    async fn open_channel(&self, label: &str) -> Result<()> {
        self.with("open_channel", |state| {
            state.negotiation.open_channel(label);
            Ok(())
        })
    }

    fn send_data(&self, channel: ChannelId, message: Bytes) -> Result<()> {
        self.with("send_data", |state| state.send_data(channel, message))
    }

    async fn stats(&self) -> Result<SessionStats> {
        self.with("stats", |state| Ok(state.stats()))
    }

    async fn close(&self) {
        // Ended tasks have closed their sockets.
        self.end().shutdown().await;
        tokio::spawn(self.events.clone().finish());
    }
}

impl Drop for UdpSession {
    fn drop(&mut self) {
        drop(self.end());
    }
}
