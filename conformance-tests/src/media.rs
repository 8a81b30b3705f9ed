//! Conformance tests for media hosts.
//!
//! Each function verifies one property, and panics with a sentence that names it. The author of a
//! media host calls [`verify`] from a test of their own crate, with names of an audio source, an
//! audio sink and a video source that can be opened wherever the test runs:
//!
//! ```no_run
//! # async fn test(mine: &dyn blink_api::MediaHost) {
//! use blink_conformance::media::{self, Names};
//! media::verify(mine, Names { source: Some("tone:440"), sink: Some("null"), video: None }).await;
//! # }
//! ```

use std::time::{Duration, Instant};

use crate::clause::Clause;
use blink_api::{AudioFormat, DeviceDirection, ErrorKind, MediaHost, OpenRequest, TrackKind, VideoFrame};

/// Request of an engine.
const CALL: OpenRequest = OpenRequest::new(AudioFormat::CALL, Duration::from_millis(10));

/// Devices to open in the test; `None` for a kind that the host does not have.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// An audio source.
    pub source: Option<&'a str>,
    /// An audio sink.
    pub sink: Option<&'a str>,
    /// A video source.
    pub video: Option<&'a str>,
}

/// Runs all tests of this module.
pub async fn verify(host: &dyn MediaHost, names: Names<'_>) {
    Clause("capabilities_match_the_devices", "MediaCapabilities: what is not declared is refused with Unsupported")
        .verify_async(capabilities_match_the_devices(host, names))
        .await;
    Clause("devices_are_listed", "MediaHost::devices: unique names of declared kinds, one default of each")
        .verify_async(devices_are_listed(host))
        .await;
    Clause(
        "unknown_names_are_not_found",
        "MediaHost::open_audio_source, open_audio_sink and open_video_source: NotFound",
    )
    .verify_async(unknown_names_are_not_found(host))
    .await;
    if let Some(name) = names.source {
        Clause(
            "sources_produce_samples_in_the_requested_format",
            "AudioSource::read: the requested format, at most the buffer, all of it without a clock of its own",
        )
        .verify_async(sources_produce_samples_in_the_requested_format(host, name))
        .await;
    }
    if let Some(name) = names.sink {
        Clause("sinks_report_the_samples_they_consume", "AudioSink::write: the number of samples taken")
            .verify_async(sinks_report_the_samples_they_consume(host, name))
            .await;
    }
    if let Some(name) = names.video {
        Clause(
            "video_begins_with_a_key_frame_and_times_increase",
            "VideoSource::read_frame: a key frame first, increasing times",
        )
        .verify_async(video_begins_with_a_key_frame_and_times_increase(host, name))
        .await;
    }
}

