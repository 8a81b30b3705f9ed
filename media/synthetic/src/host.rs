//! Media host: opens sources and sinks by name.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use blink_api::macros::async_trait;
use blink_api::{
    AudioFormat, AudioSink, AudioSource, DeviceChange, DeviceDirection, DeviceInfo, Error, ErrorKind,
    MediaCapabilities, MediaHost, OpenRequest, Result, TrackKind, VideoSource, expand_path,
};
use tokio::sync::broadcast;

use crate::audio_clip::AudioClip;
use crate::generators::{Noise, Silence, Tone};
use crate::null_sink::NullSink;
use crate::video::EncodedClip;
use crate::video_source::ClipSource;
use crate::wav_sink::{WrittenFiles, numbered};
use crate::{CLIPS, NAME, SyntheticConfig, speech, wav};

pub(crate) const CAPABILITIES: MediaCapabilities =
    MediaCapabilities { audio_sources: true, audio_sinks: true, video_sources: true, ..MediaCapabilities::NONE };

const SOURCES: [(&str, &str); 6] = [
    ("silence", "silence"),
    ("speech", "recorded speech, looped"),
    ("speech:N", "recorded speech, looped, starting with clip N (0 to 4)"),
    ("wav:PATH", "a WAV file, then silence"),
    ("tone:HZ", "a sine tone"),
    ("noise:SEED", "white noise, reproducible by its seed"),
];

const VIDEO: [(&str, &str); 3] = [
    ("clip:vp8", "a test pattern with a counter in VP8, looped"),
    ("clip:h264", "the same in H.264"),
    ("clip:PATH", "a VP8 (.ivf) or H.264 (.h264, .264) file, looped"),
];

const SINKS: [(&str, &str); 2] = [
    ("null", "discards all audio"),
    ("wav:PATH", "a WAV file of 16-bit PCM; {n} in PATH numbers files, and further ones of a name get -2, -3 …"),
];

/// Media host that opens files and generators by name.
///
/// Audio sources are `silence`, `speech`, `speech:N`, `wav:PATH`, `tone:HZ` and `noise:SEED`; video
/// sources `clip:vp8`, `clip:h264` and `clip:PATH`; sinks `null` and `wav:PATH`. The first of each
/// kind is `default`.
#[derive(Debug, Clone)]
pub struct SyntheticHost {
    config: SyntheticConfig,
    /// Files that its sinks wrote: a device that is opened again goes on in another file.
    written: Arc<Mutex<WrittenFiles>>,
}

impl SyntheticHost {
    /// Creates the host.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for values out of range, with the key.
    pub fn new(config: SyntheticConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config, written: Arc::default() })
    }

    fn source(&self, name: &str, format: AudioFormat) -> Result<Box<dyn AudioSource>> {
        check(format)?;
        let amplitude = self.config.amplitude();
        let (kind, argument) = split_name(name);
        Ok(match (kind, argument) {
            ("default" | "silence", None) => Box::new(Silence::new(format)),
            ("tone", Some(hertz)) => Box::new(Tone::new(format, frequency(name, hertz, format)?, amplitude)),
            ("noise", Some(seed)) => Box::new(Noise::new(format, number(name, seed)?, amplitude)),
            ("wav", Some(path)) => Box::new(self.file(path, format)?),
            ("speech", None) => Box::new(AudioClip::looping(format, speech::at(0, format))),
            ("speech", Some(first)) => {
                let first = usize::try_from(number(name, first)?).ok().filter(|first| *first < CLIPS);
                let first = first.ok_or_else(|| unknown(name, "the speech clips are 0 to 4"))?;
                Box::new(AudioClip::looping(format, speech::at(first, format)))
            }
            _ => {
                return Err(unknown(
                    name,
                    "no such source; available: silence, speech[:N], wav:PATH, tone:HZ, noise:SEED",
                ));
            }
        })
    }

    fn video(&self, name: &str) -> Result<Box<dyn VideoSource>> {
        let clip = match split_name(name) {
            ("default", None) | ("clip", Some("vp8")) => EncodedClip::vp8(),
            ("clip", Some("h264")) => EncodedClip::h264(),
            ("clip", Some(path)) => EncodedClip::read(&path_argument(path)?, self.config.longest_file),
            _ => Err(unknown(name, "no such video source; available: clip:vp8, clip:h264, clip:PATH")),
        };
        Ok(Box::new(ClipSource::new(clip?)))
    }

    fn file(&self, path: &str, format: AudioFormat) -> Result<AudioClip> {
        let pcm = wav::read_up_to(&path_argument(path)?, self.config.longest_file)?;
        Ok(AudioClip::once(format, Arc::from(pcm.into_format(format))))
    }

    fn sink(&self, name: &str, format: AudioFormat) -> Result<Box<dyn AudioSink>> {
        check(format)?;
        match split_name(name) {
            ("default" | "null", None) => Ok(Box::new(NullSink::new(format))),
            ("wav", Some(path)) => {
                let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(Box::new(written.create(numbered(&path_argument(path)?), format)?))
            }
            _ => Err(unknown(name, "no such sink; available: null, wav:PATH")),
        }
    }
}

