//! Packets that are whole, whatever their order.

use super::*;

#[test]
fn without_loss_every_frame_comes_out_at_once_as_it_was() {
    for codec in CODECS {
        let sent = Sent::new(codec, 300);
        let mut assembler = sent.assembler();
        for (number, frame) in sent.frames.iter().enumerate() {
            for packet in &sent.packets[number] {
                assert!(assembler.poll(frame.at).is_none());
                assembler.push(arrive(packet, frame.at));
            }
            let received = assembler.poll(frame.at).unwrap();
            assert_eq!((sent.number(&received), received.frame.at), (number, frame.at));
        }
        let statistics = assembler.statistics();
        let packets = sent.packets.concat().len() as u64;
        let wanted = VideoStatistics {
            packets_received: packets,
            frames_received: 300,
            key_frames_received: 20,
            ..VideoStatistics::default()
        };
        assert_eq!(statistics, wanted);
    }
}

#[test]
fn out_of_order_and_repeated_packets_change_nothing() {
    for codec in CODECS {
        for seed in 0..20 {
            let sent = Sent::new(codec, 150);
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut packets = sent.arrivals();
            for packet in &mut packets {
                packet.arrival += Duration::from_millis(random.random_range(0..90));
            }
            for _ in 0..200 {
                let mut again = packets.choose(&mut random).unwrap().clone();
                again.arrival += Duration::from_millis(random.random_range(0..300));
                packets.push(again);
            }
            let mut assembler = sent.assembler();
            let received = sent.receive(&mut assembler, packets);
            assert_eq!(received, (0..150).collect::<Vec<_>>(), "{codec}, seed {seed}");
            let statistics = assembler.statistics();
            assert_eq!(
                statistics.packets_duplicated + statistics.packets_late,
                200,
                "{codec}, seed {seed}: {statistics:?}"
            );
            assert_eq!((statistics.packets_lost, statistics.frames_dropped), (0, 0), "{codec}, seed {seed}");
        }
    }
}

/// A packet that was lost and sent again comes behind a whole large key frame.
#[test]
fn a_packet_sent_again_after_hundreds_of_others_is_used() {
    let mut frame = clip(&CodecName::new("VP8"), Instant::now(), 1).remove(0);
    frame.data = [&frame.data[..], &[7; 800_000]].concat().into();
    let mut packets = Packetizer::new(&*format(&CodecName::new("VP8")), 0).packetize(&frame, RtpTime(1)).unwrap();
    assert!(packets.len() > 600);
    let again = packets.remove(0);
    packets.push(again);
    let mut assembler = FrameAssembler::new(format(&CodecName::new("VP8")), AssemblerConfig::default());
    for packet in &packets {
        assert!(assembler.poll(frame.at).is_none());
        assembler.push(arrive(packet, frame.at));
    }
    assert_eq!(assembler.poll(frame.at).unwrap().frame.data, frame.data);
}

#[test]
fn packets_that_only_fill_the_path_are_passed_over() {
    for codec in CODECS {
        let sent = Sent::new(codec, 40);
        let mut packets: Vec<RtpIn> = Vec::new();
        for (frame, of_frame) in sent.frames.iter().zip(&sent.packets) {
            let filler = RtpOut { payload: Bytes::new(), marker: false, ..of_frame[0].clone() };
            for packet in of_frame.iter().chain([&filler, &filler]) {
                packets.push(RtpIn { sequence: packets.len() as u16, ..arrive(packet, frame.at) });
            }
        }
        let mut assembler = sent.assembler();
        assert_eq!(sent.receive(&mut assembler, packets), (0..40).collect::<Vec<_>>(), "{codec}");
        let statistics = assembler.statistics();
        assert_eq!(
            (statistics.packets_late, statistics.packets_malformed, statistics.packets_lost),
            (0, 0, 0),
            "{codec}"
        );
    }
}

#[test]
fn frames_end_with_their_timestamp_where_a_sender_sets_no_marker() {
    for codec in CODECS {
        let sent = Sent::new(codec, 30);
        let mut packets = sent.arrivals();
        for packet in &mut packets {
            packet.marker = false;
        }
        let received = sent.receive(&mut sent.assembler(), packets);
        assert_eq!(received, (0..29).collect::<Vec<_>>(), "{codec}");
    }
}

