//! The format of RTP logs (`docs/rtp-log.md`).

use std::io::{self, Read};

use crate::config::RtpLogConfig;

/// Beginning of every log.
const MAGIC: &[u8; 8] = b"blinkrtp";
const VERSION: u16 = 1;
/// Bytes before the first record.
const HEADER: usize = 44;
const TRACK: u8 = 1;
const RTP: u8 = 2;
const RTCP: u8 = 3;
/// Bytes of a packet's record before its payload.
const PACKET: usize = 29;
const LONGEST_TEXT: usize = 255;

const MARKER: u8 = 1;
const LEVEL: u8 = 2;
const SENT: u8 = 4;
const LOCAL: u8 = 1;

/// Header of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Header {
    pub(crate) recording: [u8; 16],
    /// Microseconds since 1970; 0 where unknown.
    pub(crate) started: u64,
    /// Call time of the beginning in microseconds.
    pub(crate) begin: u64,
}

/// A track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrackRecord {
    pub(crate) number: u16,
    pub(crate) local: bool,
    pub(crate) clock_rate: u32,
    pub(crate) codec: String,
    pub(crate) key: String,
    pub(crate) name: String,
}

/// An RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PacketRecord<'a> {
    pub(crate) track: u16,
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    /// Call time of its arrival or sending, in microseconds.
    pub(crate) arrival: u64,
    /// Call time of its capture, in microseconds.
    pub(crate) at: u64,
    pub(crate) level: Option<u8>,
    /// Length of the payload, which may not be kept.
    pub(crate) length: u16,
    pub(crate) payload: &'a [u8],
}

/// An RTCP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RtcpRecord<'a> {
    pub(crate) track: u16,
    pub(crate) sent: bool,
    pub(crate) arrival: u64,
    pub(crate) packet: &'a [u8],
}

/// One record of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Track(TrackRecord),
    Rtp(PacketRecord<'a>),
    Rtcp(RtcpRecord<'a>),
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.recording);
        bytes.extend(self.started.to_le_bytes());
        bytes.extend(self.begin.to_le_bytes());
        bytes
    }
}

impl TrackRecord {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let texts = [&self.codec, &self.key, &self.name].map(|text| short(text));
        let length = 7 + texts.iter().map(|text| 1 + text.len()).sum::<usize>();
        begin(out, TRACK, length);
        out.extend(self.number.to_le_bytes());
        out.push(if self.local { LOCAL } else { 0 });
        out.extend(self.clock_rate.to_le_bytes());
        for text in texts {
            out.push(text.len() as u8);
            out.extend(text.as_bytes());
        }
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut texts = body.get(7..)?;
        let mut text = || {
            let (length, rest) = texts.split_first()?;
            let (text, rest) = rest.split_at_checked(usize::from(*length))?;
            texts = rest;
            Some(String::from_utf8_lossy(text).chars().filter(|letter| !letter.is_control()).collect::<String>())
        };
        Some(Self {
            number: u16_at(body, 0)?,
            local: body.get(2)? & LOCAL != 0,
            clock_rate: u32_at(body, 3).filter(|rate| *rate > 0)?,
            codec: text()?,
            key: text()?,
            name: text()?,
        })
    }
}

impl PacketRecord<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let payload = &self.payload[..self.payload.len().min(usize::from(u16::MAX) - PACKET)];
        begin(out, RTP, PACKET + payload.len());
        out.extend(self.track.to_le_bytes());
        let marker = if self.marker { MARKER } else { 0 };
        out.push(marker | if self.level.is_some() { LEVEL } else { 0 });
        out.push(self.payload_type);
        out.extend(self.sequence.to_le_bytes());
        out.extend(self.timestamp.to_le_bytes());
        out.extend(self.arrival.to_le_bytes());
        out.extend(self.at.to_le_bytes());
        out.push(self.level.unwrap_or(0));
        out.extend(self.length.to_le_bytes());
        out.extend(payload);
    }
}

