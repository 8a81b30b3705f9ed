//! A merged MP4 file: one audio track with all voices, and the video.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use blink_api::{
    AudioCodec, AudioDecoder, AudioDecoderConfig, AudioEncoderConfig, AudioFormat, DecoderInput, Error, ErrorKind,
    Result, private,
};

use super::export::read_sample;
use super::{Content, beside, failed};
use crate::box_reader::{Movie, MovieTrack};
use crate::mp4::fragments::{Added, FragmentedFile};
use crate::mp4::media::Media;
use crate::opus_packet::{FRAME, RATE};
use crate::timeline::{duration_of, ticks_in};

/// Bitrate of the merged audio: transparent for several voices at once.
const BITRATE: u32 = 64_000;
/// Frames between two fragments, half a second.
const FRAMES_PER_FRAGMENT: u64 = 25;
/// Bytes of the description of all tracks, at most.
const RESERVE: u32 = 64 << 10;
/// Video that lasts longer than all voices is cut off after this time.
const LONGEST_OVERHANG: Duration = Duration::from_secs(600);
/// Longest merged file.
const LONGEST: Duration = Duration::from_secs(86_400);
/// Longest packet of Opus in samples of one channel.
const LONGEST_PACKET: usize = 5_760;

/// Merges the voices of an MP4 recording into one track, beside which its video streams are copied:
/// players play one audio track at a time. Writes `…-merged.mp4` into `directory`, or beside the
/// file, and returns its path. `opus` decodes and encodes.
///
/// # Errors
/// As [`info`](super::info), [`Unsupported`](ErrorKind::Unsupported) for other files than MP4, and
/// [`Io`](ErrorKind::Io) where the file cannot be written: it is then removed. An existing file is
/// not replaced.
pub fn merge(path: &Path, directory: Option<&Path>, opus: &dyn AudioCodec) -> Result<PathBuf> {
    let (mut file, content) = Content::open(path)?;
    let Content::Mp4(movie) = content else {
        return Err(
            Error::new(ErrorKind::Unsupported, "only MP4 files have tracks to merge").with("path", path.display())
        );
    };
    let target = beside(path, directory, "-merged", "mp4");
    let out =
        private::create_new(&target).map_err(|source| failed("the merged file cannot be created", &target, source))?;
    let merged = Merger::new(&movie, opus, out).and_then(|merger| merger.run(&mut file));
    merged.inspect_err(|_| {
        // Half a file is worth nothing; the recording is still there.
        std::fs::remove_file(&target).ok();
    })?;
    Ok(target)
}

struct Merger<'a> {
    voices: Vec<Voice<'a>>,
    streams: Vec<Stream<'a>>,
    opus: &'a dyn AudioCodec,
    out: FragmentedFile,
}

/// An audio track that is decoded.
struct Voice<'a> {
    track: &'a MovieTrack,
    decoder: Box<dyn AudioDecoder>,
    /// Samples to drop: what the decoder gives before the first one that was captured.
    skip: usize,
    /// Samples of silence before the first one.
    silence: usize,
    next: usize,
    decoded: VecDeque<f32>,
}

/// A video track that is copied.
struct Stream<'a> {
    track: &'a MovieTrack,
    slot: usize,
    delay: u64,
    next: usize,
}

impl<'a> Merger<'a> {
    fn new(movie: &'a Movie, opus: &'a dyn AudioCodec, out: File) -> Result<Self> {
        let mut out = FragmentedFile::create(out, RESERVE).map_err(write_failed)?;
        add_track(&mut out, &Media::Opus { channels: 1 }, "all voices", 0)?;
        let (mut voices, mut streams) = (Vec::new(), Vec::new());
        for track in movie.tracks.iter().filter(|track| !track.samples.is_empty()) {
            match Media::of_track(track) {
                Some(Media::Opus { .. }) => voices.push(Voice::new(track, opus)?),
                Some(media) => {
                    let delay = (track.delay * f64::from(track.timescale)).round() as u64;
                    let slot = add_track(&mut out, &media, &track.name, delay)?;
                    streams.push(Stream { track, slot, delay, next: 0 });
                }
                None => {}
            }
        }
        Ok(Self { voices, streams, opus, out })
    }

    /// End of the merged file at the latest: a hostile file may place a frame centuries later.
    fn limit(&self) -> Duration {
        let end = self.voices.iter().map(|voice| duration_of(voice.track.end(), RATE)).max();
        end.map_or(LONGEST, |end| end.saturating_add(LONGEST_OVERHANG)).min(LONGEST)
    }

