//! A session behind its [`Line`]: packets are counted, and pass where the line is open and the
//! session's path leads to where the device is now.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    Candidate, ChannelId, Mid, Result, RtpIn, RtpOut, RtpSink, Session, SessionEvent, SessionEvents, TrackId,
};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::core::Core;
use super::fault::Fault;
use super::line::Line;
use crate::forwarding::ForwardingSession;

/// Events that wait for a slow reader.
const QUEUE: usize = 1_024;
/// Packets of sound that get lost after one of video with [`Fault::VideoInterruptsSound`].
const INTERRUPTED: u64 = 5;
/// How late with [`Fault::HealsLate`].
const LATE: Duration = Duration::from_secs(10);

pub(crate) struct LineSession {
    path: Arc<Path>,
    forwarding: JoinHandle<()>,
}

/// Where a path ends. It stays when the session is closed: what a cut holds back does not come
/// through because one side gave up.
pub(crate) struct End {
    line: Arc<Line>,
    /// The address that the path leads to.
    address: AtomicU64,
}

/// What a session and the task that forwards its events have in common.
struct Path {
    inner: Arc<dyn Session>,
    line: Arc<Line>,
    core: Arc<Core>,
    here: Arc<End>,
    /// The other end, as far as it is one of the lab's.
    there: Mutex<Option<Arc<End>>>,
    negotiation: Mutex<Negotiation>,
    /// Messages that wait for the path.
    unsent: Mutex<VecDeque<(ChannelId, Bytes)>>,
    /// An answer that waits for a candidate to overtake it.
    late_answer: Mutex<Option<String>>,
    closed: AtomicBool,
    /// How often ICE credentials were made.
    negotiations: AtomicU64,
    /// Packets of sound that are still lost with [`Fault::VideoInterruptsSound`].
    interrupted: AtomicU64,
}

/// How far the newest negotiation is.
#[derive(Default)]
struct Negotiation {
    /// The remote ICE user name in force.
    remote_user: Option<String>,
    /// The address that the newest ICE credentials are about, until its path is there.
    gathered_at: Option<u64>,
    described: bool,
    has_candidate: bool,
}

impl LineSession {
    pub(crate) fn start(
        (inner, events): (Box<dyn Session>, SessionEvents),
        gate: &GatedRtp,
        line: Arc<Line>,
        core: Arc<Core>,
    ) -> (Self, SessionEvents) {
        let here = Arc::new(End { line: line.clone(), address: AtomicU64::new(line.paths().address) });
        line.sessions_open.fetch_add(1, Ordering::Relaxed);
        let path = Arc::new(Path {
            inner: Arc::from(inner),
            line,
            core,
            here,
            there: Mutex::default(),
            negotiation: Mutex::default(),
            unsent: Mutex::default(),
            late_answer: Mutex::default(),
            closed: AtomicBool::new(false),
            negotiations: AtomicU64::new(0),
            interrupted: AtomicU64::new(0),
        });
        gate.open(&path);
        let (queue, outer) = mpsc::channel(QUEUE);
        let forwarding = tokio::spawn(forward(path.clone(), events, queue));
        (Self { path, forwarding }, outer)
    }
}

#[async_trait]
impl ForwardingSession for LineSession {
    fn behind(&self) -> &dyn Session {
        &*self.path.inner
    }

    async fn create_offer(&self, ice_restart: bool) -> Result<String> {
        if ice_restart {
            self.path.line.restarts.fetch_add(1, Ordering::Relaxed);
        }
        self.path.gather();
        let sdp = self.path.inner.create_offer(ice_restart).await?;
        self.path.line.tell(&sdp);
        self.path.introduce(&sdp);
        Ok(sdp)
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        let restarts = self.path.negotiation().remote_user.as_deref() != user(sdp);
        if restarts {
            self.path.gather();
        }
        self.path.describe(sdp);
        let answer = self.path.inner.accept_offer(sdp).await?;
        self.path.line.tell(&answer);
        self.path.introduce(&answer);
        self.path.settle();
        Ok(answer)
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        // A description that brings its candidates along cannot be overtaken by them.
        if self.path.core.candidates_first() && !has_candidate(sdp) {
            *self.path.late_answer() = Some(sdp.to_owned());
            return Ok(());
        }
        self.path.accept_answer(sdp).await
    }

    async fn add_candidate(&self, candidate: &Candidate) -> Result<()> {
        let late_answer = self.path.late_answer().take();
        if late_answer.is_none() || !matches!(self.path.core.fault, Some(Fault::ForgetsEarlyCandidates)) {
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
        self.path.line.packets_sent.fetch_add(1, Ordering::Relaxed);
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
            self.path.core.bury(self.path.inner.clone());
            return;
        }
        self.path.end();
        if self.path.line.is_killed() {
            // Whoever is dead says no farewell: its sessions stay as they were until the lab ends.
            self.path.core.bury(self.path.inner.clone());
        } else {
            self.path.inner.close().await;
        }
        self.forwarding.abort();
    }
}

crate::forwards!(Session for LineSession);

impl Drop for LineSession {
    fn drop(&mut self) {
        if matches!(self.path.core.fault, Some(Fault::NeverCloses)) {
            return;
        }
        self.path.end();
        if self.path.line.is_killed() {
            self.path.core.bury(self.path.inner.clone());
        }
        self.forwarding.abort();
    }
}

impl End {
    fn is_open(&self) -> bool {
        let paths = self.line.paths();
        paths.open && paths.address == self.address.load(Ordering::Relaxed)
    }
}

