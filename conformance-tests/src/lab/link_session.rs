//! Session behind its [`Link`]: packets are counted, and pass while the link is open and the
//! session's path leads to the device's current address.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blink_api::macros::async_trait;
use blink_api::{Candidate, ChannelId, Mid, Result, RtpOut, Session, SessionEvents, TrackId};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::core::Core;
use super::fault::Fault;
use super::impaired_path::ImpairedPackets;
use super::link::Link;
use super::link_events::{GatedRtp, forward};
use crate::forwarding::ForwardingSession;

/// Capacity of the event queue.
const QUEUE: usize = 1_024;
/// Audio packets lost after each video packet with [`Fault::VideoInterruptsAudio`].
const LOST_AUDIO_PACKETS: u64 = 5;

pub(crate) struct LinkSession {
    path: Arc<Path>,
    /// Forward events, and packets behind an impaired network.
    forwarding: [JoinHandle<()>; 2],
}

/// Local end of a media path. It outlives the session: a cut also applies to packets of the remote
/// side after one side has closed.
pub(crate) struct PathEnd {
    link: Arc<Link>,
    /// Address generation that the path leads to.
    address: AtomicU64,
}

/// State shared by a session and the task that forwards its events.
pub(super) struct Path {
    inner: Arc<dyn Session>,
    pub(super) link: Arc<Link>,
    pub(super) core: Arc<Core>,
    here: Arc<PathEnd>,
    /// The remote end, if it belongs to the lab.
    there: Mutex<Option<Arc<PathEnd>>>,
    negotiation: Mutex<Negotiation>,
    /// Data channel messages that wait for the path.
    unsent: Mutex<VecDeque<(ChannelId, Bytes)>>,
    /// An answer held back until a candidate has overtaken it.
    late_answer: Mutex<Option<String>>,
    closed: AtomicBool,
    /// Packets do not pass yet, although the path is open: [`Fault::ReconnectsLate`].
    pub(super) undetected: AtomicBool,
    /// Number of ICE credential generations.
    negotiations: AtomicU64,
    /// Audio packets still to be lost with [`Fault::VideoInterruptsAudio`].
    interrupted: AtomicU64,
}

/// Progress of the latest negotiation.
#[derive(Default)]
struct Negotiation {
    /// Current remote ICE username fragment.
    remote_user: Option<String>,
    /// Address generation at which the latest ICE credentials were created, until their path is
    /// found.
    gathered_at: Option<u64>,
    described: bool,
    has_candidate: bool,
}

impl LinkSession {
    pub(crate) fn start(
        (inner, events): (Box<dyn Session>, SessionEvents),
        gate: &GatedRtp,
        link: Arc<Link>,
        core: Arc<Core>,
    ) -> (Self, SessionEvents) {
        let here = Arc::new(PathEnd { link: link.clone(), address: AtomicU64::new(link.paths().address) });
        link.sessions_open.fetch_add(1, Ordering::Relaxed);
        let path = Arc::new(Path {
            inner: Arc::from(inner),
            link,
            core,
            here,
            there: Mutex::default(),
            negotiation: Mutex::default(),
            unsent: Mutex::default(),
            late_answer: Mutex::default(),
            closed: AtomicBool::new(false),
            undetected: AtomicBool::new(false),
            negotiations: AtomicU64::new(0),
            interrupted: AtomicU64::new(0),
        });
        let packets = Arc::new(ImpairedPackets::new(path.link.clone(), &path.core));
        gate.open(&path, packets.clone());
        let (queue, outer) = mpsc::channel(QUEUE);
        let forwarding = [
            tokio::spawn(forward(path.clone(), events, queue)),
            tokio::spawn(packets.deliver(path.core.clone(), gate.inner.clone())),
        ];
        (Self { path, forwarding }, outer)
    }
}

#[async_trait]
impl ForwardingSession for LinkSession {
    fn behind(&self) -> &dyn Session {
        &*self.path.inner
    }

    async fn create_offer(&self, ice_restart: bool) -> Result<String> {
        if ice_restart {
            self.path.link.restarts.fetch_add(1, Ordering::Relaxed);
        }
        self.path.gather();
        let sdp = self.path.inner.create_offer(ice_restart).await?;
        self.path.link.tell(&sdp);
        self.path.register_path_end(&sdp);
        Ok(sdp)
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        let restarts = self.path.negotiation().remote_user.as_deref() != user(sdp);
        if restarts {
            self.path.gather();
        }
        self.path.describe(sdp);
        let answer = self.path.inner.accept_offer(sdp).await?;
        self.path.link.tell(&answer);
        self.path.register_path_end(&answer);
        self.path.settle();
        Ok(answer)
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        // A description that contains candidates cannot be overtaken by them.
        if self.path.core.candidates_first() && !has_candidate(sdp) {
            *self.path.late_answer() = Some(sdp.to_owned());
            return Ok(());
        }
        self.path.accept_answer(sdp).await
    }

    async fn add_candidate(&self, candidate: &Candidate) -> Result<()> {
        let late_answer = self.path.late_answer().take();
        if late_answer.is_none() || !matches!(self.path.core.fault, Some(Fault::DropsEarlyCandidates)) {
            self.path.inner.add_candidate(candidate).await?;
            self.path.negotiation().has_candidate = true;
            self.path.settle();
        }
        match late_answer {
            Some(sdp) => self.path.accept_answer(&sdp).await,
            None => Ok(()),
        }
    }