    fn run(mut self, file: &mut File) -> Result<()> {
        let config = AudioEncoderConfig {
            format: AudioFormat::CALL,
            frame: duration_of(FRAME.into(), RATE),
            bitrate: Some(BITRATE),
        };
        let mut encoder = self.opus.encoder(config)?;
        let limit = self.limit();
        let mut mix = vec![0.0f32; FRAME as usize];
        let mut packet = Vec::new();
        for number in 0u64.. {
            mix.fill(0.0);
            let mut more = false;
            for voice in &mut self.voices {
                more |= voice.add_to(&mut mix, file)?;
            }
            let position = number * u64::from(FRAME);
            let end = duration_of(position + u64::from(FRAME), RATE);
            for stream in &mut self.streams {
                more |= stream.copy_until(end, file, &mut self.out)?;
            }
            mix.iter_mut().for_each(|sample| *sample = sample.clamp(-1.0, 1.0));
            packet.clear();
            encoder.encode(&mix, &mut packet)?;
            self.out.push(0, position, FRAME, true, &packet);
            if number.is_multiple_of(FRAMES_PER_FRAGMENT) {
                self.out.cut().map_err(write_failed)?;
            }
            if !more || end >= limit {
                break;
            }
        }
        self.out.finish().map_err(write_failed)
    }
}

impl<'a> Voice<'a> {
    fn new(track: &'a MovieTrack, opus: &dyn AudioCodec) -> Result<Self> {
        let decoder = opus.decoder(AudioDecoderConfig { format: AudioFormat::CALL })?;
        let skip = usize::try_from(track.skip).unwrap_or(usize::MAX);
        // Audio of this recorder begins with the recording; other files may delay it.
        let delay = ticks_in(Duration::try_from_secs_f64(track.delay).unwrap_or_default(), RATE);
        let silence = usize::try_from(delay).unwrap_or(usize::MAX).min(RATE as usize * 3_600);
        Ok(Self { track, decoder, skip, silence, next: 0, decoded: VecDeque::new() })
    }

    /// Adds the next samples; `false` when the track is over.
    fn add_to(&mut self, mix: &mut [f32], file: &mut File) -> Result<bool> {
        let silent = self.silence.min(mix.len());
        self.silence -= silent;
        let mix = &mut mix[silent..];
        while self.decoded.len() < mix.len() {
            let Some(sample) = self.track.samples.get(self.next) else { break };
            self.next += 1;
            let packet = read_sample(file, sample).map_err(read_failed)?;
            let mut block = [0.0; LONGEST_PACKET];
            // A damaged packet is as long as the file says, and silent.
            let length = (sample.ticks as usize).clamp(120, LONGEST_PACKET);
            let decoded = self.decoder.decode(DecoderInput::Packet(&packet), &mut block[..length]).unwrap_or(length);
            let dropped = self.skip.min(decoded);
            self.skip -= dropped;
            self.decoded.extend(&block[dropped..decoded.min(LONGEST_PACKET)]);
        }
        let length = self.decoded.len().min(mix.len());
        mix.iter_mut().zip(self.decoded.drain(..length)).for_each(|(sum, sample)| *sum += sample);
        Ok(self.silence > 0 || self.next < self.track.samples.len() || !self.decoded.is_empty())
    }
}

impl Stream<'_> {
    /// Copies the frames that begin before `end`; `false` when the track is over.
    fn copy_until(&mut self, end: Duration, file: &mut File, out: &mut FragmentedFile) -> Result<bool> {
        let end = ticks_in(end, self.track.timescale);
        while let Some(sample) = self.track.samples.get(self.next) {
            let position = sample.position.saturating_add(self.delay);
            if position >= end {
                return Ok(true);
            }
            let data = read_sample(file, sample).map_err(read_failed)?;
            out.push(self.slot, position, sample.ticks, sample.sync, &data);
            self.next += 1;
        }
        Ok(false)
    }
}

fn add_track(out: &mut FragmentedFile, media: &Media, name: &str, first: u64) -> Result<usize> {
    match out.add_track(media, name, first).map_err(write_failed)? {
        Added::Track(track) => Ok(track),
        Added::NoRoom => Err(Error::new(ErrorKind::TooLarge, "the file has too many tracks to merge")),
    }
}

fn read_failed(source: io::Error) -> Error {
    Error::new(ErrorKind::Io, "the recording cannot be read").source(source)
}

fn write_failed(source: io::Error) -> Error {
    Error::new(ErrorKind::Io, "the merged file cannot be written").source(source)
}
