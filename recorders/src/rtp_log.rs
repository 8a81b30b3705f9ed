//! The recorder `rtp-log`: header and arrival of every RTP packet, and RTCP, in and out.

pub(crate) mod captures;
pub(crate) mod records;

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use blink_api::{
    CallTime, Error, ErrorKind, RecordedTrack, Recorder, RecorderCapabilities, Recording, RecordingConfig,
    RecordingSummary, Result, Sample, TrackFormat, TrackKey, TrackSummary,
};

use crate::config::RtpLogConfig;
use crate::output_file::{OutputFiles, unknown_track, write_error};
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
    pub fn new(config: RtpLogConfig) -> Self {
        Self { config }
    }
}

impl Recorder for RtpLogRecorder {
    fn capabilities(&self) -> RecorderCapabilities {
        CAPABILITIES
    }

    fn start(&self, config: RecordingConfig) -> Result<Box<dyn Recording>> {
        let files = OutputFiles::new(&config, NAME);
        files.check_directory()?;
        let (file, path) = files.create(1, "rtplog")?;
        let started = config.started.and_then(|started| started.duration_since(SystemTime::UNIX_EPOCH).ok());
        let header = Header {
            recording: *config.id.as_bytes(),
            started: micros(started.unwrap_or_default()),
            begin: micros(config.begin.unwrap_or_default().0),
        };
        let mut recording = RtpLogRecording {
            payload: self.config.payload,
            file,
            path,
            buffer: header.encode(),
            size: 0,
            written: CallTime::default(),
            tracks: Vec::new(),
            last: CallTime::default(),
            begin: config.begin,
            failed: false,
        };
        recording.write().inspect_err(|_| OutputFiles::discard(&recording.path))?;
        Ok(Box::new(recording))
    }
}

struct RtpLogRecording {
    payload: bool,
    file: File,
    path: PathBuf,
    buffer: Vec<u8>,
    /// Bytes that are written.
    size: u64,
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
        if let Err(source) = self.file.write_all(&self.buffer) {
            self.failed = true;
            // A record that is cut off is no harm to readers; without it the file is as before.
            self.file.set_len(self.size).ok();
            return Err(write_error(NAME, &self.path, source));
        }
        self.size += self.buffer.len() as u64;
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
        record.encode(&mut self.buffer);
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
        if self.buffer.len() > LARGEST_BUFFER { self.write() } else { Ok(()) }
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
        Ok(RecordingSummary::new(vec![self.path], self.size).with_tracks(duration, self.tracks))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
