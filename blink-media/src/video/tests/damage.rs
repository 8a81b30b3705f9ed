//! Packets that are lost, late, or none.

use super::*;

/// Exactly the frames that can be decoded come out: after a loss none until the next key frame, and
/// that at once.
#[test]
fn under_loss_only_frames_that_can_be_decoded_in_sequence_come_out() {
    for codec in CODECS {
        for seed in 0..40 {
            let sent = Sent::new(codec, 300);
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let chance = [0.002, 0.01, 0.05, 0.2][seed as usize % 4];
            let mut arrived = sent.arrivals();
            arrived.retain(|_| !random.random_bool(chance));
            let first = arrived[0].sequence;
            let came = |packet: &RtpOut| arrived.iter().any(|other| other.sequence == packet.sequence);
            let whole: Vec<_> = sent.packets.iter().map(|packets| packets.iter().all(came)).collect();
            let expected = sent.decodable(|number| whole[number]);
            let missing = (sent.packets.concat().len() - arrived.len()) as u64;

            for packet in &mut arrived {
                packet.arrival += Duration::from_millis(random.random_range(0..60));
            }
            let mut assembler = sent.assembler();
            let received = sent.receive(&mut assembler, arrived.clone());
            assert_eq!(received, expected, "{codec}, seed {seed}");
            let statistics = assembler.statistics();
            assert_eq!(statistics.frames_received, expected.len() as u64);
            assert!(statistics.packets_lost <= missing, "{codec}, seed {seed}: {statistics:?}");
            // Losses before the first packet and after the last one that came are unknown.
            let unknown = u64::from(first.wrapping_sub(65_530));
            assert!(
                statistics.packets_lost + unknown + 10 >= missing,
                "{codec}, seed {seed}: {statistics:?}, {missing} missing"
            );
            assert_eq!(
                (statistics.packets_late, statistics.packets_duplicated, statistics.packets_malformed),
                (0, 0, 0)
            );
        }
    }
}

#[test]
fn a_missing_packet_is_waited_for_100_ms_and_no_longer() {
    for codec in CODECS {
        for (late, expected) in [(90, (0..60).collect()), (190, [(0..5), (15..60)].into_iter().flatten().collect())] {
            let sent = Sent::new(codec, 60);
            let last: usize = sent.packets[..=5].iter().map(Vec::len).sum::<usize>() - 1;
            let mut packets = sent.arrivals();
            // The last of its frame: the next one, 67 ms later, tells that it is missing.
            packets[last].arrival += Duration::from_millis(67 + late);
            let mut assembler = sent.assembler();
            let received = sent.receive(&mut assembler, packets);
            let expected: Vec<usize> = expected;
            assert_eq!(received, expected, "{codec}, {late} ms");
            let late = assembler.statistics().packets_late;
            assert_eq!((assembler.statistics().packets_lost, late), (late, u64::from(expected.len() < 60)), "{codec}");
        }
    }
}

#[test]
fn a_key_frame_is_asked_for_at_the_start_and_after_a_loss_every_500_ms_until_it_comes() {
    for codec in CODECS {
        let sent = Sent::new(codec, 60);
        let mut assembler = sent.assembler();
        let at = |ms| sent.start + Duration::from_millis(ms);
        assert!(assembler.wants_keyframe(at(0)));
        assert!(!assembler.wants_keyframe(at(499)));
        assert!(assembler.wants_keyframe(at(500)));
        let mut asked = Vec::new();
        let frames = sent.frames.iter().zip(&sent.packets).enumerate();
        for (number, (frame, packets)) in frames.filter(|(number, _)| *number != 20) {
            for packet in packets {
                assembler.push(arrive(packet, frame.at));
            }
            while assembler.poll(frame.at).is_some() {}
            if assembler.wants_keyframe(frame.at) {
                asked.push(number);
            }
        }
        // Frame 21 tells of the loss; it is given up 100 ms later, at frame 23. The key frame is
        // frame 30.
        assert_eq!(asked, [23], "{codec}");
    }
}

