use std::time::Duration;

use blink_api::{
    CallTime, CodecName, DeviceId, Did, Endpoint, RecordedTrack, Recorder as _, RecordingConfig, RecordingId, RtpCodec,
    RtpSample, RtpTime, Sample, TrackFormat, TrackKey,
};

use super::*;
use crate::{RtpLogConfig, RtpLogRecorder};

/// Logs packets of 20 ms: sequence number, and by how many ms each is late.
fn logged(packets: impl IntoIterator<Item = (u16, u64)>) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let mut config = RecordingConfig::new(RecordingId::from_bytes([3; 16]), directory.path());
    config.begin = Some(CallTime::default());
    let mut recording = RtpLogRecorder::new(RtpLogConfig::default()).unwrap().start(config).unwrap();
    let endpoint = Endpoint { did: Did::from_public_key([1; 32]), device: DeviceId::from_random([1; 16]) };
    let key = TrackKey::microphone(endpoint);
    let codec = RtpCodec { name: CodecName::new("opus"), clock_rate: 48_000, channels: 2, fmtp: String::new() };
    recording.add_track(RecordedTrack::new(key, TrackFormat::Encoded(codec)).named("<Ann>")).unwrap();
    let name = CodecName::new("opus");
    for (sequence, late) in packets {
        let at = CallTime(Duration::from_millis(u64::from(sequence) * 20));
        let timestamp = RtpTime(u32::from(sequence) * 960);
        let arrival = CallTime(at.0 + Duration::from_millis(30 + late));
        let packet = RtpSample::new(&name, sequence.wrapping_add(65_000), timestamp, &[1, 2, 3]);
        recording.push(&key, at, Sample::Rtp(packet.header(111, false).arrived(arrival, None))).unwrap();
    }
    let file = recording.finish().unwrap().files.remove(0);
    (directory, file)
}

fn analysis_of(packets: impl IntoIterator<Item = (u16, u64)>) -> TrackAnalysis {
    let (_directory, file) = logged(packets);
    analyze(&file).unwrap().tracks.remove(0)
}

#[test]
fn a_good_path_is_good() {
    let track = analysis_of((0..2_000).map(|sequence| (sequence, u64::from(sequence % 3))));
    assert_eq!((track.packets, track.lost, track.duplicates, track.reordered, track.restarts), (2_000, 0, 0, 0, 0));
    assert_eq!(track.verdict, Verdict::Good, "{}", track.reason);
    assert!(track.jitter < 3.0 && track.delay.max <= 2.1, "{track:?}");
}

#[test]
fn losses_bursts_copies_and_reordering_are_counted() {
    let lost = |sequence: &u16| !(100..110).contains(sequence) && sequence % 50 != 7;
    let mut packets: Vec<(u16, u64)> = (0..1_000).filter(lost).map(|sequence| (sequence, 0)).collect();
    packets.swap(20, 21);
    packets.insert(30, packets[29]);
    let track = analysis_of(packets);
    assert_eq!((track.lost, track.duplicates, track.reordered), (29, 1, 1));
    assert_eq!((track.bursts.count, track.bursts.longest), (20, 10));
    assert_eq!(track.audible.gaps, 1);
    assert!(track.reason.contains("lost"), "{}", track.reason);
}

#[test]
fn a_path_that_loses_a_fifth_is_poor_and_the_reason_is_loss() {
    let track = analysis_of((0..1_000).filter(|sequence| sequence % 5 != 2).map(|sequence| (sequence, 0)));
    assert_eq!(track.verdict, Verdict::Poor);
    assert!(track.reason.contains("20.0 % of the packets were lost"), "{}", track.reason);
}

#[test]
fn late_packets_are_told_from_lost_ones() {
    let track = analysis_of((0..1_000).map(|sequence| (sequence, if sequence % 10 < 4 { 400 } else { 0 })));
    assert_eq!(track.lost, 0);
    assert!(track.reason.contains("delay varies"), "{}", track.reason);
}

#[test]
fn the_drawing_escapes_names_and_stays_small() {
    let (_directory, file) = logged((0..60_000).map(|sequence| (sequence, u64::from(sequence % 90))));
    let svg = delay_svg(&analyze(&file).unwrap());
    assert!(svg.contains("&lt;Ann&gt;") && svg.len() < 60_000, "{} bytes", svg.len());
}

#[test]
fn captures_hold_every_packet() {
    let (directory, file) = logged((0..100).map(|sequence| (sequence, 0)));
    let files = crate::export(&file, None).unwrap();
    let [dump, capture] = &files[..] else { panic!("two files") };
    // Header line and header, then 8 bytes and the RTP header for each.
    assert_eq!(std::fs::read(dump).unwrap().len(), 28 + 16 + 100 * 20);
    let capture = std::fs::read(capture).unwrap();
    assert_eq!(capture[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    assert!(crate::export(&file, Some(directory.path())).is_err(), "nothing is replaced");
}

#[test]
fn a_log_that_is_cut_off_is_read_up_to_there_and_repaired() {
    let (_directory, file) = logged((0..100).map(|sequence| (sequence, 0)));
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 5]).unwrap();
    assert_eq!(analyze(&file).unwrap().tracks[0].packets, 99);
    let repaired = crate::repair(&file).unwrap().file.unwrap();
    assert!(crate::info(&repaired).unwrap().complete);
    for end in 0..300 {
        let read = analyze_log(&whole[..end]);
        assert_eq!(read.is_ok(), end >= 44, "{end}: {read:?}");
    }
}

/// Tools find tracks by their number.
#[test]
fn a_log_whose_tracks_are_not_numbered_in_order_is_refused() {
    let (_directory, file) = logged([(0, 0)]);
    let mut log = std::fs::read(&file).unwrap();
    // The number of the first track stands after the header, and the kind and length of its record.
    log[47] = 1;
    let error = analyze_log(log.as_slice()).unwrap_err();
    assert!(error.to_string().contains("not numbered in order"), "{error}");
}

/// Found by fuzzing: the length field of rtpdump counts the header, too.
#[test]
fn the_longest_payload_is_exported() {
    let log = include_bytes!("../../../fuzz/corpus/rtp_log/length-of-65535");
    assert!(crate::fuzzing::export(log).unwrap() > 0);
}
