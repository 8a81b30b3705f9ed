use std::time::Duration;

use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const FRAME: u32 = 960;
const OPUS: Layout = Layout { rate: 48_000, granularity: 120, hold: Duration::from_millis(300) };

/// A sender on virtual time, whose packets reach a time line.
struct Sender {
    timeline: Timeline<u32>,
    pieces: Vec<Piece<u32>>,
    now: Duration,
    sequence: u16,
    /// RTP time at the virtual time 0.
    base: u32,
    /// Speed of the sender's clock relative to the call's, less one.
    drift: f64,
}

impl Sender {
    fn new() -> Self {
        let timeline = Timeline::new(OPUS, CallTime::default());
        Self { timeline, pieces: Vec::new(), now: Duration::ZERO, sequence: 65_530, base: u32::MAX - 5_000, drift: 0.0 }
    }

    /// The packet captured now. Its media is its capture time in milliseconds.
    fn packet(&mut self) -> Item<u32> {
        let seconds = self.now.as_secs_f64();
        // The sender's RTP clock counts whole frames; a fast one reaches them earlier.
        let timestamp = RtpTime(self.base.wrapping_add((seconds * 48_000.0).round() as u32));
        self.sequence = self.sequence.wrapping_add(1);
        let at = CallTime(Duration::from_secs_f64(seconds / (1.0 + self.drift)));
        let media = at.0.as_millis() as u32;
        Item { at, timestamp, sequence: Some(self.sequence), ticks: FRAME, quiet: false, media }
    }

    fn advance(&mut self) {
        self.now += Duration::from_millis(20);
        if self.now.as_millis().is_multiple_of(100) {
            self.timeline.tick(CallTime(self.now));
        }
        self.collect();
    }

    fn send_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            let packet = self.packet();
            self.timeline.push(packet);
            self.advance();
        }
    }

    fn pause_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.advance();
        }
    }

    fn collect(&mut self) {
        while let Some(piece) = self.timeline.poll() {
            self.pieces.push(piece);
        }
    }

    fn finish(mut self) -> (Vec<Piece<u32>>, Totals) {
        self.timeline.drain();
        self.collect();
        (self.pieces, self.timeline.totals())
    }
}

/// The greatest difference between where a packet was put and when it was captured, in ms.
fn greatest_error(pieces: &[Piece<u32>]) -> f64 {
    let mut at = 0u64;
    let mut greatest = 0.0f64;
    for piece in pieces {
        match piece {
            Piece::Media { ticks, media } => {
                greatest = greatest.max((at as f64 / 48.0 - f64::from(*media)).abs());
                at += u64::from(*ticks);
            }
            Piece::Silence { ticks } | Piece::Concealed { ticks } => at += ticks,
        }
    }
    greatest
}

fn media(pieces: &[Piece<u32>]) -> Vec<u32> {
    let media = pieces.iter().filter_map(|piece| match piece {
        Piece::Media { media, .. } => Some(*media),
        _ => None,
    });
    media.collect()
}

#[test]
fn packets_in_order_follow_each_other_without_a_gap() {
    let mut sender = Sender::new();
    sender.send_for(Duration::from_secs(2));
    let (pieces, totals) = sender.finish();
    assert_eq!(pieces.len(), 100);
    assert_eq!(totals, Totals { samples: 100, ..Totals::default() });
}

#[test]
fn packets_are_put_in_order_and_copies_dropped() {
    for seed in 0..20 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut sender = Sender::new();
        let mut waiting = Vec::new();
        for _ in 0..500 {
            waiting.push(sender.packet());
            if random.random_bool(0.05) {
                waiting.push(waiting[0]);
            }
            while waiting.len() > random.random_range(0..8) {
                // None is overtaken for longer than a packet waits.
                let overdue = sender.now - waiting[0].at.0 > Duration::from_millis(100);
                let packet = waiting.remove(if overdue { 0 } else { random.random_range(0..waiting.len()) });
                sender.timeline.push(packet);
            }
            sender.advance();
        }
        waiting.into_iter().for_each(|packet| sender.timeline.push(packet));
        let (pieces, totals) = sender.finish();
        let media = media(&pieces);
        assert!(media.is_sorted() && media.len() == 500, "seed {seed}: {} packets", media.len());
        assert_eq!(greatest_error(&pieces), 0.0, "seed {seed}");
        assert_eq!((totals.concealed, totals.silence), (0, 0), "seed {seed}");
    }
}

#[test]
fn lost_packets_are_concealed_and_long_gaps_are_silent() {
    let mut sender = Sender::new();
    sender.send_for(Duration::from_secs(1));
    sender.packet();
    sender.pause_for(Duration::from_millis(20));
    sender.send_for(Duration::from_secs(1));
    for _ in 0..50 {
        sender.packet();
        sender.pause_for(Duration::from_millis(20));
    }
    sender.send_for(Duration::from_secs(1));
    let (pieces, totals) = sender.finish();
    assert_eq!((totals.concealed, totals.silence), (960, 48_000));
    assert_eq!(greatest_error(&pieces), 0.0);
}

