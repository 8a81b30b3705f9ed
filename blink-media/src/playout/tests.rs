//! Playout with a codec of which everything is known.

use super::*;
use crate::FRAME;
use crate::fake::{FakeCodec, Heard, MADE_UP, numbered, received, rtp_codec};
use crate::red;
use blink_api::{AudioLevel, ErrorKind, RtpOut, RtpTime};
use bytes::Bytes;

/// With a delay of two frames to begin with.
fn config() -> ReceiveConfig {
    let usual = ReceiveConfig::new(&rtp_codec());
    ReceiveConfig { jitter: JitterConfig { delay: Duration::from_millis(40), ..usual.jitter }, ..usual }
}

/// A playout whose speaker is listened to, at 10 ms a tick.
struct Room {
    playout: Playout<u8>,
    heard: Heard,
    start: Instant,
    ticks: u32,
}

impl Room {
    fn new(participants: &[u8]) -> Self {
        let heard = Heard::default();
        let mut playout = Playout::new(Box::new(heard.clone()));
        for participant in participants {
            playout.add(*participant, config(), Box::new(FakeCodec::default()));
        }
        Self { playout, heard, start: Instant::now(), ticks: 0 }
    }

    fn now(&self) -> Instant {
        self.start + TICK * self.ticks
    }

    /// A frame of constant sound, and one of `before` carried along, arrives now.
    fn push(&mut self, participant: u8, number: u16, before: f32, own: f32) {
        let payload = [before.to_le_bytes(), own.to_le_bytes()].concat();
        self.push_bytes(participant, number, payload);
    }

    fn push_bytes(&mut self, participant: u8, number: u16, payload: Vec<u8>) {
        let packet = received(&numbered(number.into(), payload.into()), self.now());
        self.playout.push(&participant, packet);
    }

    /// Plays so many ticks, and returns the sound at the end of each and who was heard for the
    /// first time.
    fn run(&mut self, ticks: u32) -> (Vec<f32>, Vec<u8>) {
        let mut started = Vec::new();
        for _ in 0..ticks {
            let report = self.playout.tick(self.now());
            assert!(report.sink_error.is_none());
            started.extend(report.started);
            self.ticks += 1;
        }
        (self.heard.take().chunks(480).map(|tick| tick[479]).collect(), started)
    }

    /// Every participant says its value for so many frames.
    fn talk(&mut self, numbers: std::ops::Range<u16>, values: &[(u8, f32)]) -> (Vec<f32>, Vec<u8>) {
        let (mut sound, mut started) = (Vec::new(), Vec::new());
        for number in numbers {
            for (participant, value) in values {
                self.push(*participant, number, *value, *value);
            }
            let (more, new) = self.run(2);
            sound.extend(more);
            started.extend(new);
        }
        (sound, started)
    }
}

#[test]
fn everybody_is_heard_together_and_reported_once() {
    let mut room = Room::new(&[1, 2, 3]);
    let (sound, started) = room.talk(0..20, &[(1, 0.25), (2, 0.5)]);
    assert_eq!(sound, [0.75; 40], "from the first packet on");
    assert_eq!(started, [1, 2]);
    assert_eq!(room.playout.far_end(), [0.75; 480]);
    let statistics = room.playout.statistics(&1).unwrap();
    assert!(statistics.packets_received == 20 && statistics.packets_decoded >= 18, "{statistics:?}");
    assert_eq!(room.playout.statistics(&3).unwrap().packets_received, 0);
    assert_eq!(room.playout.statistics(&9), None);
}

#[test]
fn the_sum_never_exceeds_full_scale() {
    let mut room = Room::new(&[1, 2, 3]);
    let (sound, _) = room.talk(0..20, &[(1, 0.9), (2, 0.9), (3, 0.9)]);
    assert!(sound[10..].iter().all(|sample| (0.9..=1.0).contains(sample)));
}

