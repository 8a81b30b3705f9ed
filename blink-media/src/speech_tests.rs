//! Real speech through capture, Opus, a lossy path and playout, scored by PESQ (ITU-T P.862.2).

use web_time::{Duration, Instant};

use blink_api::{
    AudioCodec, AudioDecoder, AudioDecoderConfig, AudioEncoderConfig, AudioFormat, CodecName, DecoderInput,
    EncoderHint, Result, RtpOut, RtpTime,
};
use blink_media_cpal_opus::{OpusCodec, OpusConfig};
use blink_media_synthetic::{resample, speech_clip};
use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::fake::{Heard, PcmCodec, Script, capture_config, numbered, received, rtp_codec};
use super::red::RedSender;
use super::{
    AudioStatistics, Capture, DelayRange, FRAME, JitterConfig, Playout, Processors, ReceiveConfig, TICK, TickScheduler,
};

const SECONDS: u64 = 8;

/// What a path does to packets.
#[derive(Debug, Clone, Copy)]
struct Path {
    loss: f64,
    /// Each packet takes up to so long, evenly spread.
    jitter: Duration,
    seed: u64,
}

const CLEAN: Path = Path { loss: 0.0, jitter: Duration::ZERO, seed: 0 };

/// What was said and what was heard, at 48 kHz, and what happened to it.
fn call(settings: OpusConfig, path: Path) -> (Vec<f32>, Vec<f32>, AudioStatistics) {
    call_through(JitterConfig { adapt: Some(DelayRange::default()), ..JitterConfig::default() }, settings, path)
}

/// As [`call`], through a jitter buffer of this kind.
fn call_through(jitter: JitterConfig, settings: OpusConfig, path: Path) -> (Vec<f32>, Vec<f32>, AudioStatistics) {
    let codec = OpusCodec::new(settings).unwrap();
    let format = AudioFormat::CALL;
    let said = speech_clip(0, Duration::from_secs(SECONDS));
    let script = Script::without_clock();
    script.put(said.iter().copied());
    let encoder = codec.encoder(AudioEncoderConfig { format, frame: FRAME, bitrate: None }).unwrap();
    let mut capture = Capture::new(capture_config(codec.rtp()), Box::new(script), encoder).unwrap();
    let heard = Heard::default();
    let mut playout = Playout::<u8>::new(Box::new(heard.clone()));
    let receive = ReceiveConfig { jitter, ..ReceiveConfig::new(&codec.rtp()) };
    playout.add(0, receive, codec.decoder(AudioDecoderConfig { format }).unwrap());

    let mut random = ChaCha8Rng::seed_from_u64(path.seed);
    let mut now = Instant::now();
    let mut on_the_way: Vec<(Instant, RtpOut)> = Vec::new();
    for _ in 0..SECONDS * 100 + 20 {
        let mut sent = Vec::new();
        let emit = &mut |packet| sent.push(packet);
        capture.tick(Instant::now(), &mut Processors::default(), emit).unwrap();
        for packet in sent {
            let delay = path.jitter.mul_f64(random.random());
            if !random.random_bool(path.loss) {
                on_the_way.push((now + delay, packet));
            }
        }
        on_the_way.sort_by_key(|(arrival, _)| *arrival);
        let there = on_the_way.partition_point(|(arrival, _)| *arrival <= now);
        for (arrival, packet) in on_the_way.drain(..there) {
            playout.push(&0, received(&packet, arrival));
        }
        assert!(playout.tick(now).sink_error.is_none());
        now += TICK;
    }
    (said, heard.take(), playout.statistics(&0).unwrap())
}

fn pesq(said: &[f32], heard: &[f32]) -> f32 {
    let pcm = |samples: &[f32]| -> Vec<i16> {
        resample(samples, 48_000, 16_000).iter().map(|sample| (sample.clamp(-1.0, 1.0) * 32_767.0) as i16).collect()
    };
    pesq::pesq_wb(&pcm(said), &pcm(heard)).unwrap()
}

