//! Two sides with the media sections of a call: two of audio and two of video.

use blink_api::{
    CodecName, Mid, RtpCodec, RtpIn, RtpOut, RtpTime, SessionConfig, SessionEvent, TrackId, TrackKind, Transport,
};
use bytes::Bytes;

use super::opus;
use super::pair::{Pair, Side, codec, configuration};

/// Maximum size of a description that the engine sends (docs/protocol.md).
const LARGEST_DESCRIPTION: usize = 12 * 1024;
/// Maximum payload size of the contract.
const LARGEST_PAYLOAD: usize = 1200;
/// Tracks that each side of a call sends: two of audio, two of video.
pub(super) const KINDS: [TrackKind; 4] = [TrackKind::Audio, TrackKind::Audio, TrackKind::Video, TrackKind::Video];

/// Two sides, and the tracks of each in the order of [`KINDS`].
pub(super) struct Call {
    pub(super) pair: Pair,
    pub(super) offerers: Vec<TrackId>,
    pub(super) answerers: Vec<TrackId>,
}

impl Call {
    /// A call with VP8 and H264 on both sides. One side adds its audio first, the other its video.
    pub(super) async fn open(offerer: &dyn Transport, answerer: &dyn Transport) -> Self {
        Self::open_with((offerer, vec![vp8(), h264()], &KINDS), (answerer, vec![vp8(), h264()], &KINDS)).await
    }

    /// A call in which each side has these video codecs and adds tracks of these kinds.
    pub(super) async fn open_with(
        (offerer, offerers_video, offerers): (&dyn Transport, Vec<RtpCodec>, &[TrackKind]),
        (answerer, answerers_video, answerers): (&dyn Transport, Vec<RtpCodec>, &[TrackKind]),
    ) -> Self {
        let (ours, theirs) = (open_side(offerer, offerers_video).await, open_side(answerer, answerers_video).await);
        Self::with_tracks((ours, offerers), (theirs, answerers)).await
    }

    /// A call of sessions whose configuration is derived from the default one.
    pub(super) async fn open_as(
        (offerer, offerers): (&dyn Transport, &[TrackKind]),
        (answerer, answerers): (&dyn Transport, &[TrackKind]),
        config: impl Fn(SessionConfig) -> SessionConfig,
    ) -> Self {
        let config = || config(configuration(vec![opus()]));
        let (ours, theirs) = (Side::open_with(offerer, config()).await, Side::open_with(answerer, config()).await);
        Self::with_tracks((ours, offerers), (theirs, answerers)).await
    }

    async fn with_tracks(
        (offerer, offerers): (Side, &[TrackKind]),
        (answerer, answerers): (Side, &[TrackKind]),
    ) -> Self {
        let mut ours = Vec::new();
        for kind in offerers {
            ours.push(offerer.session.add_track(*kind).await.expect("a track"));
        }
        let mut theirs = Vec::new();
        for kind in answerers.iter().rev() {
            theirs.push((*kind, answerer.session.add_track(*kind).await.expect("a track")));
        }
        // Tracks are matched by their order within a kind; the order of the kinds is irrelevant.
        theirs.sort_by_key(|(kind, _)| *kind);
        let answerers = theirs.into_iter().map(|(_, track)| track).collect();
        Self { pair: Pair::of(offerer, answerer), offerers: ours, answerers }
    }

    /// Negotiates, and verifies that the descriptions are small enough to be sent.
    pub(super) async fn negotiate(&mut self) {
        let offer = self.pair.offerer.session.create_offer(false).await.expect("an offer");
        let answer = self.pair.answerer.session.accept_offer(&offer).await.expect("an answer");
        self.pair.offerer.session.accept_answer(&answer).await.expect("the answer fits");
        for (name, sdp) in [("offer", offer), ("answer", answer)] {
            tracing::debug!(bytes = sdp.len(), "{name}");
            assert!(sdp.len() < LARGEST_DESCRIPTION, "the {name} has {} bytes", sdp.len());
        }
    }

    pub(super) async fn connect(&mut self) {
        self.negotiate().await;
        self.pair.until_connected().await;
    }

    /// Sections of the offerer's tracks, which equal those of the answerer's.
    pub(super) fn sections(&self) -> Vec<Mid> {
        let mids = |side: &Side, tracks: &[TrackId]| -> Vec<Option<Mid>> {
            tracks.iter().map(|track| side.session.mid(*track)).collect()
        };
        let (ours, theirs) = (mids(&self.pair.offerer, &self.offerers), mids(&self.pair.answerer, &self.answerers));
        assert_eq!(ours, theirs, "the n-th tracks of a kind share a section");
        let sections: Vec<Mid> = ours.into_iter().map(|mid| mid.expect("the track is negotiated")).collect();
        let is_repeated = |n: usize| sections[..n].contains(&sections[n]);
        assert!(!(0..sections.len()).any(is_repeated), "each track has a section of its own: {sections:?}");
        sections
    }