#[test]
fn a_volume_is_that_of_one_participant() {
    let mut room = Room::new(&[1, 2]);
    let both = [(1, 0.25), (2, 0.5)];
    room.talk(0..20, &both);
    for (volume, sum) in [(0.5, 0.375 + 0.25), (0.0, 0.5), (2.0, 1.0), (-1.0, 0.5), (1.0, 0.75)] {
        assert!(room.playout.set_volume(&1, volume));
        let at = (room.ticks / 2) as u16;
        let (sound, _) = room.talk(at..at + 5, &both);
        let wanted = match volume {
            0.5 => 0.625,
            2.0 => sound[9],
            _ => sum,
        };
        assert_eq!(sound[2..], [wanted; 8], "volume {volume}");
    }
    assert!(!room.playout.set_volume(&1, f32::NAN));
    assert!(!room.playout.set_volume(&7, 1.0));
}

#[test]
fn who_is_not_heard_is_not_decoded_and_is_heard_at_once_when_wanted() {
    let hush: [fn(&mut Playout<u8>, bool); 2] = [Playout::set_deafened, |playout, mute_guard| {
        assert!(playout.set_volume(&1, if mute_guard { 0.0 } else { 1.0 }));
    }];
    for hush in hush {
        let mut room = Room::new(&[1]);
        room.talk(0..10, &[(1, 0.5)]);
        hush(&mut room.playout, true);
        let (sound, _) = room.talk(10..60, &[(1, 0.5)]);
        assert!(sound.iter().all(|sample| sample.abs() < 1e-6), "{sound:?}");
        assert_eq!(room.playout.far_end(), [0.0; 480]);
        let statistics = room.playout.statistics(&1).unwrap();
        assert!(statistics.packets_decoded <= 10 && statistics.packets_skipped >= 48, "{statistics:?}");
        assert_eq!((statistics.concealed_samples, statistics.packets_late, statistics.packets_discarded), (0, 0, 0));
        hush(&mut room.playout, false);
        assert_eq!(room.talk(60..70, &[(1, 0.5)]).0, [0.5; 20]);
    }
}

/// The start of an inaudible participant is reported, and its speaking by the voice flag of its
/// packets.
#[test]
fn who_is_not_heard_is_reported() {
    let mut room = Room::new(&[1]);
    room.playout.set_deafened(true);
    let (mut started, mut speaking) = (Vec::new(), Vec::new());
    for number in 0..60u16 {
        let level = AudioLevel::new(if number < 20 { 20 } else { 90 }, number < 20);
        let packet = RtpOut {
            codec: rtp_codec().name,
            sequence: number,
            timestamp: RtpTime(u32::from(number) * 960),
            marker: false,
            level: Some(level),
            payload: Bytes::from_static(&[0; 8]),
        };
        room.playout.push(&1, received(&packet, room.now()));
        for _ in 0..2 {
            let report = room.playout.tick(room.now());
            started.extend(report.started);
            speaking.extend(report.speaking);
            room.ticks += 1;
        }
    }
    assert_eq!(started, [1]);
    assert_eq!(speaking, [(1, true), (1, false)]);
}

/// Every third packet is lost, and each carries a copy of the one before (RFC 2198).
#[test]
fn copies_are_played_in_the_place_of_lost_packets_whatever_codec_the_others_are_of() {
    let mut room = Room::new(&[]);
    let config = ReceiveConfig { jitter: JitterConfig::default(), ..ReceiveConfig::new(&rtp_codec()) };
    room.playout.add(1, config, Box::new(FakeCodec::default()));
    let mut payload = Vec::new();
    let value = |number: u16| f32::from(number) / 100.0;
    let frame = |number: u16| Bytes::from([[0; 4], value(number).to_le_bytes()].concat());
    let mut heard = Vec::new();
    for number in 0..60u16 {
        let copy = |payload_type, number| red::Block { payload_type, offset: 960, payload: frame(number) };
        let copies = [copy(13, 90), copy(111, number.saturating_sub(1))];
        red::pack(copies.iter(), (111, &frame(number)), &mut payload).unwrap();
        if number % 3 != 1 {
            let packet = RtpOut {
                codec: CodecName::new("RED"),
                sequence: number,
                timestamp: RtpTime(u32::from(number) * 960),
                marker: false,
                level: None,
                payload: Bytes::copy_from_slice(&payload),
            };
            room.playout.push(&1, received(&packet, room.now()));
        }
        heard.extend(room.run(2).0);
    }
    for number in 0..20u16 {
        assert_eq!(heard[4 + 2 * usize::from(number)], value(number), "packet {number}");
    }
    let statistics = room.playout.statistics(&1).unwrap();
    assert!(statistics.red_recovered >= 18, "{statistics:?}");
    assert_eq!((statistics.concealed_samples, statistics.fec_recovered, statistics.packets_corrupt), (0, 0, 0));

    let broken = RtpOut {
        codec: CodecName::new("red"),
        sequence: 60,
        timestamp: RtpTime(60 * 960),
        marker: false,
        level: None,
        payload: Bytes::from_static(&[0x80, 1]),
    };
    room.playout.push(&1, received(&broken, room.now()));
    assert_eq!(room.playout.statistics(&1).unwrap().packets_corrupt, 1);
}