#[test]
fn a_key_frame_that_is_whole_is_not_held_up_by_what_is_missing_before_it() {
    for codec in CODECS {
        let sent = Sent::new(codec, 60);
        let mut assembler = sent.assembler();
        // A part of a frame, then a gap, then a key frame.
        let now = sent.frames[15].at;
        for packet in sent.packets[13].iter().chain(&sent.packets[15]) {
            assembler.push(arrive(packet, now));
        }
        assert_eq!(sent.number(&assembler.poll(now).unwrap()), 15, "{codec}");
        assert!(!assembler.wants_keyframe(now), "{codec}");
    }
}

#[test]
fn it_holds_no_more_than_it_may() {
    for codec in CODECS {
        let sent = Sent::new(codec, 300);
        let config = AssemblerConfig { max_packets: 40, max_bytes: 20_000, ..AssemblerConfig::default() };
        let mut assembler = FrameAssembler::new(format(&sent.codec), config);
        // No poll, and one packet is missing.
        for packet in sent.arrivals().into_iter().skip(1) {
            assembler.push(packet);
            let (packets, bytes) = assembler.held();
            assert!(packets <= 40 && bytes <= 20_000);
        }
        let now = sent.frames[299].at;
        let next: Vec<_> = std::iter::from_fn(|| assembler.poll(now)).map(|frame| sent.number(&frame)).collect();
        assert!(next.windows(2).all(|pair| pair[1] == pair[0] + 1), "{codec}: {next:?}");
        assert!(next.first().is_none_or(|first| first % 15 == 0), "{codec}: {next:?}");
        assert!(assembler.statistics().frames_dropped > 200, "{codec}");
    }
}

/// Damaged packets in between are counted and dropped, and frames come again from the next key
/// frame on.
#[test]
fn garbage_is_counted_and_breaks_nothing() {
    for codec in CODECS {
        for seed in 0..150 {
            let sent = Sent::new(codec, 120);
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut packets = sent.arrivals();
            let mut garbage = Vec::new();
            for _ in 0..300 {
                let mut packet = packets[random.random_range(0..packets.len() / 2)].clone();
                match seed % 5 {
                    // Random bytes with sequence numbers of their own.
                    0 => {
                        packet.sequence = random.random();
                        packet.timestamp = RtpTime(random.random());
                    }
                    1 => packet.sequence = packet.sequence.wrapping_add(random.random_range(0..60)),
                    2 => packet.marker = random.random(),
                    3 => packet.timestamp = packet.timestamp.wrapping_add(random.random_range(0..9_000)),
                    _ => packet.codec = CodecName::new("rtx"),
                }
                let mut payload = packet.payload.to_vec();
                if random.random() {
                    // None is empty: that would be padding.
                    payload.truncate(random.random_range(1..payload.len().max(2)));
                } else {
                    payload = vec![0; random.random_range(1..40)];
                    random.fill_bytes(&mut payload);
                }
                packet.payload = payload.into();
                garbage.push(packet);
            }
            packets.extend(garbage);
            packets.sort_by_key(|packet| packet.arrival);
            let mut assembler = sent.assembler();
            let mut numbers = Vec::new();
            for packet in packets {
                let now = packet.arrival;
                assembler.push(packet);
                while let Some(frame) = assembler.poll(now) {
                    let same = |other: &EncodedVideoFrame| {
                        other.data == frame.frame.data && sent.clock.timestamp(other.at) == frame.timestamp
                    };
                    numbers.extend(sent.frames.iter().position(same));
                }
                let (packets, bytes) = assembler.held();
                assert!(packets <= 2_048 && bytes <= 2 * 1024 * 1024);
            }
            // The second half is clean, and a second of it has a key frame.
            assert!(numbers.ends_with(&(90..120).collect::<Vec<_>>()), "{codec}, seed {seed}: {numbers:?}");
            if seed % 5 == 4 {
                assert_eq!(
                    (numbers.len(), assembler.statistics().packets_malformed),
                    (120, 300),
                    "{codec}, seed {seed}"
                );
            }
        }
    }
}