    /// Sends these packets on the n-th track of both sides, and verifies that both receive all of
    /// them in order on this section.
    pub(super) async fn exchange(&mut self, n: usize, section: &Mid, packets: &[RtpOut]) {
        for packet in packets {
            self.pair.offerer.send_on(self.offerers[n], packet.clone());
            self.pair.answerer.send_on(self.answerers[n], packet.clone());
        }
        let count = |side: &Side| newest(side, section, packets).len();
        self.pair
            .until("both sides hear each other", |a, b| count(a) == packets.len() && count(b) == packets.len())
            .await;
        for side in [&self.pair.offerer, &self.pair.answerer] {
            assert_same(&newest(side, section, packets), packets);
        }
    }

    pub(super) async fn close(self) {
        self.pair.close().await;
    }
}

/// Received packets of a section with the sequence numbers of `sent`.
fn newest<'a>(side: &'a Side, section: &Mid, sent: &[RtpOut]) -> Vec<&'a RtpIn> {
    let is_sent = |packet: &RtpIn| sent.iter().any(|sent| sent.sequence == packet.sequence);
    side.packets_on(section).filter(|packet| is_sent(packet)).collect()
}

/// Verifies that the received packets equal those that were sent, in order.
pub(super) fn assert_same(received: &[&RtpIn], sent: &[RtpOut]) {
    let arrived: Vec<u16> = received.iter().map(|packet| packet.sequence).collect();
    let expected: Vec<u16> = sent.iter().map(|packet| packet.sequence).collect();
    assert_eq!(arrived, expected, "packets keep their order on one machine");
    for (packet, sent) in received.iter().zip(sent) {
        assert_eq!(packet.codec, sent.codec, "the codec of {} on {}", packet.sequence, packet.mid);
        assert_eq!(packet.timestamp, sent.timestamp);
        assert_eq!(packet.marker, sent.marker, "the marker of {}", packet.sequence);
        assert!(packet.payload == sent.payload, "the payload of {} on {}", packet.sequence, packet.mid);
    }
}

/// Packets of a video track in frames of four, the last one with the marker; every payload names
/// its track.
pub(super) fn video_packets(codec: &str, track: u8, first: u16, count: u16) -> Vec<RtpOut> {
    let packet = |n: u16| {
        let sequence = first.wrapping_add(n);
        let length = if n.is_multiple_of(2) { LARGEST_PAYLOAD } else { 300 + usize::from(n) };
        RtpOut {
            codec: CodecName::new(codec),
            sequence,
            timestamp: RtpTime(u32::from(n / 4).wrapping_mul(3000).wrapping_add(u32::MAX - 3000)),
            marker: n % 4 == 3,
            level: None,
            payload: Bytes::from([vec![track], vec![sequence as u8; length - 1]].concat()),
        }
    };
    (0..count).map(packet).collect()
}

/// Whether both transports carry video. One that does not must refuse it.
pub(super) async fn both_carry_video(offerer: &dyn Transport, answerer: &dyn Transport) -> bool {
    let mut both = true;
    for transport in [offerer, answerer].into_iter().filter(|transport| !transport.capabilities().video) {
        both = false;
        let side = open_side(transport, vec![vp8()]).await;
        let refused = side.session.add_track(TrackKind::Video).await.expect_err("no video");
        assert_eq!(refused.kind(), blink_api::ErrorKind::Unsupported);
        side.session.close().await;
    }
    both
}

/// Tracks of a side that have started, with their kinds.
pub(super) fn started(side: &Side) -> Vec<(Mid, TrackKind)> {
    let started = |event: &SessionEvent| match event {
        SessionEvent::TrackStarted { mid, kind } => Some((mid.clone(), *kind)),
        _ => None,
    };
    side.log.iter().filter_map(started).collect()
}

pub(crate) fn vp8() -> RtpCodec {
    codec("VP8", 90_000, 0, "")
}

pub(super) fn h264() -> RtpCodec {
    codec("H264", 90_000, 0, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f")
}

async fn open_side(transport: &dyn Transport, video: Vec<RtpCodec>) -> Side {
    Side::open_with(transport, configuration(vec![opus()]).with_video(video)).await
}
