//! The recorder `rtp-log`: header and arrival of every RTP packet, and RTCP, in and out.

pub(crate) mod captures;
mod log_parts;
pub(crate) mod records;

use std::time::{Duration, SystemTime};

use blink_api::{
    CallTime, Error, ErrorKind, RecordedTrack, Recorder, RecorderCapabilities, Recording, RecordingConfig,
    RecordingSummary, Result, Sample, TrackFormat, TrackKey, TrackSummary,
};

use crate::config::RtpLogConfig;
use crate::output_file::{OutputFiles, unknown_track};
use log_parts::Parts;
use records::{Header, PacketRecord, RtcpRecord, TrackRecord};

/// Name of the recorder in configurations and errors.
pub(crate) const NAME: &str = "rtp-log";

pub(crate) const CAPABILITIES: RecorderCapabilities =
    RecorderCapabilities { packets: true, video: true, wire: true, survives_kill: true, ..RecorderCapabilities::NONE };

/// Time between two writes: what a killed process loses.
const WRITE_INTERVAL: Duration = Duration::from_millis(500);
/// Bytes that wait to be written, at most.
const LARGEST_BUFFER: usize = 1 << 20;

/// Records the headers of RTP packets.
#[derive(Debug)]
pub struct RtpLogRecorder {
    config: RtpLogConfig,
}

impl RtpLogRecorder {
    /// A recorder of this configuration.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a size that is out of range.
    pub fn new(config: RtpLogConfig) -> Result<Self> {
        config.check().map_err(|error| error.backend(NAME))?;
        Ok(Self { config })
    }
}

impl Recorder for RtpLogRecorder {
    fn capabilities(&self) -> RecorderCapabilities {
        CAPABILITIES
    }

    fn start(&self, config: RecordingConfig) -> Result<Box<dyn Recording>> {
        let files = OutputFiles::new(&config, NAME);
        files.check_directory()?;
        let started = config.started.and_then(|started| started.duration_since(SystemTime::UNIX_EPOCH).ok());
        let header = Header {
            recording: *config.id.as_bytes(),
            started: micros(started.unwrap_or_default()),
            begin: micros(config.begin.unwrap_or_default().0),
        };
        let parts = Parts::create(files, header.encode(), self.config.max_file_bytes)?;
        Ok(Box::new(RtpLogRecording {
            payload: self.config.payload,
            parts,
            buffer: Vec::new(),
            largest_buffer: LARGEST_BUFFER.min(self.config.max_file_bytes as usize / 4),
            written: CallTime::default(),
            tracks: Vec::new(),
            last: CallTime::default(),
            begin: config.begin,
            failed: false,
        }))
    }
}

struct RtpLogRecording {
    payload: bool,
    parts: Parts,
    /// Whole records that are to be written.
    buffer: Vec<u8>,
    largest_buffer: usize,
    /// Time of the last write.
    written: CallTime,
    tracks: Vec<TrackSummary>,
    begin: Option<CallTime>,
    /// Time of the last packet.
    last: CallTime,
    failed: bool,
}

impl RtpLogRecording {
    fn write(&mut self) -> Result<()> {
        if self.failed {
            return Err(Error::new(ErrorKind::State, "the recording has failed before").backend(NAME));
        }
        self.parts.write(&self.buffer).inspect_err(|_| self.failed = true)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Recording for RtpLogRecording {
    fn add_track(&mut self, track: RecordedTrack) -> Result<()> {
        let TrackFormat::Encoded(codec) = &track.format else { return Err(Error::unsupported(NAME, "add_track")) };
        if self.tracks.iter().any(|known| known.key == track.key) {
            return Err(Error::new(ErrorKind::State, "the track was added before").backend(NAME));
        }
        let number = u16::try_from(self.tracks.len())
            .map_err(|_| Error::new(ErrorKind::TooLarge, "a log has at most 65,536 tracks").backend(NAME))?;
        let record = TrackRecord {
            number,
            local: track.local,
            clock_rate: codec.clock_rate,
            codec: codec.name.to_string(),
            key: track.key.to_string(),
            name: track.name.unwrap_or_default(),
        };
        let first = self.buffer.len();
        record.encode(&mut self.buffer);
        // What waits is written first: a file that begins with it knows the track already.
        let record = self.buffer.split_off(first);
        self.write()?;
        self.parts.write_track(&record).inspect_err(|_| self.failed = true)?;
        self.tracks.push(TrackSummary::new(track.key));
        Ok(())
    }

    fn push(&mut self, track: &TrackKey, at: CallTime, sample: Sample<'_>) -> Result<()> {
        let Some(number) = self.tracks.iter().position(|known| known.key == *track) else {
            return Err(unknown_track(NAME, track));
        };
        let summary = &mut self.tracks[number];
        match sample {
            Sample::Rtp(packet) => {
                summary.samples += 1;
                let record = PacketRecord {
                    track: number as u16,
                    marker: packet.marker,
                    payload_type: packet.payload_type,
                    sequence: packet.sequence,
                    timestamp: packet.timestamp.0,
                    arrival: micros(packet.arrival.unwrap_or(at).0),
                    at: micros(at.0),
                    level: packet.level.map(blink_api::AudioLevel::to_byte),
                    length: packet.payload.len().min(usize::from(u16::MAX)) as u16,
                    payload: if self.payload { packet.payload } else { &[] },
                };
                record.encode(&mut self.buffer);
            }
            Sample::Rtcp { arrival, sent, packet } => {
                RtcpRecord { track: number as u16, sent, arrival: micros(arrival.0), packet }.encode(&mut self.buffer);
            }
            // Decoded audio and frames are no packets.
            _ => summary.dropped += 1,
        }
        self.last = self.last.max(at);
        self.begin.get_or_insert(at);
        if self.buffer.len() > self.largest_buffer { self.write() } else { Ok(()) }
    }

    fn tick(&mut self, now: CallTime) -> Result<()> {
        if now.0.saturating_sub(self.written.0) < WRITE_INTERVAL && !self.failed {
            return Ok(());
        }
        self.written = now;
        self.write()
    }

    fn finish(mut self: Box<Self>) -> Result<RecordingSummary> {
        if !self.failed {
            self.write()?;
        }
        let duration = self.last.0.saturating_sub(self.begin.unwrap_or_default().0);
        for track in &mut self.tracks {
            track.duration = duration;
        }
        let (paths, size) = self.parts.finish();
        Ok(RecordingSummary::new(paths, size).with_tracks(duration, self.tracks))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