#[test]
fn a_lost_frame_is_taken_from_the_next_and_longer_loss_fades_away() {
    let mut room = Room::new(&[1]);
    room.push(1, 0, 0.0, 0.5);
    assert_eq!(room.run(2).0, [0.5, 0.5]);
    // The delay is under its target: time stands still for the frame that is late.
    room.run(2);
    room.push(1, 2, 0.75, 0.5);
    let (sound, _) = room.run(30);
    assert_eq!(sound[..4], [0.75, 0.75, 0.5, 0.5]);
    // 60 ms as the decoder makes it up, 60 ms fading, then nothing.
    assert_eq!(sound[4..10], [MADE_UP; 6]);
    assert!(sound[10..16].windows(2).all(|two| two[1] < two[0] && two[1] >= 0.0));
    assert!(sound[15..].iter().all(|sample| *sample < 0.001));
    assert_eq!(sound[16..], [0.0; 14]);
}

#[test]
fn garbage_is_counted_and_concealed_and_the_next_packet_is_heard() {
    let mut room = Room::new(&[1]);
    room.talk(0..10, &[(1, 0.5)]);
    for number in 10..13 {
        room.push_bytes(1, number, vec![1, 2, 3]);
        room.run(2);
    }
    let cut_off = RtpOut { codec: CodecName::red(), ..numbered(13, vec![0x80].into()) };
    room.playout.push(&1, received(&cut_off, room.now()));
    let (sound, _) = room.talk(14..30, &[(1, 0.5)]);
    let statistics = room.playout.statistics(&1).unwrap();
    assert_eq!(statistics.packets_corrupt, 4);
    assert_eq!(statistics.fec_recovered, 1);
    assert_eq!(sound[10..], [0.5; 22]);
}

#[test]
fn packets_of_another_codec_or_of_an_unknown_sender_are_dropped() {
    let mut room = Room::new(&[1]);
    let packet = RtpOut {
        codec: CodecName::new("telephone-event"),
        sequence: 0,
        timestamp: RtpTime(0),
        marker: false,
        level: None,
        payload: Bytes::from_static(&[0; 8]),
    };
    let packet = received(&packet, room.now());
    room.playout.push(&1, packet.clone());
    room.playout.push(&2, packet);
    room.run(10);
    let statistics = room.playout.statistics(&1).unwrap();
    assert_eq!((statistics.packets_received, statistics.packets_discarded, statistics.packets_decoded), (1, 1, 0));
}

#[test]
fn who_is_removed_falls_silent_and_is_new_when_added_again() {
    let mut room = Room::new(&[1]);
    room.talk(0..10, &[(1, 0.5)]);
    assert!(room.playout.remove(&1));
    assert!(!room.playout.remove(&1));
    assert_eq!(room.talk(10..20, &[(1, 0.5)]).0, [0.0; 20]);
    room.playout.add(1, config(), Box::new(FakeCodec::default()));
    let (sound, started) = room.talk(20..30, &[(1, 0.5)]);
    assert_eq!(sound[4..], [0.5; 16]);
    assert_eq!(started, [1]);
}

/// Fails at the third write, and would take nothing beyond its queue.
struct Broken {
    writes: u32,
    queued: usize,
}

