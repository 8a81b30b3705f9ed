//! Conformance tests of the media hosts, and of faulty ones: each must be detected by the case that
//! is about its fault.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::macros::async_trait;
use blink_api::{
    AudioFormat, AudioSink, AudioSource, Configuration, Context, DeviceChange, DeviceInfo, MediaCapabilities,
    MediaHost, OpenRequest, ReadResult, Registry, Result, RtpCodec, SystemClock, VideoFormat, VideoFrame, VideoSource,
};
use blink_conformance::media::{self, Names};
use blink_media_synthetic as _;
use tokio::sync::broadcast;

#[tokio::test]
async fn synthetic_sources_and_sinks_fulfil_the_contract() {
    let registry = Registry::discovered().unwrap();
    let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
    let configuration = Configuration::builder(&registry).build().unwrap();
    let host = registry.entry::<dyn MediaHost>("synthetic").unwrap().create(&configuration, &context).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = format!("wav:{}", directory.path().join("heard.wav").display());
    for (source, sink, video) in
        [("tone:440", "null", "clip:vp8"), ("speech", file.as_str(), "clip:h264"), ("silence", "null", "clip:vp8")]
    {
        media::verify(&*host, Names { source: Some(source), sink: Some(sink), video: Some(video) }).await;
    }
}

/// Fault of a media host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Declares changes of devices, and reports none.
    ClaimsHotplug,
    /// Lists every device twice.
    ListsTwice,
    /// Opens silence for an unknown name.
    OpensEverything,
    /// Fills half of the buffer without a clock of its own.
    ReadsHalf,
    /// Samples beyond full scale.
    Overdrives,
    /// Takes half of the samples without a clock of its own.
    TakesHalf,
    /// Drops the first key frame.
    BeginsWithoutKey,
    /// All frames have the time of the first one.
    TimesStandStill,
}

const FAULTS: [(Fault, &str); 8] = [
    (Fault::ClaimsHotplug, "capabilities_match_the_devices"),
    (Fault::ListsTwice, "devices_are_listed"),
    (Fault::OpensEverything, "unknown_names_are_not_found"),
    (Fault::ReadsHalf, "sources_produce_samples_in_the_requested_format"),
    (Fault::Overdrives, "sources_produce_samples_in_the_requested_format"),
    (Fault::TakesHalf, "sinks_report_the_samples_they_consume"),
    (Fault::BeginsWithoutKey, "video_begins_with_a_key_frame_and_times_increase"),
    (Fault::TimesStandStill, "video_begins_with_a_key_frame_and_times_increase"),
];

/// The host `synthetic` with a fault.
struct FaultyHost {
    fault: Fault,
    host: Arc<dyn MediaHost>,
}

struct FaultySource(Fault, Box<dyn AudioSource>);

struct FaultySink(Fault, Box<dyn AudioSink>);

struct FaultyVideo {
    fault: Fault,
    source: Box<dyn VideoSource>,
    first: Option<Instant>,
}

#[async_trait]
impl MediaHost for FaultyHost {
    fn capabilities(&self) -> MediaCapabilities {
        let capabilities = self.host.capabilities();
        MediaCapabilities { hotplug: capabilities.hotplug || self.fault == Fault::ClaimsHotplug, ..capabilities }
    }

    async fn devices(&self) -> Result<Vec<DeviceInfo>> {
        let mut devices = self.host.devices().await?;
        if self.fault == Fault::ListsTwice {
            devices.extend(devices.clone());
        }
        Ok(devices)
    }

    async fn open_audio_source(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSource>> {
        let source = match self.host.open_audio_source(name, request).await {
            Err(_) if self.fault == Fault::OpensEverything => self.host.open_audio_source("silence", request).await?,
            result => result?,
        };
        Ok(Box::new(FaultySource(self.fault, source)))
    }

    async fn open_video_source(&self, name: &str) -> Result<Box<dyn VideoSource>> {
        let source = self.host.open_video_source(name).await?;
        Ok(Box::new(FaultyVideo { fault: self.fault, source, first: None }))
    }

    async fn open_audio_sink(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSink>> {
        Ok(Box::new(FaultySink(self.fault, self.host.open_audio_sink(name, request).await?)))
    }

    fn changes(&self) -> Option<broadcast::Receiver<DeviceChange>> {
        self.host.changes()
    }
}

impl AudioSource for FaultySource {
    fn format(&self) -> AudioFormat {
        self.1.format()
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        if self.0 == Fault::ReadsHalf {
            let half = out.len() / 2;
            return self.1.read(&mut out[..half]);
        }
        let result = self.1.read(out);
        if self.0 == Fault::Overdrives {
            out.iter_mut().for_each(|sample| *sample *= 100.0);
        }
        result
    }

    fn latency(&self) -> Duration {
        self.1.latency()
    }
}

impl AudioSink for FaultySink {
    fn format(&self) -> AudioFormat {
        self.1.format()
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        let taken = if self.0 == Fault::TakesHalf { samples.len() / 2 } else { samples.len() };
        self.1.write(&samples[..taken])
    }

    fn queued(&self) -> usize {
        self.1.queued()
    }

    fn latency(&self) -> Duration {
        self.1.latency()
    }

    fn finish(&mut self) -> Result<()> {
        self.1.finish()
    }
}

impl VideoSource for FaultyVideo {
    fn format(&self) -> VideoFormat {
        self.source.format()
    }

    fn codec(&self) -> Option<RtpCodec> {
        self.source.codec()
    }

    fn read_frame(&mut self, now: Instant) -> Result<Option<VideoFrame>> {
        let Some(VideoFrame::Encoded(mut frame)) = self.source.read_frame(now)? else { return Ok(None) };
        let first = self.first.replace(self.first.unwrap_or(frame.at));
        match (self.fault, first) {
            (Fault::BeginsWithoutKey, None) => return Ok(None),
            (Fault::TimesStandStill, Some(first)) => frame.at = first,
            _ => {}
        }
        Ok(Some(VideoFrame::Encoded(frame)))
    }

    fn request_keyframe(&mut self) {
        self.source.request_keyframe();
    }
}

/// Each fault fails the case that is about it, with the clause of the contract.
#[test]
fn faulty_media_hosts_are_detected_by_the_matching_case() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let registry = Registry::discovered().unwrap();
    let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
    let configuration = Configuration::builder(&registry).build().unwrap();
    let entry = registry.entry::<dyn MediaHost>("synthetic").unwrap();
    let host = runtime.block_on(entry.create(&configuration, &context)).unwrap();
    let verify = |fault: Fault| {
        let faulty = FaultyHost { fault, host: host.clone() };
        let names = Names { source: Some("tone:440"), sink: Some("null"), video: Some("clip:vp8") };
        catch_unwind(AssertUnwindSafe(|| runtime.block_on(media::verify(&faulty, names))))
    };
    verify(Fault::None).expect("the wrapper adds no fault of its own");
    for (fault, case) in FAULTS {
        let cause = verify(fault).expect_err(case);
        let text = cause.downcast_ref::<String>().unwrap();
        assert!(text.contains(&format!("case:     {case}\n  contract: ")), "{fault:?}: {text}");
    }
}
