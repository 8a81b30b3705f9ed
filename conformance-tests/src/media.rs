//! What every media host must do.
//!
//! Each function verifies one thing and panics with a sentence where the contract does not hold.
//! The author of a media host calls [`verify`] from a test of their own crate, with names of a
//! source, a sink and a source of video that can be opened wherever the test runs:
//!
//! ```no_run
//! # async fn test(mine: &dyn blink_api::MediaHost) {
//! use blink_conformance::media::{self, Names};
//! media::verify(mine, Names { source: Some("tone:440"), sink: Some("null"), video: None }).await;
//! # }
//! ```

use std::time::{Duration, Instant};

use blink_api::{AudioFormat, DeviceDirection, ErrorKind, MediaHost, OpenRequest, TrackKind, VideoFrame};

/// What an engine asks for.
const CALL: OpenRequest = OpenRequest::new(AudioFormat::CALL, Duration::from_millis(10));

/// What can be opened for a test; `None` for a kind that the host does not have.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// A source of sound.
    pub source: Option<&'a str>,
    /// A sink of sound.
    pub sink: Option<&'a str>,
    /// A source of video.
    pub video: Option<&'a str>,
}

/// Runs everything in this module.
pub async fn verify(host: &dyn MediaHost, names: Names<'_>) {
    capabilities_are_what_there_is(host, names).await;
    devices_are_listed(host).await;
    unknown_names_are_not_found(host).await;
    if let Some(name) = names.source {
        sources_give_samples_in_the_format_asked_for(host, name).await;
    }
    if let Some(name) = names.sink {
        sinks_take_samples_and_say_how_many(host, name).await;
    }
    if let Some(name) = names.video {
        video_begins_with_a_key_frame_and_goes_forward(host, name).await;
    }
}

/// What is declared is there, and what is not is refused as unsupported.
pub async fn capabilities_are_what_there_is(host: &dyn MediaHost, names: Names<'_>) {
    let declared = host.capabilities();
    for (what, declared, name) in [
        ("sources of sound", declared.audio_sources, names.source),
        ("sinks of sound", declared.audio_sinks, names.sink),
        ("sources of video", declared.video_sources, names.video),
    ] {
        assert_eq!(declared, name.is_some(), "{what} are declared if and only if the test has a name of one");
    }
    let refused = [
        (declared.audio_sources, host.open_audio_source("default", CALL).await.err()),
        (declared.audio_sinks, host.open_audio_sink("default", CALL).await.err()),
        (declared.video_sources, host.open_video_source("default").await.err()),
    ];
    for (_, error) in refused.into_iter().filter(|(declared, _)| !declared) {
        let error = error.expect("what is not declared cannot be opened");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    assert_eq!(declared.hotplug, host.changes().is_some(), "changes are reported if and only if that is declared");
}

/// Devices have names, each once in its direction and kind, of kinds that are declared, and at most
/// one default of each.
pub async fn devices_are_listed(host: &dyn MediaHost) {
    let devices = host.devices().await.expect("devices can be listed");
    let declared = host.capabilities();
    for (n, device) in devices.iter().enumerate() {
        assert!(!device.name.is_empty() && !device.summary.is_empty(), "{device:?} has a name and says what it is");
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

/// A name that is not there is not found, whatever is asked for.
pub async fn unknown_names_are_not_found(host: &dyn MediaHost) {
    const UNKNOWN: &str = "there is no device of this name";
    let declared = host.capabilities();
    let opened = [
        (declared.audio_sources, host.open_audio_source(UNKNOWN, CALL).await.err()),
        (declared.audio_sinks, host.open_audio_sink(UNKNOWN, CALL).await.err()),
        (declared.video_sources, host.open_video_source(UNKNOWN).await.err()),
    ];
    for (_, error) in opened.into_iter().filter(|(declared, _)| *declared) {
        let error = error.expect("a name that is not there cannot be opened");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

/// A source gives samples in the format asked for, at most as many as there is room for, and all of
/// them where it has no clock of its own.
pub async fn sources_give_samples_in_the_format_asked_for(host: &dyn MediaHost, name: &str) {
    for format in [AudioFormat::CALL, AudioFormat { sample_rate: 16_000, channels: 2 }] {
        let request = OpenRequest::new(format, CALL.period);
        let mut source = host.open_audio_source(name, request).await.expect("the source of the test can be opened");
        assert_eq!(source.format(), format, "a host converts to what was asked for");
        let mut out = vec![f32::NAN; format.samples_in(CALL.period)];
        for _ in 0..20 {
            let captured = source.read(&mut out).expect("the source gives sound");
            assert!(captured.samples <= out.len(), "no more than there is room for");
            assert!(captured.samples.is_multiple_of(format.channels.into()), "whole frames");
            let given = &out[..captured.samples];
            assert!(given.iter().all(|sample| (-1.0..=1.0).contains(sample)), "samples are between -1 and 1");
            if !host.capabilities().hardware_clock {
                assert_eq!(captured.samples, out.len(), "a source without a clock gives all that is asked for");
                assert_eq!(captured.at, None, "a source without a clock has no times");
            }
        }
        assert_eq!(source.read(&mut []).expect("nothing can be read").samples, 0);
    }
}

/// A sink takes samples in the format asked for, says how many, and can be finished more than once.
pub async fn sinks_take_samples_and_say_how_many(host: &dyn MediaHost, name: &str) {
    let mut sink = host.open_audio_sink(name, CALL).await.expect("the sink of the test can be opened");
    assert_eq!(sink.format(), AudioFormat::CALL, "a host converts from what was asked for");
    let sound = vec![0.1; AudioFormat::CALL.samples_in(CALL.period)];
    for _ in 0..20 {
        let taken = sink.write(&sound).expect("the sink takes sound");
        assert!(taken <= sound.len(), "no more than there was");
        if !host.capabilities().hardware_clock {
            assert_eq!(taken, sound.len(), "a sink without a clock takes all there is");
        }
    }
    sink.finish().expect("what was written is kept");
    sink.finish().expect("finishing again does nothing");
}

/// Video begins with a key frame, its times go forward and are not in the future, and a key frame
/// that is asked for comes.
pub async fn video_begins_with_a_key_frame_and_goes_forward(host: &dyn MediaHost, name: &str) {
    /// How far the clock of the test goes on at a time, and how long it runs.
    const STEP: Duration = Duration::from_millis(10);
    const STEPS: u32 = 1_000;
    let mut source = host.open_video_source(name).await.expect("the source of the test can be opened");
    let format = source.format();
    assert!(format.width > 0 && format.height > 0 && format.frame_rate > 0.0, "{format:?} is a size and a rate");
    let codec = source.codec();
    let (start, mut last, mut keys, mut frames) = (Instant::now(), None, 0, 0);
    for step in 0..STEPS {
        let now = start + STEP * step;
        while let Some(frame) = source.read_frame(now).expect("the source gives frames") {
            assert!(frame.at() <= now, "a frame is not of the future");
            let VideoFrame::Encoded(frame) = frame else {
                assert!(codec.is_none(), "a source with a codec gives encoded frames");
                frames += 1;
                continue;
            };
            assert!(codec.is_some(), "a source of encoded frames names their codec");
            assert!(frames > 0 || frame.key, "the first frame is a key frame");
            assert!(!frame.data.is_empty(), "a frame holds something");
            assert!(last.is_none_or(|last| frame.at > last), "times grow");
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
    assert!(codec.is_none() || keys > 0, "a key frame was asked for, and none came");
    assert_eq!(source.codec(), codec, "the codec does not change");
}