/// How much later the heard sound is the said one, in samples, and how well they agree (1 is the
/// same).
fn delay_of(said: &[f32], heard: &[f32]) -> (usize, f64) {
    let part = 24_000..72_000;
    let energy = |samples: &[f32]| samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>().sqrt();
    let agreement = |shift: usize| {
        let (said, heard) = (&said[part.clone()], &heard[part.start + shift..part.end + shift]);
        let product: f64 = said.iter().zip(heard).map(|(a, b)| f64::from(a * b)).sum();
        product / (energy(said) * energy(heard)).max(1e-9)
    };
    let shifts = (0..9_600).step_by(3);
    shifts.map(|shift| (shift, agreement(shift))).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

#[test]
fn speech_over_a_clean_path_scores_at_least_4_and_comes_with_a_constant_delay() {
    let (said, heard, statistics) = call_through(JitterConfig::default(), OpusConfig::default(), CLEAN);
    let score = pesq(&said, &heard);
    assert!(score >= 4.0, "PESQ {score:.2}");
    assert_eq!((statistics.concealed_samples, statistics.fec_recovered, statistics.packets_discarded), (0, 0, 0));
    // A frame is sent when its second half is captured, waits 40 ms, and comes out with the codec's
    // lookahead of 6.5 ms.
    let (samples, agreement) = delay_of(&said, &heard);
    let milliseconds = samples as f64 / 48.0;
    assert!((55.0..58.0).contains(&milliseconds) && agreement > 0.8, "{milliseconds:.1} ms, {agreement:.3}");
}

#[test]
fn the_delay_follows_the_path_in_pauses_and_speech_keeps_its_score() {
    let (said, heard, statistics) = call(OpusConfig::default(), CLEAN);
    let score = pesq(&said, &heard);
    assert!(score >= 4.0, "PESQ {score:.2}");
    assert_eq!((statistics.concealed_samples, statistics.fec_recovered), (0, 0));
    assert!(statistics.jitter_buffer_delay <= Duration::from_millis(30), "{statistics:?}");

    let rough = Path { jitter: Duration::from_millis(80), ..CLEAN };
    let (said, heard, adapting) = call(OpusConfig::default(), rough);
    let (fixed_said, fixed_heard, fixed) = call_through(JitterConfig::default(), OpusConfig::default(), rough);
    let (score, fixed_score) = (pesq(&said, &heard), pesq(&fixed_said, &fixed_heard));
    assert!(adapting.packets_late * 4 < fixed.packets_late, "{adapting:?}, fixed: {fixed:?}");
    assert!(score > fixed_score + 0.5, "PESQ {score:.2}, fixed {fixed_score:.2}");
}

#[test]
fn speech_with_10_percent_loss_scores_at_least_3_on_average_and_always_more_than_without_error_correction() {
    let mut sum = 0.0;
    for seed in 1..=5 {
        let path = Path { loss: 0.1, seed, ..CLEAN };
        let (said, heard, statistics) = call_through(JitterConfig::default(), OpusConfig::default(), path);
        let score = pesq(&said, &heard);
        let without = call_through(JitterConfig::default(), OpusConfig { fec: false, ..OpusConfig::default() }, path);
        let score_without = pesq(&without.0, &without.1);
        // Which sounds are lost decides much: single scores lie between 2.98 and 3.98.
        assert!(
            score > score_without + 0.5,
            "seed {seed}: {score:.2} with, {score_without:.2} without: {statistics:?}"
        );
        sum += score;
    }
    let mean = sum / 5.0;
    assert!(mean >= 3.0, "PESQ {mean:.2}");
}

#[test]
fn speech_with_jitter_within_the_delay_scores_as_without() {
    for seed in [1, 2, 3] {
        let path = Path { jitter: Duration::from_millis(39), seed, ..CLEAN };
        let (said, heard, statistics) = call(OpusConfig::default(), path);
        let score = pesq(&said, &heard);
        assert!(score >= 4.0, "seed {seed}: PESQ {score:.2}: {statistics:?}");
    }
}

/// A decoder that cannot go back.
struct Forgetful(Box<dyn AudioDecoder>);

impl AudioDecoder for Forgetful {
    fn decode(&mut self, input: DecoderInput<'_>, out: &mut [f32]) -> Result<usize> {
        self.0.decode(input, out)
    }

    fn duration(&self, packet: &[u8]) -> Result<Duration> {
        self.0.duration(packet)
    }

    fn has_fec(&self, packet: &[u8]) -> bool {
        self.0.has_fec(packet)
    }

    fn redundancy_span(&mut self, packet: &[u8]) -> Duration {
        self.0.redundancy_span(packet)
    }
}

/// Speech whose packets, numbered from 0, come so long after they were captured (`None`: never),
/// through a fixed delay, with a decoder that cannot go back, and with ticks that follow the sound.
fn late_speech(
    arrival: impl Fn(u32) -> Option<Duration>,
    forgetful: bool,
    follows: bool,
) -> (Vec<f32>, Vec<f32>, Playout<u8>) {
    let codec = OpusCodec::new(OpusConfig { fec: false, ..OpusConfig::default() }).unwrap();
    let format = AudioFormat::CALL;
    let said = speech_clip(0, Duration::from_secs(SECONDS));
    let mut encoder = codec.encoder(AudioEncoderConfig { format, frame: FRAME, bitrate: None }).unwrap();
    let heard = Heard::default();
    let mut playout = Playout::<u8>::new(Box::new(heard.clone()));
    let decoder = codec.decoder(AudioDecoderConfig { format }).unwrap();
    let decoder = if forgetful { Box::new(Forgetful(decoder)) } else { decoder };
    playout.follow_media_clock(follows);
    playout.add(0, ReceiveConfig { jitter: JitterConfig::default(), ..ReceiveConfig::new(&codec.rtp()) }, decoder);
    let start = Instant::now();
    let mut coming = Vec::new();
    for (number, frame) in said.chunks_exact(960).enumerate() {
        let mut payload = Vec::new();
        encoder.encode(frame, &mut payload).unwrap();
        let number = number as u32;
        let Some(delay) = arrival(number) else { continue };
        let packet = RtpOut { codec: codec.rtp().name, ..numbered(number, payload.into()) };
        coming.push((start + FRAME * number + delay, packet));
    }
    coming.sort_by_key(|(at, _)| *at);
    let mut coming = coming.into_iter().peekable();
    let mut pacer = TickScheduler::new(start);
    for _ in 0..SECONDS as u32 * 100 + 20 {
        let now = pacer.next();
        while let Some((at, packet)) = coming.next_if(|(at, _)| *at <= now) {
            playout.push(&0, received(&packet, at));
        }
        pacer.due(now).for_each(|due| assert!(playout.tick(due).sink_error.is_none()));
        playout.slew(&mut pacer);
    }
    (said, heard.take(), playout)
}

#[test]
fn what_comes_while_it_is_made_up_mends_what_follows() {
    let (mut mended, mut forgotten) = (0.0, 0.0);
    for seed in 1..=3 {
        let late = |number: u32| {
            let mut random = ChaCha8Rng::seed_from_u64(seed * 10_000 + u64::from(number));
            Some(Duration::from_millis(65).mul_f64(random.random()))
        };
        let (said, heard, playout) = late_speech(late, false, false);
        let statistics = playout.statistics(&0).unwrap();
        assert!(statistics.late_repairs > 30, "seed {seed}: {statistics:?}");
        mended += pesq(&said, &heard) / 3.0;
        let (said, heard, _) = late_speech(late, true, false);
        forgotten += pesq(&said, &heard) / 3.0;
    }
    assert!(mended > forgotten + 0.1, "PESQ {mended:.2} mended, {forgotten:.2} otherwise");
}

#[test]
fn after_a_stall_of_2_s_the_delay_is_back_within_2_s_and_nobody_falls_silent() {
    stall(false);
}

#[test]
fn so_it_is_after_a_stall_where_ticks_follow_the_sound() {
    stall(true);
}

/// For 2 s nothing comes, then all of it at once.
fn stall(follows: bool) {
    let stalled = 150..250u32;
    let end = FRAME * stalled.end;
    let arrival = |number| Some(if stalled.contains(&number) { end - FRAME * number } else { Duration::ZERO });
    let (said, heard, playout) = late_speech(arrival, false, follows);
    let statistics = playout.statistics(&0).unwrap();
    assert!(
        statistics.jitter_buffer_delay <= statistics.jitter_buffer_target_delay + Duration::from_millis(40),
        "{statistics:?}"
    );
    assert!(
        statistics.packets_discarded >= 85 && statistics.removed_samples_for_acceleration >= 40 * 48,
        "{statistics:?}"
    );

    // From the end of the stall on it is what was said 46.5 ms ago, after 2 s at the latest.
    let from = AudioFormat::CALL.samples_in(end + Duration::from_secs(2));
    let (delay, agreement) = {
        let (said, heard) = (&said[from - 24_000..], &heard[from - 24_000..]);
        delay_of(said, &heard[..heard.len().min(said.len() + 9_600)])
    };
    assert!(delay <= 48 * (60 + 40) && agreement > 0.7, "{delay} samples, {agreement:.3}");
    let longest_silence = |sound: &[f32]| {
        let quiet = |tick: &[f32]| tick.iter().all(|sample| sample.abs() < 0.002);
        sound
            .chunks(480)
            .fold((0, 0), |(run, most), tick| {
                let run = if quiet(tick) { run + 1 } else { 0 };
                (run, most.max(run))
            })
            .1
    };
    let burst = AudioFormat::CALL.samples_in(end);
    let (before, after) = (longest_silence(&said), longest_silence(&heard[burst..burst + 96_000]));
    assert!(after <= before.max(10), "{after} ticks of silence, {before} in what was said");
}

/// A share of the packets lost, and copies in those after them instead of error correction of the
/// codec's own.
#[test]
fn copies_make_up_for_a_fifth_of_all_packets() {
    let mut mean = 0.0;
    for seed in 1..=3 {
        let codec = OpusCodec::new(OpusConfig::default()).unwrap();
        let format = AudioFormat::CALL;
        let said = speech_clip(0, Duration::from_secs(SECONDS));
        let mut encoder = codec.encoder(AudioEncoderConfig { format, frame: FRAME, bitrate: None }).unwrap();
        let mut sender = RedSender::new(FRAME);
        encoder.hint(sender.hint(EncoderHint { loss: 0.2, burst: 1.2, bitrate: None }, 32_000)).unwrap();
        let heard = Heard::default();
        let mut playout = Playout::<u8>::new(Box::new(heard.clone()));
        playout.add(0, ReceiveConfig::new(&codec.rtp()), codec.decoder(AudioDecoderConfig { format }).unwrap());
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let start = Instant::now();
        let (mut encoded, mut payload, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (number, frame) in said.chunks_exact(960).enumerate() {
            encoder.encode(frame, &mut encoded).unwrap();
            let timestamp = RtpTime(number as u32 * 960);
            sender.pack(0, timestamp, &Bytes::copy_from_slice(&encoded), &mut payload);
            bytes += payload.len();
            let now = start + FRAME * number as u32;
            if !random.random_bool(0.2) {
                let packet = RtpOut {
                    codec: CodecName::red(),
                    sequence: number as u16,
                    timestamp,
                    marker: false,
                    level: None,
                    payload: Bytes::copy_from_slice(&payload),
                };
                playout.push(&0, received(&packet, now));
            }
            for tick in [now, now + TICK] {
                assert!(playout.tick(tick).sink_error.is_none());
            }
        }
        let statistics = playout.statistics(&0).unwrap();
        assert!(statistics.red_recovered > 40, "seed {seed}: {statistics:?}");
        assert!(bytes as u64 * 8 / SECONDS <= 35_000, "{} bit/s", bytes as u64 * 8 / SECONDS);
        mean += pesq(&said, &heard.take()) / 3.0;
    }
    assert!(mean >= 2.8, "PESQ {mean:.2}");
}

/// Ten minutes of speech from a sender whose clock is wrong by 200 parts per million, with a
/// speaker that has a clock of its own and with one whose ticks follow the sound.
#[test]
fn a_clock_that_is_off_is_followed_without_a_gap() {
    for (seed, per_million, follows) in [(1, 200, false), (2, -200, false), (3, 200, true), (4, -200, true)] {
        let said = speech_clip(0, Duration::from_secs(20));
        let frames: Vec<Bytes> = said.chunks_exact(960).map(PcmCodec::packet).collect();
        let mut playout = Playout::<u8>::new(Box::new(Heard::default()));
        playout.follow_media_clock(follows);
        playout.add(0, ReceiveConfig::new(&rtp_codec()), Box::new(PcmCodec));
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let start = Instant::now();
        let mut pacer = TickScheduler::new(start);
        let (mut number, mut delays) = (0u32, Vec::new());
        for tick in 0..60_000u32 {
            let now = pacer.next();
            loop {
                // 20 ms of the sender's are a little more, or less, of the receiver's.
                let sent =
                    start + Duration::from_micros(u64::from(number) * 20 * (1_000_000 + per_million) as u64 / 1_000);
                if sent > now {
                    break;
                }
                let packet = numbered(number, frames[number as usize % frames.len()].clone());
                playout.push(&0, received(&packet, sent + Duration::from_millis(2).mul_f64(random.random())));
                number += 1;
            }
            pacer.due(now).for_each(|due| assert!(playout.tick(due).sink_error.is_none()));
            playout.slew(&mut pacer);
            if tick >= 1_000 {
                delays.push(playout.statistics(&0).unwrap().jitter_buffer_delay.as_millis());
            }
        }
        let statistics = playout.statistics(&0).unwrap();
        let (least, most) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
        assert!(most - least <= 25 && *most <= 45, "seed {seed}: {least} to {most} ms, {statistics:?}");
        assert_eq!(
            (statistics.concealed_samples, statistics.packets_late, statistics.packets_discarded),
            (0, 0, 0),
            "seed {seed}: {statistics:?}"
        );
        let (inserted, removed) =
            (statistics.inserted_samples_for_deceleration, statistics.removed_samples_for_acceleration);
        let changed = if per_million > 0 { inserted } else { removed };
        assert!(changed >= 100 * 48, "seed {seed}: {statistics:?}");
    }
}

#[test]
fn what_leaves_after_muting_is_silence_to_whoever_decodes_it() {
    let codec = OpusCodec::new(OpusConfig::default()).unwrap();
    let format = AudioFormat::CALL;
    let script = Script::without_clock();
    script.put(speech_clip(0, Duration::from_secs(4)));
    let encoder = codec.encoder(AudioEncoderConfig { format, frame: FRAME, bitrate: None }).unwrap();
    let mut capture = Capture::new(capture_config(codec.rtp()), Box::new(script), encoder).unwrap();
    let mut decoder = codec.decoder(AudioDecoderConfig { format }).unwrap();
    let mut sent = Vec::new();
    for _ in 0..101 {
        let emit = &mut |packet| sent.push(packet);
        capture.tick(Instant::now(), &mut Processors::default(), emit).unwrap();
    }
    let mut out = vec![0.0; 960];
    for packet in &sent {
        decoder.decode(DecoderInput::Packet(&packet.payload), &mut out).unwrap();
    }
    assert!(out.iter().any(|sample| sample.abs() > 0.05), "somebody was speaking");
    capture.set_muted(true);
    sent.clear();
    for _ in 0..200 {
        let emit = &mut |packet| sent.push(packet);
        capture.tick(Instant::now(), &mut Processors::default(), emit).unwrap();
    }
    assert_eq!(sent.len(), 2);
    // What was spoken before comes out of the encoder up to its lookahead later, and rings out.
    for (packet, (from, limit)) in sent.iter().zip([(480, 0.03), (0, 0.01)]) {
        decoder.decode(DecoderInput::Packet(&packet.payload), &mut out).unwrap();
        let loudest = out[from..].iter().fold(0.0f32, |loudest, sample| loudest.max(sample.abs()));
        assert!(loudest < limit, "{loudest}");
    }
}

#[test]
fn hostile_packets_among_speech_never_break_playout() {
    for seed in 0..20 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let codec = OpusCodec::new(OpusConfig::default()).unwrap();
        let heard = Heard::default();
        let mut playout = Playout::<u8>::new(Box::new(heard.clone()));
        let decoder = codec.decoder(AudioDecoderConfig { format: AudioFormat::CALL }).unwrap();
        playout.add(0, ReceiveConfig::new(&codec.rtp()), decoder);
        let start = Instant::now();
        for tick in 0..500u32 {
            let now = start + TICK * tick;
            for _ in 0..random.random_range(0..4) {
                let mut payload = vec![0; random.random_range(0..60)];
                random.fill(&mut payload[..]);
                let packet = RtpOut {
                    codec: codec.rtp().name,
                    sequence: (tick as u16 / 2).wrapping_add(random.random_range(0..5)),
                    timestamp: RtpTime(tick * 480 + random.random_range(0..5_000)),
                    marker: false,
                    level: None,
                    payload: payload.into(),
                };
                playout.push(&0, received(&packet, now));
            }
            assert!(playout.tick(now).sink_error.is_none());
        }
        let sound = heard.take();
        assert_eq!(sound.len(), 500 * 480, "seed {seed}");
        assert!(sound.iter().all(|sample| sample.abs() <= 1.0), "seed {seed}");
    }
}
