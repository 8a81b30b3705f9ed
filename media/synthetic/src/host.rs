//! The host: names to sources and sinks.

use std::path::PathBuf;
use std::sync::Arc;

use blink_api::macros::async_trait;
use blink_api::{
    AudioFormat, AudioSink, AudioSource, DeviceChange, DeviceDirection, DeviceInfo, Error, ErrorKind,
    MediaCapabilities, MediaHost, OpenRequest, Result, TrackKind, VideoSource, expand_path,
};
use tokio::sync::broadcast;

use crate::clip::Clip;
use crate::sink::NullSink;
use crate::tone::{Noise, Silence, Tone};
use crate::video::EncodedClip;
use crate::video_source::ClipSource;
use crate::wav_sink::WavSink;
use crate::{CLIPS, NAME, SyntheticConfig, speech, wav};

pub(crate) const CAPABILITIES: MediaCapabilities = MediaCapabilities {
    audio_sources: true,
    audio_sinks: true,
    video_sources: true,
    hotplug: false,
    hardware_clock: false,
};

const SOURCES: [(&str, &str); 6] = [
    ("silence", "silence"),
    ("speech", "recorded speech, round and round"),
    ("speech:N", "recorded speech from clip N (0 to 4) on"),
    ("wav:PATH", "a WAV file, then silence"),
    ("tone:HZ", "a sine"),
    ("noise:SEED", "white noise, the same for the same number"),
];

const VIDEO: [(&str, &str); 3] = [
    ("clip:vp8", "a test pattern with a counter in VP8, round and round"),
    ("clip:h264", "the same in H.264"),
    ("clip:PATH", "a file of VP8 (.ivf) or H.264 (.h264, .264), round and round"),
];

const SINKS: [(&str, &str); 2] =
    [("null", "nowhere"), ("wav:PATH", "a WAV file of 16-bit PCM; {n} in PATH counts files")];

/// Opens files and generators by name: `silence`, `speech`, `speech:N`, `wav:PATH`, `tone:HZ`,
/// `noise:SEED` to read sound from, `clip:vp8`, `clip:h264` and `clip:PATH` to read video from,
/// `null` and `wav:PATH` to write to. The first of each is `default`.
#[derive(Debug, Clone, Copy)]
pub struct SyntheticHost {
    config: SyntheticConfig,
}

impl SyntheticHost {
    /// The host with its settings.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for values out of range, naming the key.
    pub fn new(config: SyntheticConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }

    fn source(&self, name: &str, format: AudioFormat) -> Result<Box<dyn AudioSource>> {
        check(format)?;
        let amplitude = self.config.amplitude();
        let (kind, argument) = parts(name);
        Ok(match (kind, argument) {
            ("default" | "silence", None) => Box::new(Silence::new(format)),
            ("tone", Some(hertz)) => Box::new(Tone::new(format, frequency(name, hertz, format)?, amplitude)),
            ("noise", Some(seed)) => Box::new(Noise::new(format, number(name, seed)?, amplitude)),
            ("wav", Some(path)) => Box::new(self.file(path, format)?),
            ("speech", None) => Box::new(Clip::looping(format, speech::at(0, format))),
            ("speech", Some(first)) => {
                let first = usize::try_from(number(name, first)?).ok().filter(|first| *first < CLIPS);
                let first = first.ok_or_else(|| unknown(name, "there are the clips 0 to 4"))?;
                Box::new(Clip::looping(format, speech::at(first, format)))
            }
            _ => {
                return Err(unknown(
                    name,
                    "no such source; there is: silence, speech[:N], wav:PATH, tone:HZ, noise:SEED",
                ));
            }
        })
    }

    fn video(&self, name: &str) -> Result<Box<dyn VideoSource>> {
        let clip = match parts(name) {
            ("default", None) | ("clip", Some("vp8")) => EncodedClip::vp8(),
            ("clip", Some("h264")) => EncodedClip::h264(),
            ("clip", Some(path)) => EncodedClip::read(&place(path)?, self.config.longest_file),
            _ => Err(unknown(name, "no such source of video; there is: clip:vp8, clip:h264, clip:PATH")),
        };
        Ok(Box::new(ClipSource::new(clip?)))
    }

    fn file(&self, path: &str, format: AudioFormat) -> Result<Clip> {
        let pcm = wav::read_up_to(&place(path)?, self.config.longest_file)?;
        Ok(Clip::once(format, Arc::from(pcm.into_format(format))))
    }

    fn sink(&self, name: &str, format: AudioFormat) -> Result<Box<dyn AudioSink>> {
        check(format)?;
        match parts(name) {
            ("default" | "null", None) => Ok(Box::new(NullSink::new(format))),
            ("wav", Some(path)) => Ok(Box::new(WavSink::create(&place(path)?, format)?)),
            _ => Err(unknown(name, "no such sink; there is: null, wav:PATH")),
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

    /// Files are read and converted here, whole, so that reading from them never waits.
    async fn open_audio_source(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSource>> {
        self.source(name, request.format).map_err(|error| error.backend(NAME).operation("open_audio_source"))
    }

    /// Files are read here, whole, so that reading from them never waits.
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

/// `kind` or `kind:argument`; an empty argument counts as given.
fn parts(name: &str) -> (&str, Option<&str>) {
    name.split_once(':').map_or((name, None), |(kind, argument)| (kind, Some(argument)))
}

/// The path behind a colon, where no shell expands `~/`. An empty one is refused where it is
/// opened.
fn place(path: &str) -> Result<PathBuf> {
    if path.is_empty() { Ok(PathBuf::new()) } else { expand_path(path) }
}

fn check(format: AudioFormat) -> Result<()> {
    if wav::RATES.contains(&format.sample_rate) && matches!(format.channels, 1 | 2) {
        return Ok(());
    }
    let format = format!("{} Hz, {} channels", format.sample_rate, format.channels);
    Err(Error::new(ErrorKind::Invalid, "a format has 8 to 192 kHz and one or two channels").with("format", format))
}

fn frequency(name: &str, text: &str, format: AudioFormat) -> Result<f64> {
    let highest = f64::from(format.sample_rate) / 2.0;
    let hertz = text.parse().ok().filter(|hertz| (1.0..highest).contains(hertz));
    hertz.ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "a tone has 1 Hz to half the sample rate")
            .with("name", name)
            .with("below", highest)
    })
}

fn number(name: &str, text: &str) -> Result<u64> {
    text.parse()
        .map_err(|_| Error::new(ErrorKind::Invalid, "a whole number belongs after the colon").with("name", name))
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
    async fn every_source_gives_all_that_is_asked_in_the_format_asked_for() {
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
    async fn names_that_are_not_there_are_refused_in_one_line() {
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
    async fn strange_formats_are_refused() {
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
    async fn the_list_names_one_default_each_way() {
        let devices = host().devices().await.unwrap();
        let defaults: Vec<_> = devices.iter().filter(|device| device.is_default).map(|device| &*device.name).collect();
        assert_eq!(defaults, ["silence", "null", "clip:vp8"]);
        let video = devices.iter().filter(|device| device.kind == TrackKind::Video);
        assert_eq!(video.map(|device| &*device.name).collect::<Vec<_>>(), ["clip:vp8", "clip:h264", "clip:PATH"]);
        assert!(host().changes().is_none());
    }

    #[tokio::test]
    async fn video_is_opened_by_name_and_other_names_are_refused() {
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

    /// What is written to a file comes back from it, then silence; through another sample rate and
    /// channels too.
    #[tokio::test]
    async fn a_written_file_is_read_again_and_ends_in_silence() {
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
