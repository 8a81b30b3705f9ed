//! Events and packets of a session behind a link: forwarded, held or dropped with the state of its
//! path.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use blink_api::{RtpIn, RtpSink, SessionEvent, SessionEvents};
use tokio::sync::mpsc;

use super::fault::Fault;
use super::impaired_path::{ImpairedMessages, ImpairedPackets};
use super::link_session::Path;

/// Delay of detection with [`Fault::ReconnectsLate`].
const DETECTION_DELAY: Duration = Duration::from_secs(10);

/// Forwards a session's events; those that arrive over a path only while it is open.
pub(super) async fn forward(path: Arc<Path>, mut events: SessionEvents, queue: mpsc::Sender<SessionEvent>) {
    let mut changes = path.core.path_changes();
    let mut open = path.passes();
    let mut held = VecDeque::new();
    let mut messages = ImpairedMessages::new(path.link.clone());
    loop {
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { return };
                held.extend(messages.delay(event));
            }
            message = messages.next() => held.push_back(message),
            Ok(()) = changes.changed() => {
                let opens = !std::mem::replace(&mut open, path.passes()) && open;
                if matches!(path.core.fault, Some(Fault::ReconnectsLate)) {
                    if opens {
                        tokio::time::sleep(DETECTION_DELAY).await;
                    }
                    path.undetected.store(!open, Ordering::Relaxed);
                }
            }
        }
        let passes = path.passes();
        if passes {
            path.send_waiting();
        }
        let mut waiting = VecDeque::new();
        for event in held.drain(..) {
            match decide(&path, &event, passes) {
                Disposition::Forward => {
                    if queue.send(event).await.is_err() {
                        return;
                    }
                }
                Disposition::Drop => {}
                Disposition::Hold => waiting.push_back(event),
            }
        }
        held = waiting;
    }
}

/// RTP sink that forwards packets while the path of their session is open.
pub(super) struct GatedRtp {
    path: OnceLock<(Weak<Path>, Arc<ImpairedPackets>)>,
    pub(super) inner: Arc<dyn RtpSink>,
}

impl GatedRtp {
    pub(super) fn new(inner: Arc<dyn RtpSink>) -> Self {
        Self { path: OnceLock::new(), inner }
    }

    /// Sets the path of the session that the sink was created for, and its impairments.
    pub(super) fn open(&self, path: &Arc<Path>, packets: Arc<ImpairedPackets>) {
        // A sink belongs to one session, so that this is called once.
        self.path.set((Arc::downgrade(path), packets)).ok();
    }
}

impl RtpSink for GatedRtp {
    fn deliver(&self, packet: RtpIn) {
        let Some((path, packets)) = self.path.get() else { return };
        let Some(path) = path.upgrade() else { return };
        let blocked = matches!(path.core.fault, Some(Fault::NoMediaFor(number)) if number == path.link.number);
        if path.passes() && !blocked && !path.undetected.load(Ordering::Relaxed) {
            path.link.packets_received.fetch_add(1, Ordering::Relaxed);
            if let Some(packet) = packets.delay(packet) {
                self.inner.deliver(packet);
            }
        }
    }
}

/// Action on an event of a session.
enum Disposition {
    Forward,
    Hold,
    Drop,
}

fn decide(path: &Path, event: &SessionEvent, passes: bool) -> Disposition {
    match event {
        SessionEvent::LocalCandidate(candidate) => {
            path.link.tell(&candidate.attribute);
            path.link.candidates_sent.fetch_add(1, Ordering::Relaxed);
            Disposition::Forward
        }
        SessionEvent::Rtcp(_) if !passes => Disposition::Drop,
        SessionEvent::Data { .. } if path.loses_messages() => Disposition::Drop,
        SessionEvent::Data { .. } if path.link.is_stalled() => Disposition::Hold,
        SessionEvent::Connected | SessionEvent::ChannelOpen { .. } | SessionEvent::Data { .. } if !passes => {
            Disposition::Hold
        }
        _ => Disposition::Forward,
    }
}
