//! Queues of taps: bounded, counted, and for wanted media only.

use blink_api::{DeviceId, Did, Endpoint};
use bytes::Bytes;

use super::*;

const ALL: TapContents = TapContents { samples: true, packets: true, frames: true, wire: false };

fn track(number: u8) -> TrackKey {
    let (did, device) = (Did::from_public_key([number; 32]), DeviceId::from_random([number; 16]));
    TrackKey::microphone(Endpoint { did, device })
}

fn packet<'a>(codec: &'a CodecName, kind: TrackKind, payload: &'a Bytes) -> TappedPacket<'a> {
    TappedPacket {
        direction: PacketDirection::Received,
        kind,
        codec,
        payload_type: Some(111),
        sequence: 7,
        timestamp: RtpTime(960),
        marker: true,
        level: None,
        moment: CallTime::default(),
        payload,
    }
}

fn show_samples(tap: &mut dyn Tap, track: &TrackKey) {
    let block = TappedSamples { format: AudioFormat::CALL, timestamp: RtpTime(0), samples: &[0.5; 480] };
    tap.on_samples(track, CallTime::default(), &block);
}

fn drained(queue: &mut TapQueue) -> Vec<TrackKey> {
    let mut all = Vec::new();
    queue.drain(&mut |item| all.push(item.track));
    all
}

#[test]
fn what_there_is_no_room_for_is_dropped_and_counted_and_the_rest_is_kept() {
    let (mut queue, mut tap) = TapQueue::new(ALL, TrackSelection::All);
    for _ in 0..ITEMS + 10 {
        show_samples(&mut tap, &track(1));
    }
    assert_eq!(queue.dropped(), 10);
    assert_eq!(drained(&mut queue).len(), ITEMS);
    show_samples(&mut tap, &track(1));
    assert_eq!((drained(&mut queue).len(), queue.dropped()), (1, 10));
    assert_eq!(queue.totals.bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn large_frames_are_bounded_by_their_bytes() {
    let (mut queue, mut tap) = TapQueue::new(ALL, TrackSelection::All);
    let data = Bytes::from(vec![0; 8 * 1024 * 1024]);
    let frame = EncodedVideoFrame { data, key: true, at: web_time::Instant::now() };
    let codec = CodecName::new("vp8");
    let frame =
        TappedFrame { direction: PacketDirection::Received, codec: &codec, timestamp: RtpTime(0), frame: &frame };
    for _ in 0..20 {
        tap.on_frame(&track(1), CallTime::default(), &frame);
    }
    assert_eq!((drained(&mut queue).len(), queue.dropped()), (9, 11));
    // The track goes on with a key frame, another one at once.
    let delta = EncodedVideoFrame { key: false, ..frame.frame.clone() };
    let delta = TappedFrame { frame: &delta, ..frame };
    for (track, frame) in [(track(1), delta), (track(2), delta), (track(1), frame), (track(1), delta)] {
        tap.on_frame(&track, CallTime::default(), &frame);
    }
    assert_eq!((drained(&mut queue).len(), queue.dropped()), (3, 12));
}

#[test]
fn only_wanted_kinds_and_tracks_are_taken() {
    let (opus, payload, padding) = (CodecName::new("opus"), Bytes::from_static(&[1]), Bytes::new());
    let shown = |contents, selection: TrackSelection| {
        let (mut queue, mut tap) = TapQueue::new(contents, selection);
        show_samples(&mut tap, &track(1));
        show_samples(&mut tap, &track(2));
        tap.on_packet(&track(1), CallTime::default(), &packet(&opus, TrackKind::Audio, &payload));
        tap.on_packet(&track(1), CallTime::default(), &packet(&opus, TrackKind::Audio, &padding));
        tap.on_packet(&track(1), CallTime::default(), &packet(&opus, TrackKind::Video, &payload));
        drained(&mut queue).len()
    };
    let only = |number| TrackSelection::Only(Arc::new([track(number)].into()));
    assert_eq!(shown(ALL, TrackSelection::All), 3);
    assert_eq!(shown(ALL, only(2)), 1);
    assert_eq!(shown(TapContents { samples: true, ..TapContents::default() }, TrackSelection::All), 2);
    assert_eq!(shown(TapContents { wire: true, ..TapContents::default() }, TrackSelection::All), 3);
    assert_eq!(shown(TapContents::default(), TrackSelection::All), 0);
}

#[test]
fn a_tap_of_sent_video_fills_the_same_queue_and_ends_by_itself() {
    let (mut queue, tap) = TapQueue::new(ALL, TrackSelection::All);
    let mut video = tap.for_sent_video().expect("frames are taken");
    show_samples(&mut *video, &track(3));
    assert_eq!(drained(&mut queue), [track(3)]);
    drop(video);
    assert!(drained(&mut queue).is_empty());
    assert_eq!(queue.ends.len(), 1, "the end of the call's media is left");
    let samples = TapContents { samples: true, ..TapContents::default() };
    assert!(TapQueue::new(samples, TrackSelection::All).1.for_sent_video().is_none());
}