impl<'a> PacketRecord<'a> {
    fn decode(body: &'a [u8]) -> Option<Self> {
        let flags = *body.get(2)?;
        let level = *body.get(26)?;
        Some(Self {
            track: u16_at(body, 0)?,
            marker: flags & MARKER != 0,
            payload_type: body.get(3)? & 0x7f,
            sequence: u16_at(body, 4)?,
            timestamp: u32_at(body, 6)?,
            arrival: u64_at(body, 10)?,
            at: u64_at(body, 18)?,
            level: (flags & LEVEL != 0).then_some(level),
            length: u16_at(body, 27)?,
            payload: body.get(PACKET..)?,
        })
    }
}

impl RtcpRecord<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let packet = &self.packet[..self.packet.len().min(usize::from(u16::MAX) - 11)];
        begin(out, RTCP, 11 + packet.len());
        out.extend(self.track.to_le_bytes());
        out.push(if self.sent { SENT } else { 0 });
        out.extend(self.arrival.to_le_bytes());
        out.extend(packet);
    }
}

impl<'a> RtcpRecord<'a> {
    fn decode(body: &'a [u8]) -> Option<Self> {
        Some(Self {
            track: u16_at(body, 0)?,
            sent: body.get(2)? & SENT != 0,
            arrival: u64_at(body, 3)?,
            packet: body.get(11..)?,
        })
    }
}

/// A log in memory.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) header: Header,
    bytes: Vec<u8>,
    /// End of the last whole record.
    pub(crate) end: usize,
}

impl Log {
    /// Reads a log and checks every record.
    ///
    /// # Errors
    /// [`InvalidData`](io::ErrorKind::InvalidData) with the reason, and those of reading.
    pub(crate) fn read(source: impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        source.take(RtpLogConfig::LARGEST_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > RtpLogConfig::LARGEST_FILE {
            return Err(invalid("the RTP log is larger than 1 GiB"));
        }
        if bytes.get(..8) != Some(MAGIC) || bytes.len() < HEADER {
            return Err(invalid("this is no RTP log"));
        }
        if u16_at(&bytes, 8) != Some(VERSION) {
            return Err(invalid("the RTP log is of a version that this program does not know"));
        }
        let mut recording = [0; 16];
        recording.copy_from_slice(&bytes[12..28]);
        let header =
            Header { recording, started: u64_at(&bytes, 28).unwrap_or(0), begin: u64_at(&bytes, 36).unwrap_or(0) };
        let mut log = Self { header, end: bytes.len(), bytes };
        let mut end = HEADER;
        while let Some((_, body)) = log.raw_record(end) {
            end += 3 + body.len();
        }
        log.end = end;
        let mut tracks = 0;
        for record in log.records() {
            match record.ok_or_else(|| invalid("a record of the RTP log is damaged"))? {
                Record::Track(track) if usize::from(track.number) == tracks => tracks += 1,
                Record::Track(_) => return Err(invalid("the tracks of the RTP log are not numbered in order")),
                Record::Rtp(_) | Record::Rtcp(_) => {}
            }
        }
        Ok(log)
    }

    /// All records; `None` for one that is damaged. Kinds that are not known are passed over.
    fn records(&self) -> impl Iterator<Item = Option<Record<'_>>> {
        let mut at = HEADER;
        std::iter::from_fn(move || {
            loop {
                let (kind, body) = self.raw_record(at)?;
                at += 3 + body.len();
                return Some(match kind {
                    TRACK => TrackRecord::decode(body).map(Record::Track),
                    RTP => PacketRecord::decode(body).map(Record::Rtp),
                    RTCP => RtcpRecord::decode(body).map(Record::Rtcp),
                    _ => continue,
                });
            }
        })
    }

    /// All records in the order in which they were written.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.records().flatten()
    }

    /// Bytes up to the end of the last whole record.
    pub(crate) fn whole(&self) -> &[u8] {
        &self.bytes[..self.end]
    }

    /// Bytes behind it.
    pub(crate) fn torn(&self) -> u64 {
        (self.bytes.len() - self.end) as u64
    }

    fn raw_record(&self, at: usize) -> Option<(u8, &[u8])> {
        let kind = *self.bytes.get(at)?;
        let length = usize::from(u16_at(&self.bytes, at + 1)?);
        Some((kind, self.bytes.get(at + 3..at + 3 + length)?))
    }
}

fn begin(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    out.extend((length as u16).to_le_bytes());
}

fn short(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