#[async_trait]
impl MediaHost for SyntheticHost {
    fn capabilities(&self) -> MediaCapabilities {
        CAPABILITIES
    }

    async fn devices(&self) -> Result<Vec<DeviceInfo>> {
        let list = |devices: &'static [(&str, &str)], direction, kind| {
            devices.iter().enumerate().map(move |(n, (name, summary))| {
                let mut device = DeviceInfo::new(*name, *summary, direction, kind);
                device.is_default = n == 0;
                device
            })
        };
        Ok(list(&SOURCES, DeviceDirection::Source, TrackKind::Audio)
            .chain(list(&SINKS, DeviceDirection::Sink, TrackKind::Audio))
            .chain(list(&VIDEO, DeviceDirection::Source, TrackKind::Video))
            .collect())
    }

    async fn check(&self, name: &str, direction: DeviceDirection) -> Result<()> {
        match (split_name(name), direction) {
            (("wav", Some(path)), DeviceDirection::Source) => {
                let path = path_argument(path)?;
                wav::check(&path, self.config.longest_file).map_err(|error| error.backend(NAME).operation("check"))
            }
            _ => Ok(()),
        }
    }

    /// Reads and converts files completely, so that reading from the source never blocks.
    async fn open_audio_source(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSource>> {
        self.source(name, request.format).map_err(|error| error.backend(NAME).operation("open_audio_source"))
    }

    /// Reads files completely, so that reading from the source never blocks.
    async fn open_video_source(&self, name: &str) -> Result<Box<dyn VideoSource>> {
        self.video(name).map_err(|error| error.backend(NAME).operation("open_video_source"))
    }

    async fn open_audio_sink(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSink>> {
        self.sink(name, request.format).map_err(|error| error.backend(NAME).operation("open_audio_sink"))
    }

    fn changes(&self) -> Option<broadcast::Receiver<DeviceChange>> {
        None
    }
}

/// Splits a name into `kind` and the argument after a colon, which may be empty.
fn split_name(name: &str) -> (&str, Option<&str>) {
    name.split_once(':').map_or((name, None), |(kind, argument)| (kind, Some(argument)))
}

/// Path after a colon, where the shell does not expand `~/`. An empty one is refused when it is
/// opened.
fn path_argument(path: &str) -> Result<PathBuf> {
    if path.is_empty() { Ok(PathBuf::new()) } else { expand_path(path) }
}

fn check(format: AudioFormat) -> Result<()> {
    if wav::RATES.contains(&format.sample_rate) && matches!(format.channels, 1 | 2) {
        return Ok(());
    }
    let format = format!("{} Hz, {} channels", format.sample_rate, format.channels);
    Err(Error::new(ErrorKind::Invalid, "the format must have 8 to 192 kHz and one or two channels")
        .with("format", format))
}

fn frequency(name: &str, text: &str, format: AudioFormat) -> Result<f64> {
    let highest = f64::from(format.sample_rate) / 2.0;
    let hertz = text.parse().ok().filter(|hertz| (1.0..highest).contains(hertz));
    hertz.ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "a tone must be 1 Hz to half the sample rate")
            .with("name", name)
            .with("below", highest)
    })
}

fn number(name: &str, text: &str) -> Result<u64> {
    text.parse()
        .map_err(|_| Error::new(ErrorKind::Invalid, "expected a whole number after the colon").with("name", name))
}