#[test]
fn a_reader_that_lost_frames_goes_on_at_a_key_frame() {
    for codec in CODECS {
        let sent = Sent::new(codec, 40);
        let mut assembler = sent.assembler();
        let (before, after) = (sent.packets[..5].iter().map(Vec::len).sum(), sent.arrivals());
        let (before, after) = (after[..before].to_vec(), after[before..].to_vec());
        assert_eq!(sent.receive(&mut assembler, before), (0..5).collect::<Vec<_>>(), "{codec}");
        assembler.restart();
        assert!(assembler.wants_keyframe(sent.start + Duration::from_secs(1)), "{codec}");
        assert_eq!(sent.receive(&mut assembler, after), (15..40).collect::<Vec<_>>(), "{codec}");
    }
}

#[test]
fn a_late_receiver_sees_video_from_the_next_key_frame_on() {
    for codec in CODECS {
        let sent = Sent::new(codec, 60);
        let skipped: usize = sent.packets[..5].iter().map(Vec::len).sum();
        let packets = sent.arrivals().split_off(skipped);
        let mut assembler = sent.assembler();
        assert!(assembler.wants_keyframe(sent.start));
        let received = sent.receive(&mut assembler, packets);
        assert_eq!(received, (15..60).collect::<Vec<_>>(), "{codec}");
        assert_eq!((assembler.statistics().frames_dropped, assembler.statistics().packets_lost), (10, 0), "{codec}");
    }
}

#[test]
fn a_sender_that_begins_anew_is_seen_from_its_first_key_frame_on() {
    for codec in CODECS {
        for (sequence, timestamp) in [(30_000, 5), (65_531, 3_000_000_000), (1_000, u32::MAX - 30_000)] {
            let first = Sent::new(codec, 50);
            let mut assembler = first.assembler();
            first.receive(&mut assembler, first.arrivals());
            let second = Sent::numbered(codec, 50, sequence, RtpTime(timestamp));
            let received = second.receive(&mut assembler, second.arrivals());
            assert_eq!(received, (0..50).collect::<Vec<_>>(), "{codec} {sequence} {timestamp}");
            assert_eq!(assembler.statistics().restarts, 1, "{codec} {sequence} {timestamp}");
        }
    }
}

/// Padding that a sender puts between frames and, as it should not, into them: under any payload
/// type, with any timestamp, in any order.
#[test]
fn packets_without_payload_are_no_part_of_a_frame_and_none_is_missing() {
    for codec in CODECS {
        for seed in 0..30 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let sent = Sent::new(codec, 120);
            let (mut packets, mut added) = (Vec::new(), 0_u16);
            for packet in sent.arrivals() {
                let sequence = packet.sequence.wrapping_add(added);
                let count = if random.random_ratio(1, 5) { random.random_range(1..4) } else { 0 };
                packets.push(RtpIn { sequence, ..packet.clone() });
                for n in 1..=count {
                    let timestamp = match seed % 3 {
                        0 => packet.timestamp,
                        1 => packet.timestamp.wrapping_add(3_000),
                        _ => RtpTime(random.random()),
                    };
                    let codec = CodecName::new(if random.random() { codec } else { "other" });
                    let sequence = sequence.wrapping_add(n);
                    packets.push(RtpIn { sequence, timestamp, codec, payload: Bytes::new(), ..packet.clone() });
                }
                added = added.wrapping_add(count);
            }
            if seed >= 3 {
                for packet in &mut packets {
                    packet.arrival += Duration::from_millis(random.random_range(0..90));
                }
            }
            let mut assembler = sent.assembler();
            let received = sent.receive(&mut assembler, packets);
            assert_eq!(received, (0..120).collect::<Vec<_>>(), "{codec}, seed {seed}");
            let statistics = assembler.statistics();
            let missed = (
                statistics.packets_lost,
                statistics.packets_late,
                statistics.packets_malformed,
                statistics.frames_dropped,
            );
            assert_eq!(missed, (0, 0, 0, 0), "{codec}, seed {seed}: {statistics:?}");
        }
    }
}
