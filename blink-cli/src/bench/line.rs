//! One direction of a call on virtual time: speech through encoder, network, jitter buffer and
//! decoder.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use blink_api::{
    AudioCodec, AudioDecoderConfig, AudioEncoderConfig, AudioFormat, AudioSink, AudioSource, EncoderHint, Mid,
    Preference, ReadResult, Result, RtpIn, RtpOut, RtpTime,
};
use blink_engine::AudioStatistics;
use blink_media::red::RedSender;
use blink_media::{
    Capture, CaptureConfig, JitterConfig, PathQuality, Playout, Processors, ReceiveConfig, ReceiverReports, TICK,
    TickScheduler, WorstCasePath,
};
use blink_media_cpal_opus::{OpusCodec, OpusConfig};
use blink_sim::impairment::{Impairments, Link};
use bytes::Bytes;

use super::cpu::CpuTime;
use crate::failure::Failure;

/// How often the receiver tells the sender what was lost (RFC 3550 §6.2 has 5 s as the least, RFC
/// 4585 less).
const REPORTS: u32 = 100;

/// Ticks of RTP in a millisecond.
const TICKS_PER_MS: f64 = 48.0;

/// After the speech, what is still on its way comes out: 40 ticks.
const REST: u32 = 40;

/// How one end sends and the other receives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) codec: OpusConfig,
    /// The jitter buffer's delay where it does not follow the network.
    pub(super) fixed: Option<Duration>,
    pub(super) prefer: Preference,
    pub(super) frame: Duration,
    /// Both have redundant audio (RFC 2198).
    pub(super) red: bool,
}

/// Result of a transmission.
pub(super) struct Outcome {
    pub(super) heard: Vec<f32>,
    /// Time in s and mouth-to-ear delay in ms of every tick that played audio.
    pub(super) delays: Vec<(f64, f64)>,
    /// Delay from the arrival of the fastest packets to their decoding in ms, at every tick.
    pub(super) buffer: Vec<f64>,
    pub(super) statistics: AudioStatistics,
    pub(super) payload_bytes: usize,
    pub(super) cpu: Duration,
    pub(super) ticks: u32,
}

