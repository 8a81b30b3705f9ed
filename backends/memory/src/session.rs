//! Handle of a session: every call goes to the hub.

use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    Candidate, ChannelId, CodecName, MediaPath, Mid, Result, RtpOut, Session, SessionStats, TrackId, TrackKind,
};
use bytes::Bytes;

use crate::hub::{Hub, SessionNumber};

/// Session of the memory transport. Dropping it closes it.
pub(crate) struct MemorySession {
    hub: Hub,
    number: SessionNumber,
}

impl MemorySession {
    pub(crate) fn new(hub: Hub, number: SessionNumber) -> Self {
        Self { hub, number }
    }
}

#[async_trait]
impl Session for MemorySession {
    async fn create_offer(&self, ice_restart: bool) -> Result<String> {
        self.hub.with(self.number, "create_offer", |peer| peer.negotiation.create_offer(ice_restart))
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        self.hub.with(self.number, "accept_offer", |peer| peer.negotiation.accept_offer(sdp))
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        self.hub.with(self.number, "accept_answer", |peer| peer.negotiation.accept_answer(sdp))
    }

    async fn add_candidate(&self, candidate: &Candidate) -> Result<()> {
        self.hub.with(self.number, "add_candidate", |peer| peer.add_candidate(candidate))
    }

    async fn add_track(&self, kind: TrackKind) -> Result<TrackId> {
        self.hub.with(self.number, "add_track", |peer| peer.negotiation.add_track(kind))
    }

    async fn remove_track(&self, track: TrackId) -> Result<()> {
        self.hub.with(self.number, "remove_track", |peer| peer.negotiation.remove_track(track))
    }

    fn mid(&self, track: TrackId) -> Option<Mid> {
        self.hub.mid(self.number, track)
    }

    fn codecs(&self, track: TrackId) -> Vec<CodecName> {
        self.hub.codecs(self.number, track)
    }

    fn send_rtp(&self, track: TrackId, packet: RtpOut) -> Result<()> {
        self.hub.send_rtp(self.number, track, packet)
    }

    fn request_keyframe(&self, mid: &Mid) -> Result<()> {
        self.hub.request_keyframe(self.number, mid)
    }

    async fn open_channel(&self, label: &str) -> Result<()> {
        self.hub.with(self.number, "open_channel", |peer| {
            peer.negotiation.open_channel(label);
            Ok(())
        })
    }

    fn send_data(&self, channel: ChannelId, message: Bytes) -> Result<()> {
        self.hub.send_data(self.number, channel, message)
    }

    async fn stats(&self) -> Result<SessionStats> {
        self.hub.with(self.number, "stats", |peer| {
            let mut stats = peer.traffic.stats(peer.path.as_ref().map(|_| Duration::ZERO));
            stats.path = peer.path.as_ref().map(|_| MediaPath::Direct);
            Ok(stats)
        })
    }

    async fn close(&self) {
        self.hub.close(self.number);
    }
}

impl Drop for MemorySession {
    fn drop(&mut self) {
        self.hub.close(self.number);
    }
}
