//! Real speech through capture, Opus, a lossy path and playout, scored by PESQ (ITU-T P.862.2).

use web_time::{Duration, Instant};

use blink_api::{
    AudioCodec, AudioDecoder, AudioDecoderConfig, AudioEncoderConfig, AudioFormat, CodecName, DecoderInput,
    EncoderHint, Result, RtpOut, RtpTime,
};
use blink_media_cpal_opus::{OpusCodec, OpusConfig};
use blink_media_synthetic::{resample, speech_clip};
use blink_sim::impairment::{Impairments, Link};
use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::fake::{Heard, PcmCodec, Script, capture_config, numbered, received, rtp_codec};
use super::red::RedSender;
use super::{
    AudioStatistics, Capture, DelayRange, FRAME, JitterConfig, Playout, Processors, ReceiveConfig, TICK, TickScheduler,
};

mod loss_and_stalls;

const SECONDS: u64 = 8;

/// A network, and the seed of its chance.
type Path = (Impairments, u64);

const CLEAN: Path = (Impairments::NONE, 0);

/// Sent and played audio at 48 kHz, and the statistics of the receiver.
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

    let mut link = Link::new(path.0, path.1);
    let mut now = Instant::now();
    for _ in 0..SECONDS * 100 + 20 {
        let mut sent = Vec::new();
        let emit = &mut |packet| sent.push(packet);
        capture.tick(Instant::now(), &mut Processors::default(), emit).unwrap();
        for packet in sent {
            link.send(now, packet.payload.len(), packet);
        }
        while let Some((arrival, packet)) = link.receive(now) {
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

/// Delay of the played audio in samples, and its correlation with the sent audio (1: the same).
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

    let rough = (Impairments { jitter: Duration::from_millis(80), ..Impairments::NONE }, 0);
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
        let path = (Impairments { loss: 0.1, ..Impairments::NONE }, seed);
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
        let path = (Impairments { jitter: Duration::from_millis(39), ..Impairments::NONE }, seed);
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
fn packets_sent_after_muting_decode_to_silence() {
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
    assert!(out.iter().any(|sample| sample.abs() > 0.05), "speech before the mute");
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