    fn send_rtp(&self, track: TrackId, packet: RtpOut) -> Result<()> {
        self.path.link.packets_sent.fetch_add(1, Ordering::Relaxed);
        if self.path.loses(&packet) {
            return Ok(());
        }
        if self.path.passes() { self.path.inner.send_rtp(track, packet) } else { Ok(()) }
    }

    fn request_keyframe(&self, mid: &Mid) -> Result<()> {
        if self.path.passes() { self.path.inner.request_keyframe(mid) } else { Ok(()) }
    }

    fn send_data(&self, channel: ChannelId, message: Bytes) -> Result<()> {
        if self.path.loses_messages() {
            return Ok(());
        }
        if self.path.passes() {
            return self.path.inner.send_data(channel, message);
        }
        self.path.unsent().push_back((channel, message));
        Ok(())
    }

    async fn close(&self) {
        if matches!(self.path.core.fault, Some(Fault::NeverCloses)) {
            self.path.core.keep_open(self.path.inner.clone());
            return;
        }
        self.path.end();
        if self.path.link.is_killed() {
            // A killed engine sends no close: its session stays as it is until the lab ends.
            self.path.core.keep_open(self.path.inner.clone());
        } else {
            self.path.inner.close().await;
        }
        self.forwarding.iter().for_each(JoinHandle::abort);
    }
}

crate::forwards!(Session for LinkSession);

impl Drop for LinkSession {
    fn drop(&mut self) {
        if matches!(self.path.core.fault, Some(Fault::NeverCloses)) {
            return;
        }
        self.path.end();
        if self.path.link.is_killed() {
            self.path.core.keep_open(self.path.inner.clone());
        }
        self.forwarding.iter().for_each(JoinHandle::abort);
    }
}

impl PathEnd {
    fn is_open(&self) -> bool {
        let paths = self.link.paths();
        paths.open && paths.address == self.address.load(Ordering::Relaxed)
    }
}

impl Path {
    /// Whether a fault of the transport drops a packet.
    fn loses(&self, packet: &RtpOut) -> bool {
        // Video packets have no audio level.
        let video = packet.level.is_none();
        match self.core.fault {
            Some(Fault::DropsVideo) => video,
            Some(Fault::VideoInterruptsAudio) if video => {
                self.interrupted.store(LOST_AUDIO_PACKETS, Ordering::Relaxed);
                false
            }
            Some(Fault::VideoInterruptsAudio) => {
                let left = self.interrupted.load(Ordering::Relaxed);
                self.interrupted.store(left.saturating_sub(1), Ordering::Relaxed);
                left > 0
            }
            _ => false,
        }
    }

    /// Whether packets pass at both ends.
    pub(super) fn passes(&self) -> bool {
        let there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        self.here.is_open() && there.as_ref().is_none_or(|there| there.is_open())
    }

    /// Registers this end under the ICE username fragment of its description.
    fn register_path_end(&self, sdp: &str) {
        if let Some(user) = user(sdp) {
            self.core.register_path_end(user, self.here.clone());
        }
    }

    pub(super) fn loses_messages(&self) -> bool {
        matches!(self.core.fault, Some(Fault::SendsDataOverSignaling)) && self.core.is_signaling_cut()
    }

    /// Starts a new ICE generation, whose candidates lead to the device's current address.
    fn gather(&self) {
        self.negotiations.fetch_add(1, Ordering::Relaxed);
        let mut negotiation = self.negotiation();
        negotiation.gathered_at = Some(self.link.paths().address);
        negotiation.described = false;
        negotiation.has_candidate = false;
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        self.describe(sdp);
        self.inner.accept_answer(sdp).await?;
        self.settle();
        Ok(())
    }

    fn describe(&self, sdp: &str) {
        if let Some(there) = user(sdp).and_then(|user| self.core.path_end(user)) {
            *self.there.lock().unwrap_or_else(PoisonError::into_inner) = Some(there);
        }
        let mut negotiation = self.negotiation();
        negotiation.remote_user = user(sdp).map(str::to_owned);
        negotiation.described = true;
        negotiation.has_candidate |= has_candidate(sdp);
    }

    /// Moves the path to the new address once a description and a candidate of the remote side are
    /// there.
    fn settle(&self) {
        let mut negotiation = self.negotiation();
        let first = self.negotiations.load(Ordering::Relaxed) <= 1;
        if matches!(self.core.fault, Some(Fault::IgnoresIceRestarts)) && !first {
            return;
        }
        if let Some(address) = negotiation.gathered_at.filter(|_| negotiation.described && negotiation.has_candidate) {
            negotiation.gathered_at = None;
            self.here.address.store(address, Ordering::Relaxed);
            self.core.paths_changed();
        }
    }

    pub(super) fn send_waiting(&self) {
        for (channel, message) in self.unsent().drain(..) {
            if let Err(error) = self.inner.send_data(channel, message) {
                tracing::debug!(%error, "dropped a message that waited for a path");
            }
        }
    }

    fn end(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            self.link.sessions_open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn negotiation(&self) -> MutexGuard<'_, Negotiation> {
        self.negotiation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn late_answer(&self) -> MutexGuard<'_, Option<String>> {
        self.late_answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsent(&self) -> MutexGuard<'_, VecDeque<(ChannelId, Bytes)>> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_candidate(sdp: &str) -> bool {
    sdp.contains("a=candidate:")
}

/// ICE username fragment of a description.
fn user(sdp: &str) -> Option<&str> {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).map(str::trim_end)
}