/// Declared kinds can be opened, and others are refused as unsupported.
pub async fn capabilities_match_the_devices(host: &dyn MediaHost, names: Names<'_>) {
    let declared = host.capabilities();
    for (what, declared, name) in [
        ("audio sources", declared.audio_sources, names.source),
        ("audio sinks", declared.audio_sinks, names.sink),
        ("video sources", declared.video_sources, names.video),
    ] {
        assert_eq!(declared, name.is_some(), "{what} are declared if and only if the test has a name of one");
    }
    let refused = [
        (declared.audio_sources, host.open_audio_source("default", CALL).await.err()),
        (declared.audio_sinks, host.open_audio_sink("default", CALL).await.err()),
        (declared.video_sources, host.open_video_source("default").await.err()),
    ];
    for (_, error) in refused.into_iter().filter(|(declared, _)| !declared) {
        let error = error.expect("a kind that is not declared cannot be opened");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    assert_eq!(declared.hotplug, host.changes().is_some(), "changes are reported if and only if hotplug is declared");
}

/// Devices have names that are unique per direction and kind, are of declared kinds, and include at
/// most one default of each.
pub async fn devices_are_listed(host: &dyn MediaHost) {
    let devices = host.devices().await.expect("devices can be listed");
    let declared = host.capabilities();
    for (n, device) in devices.iter().enumerate() {
        assert!(!device.name.is_empty() && !device.summary.is_empty(), "{device:?} has a name and a summary");
        let kind = (device.direction, device.kind);
        let has = match kind {
            (DeviceDirection::Source, TrackKind::Audio) => declared.audio_sources,
            (DeviceDirection::Sink, TrackKind::Audio) => declared.audio_sinks,
            (DeviceDirection::Source, TrackKind::Video) => declared.video_sources,
            (DeviceDirection::Sink, TrackKind::Video) => false,
        };
        assert!(has, "{device:?} is of a kind that is not declared");
        let others = || devices[..n].iter().filter(|other| (other.direction, other.kind) == kind);
        assert!(others().all(|other| other.name != device.name), "{} is listed twice", device.name);
        assert!(!device.is_default || others().all(|other| !other.is_default), "there is one default of a kind");
    }
}

/// Opening an unknown name fails with `NotFound`, for every kind.
pub async fn unknown_names_are_not_found(host: &dyn MediaHost) {
    const UNKNOWN: &str = "no-such-device";
    let declared = host.capabilities();
    let opened = [
        (declared.audio_sources, host.open_audio_source(UNKNOWN, CALL).await.err()),
        (declared.audio_sinks, host.open_audio_sink(UNKNOWN, CALL).await.err()),
        (declared.video_sources, host.open_video_source(UNKNOWN).await.err()),
    ];
    for (_, error) in opened.into_iter().filter(|(declared, _)| *declared) {
        let error = error.expect("an unknown name cannot be opened");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

/// A source produces samples in the requested format, at most as many as the buffer holds, and
/// fills it if it has no clock of its own.
pub async fn sources_produce_samples_in_the_requested_format(host: &dyn MediaHost, name: &str) {
    for format in [AudioFormat::CALL, AudioFormat { sample_rate: 16_000, channels: 2 }] {
        let request = OpenRequest::new(format, CALL.period);
        let mut source = host.open_audio_source(name, request).await.expect("the source of the test can be opened");
        assert_eq!(source.format(), format, "a host converts to the requested format");
        let mut out = vec![f32::NAN; format.samples_in(CALL.period)];
        for _ in 0..20 {
            let captured = source.read(&mut out).expect("the source can be read");
            assert!(captured.samples <= out.len(), "at most the buffer is filled");
            assert!(captured.samples.is_multiple_of(format.channels.into()), "whole frames");
            let captured_samples = &out[..captured.samples];
            assert!(
                captured_samples.iter().all(|sample| (-1.0..=1.0).contains(sample)),
                "samples are between -1 and 1"
            );
            if !host.capabilities().hardware_clock {
                assert_eq!(captured.samples, out.len(), "a source without a clock fills the buffer");
                assert_eq!(captured.at, None, "a source without a clock has no times");
            }
        }
        assert_eq!(source.read(&mut []).expect("nothing can be read").samples, 0);
    }
}

/// A sink consumes samples in the requested format, reports how many, and can be finished
/// repeatedly.
pub async fn sinks_report_the_samples_they_consume(host: &dyn MediaHost, name: &str) {
    let mut sink = host.open_audio_sink(name, CALL).await.expect("the sink of the test can be opened");
    assert_eq!(sink.format(), AudioFormat::CALL, "a host converts from the requested format");
    let audio = vec![0.1; AudioFormat::CALL.samples_in(CALL.period)];
    for _ in 0..20 {
        let taken = sink.write(&audio).expect("the sink can be written");
        assert!(taken <= audio.len(), "at most the input is consumed");
        if !host.capabilities().hardware_clock {
            assert_eq!(taken, audio.len(), "a sink without a clock consumes the input");
        }
    }
    sink.finish().expect("the sink can be finished");
    sink.finish().expect("finishing again has no effect");
}

/// Video begins with a key frame, has increasing times that are not in the future, and produces a
/// requested key frame.
pub async fn video_begins_with_a_key_frame_and_times_increase(host: &dyn MediaHost, name: &str) {
    /// Step of the test's clock, and number of steps.
    const STEP: Duration = Duration::from_millis(10);
    const STEPS: u32 = 1_000;
    let mut source = host.open_video_source(name).await.expect("the source of the test can be opened");
    let format = source.format();
    assert!(format.width > 0 && format.height > 0 && format.frame_rate > 0.0, "{format:?} is a size and a rate");
    let codec = source.codec();
    let (start, mut last, mut keys, mut frames) = (Instant::now(), None, 0, 0);
    for step in 0..STEPS {
        let now = start + STEP * step;
        while let Some(frame) = source.read_frame(now).expect("the source can be read") {
            assert!(frame.at() <= now, "the time of a frame is not in the future");
            let VideoFrame::Encoded(frame) = frame else {
                assert!(codec.is_none(), "a source with a codec produces encoded frames");
                frames += 1;
                continue;
            };
            assert!(codec.is_some(), "a source of encoded frames declares their codec");
            assert!(frames > 0 || frame.key, "the first frame is a key frame");
            assert!(!frame.data.is_empty(), "a frame is not empty");
            assert!(last.is_none_or(|last| frame.at > last), "times increase");
            last = Some(frame.at);
            frames += 1;
            keys += u32::from(frame.key);
        }
        if step == STEPS / 2 {
            keys = 0;
            source.request_keyframe();
        }
    }
    assert!(frames > 10, "{frames} frames came in 10 s");
    assert!(codec.is_none() || keys > 0, "no key frame followed a request");
    assert_eq!(source.codec(), codec, "the codec does not change");
}