fn unknown(name: &str, why: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, why).with("name", name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn host() -> SyntheticHost {
        SyntheticHost::new(SyntheticConfig::default()).unwrap()
    }

    fn request(sample_rate: u32, channels: u16) -> OpenRequest {
        OpenRequest::new(AudioFormat { sample_rate, channels }, Duration::from_millis(10))
    }

    #[tokio::test]
    async fn every_source_fills_reads_in_the_requested_format() {
        for name in ["default", "silence", "tone:440", "tone:997.5", "noise:7", "speech", "speech:0", "speech:4"] {
            for (rate, channels) in [(8_000, 1), (44_100, 2), (48_000, 1), (48_000, 2)] {
                let mut source = host().open_audio_source(name, request(rate, channels)).await.unwrap();
                assert_eq!(source.format(), request(rate, channels).format);
                let mut out = vec![9.0; 480 * usize::from(channels)];
                for _ in 0..200 {
                    let captured = source.read(&mut out).unwrap();
                    assert_eq!((captured.samples, captured.at), (out.len(), None), "{name}");
                    assert!(out.iter().all(|sample| sample.abs() <= 1.0), "{name}");
                }
                assert_eq!(source.latency(), Duration::ZERO);
            }
        }
    }

    #[tokio::test]
    async fn unknown_names_are_refused_in_one_line() {
        for (name, kind) in [
            ("", ErrorKind::NotFound),
            ("hw:0", ErrorKind::NotFound),
            ("silence:1", ErrorKind::NotFound),
            ("tone", ErrorKind::NotFound),
            ("speech:5", ErrorKind::NotFound),
            ("wav:/no/such/file.wav", ErrorKind::NotFound),
            ("tone:", ErrorKind::Invalid),
            ("tone:abc", ErrorKind::Invalid),
            ("tone:NaN", ErrorKind::Invalid),
            ("tone:-3", ErrorKind::Invalid),
            ("tone:24000", ErrorKind::Invalid),
            ("noise:-1", ErrorKind::Invalid),
            ("noise:", ErrorKind::Invalid),
            ("speech:x", ErrorKind::Invalid),
            ("speech:99999999999999999999", ErrorKind::Invalid),
            ("wav:", ErrorKind::Invalid),
            ("wav:~nobody/x.wav", ErrorKind::Invalid),
        ] {
            let error = host().open_audio_source(name, request(48_000, 1)).await.err().unwrap();
            assert_eq!(error.kind(), kind, "{name}: {error}");
            let named = name.strip_prefix("wav:").unwrap_or(name);
            assert!(!error.to_string().contains('\n') && error.to_string().contains(named), "{error}");
        }
        for name in ["", "tone:440", "wav", "null:1", "silence"] {
            let error = host().open_audio_sink(name, request(48_000, 1)).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{name}: {error}");
        }
    }

    #[tokio::test]
    async fn unsupported_formats_are_refused() {
        for (rate, channels) in [(0, 1), (7_999, 1), (192_001, 1), (48_000, 0), (48_000, 3)] {
            let host = host();
            for error in [
                host.open_audio_source("silence", request(rate, channels)).await.err().unwrap(),
                host.open_audio_sink("null", request(rate, channels)).await.err().unwrap(),
            ] {
                assert_eq!(error.kind(), ErrorKind::Invalid);
            }
        }
    }

    #[tokio::test]
    async fn the_device_list_has_one_default_per_kind() {
        let devices = host().devices().await.unwrap();
        let defaults: Vec<_> = devices.iter().filter(|device| device.is_default).map(|device| &*device.name).collect();
        assert_eq!(defaults, ["silence", "null", "clip:vp8"]);
        let video = devices.iter().filter(|device| device.kind == TrackKind::Video);
        assert_eq!(video.map(|device| &*device.name).collect::<Vec<_>>(), ["clip:vp8", "clip:h264", "clip:PATH"]);
        assert!(host().changes().is_none());
    }

    #[tokio::test]
    async fn video_is_opened_by_name_and_unknown_names_are_refused() {
        for (name, codec) in [("default", "VP8"), ("clip:vp8", "VP8"), ("clip:h264", "H264")] {
            let mut video = host().open_video_source(name).await.unwrap();
            let named = video.codec().expect("clips are encoded");
            assert_eq!((named.name.as_str(), named.clock_rate), (codec, 90_000));
            let first = video.read_frame(Instant::now()).unwrap().unwrap();
            assert!(first.into_encoded().is_some_and(|frame| frame.key));
        }
        for (name, kind) in [
            ("silence", ErrorKind::NotFound),
            ("clip", ErrorKind::NotFound),
            ("clip:", ErrorKind::Invalid),
            ("clip:a.mp4", ErrorKind::Invalid),
            ("clip:/no/such/file.ivf", ErrorKind::NotFound),
        ] {
            let error = host().open_video_source(name).await.err().unwrap();
            assert_eq!(error.kind(), kind, "{name}: {error}");
            let named = name.strip_prefix("clip:").unwrap_or(name);
            assert!(!error.to_string().contains('\n') && error.to_string().contains(named), "{error}");
        }
        assert_eq!(
            host().open_audio_source("clip:vp8", request(48_000, 1)).await.err().unwrap().kind(),
            ErrorKind::NotFound
        );
    }

    /// A file plays back what was written to it, also at another sample rate and channel count.
    #[tokio::test]
    async fn a_written_file_plays_back_and_ends_in_silence() {
        let directory = tempfile::tempdir().unwrap();
        let name = format!("wav:{}", directory.path().join("new/folder/a.wav").display());
        let mut sink = host().open_audio_sink(&name, request(48_000, 1)).await.unwrap();
        let mut tone = host().open_audio_source("tone:440", request(48_000, 1)).await.unwrap();
        let mut second = vec![0.0; 48_000];
        tone.read(&mut second).unwrap();
        assert_eq!(sink.write(&second).unwrap(), 48_000);
        sink.finish().unwrap();

        for (rate, channels) in [(48_000, 1), (16_000, 2), (44_100, 1)] {
            let mut source = host().open_audio_source(&name, request(rate, channels)).await.unwrap();
            let mut heard = vec![9.0; (rate * u32::from(channels)) as usize];
            source.read(&mut heard).unwrap();
            let power = |samples: &[f32]| samples.iter().map(|x| x * x).sum::<f32>() / samples.len() as f32;
            assert!((power(&heard) / power(&second) - 1.0).abs() < 0.02, "{rate}");
            assert_eq!(source.read(&mut heard[..20]).unwrap().samples, 20);
            assert!(heard[..20].iter().all(|sample| *sample == 0.0));
        }
    }
}
