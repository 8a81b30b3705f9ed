//! `blink bench recording`: CPU time per recorded participant.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use blink_api::{
    AudioCodec, AudioEncoderConfig, AudioFormat, CallTime, Configuration, Context, DeviceId, Did, Endpoint, Entry,
    RecordedTrack, Recorder, RecordingConfig, RecordingId, Registry, RtpSample, RtpTime, Sample, SystemClock,
    TrackFormat, TrackKey,
};
use serde::Serialize;

use super::cpu::CpuTime;
use crate::args::{BenchRecordingArguments, Global};
use crate::configuration;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Duration of a packet, and packets between two ticks.
const FRAME: Duration = Duration::from_millis(20);
const FRAMES_PER_TICK: u32 = 5;
/// Different packets of a participant, which repeat.
const PACKETS: usize = 100;
/// The codec that is recorded without decoding.
const CODEC: &str = "opus";

/// Last line of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    participants: u8,
    /// Recorded seconds of each.
    seconds: u64,
    recorders: Vec<Measured>,
}

/// Measurement of one recorder.
#[derive(Debug, Serialize)]
struct Measured {
    recorder: &'static str,
    /// CPU time per participant in percent of a core, writing to the file system included.
    cpu_percent_per_participant: f64,
    /// Size of all files per participant and hour.
    bytes_per_participant_hour: f64,
}

/// Audio of all participants: packets of the codec, and the samples that they were made of.
struct Material {
    format: TrackFormat,
    codec: blink_api::CodecName,
    packets: Vec<Vec<u8>>,
    samples: Vec<Vec<f32>>,
}

/// Measures all registered recorders, or those named.
pub(super) async fn run(
    arguments: &BenchRecordingArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    if !(1..=64).contains(&arguments.participants) {
        return Err(Failure::input("--participants is 1 to 64"));
    }
    if !(1..=36_000).contains(&arguments.seconds) {
        return Err(Failure::input("--seconds is 1 to 36000"));
    }
    let registry = Registry::discovered()?;
    let configuration = configuration::options(configuration::base(&registry, global), global).build()?;
    let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
    let codec = registry.entry::<dyn AudioCodec>(CODEC)?.create(&configuration, &context).await?;
    let material = Arc::new(material(&*codec)?);
    let mut recorders = Vec::new();
    for entry in chosen(&registry, &configuration)? {
        output.waiting(format!("recording {} s with {}", arguments.seconds, entry.name));
        let recorder = entry.create(&configuration, &context).await?;
        let (material, participants, seconds) = (material.clone(), arguments.participants, arguments.seconds);
        let measured =
            tokio::task::spawn_blocking(move || measure(entry.name, &*recorder, &material, participants, seconds));
        let measured = tokio::select! {
            measured = measured => measured.map_err(|error| Failure::call(error.to_string()))?,
            () = interrupt.wait() => return Err(Failure::interrupted()),
        };
        recorders.push(measured?);
    }
    output.waited();
    let report = Report { participants: arguments.participants, seconds: arguments.seconds, recorders };
    output.table(&table(&report));
    output.json_result(&report);
    Ok(())
}

/// The configured recorders; all that are registered if there are none.
fn chosen(
    registry: &Registry,
    configuration: &Configuration,
) -> Result<Vec<&'static Entry<dyn Recorder>>, blink_api::Error> {
    let names = &configuration.settings().recorders;
    if names.is_empty() {
        return Ok(registry.entries::<dyn Recorder>().collect());
    }
    names.iter().map(|name| registry.entry::<dyn Recorder>(name)).collect()
}

/// Encodes a tone that rises and falls.
fn material(codec: &dyn AudioCodec) -> Result<Material, blink_api::Error> {
    let config = AudioEncoderConfig { format: AudioFormat::CALL, frame: FRAME, bitrate: None };
    let mut encoder = codec.encoder(config)?;
    let rate = f64::from(AudioFormat::CALL.sample_rate);
    let mut phase = 0.0f64;
    let (mut packets, mut samples) = (Vec::new(), Vec::new());
    for number in 0..PACKETS {
        let hertz = 200.0 + 20.0 * (number.min(PACKETS - number) as f64);
        let frame: Vec<f32> = (0..encoder.frame_samples())
            .map(|_| {
                phase += std::f64::consts::TAU * hertz / rate;
                (0.3 * phase.sin()) as f32
            })
            .collect();
        let mut packet = Vec::new();
        encoder.encode(&frame, &mut packet)?;
        packets.push(packet);
        samples.push(frame);
    }
    let rtp = codec.rtp();
    Ok(Material { codec: rtp.name.clone(), format: TrackFormat::Encoded(rtp), packets, samples })
}

/// Records into a temporary directory, in as little time as it takes.
fn measure(
    name: &'static str,
    recorder: &dyn Recorder,
    material: &Material,
    participants: u8,
    seconds: u64,
) -> Result<Measured, blink_api::Error> {
    let directory = tempfile::tempdir().map_err(|source| {
        blink_api::Error::new(blink_api::ErrorKind::Io, "a temporary directory cannot be created").source(source)
    })?;
    let cpu = CpuTime::start();
    let bytes = record(recorder, directory.path(), material, participants, seconds)?;
    let shares = f64::from(participants) * seconds as f64;
    Ok(Measured {
        recorder: name,
        cpu_percent_per_participant: 100.0 * cpu.elapsed().as_secs_f64() / shares,
        bytes_per_participant_hour: bytes as f64 * 3_600.0 / shares,
    })
}

fn record(
    recorder: &dyn Recorder,
    directory: &Path,
    material: &Material,
    participants: u8,
    seconds: u64,
) -> Result<u64, blink_api::Error> {
    let mut config = RecordingConfig::new(RecordingId::from_bytes([1; 16]), directory);
    config.begin = Some(CallTime::default());
    let mut recording = recorder.start(config)?;
    let samples = recorder.capabilities().samples;
    let format = if samples { TrackFormat::Samples(AudioFormat::CALL) } else { material.format.clone() };
    let keys: Vec<TrackKey> = (0..participants)
        .map(|number| {
            let (did, device) = (Did::from_public_key([number; 32]), DeviceId::from_random([number; 16]));
            TrackKey::microphone(Endpoint { did, device })
        })
        .collect();
    for key in &keys {
        recording.add_track(RecordedTrack::new(*key, format.clone()))?;
    }
    let frames = u32::try_from(seconds * 1_000 / FRAME.as_millis() as u64).unwrap_or(u32::MAX);
    for frame in 0..frames {
        let (at, index) = (CallTime(FRAME * frame), frame as usize % PACKETS);
        let timestamp = RtpTime(frame.wrapping_mul(material.samples[index].len() as u32));
        for key in &keys {
            let sample = if samples {
                Sample::Audio { timestamp, samples: &material.samples[index] }
            } else {
                let packet = RtpSample::new(&material.codec, frame as u16, timestamp, &material.packets[index]);
                Sample::Rtp(packet.header(111, false).arrived(at, None))
            };
            recording.push(key, at, sample)?;
        }
        if frame.is_multiple_of(FRAMES_PER_TICK) {
            recording.tick(at)?;
        }
    }
    Ok(recording.finish()?.bytes)
}

fn table(report: &Report) -> String {
    let mut table = String::from("recorder   CPU per participant   size per participant-hour\n");
    for measured in &report.recorders {
        table += &format!(
            "{:<9}  {:>17.4} %  {:>22.1} MB\n",
            measured.recorder,
            measured.cpu_percent_per_participant,
            measured.bytes_per_participant_hour / 1e6
        );
    }
    table
}