/// Says `said` (48 kHz, mono) over the network.
pub(super) fn run(ends: &Ends, impairments: Impairments, seed: u64, said: &[f32]) -> Result<Outcome, Failure> {
    let codec = OpusCodec::new(ends.codec)?;
    let format = AudioFormat::CALL;
    let encoder = codec.encoder(AudioEncoderConfig { format, frame: ends.frame, bitrate: None })?;
    let lookahead = encoder.lookahead();
    let capture = CaptureConfig {
        format,
        codec: codec.rtp(),
        frame: ends.frame,
        first_sequence: 65_000,
        first_timestamp: RtpTime(0),
    };
    let source = Script { samples: said.to_vec(), at: 0 };
    let mut capture = Capture::new(capture, Box::new(source), encoder)?;
    let heard = Heard::default();
    let mut playout = Playout::<u8>::new(Box::new(heard.clone()));
    let usual = ReceiveConfig::new(&codec.rtp()).preferring(ends.prefer);
    let jitter = match ends.fixed {
        Some(delay) => JitterConfig { delay, adapt: None, ..usual.jitter },
        None => usual.jitter,
    };
    let receive = ReceiveConfig { jitter, ..usual };
    // As in an engine, whose speaker has no clock of its own here.
    playout.follow_media_clock(ends.fixed.is_none());
    playout.add(0, receive, codec.decoder(AudioDecoderConfig { format })?);

    let mut link = Link::new(impairments, seed);
    let start = Instant::now();
    // The ends' ticks do not fall together.
    let mut pacer = TickScheduler::new(start + TICK + TICK.mul_f64((seed as f64 * 0.618).fract()));
    let (mut sent, mut payload_bytes) = (Vec::with_capacity(8), 0);
    let (mut delays, mut buffer) = (Vec::new(), Vec::new());
    let mut reports: Vec<(Instant, PathQuality)> = Vec::new();
    let (mut reported, mut receivers) = (AudioStatistics::default(), ReceiverReports::<u8>::default());
    let red = ends.red.then(|| RedSender::new(ends.frame));
    let mut sender = Sender { red, bitrate: ends.codec.bitrate, payload: Vec::new() };
    let expected = EncoderHint { loss: f32::from(ends.codec.expected_loss) / 100.0, ..EncoderHint::default() };
    capture.hint(sender.prepare(expected))?;
    let ticks = (said.len() / format.samples_in(TICK)) as u32;
    let cpu = CpuTime::start();
    for tick in 0..ticks + REST {
        // What is captured in a tick was spoken before it.
        let captured = start + TICK * (tick + 1);
        while let Some((_, quality)) = reports.pop_if(|(at, _)| *at <= captured) {
            receivers.on_report(0, captured, quality);
            if let Some(WorstCasePath { loss, burst, bitrate }) = receivers.worst_case(captured) {
                capture.hint(sender.prepare(EncoderHint { loss, burst, bitrate }))?;
            }
        }
        let emit = &mut |packet| sent.push(packet);
        let result = capture.tick(captured, &mut Processors::default(), emit);
        result.map_err(|fault| Failure::call(fault.to_string()))?;
        for packet in sent.drain(..).map(|packet| sender.carry(packet)) {
            payload_bytes += packet.payload.len();
            link.send(captured, packet.payload.len(), packet);
        }
        while pacer.next() < captured + TICK {
            let now = pacer.next();
            while let Some((arrival, packet)) = link.receive(now) {
                playout.push(&0, received(packet, arrival));
            }
            if let Some(position) = playout.position(&0) {
                let age = (now - start).as_secs_f64() * 1_000.0 - f64::from(position.0) / TICKS_PER_MS;
                delays.push(((now - start).as_secs_f64(), age + lookahead.as_secs_f64() * 1_000.0));
            }
            for due in pacer.due(now) {
                if let Some(error) = playout.tick(due).sink_error {
                    return Err(error.into());
                }
            }
            playout.slew(&mut pacer);
            let statistics = playout.statistics(&0).unwrap_or_default();
            buffer.push(statistics.jitter_buffer_delay.as_secs_f64() * 1_000.0);
        }
        if tick % REPORTS == REPORTS - 1 {
            let statistics = playout.statistics(&0).unwrap_or_default();
            reports.insert(0, (captured + TICK + impairments.delay, statistics.path_quality_since(&reported)));
            reported = statistics;
        }
    }
    let cpu = cpu.elapsed();
    let statistics = playout.statistics(&0).unwrap_or_default();
    Ok(Outcome { heard: heard.take(), delays, buffer, statistics, payload_bytes, cpu, ticks: ticks + REST })
}

/// Redundancy between an encoder and the network.
struct Sender {
    red: Option<RedSender>,
    bitrate: u32,
    payload: Vec<u8>,
}

impl Sender {
    /// Network conditions for the encoder, adjusted for the redundancy that is sent.
    fn prepare(&mut self, hint: EncoderHint) -> EncoderHint {
        self.red.as_mut().map_or(hint, |red| red.hint(hint, self.bitrate))
    }

    /// Adds redundancy to a packet.
    fn carry(&mut self, packet: RtpOut) -> RtpOut {
        let Some(red) = &mut self.red else { return packet };
        red.pack(111, packet.timestamp, &packet.payload, &mut self.payload);
        RtpOut { codec: red.codec().clone(), payload: Bytes::copy_from_slice(&self.payload), ..packet }
    }
}

fn received(packet: RtpOut, arrival: Instant) -> RtpIn {
    RtpIn {
        mid: Mid::new("0"),
        payload_type: 111,
        codec: packet.codec,
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        marker: packet.marker,
        level: packet.level,
        payload: packet.payload,
        arrival,
    }
}

/// Gives samples, then silence.
struct Script {
    samples: Vec<f32>,
    at: usize,
}

impl AudioSource for Script {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        let left = &self.samples[self.at.min(self.samples.len())..];
        let samples = left.len().min(out.len());
        out[..samples].copy_from_slice(&left[..samples]);
        out[samples..].fill(0.0);
        self.at += out.len();
        Ok(ReadResult::new(out.len()))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}

/// Keeps what is played. Clones share it.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<f32>>>);

impl Heard {
    fn take(&self) -> Vec<f32> {
        std::mem::take(&mut self.0.lock().expect("the writer does not panic"))
    }
}

impl AudioSink for Heard {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        self.0.lock().expect("the reader does not panic").extend_from_slice(samples);
        Ok(samples.len())
    }

    fn queued(&self) -> usize {
        0
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