impl AudioSink for Broken {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        self.writes += 1;
        self.queued += samples.len();
        if self.writes >= 3 { Err(Error::new(ErrorKind::Closed, "unplugged")) } else { Ok(samples.len()) }
    }

    fn queued(&self) -> usize {
        self.queued
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_is_told_once_and_another_takes_its_place() {
    let mut playout = Playout::<u8>::new(Box::new(Broken { writes: 0, queued: 0 }));
    let start = Instant::now();
    let told: Vec<bool> = (0..6).map(|tick| playout.tick(start + TICK * tick).sink_error.is_some()).collect();
    assert_eq!(told, [false, false, true, false, false, false]);
    let heard = Heard::default();
    playout.set_sink(Box::new(heard.clone())).unwrap();
    assert!(playout.tick(start + TICK * 6).sink_error.is_none());
    assert_eq!(heard.take().len(), 480);
}

#[test]
fn a_sink_with_much_in_its_queue_gets_no_more() {
    let mut playout = Playout::<u8>::new(Box::new(Broken { writes: 0, queued: 48 * 81 }));
    for _ in 0..5 {
        assert!(playout.tick(Instant::now()).sink_error.is_none());
    }
    assert_eq!(playout.overruns(), 5);
    assert_eq!(FRAME, TICK * 2);
}

/// Whatever the first phase of the ticks, the playout delay converges to its target, to a fraction
/// of a millisecond; a playout that does not follow the media clock leaves the ticks as they are.
#[test]
fn ticks_that_follow_the_sound_come_when_it_is_due() {
    for (phase, follows) in [(0, true), (3_000, true), (5_500, true), (9_900, true), (3_000, false)] {
        let start = Instant::now();
        let mut playout = Playout::<u8>::new(Box::new(Heard::default()));
        playout.follow_media_clock(follows);
        playout.add(1, ReceiveConfig::new(&rtp_codec()), Box::new(FakeCodec::default()));
        let mut pacer = TickScheduler::new(start + Duration::from_micros(phase));
        let mut number = 0;
        while pacer.next() < start + Duration::from_secs(4) {
            let now = pacer.next();
            while start + FRAME * number <= now {
                let quiet = [0.001f32.to_le_bytes(), 0.001f32.to_le_bytes()].concat();
                playout.push(&1, received(&numbered(number, quiet.into()), start + FRAME * number));
                number += 1;
            }
            pacer.due(now).for_each(|due| assert!(playout.tick(due).sink_error.is_none()));
            playout.slew(&mut pacer);
        }
        let statistics = playout.statistics(&1).unwrap();
        let over = statistics.jitter_buffer_delay.as_secs_f64() - statistics.jitter_buffer_target_delay.as_secs_f64();
        if follows {
            assert!(over.abs() < 0.000_2, "{phase}: {over} s over the target");
        } else {
            assert_eq!((pacer.next() - start).as_micros() % 10_000, phase.into());
        }
        assert_eq!(statistics.concealed_samples, 0);
    }
}

/// A sender that probes for bandwidth sends packets of padding between those of its audio, with the
/// timestamp of the one before and any payload type (RFC 3550 §5.1).
#[test]
fn padding_between_packets_is_not_heard() {
    let (foreign, red) = (CodecName::new("other"), CodecName::red());
    let mut room = Room::new(&[1]);
    let (mut sequence, mut sounds) = (65_500_u16, Vec::new());
    for number in 0..200_u32 {
        let sound = numbered(number, [0.5_f32.to_le_bytes(); 2].concat().into());
        let count = if number % 10 < 3 { 1 + number % 3 } else { 0 };
        let padding = (0..count).map(|n| {
            let codec = if n == 0 {
                sound.codec.clone()
            } else if n == 1 {
                foreign.clone()
            } else {
                red.clone()
            };
            RtpOut { codec, payload: Bytes::new(), ..sound.clone() }
        });
        for packet in std::iter::once(sound.clone()).chain(padding) {
            sequence = sequence.wrapping_add(1);
            let packet = received(&RtpOut { sequence, ..packet }, room.now());
            room.playout.push(&1, packet);
        }
        sounds.extend(room.run(2).0);
    }
    assert!(sounds[10..].iter().all(|sound| *sound == 0.5));
    let statistics = room.playout.statistics(&1).unwrap();
    let missed = (
        statistics.packets_lost,
        statistics.packets_corrupt,
        statistics.concealed_samples,
        statistics.packets_discarded,
    );
    assert_eq!(missed, (0, 0, 0, 0), "{statistics:?}");
    assert_eq!(statistics.packets_received, 200 + 20 * (1 + 2 + 3), "{statistics:?}");
    assert!(statistics.jitter_buffer_target_delay <= Duration::from_millis(40), "{statistics:?}");
}