impl Path {
    /// Whether a fault of the transport loses a packet.
    fn loses(&self, packet: &RtpOut) -> bool {
        // Pictures have no audio level.
        let video = packet.level.is_none();
        match self.core.fault {
            Some(Fault::NoVideo) => video,
            Some(Fault::VideoInterruptsSound) if video => {
                self.interrupted.store(INTERRUPTED, Ordering::Relaxed);
                false
            }
            Some(Fault::VideoInterruptsSound) => {
                let left = self.interrupted.load(Ordering::Relaxed);
                self.interrupted.store(left.saturating_sub(1), Ordering::Relaxed);
                left > 0
            }
            _ => false,
        }
    }

    /// Whether packets get through: here, and at the other end.
    fn passes(&self) -> bool {
        let there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        self.here.is_open() && there.as_ref().is_none_or(|there| there.is_open())
    }

    /// Others can find this end by its own description.
    fn introduce(&self, sdp: &str) {
        if let Some(user) = user(sdp) {
            self.core.introduce(user, self.here.clone());
        }
    }

    fn loses_messages(&self) -> bool {
        matches!(self.core.fault, Some(Fault::ChannelsOverSignaling)) && self.core.is_signaling_cut()
    }

    /// New ICE credentials are made: the candidates to come lead to where the device is now.
    fn gather(&self) {
        self.negotiations.fetch_add(1, Ordering::Relaxed);
        let mut negotiation = self.negotiation();
        negotiation.gathered_at = Some(self.line.paths().address);
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
        if let Some(there) = user(sdp).and_then(|user| self.core.met(user)) {
            *self.there.lock().unwrap_or_else(PoisonError::into_inner) = Some(there);
        }
        let mut negotiation = self.negotiation();
        negotiation.remote_user = user(sdp).map(str::to_owned);
        negotiation.described = true;
        negotiation.has_candidate |= has_candidate(sdp);
    }

    /// Where description and candidate of the other side are there, the path is found again.
    fn settle(&self) {
        let mut negotiation = self.negotiation();
        let first = self.negotiations.load(Ordering::Relaxed) <= 1;
        if matches!(self.core.fault, Some(Fault::IgnoresRestarts)) && !first {
            return;
        }
        if let Some(address) = negotiation.gathered_at.filter(|_| negotiation.described && negotiation.has_candidate) {
            negotiation.gathered_at = None;
            self.here.address.store(address, Ordering::Relaxed);
            self.core.paths_changed();
        }
    }

    fn send_waiting(&self) {
        for (channel, message) in self.unsent().drain(..) {
            if let Err(error) = self.inner.send_data(channel, message) {
                tracing::debug!(%error, "a message that waited for a path is dropped");
            }
        }
    }

    fn end(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            self.line.sessions_open.fetch_sub(1, Ordering::Relaxed);
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

/// The ICE user name of a description.
fn user(sdp: &str) -> Option<&str> {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).map(str::trim_end)
}

/// Passes a session's events on: what came over a path only where that is open.
async fn forward(path: Arc<Path>, mut events: SessionEvents, queue: mpsc::Sender<SessionEvent>) {
    let mut changes = path.core.path_changes();
    let mut open = path.passes();
    let mut held = VecDeque::new();
    loop {
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { return };
                held.push_back(event);
            }
            Ok(()) = changes.changed() => {
                let opens = !std::mem::replace(&mut open, path.passes()) && open;
                if opens && matches!(path.core.fault, Some(Fault::HealsLate)) {
                    tokio::time::sleep(LATE).await;
                }
            }
        }
        let passes = path.passes();
        if passes {
            path.send_waiting();
        }
        let mut waiting = VecDeque::new();
        for event in held.drain(..) {
            match judge(&path, &event, passes) {
                Judgement::Pass => {
                    if queue.send(event).await.is_err() {
                        return;
                    }
                }
                Judgement::Drop => {}
                Judgement::Wait => waiting.push_back(event),
            }
        }
        held = waiting;
    }
}

/// Passes RTP packets on where the path of their session is open.
pub(super) struct GatedRtp {
    path: OnceLock<Weak<Path>>,
    inner: Arc<dyn RtpSink>,
}

impl GatedRtp {
    pub(super) fn new(inner: Arc<dyn RtpSink>) -> Self {
        Self { path: OnceLock::new(), inner }
    }

    fn open(&self, path: &Arc<Path>) {
        // A gate belongs to one session.
        self.path.set(Arc::downgrade(path)).ok();
    }
}

impl RtpSink for GatedRtp {
    fn deliver(&self, packet: RtpIn) {
        let Some(path) = self.path.get().and_then(Weak::upgrade) else { return };
        let deaf = matches!(path.core.fault, Some(Fault::NoMediaFor(number)) if number == path.line.number);
        if path.passes() && !deaf {
            path.line.packets_received.fetch_add(1, Ordering::Relaxed);
            self.inner.deliver(packet);
        }
    }
}

enum Judgement {
    Pass,
    Wait,
    Drop,
}

fn judge(path: &Path, event: &SessionEvent, passes: bool) -> Judgement {
    match event {
        SessionEvent::LocalCandidate(candidate) => {
            path.line.tell(&candidate.attribute);
            path.line.candidates_sent.fetch_add(1, Ordering::Relaxed);
            Judgement::Pass
        }
        SessionEvent::Rtcp(_) if !passes => Judgement::Drop,
        SessionEvent::Data { .. } if path.loses_messages() => Judgement::Drop,
        SessionEvent::Connected | SessionEvent::ChannelOpen { .. } | SessionEvent::Data { .. } if !passes => {
            Judgement::Wait
        }
        _ => Judgement::Pass,
    }
}