#[test]
fn dtx_and_mute_are_silence_and_are_filled_while_they_last() {
    let mut sender = Sender::new();
    sender.send_for(Duration::from_secs(1));
    // DTX: a packet each 400 ms, with consecutive sequence numbers.
    for _ in 0..5 {
        let packet = sender.packet();
        sender.timeline.push(packet);
        sender.pause_for(Duration::from_millis(400));
    }
    sender.pause_for(Duration::from_secs(10));
    let filled = sender.timeline.end();
    assert!(filled >= 48_000 * 9, "{filled} ticks");
    sender.send_for(Duration::from_secs(1));
    let (pieces, totals) = sender.finish();
    assert_eq!(totals.concealed, 0);
    assert_eq!(greatest_error(&pieces), 0.0);
}

#[test]
fn late_joins_begin_with_silence() {
    let mut sender = Sender::new();
    sender.pause_for(Duration::from_millis(1_500));
    sender.send_for(Duration::from_secs(1));
    let (pieces, totals) = sender.finish();
    assert_eq!(totals.silence, 72_000);
    assert_eq!(greatest_error(&pieces), 0.0);
}

#[test]
fn senders_that_restart_go_on_where_the_call_clock_says() {
    for seed in 0..50 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut sender = Sender::new();
        sender.send_for(Duration::from_secs(1));
        let pause = random.random_range(0..200) * 20;
        sender.pause_for(Duration::from_millis(pause));
        (sender.base, sender.sequence) = (random.random(), random.random());
        sender.send_for(Duration::from_secs(1));
        let (pieces, totals) = sender.finish();
        assert_eq!(media(&pieces).len(), 100, "seed {seed}");
        assert_eq!(greatest_error(&pieces), 0.0, "seed {seed}");
        assert_eq!(totals.silence + totals.concealed, pause * 48, "seed {seed}");
    }
}

#[test]
fn drift_is_corrected_by_single_frames_and_never_exceeds_half_a_frame() {
    for drift in [200e-6, -200e-6, 80e-6, -80e-6] {
        let mut sender = Sender::new();
        sender.drift = drift;
        sender.send_for(Duration::from_secs(600));
        let (pieces, totals) = sender.finish();
        let error = greatest_error(&pieces);
        assert!(error < 12.0, "{drift}: {error} ms");
        let corrections =
            totals.dropped + pieces.iter().filter(|piece| matches!(piece, Piece::Silence { .. })).count() as u64;
        let needed = (600.0 * drift.abs() / 0.010) as u64;
        assert!((1..=2 * needed + 2).contains(&corrections), "{drift}: {corrections} corrections");
    }
}

#[test]
fn drift_is_corrected_in_pauses_where_there_are_any() {
    let mut sender = Sender::new();
    sender.drift = 100e-6;
    for _ in 0..60 {
        sender.send_for(Duration::from_secs(9));
        sender.pause_for(Duration::from_secs(1));
    }
    let (pieces, totals) = sender.finish();
    assert_eq!(totals.dropped, 0);
    assert!(greatest_error(&pieces) < 4.0);
}

#[test]
fn noise_of_the_call_clock_corrects_nothing() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut sender = Sender::new();
    for _ in 0..3_000 {
        let mut packet = sender.packet();
        packet.at.0 += Duration::from_micros(random.random_range(0..6_000));
        sender.timeline.push(packet);
        sender.advance();
    }
    let (_, totals) = sender.finish();
    assert_eq!((totals.dropped, totals.concealed), (0, 0));
    assert!(totals.silence <= 960);
}

#[test]
fn any_times_and_numbers_keep_the_time_line_bounded_and_in_order() {
    for seed in 0..200 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut timeline = Timeline::new(OPUS, CallTime(Duration::from_secs(5)));
        let mut end = 0;
        for step in 0..400u64 {
            timeline.push(Item {
                at: CallTime(Duration::from_micros(match random.random_range(0..3) {
                    0 => random.random_range(0..10_000_000),
                    1 => random.random(),
                    _ => step * 20_000,
                })),
                timestamp: RtpTime(random.random()),
                sequence: random.random_bool(0.5).then(|| random.random()),
                ticks: random.random_range(0..5_761),
                quiet: random.random(),
                media: 0,
            });
            timeline.tick(CallTime(Duration::from_millis(step * 20)));
            while let Some(piece) = timeline.poll() {
                end += match piece {
                    Piece::Media { ticks, .. } => u64::from(ticks),
                    Piece::Silence { ticks } | Piece::Concealed { ticks } => ticks,
                };
            }
            assert_eq!(end, timeline.end(), "seed {seed}");
            assert!(end <= 48_000 * 70, "seed {seed}: {end}");
        }
    }
}
