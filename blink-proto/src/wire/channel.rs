//! Messages on a link's data channel, which only its two ends can read.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::fields::Bytes16;
use super::member::Member;

/// One message on a data channel.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum ChannelMessage {
    /// First message of each side. Both ends must name the same link; otherwise a third party
    /// terminates DTLS in between.
    #[n(0)]
    Hello {
        /// Id of the link.
        #[n(0)]
        link: Bytes16,
    },
    /// Liveness probe; also measures the clock offset.
    #[n(1)]
    Ping {
        /// Number of the ping, echoed in the pong.
        #[n(0)]
        id: u64,
        /// Media clock of the sender, in microseconds.
        #[n(1)]
        sent_us: u64,
    },
    /// Reply to a ping.
    #[n(2)]
    Pong {
        /// Number of the ping.
        #[n(0)]
        id: u64,
        /// `sent_us` of the ping.
        #[n(1)]
        sent_us: u64,
        /// Media clock of the replying side at the arrival of the ping, in microseconds.
        #[n(2)]
        received_us: u64,
    },
    /// Record of the sender, faster than through signaling.
    #[n(3)]
    Member {
        /// Boot counter of the sender.
        #[n(0)]
        boot: u64,
        /// Same as in signaling.
        #[n(1)]
        member: Box<Member>,
    },
    /// Stream that the sender sends on a media section from now on.
    #[n(4)]
    Section {
        /// Identification tag of the section (RFC 5888).
        #[n(0)]
        mid: String,
        /// The stream, or null for none. The first audio section always belongs to the microphone.
        #[n(1)]
        stream: Option<Bytes16>,
        /// RTP sequence number of its first packet (RFC 3550 §5.1). Earlier packets belong to
        /// another stream.
        #[n(2)]
        sequence: u16,
    },
    /// The sender cannot send a requested stream: no section is free, or the recipient refused its
    /// kind.
    #[n(5)]
    Refused {
        /// The requested stream.
        #[n(0)]
        stream: Bytes16,
    },
    /// Reception of what the recipient sends, and capture times of what the sender sends, about
    /// once a second.
    #[n(6)]
    Report {
        /// [`REPORT_VERSION`]. One of another version is ignored.
        #[n(0)]
        version: u32,
        /// Time that `sections` cover: since the previous report.
        #[n(1)]
        interval_ms: u32,
        /// Media sections on which packets arrived.
        #[n(2)]
        sections: Vec<SectionReport>,
        /// Capture times of what the sender sends, at most [`MAX_CAPTURES`]. Devices before these
        /// were added do not send the element, and ignore it.
        #[n(3)]
        #[cbor(default)]
        captures: Vec<CaptureReport>,
    },
    /// A part of an application message.
    #[n(7)]
    Message(#[n(0)] AppMessage),
    /// All application messages of a numbering up to one have arrived.
    #[n(8)]
    MessageAck {
        /// The numbering.
        #[n(0)]
        series: u64,
        /// Number of the last message that arrived.
        #[n(1)]
        number: u64,
    },
}

/// Longest application message in bytes.
pub const MAX_APP_MESSAGE: usize = 16_384;
/// Bytes of every part of an application message but the last.
pub const MAX_FRAGMENT: usize = 8_192;

/// A part of an application message.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AppMessage {
    /// Random number of the numbering, not 0; another one wherever the sender gave messages up.
    #[n(0)]
    pub series: u64,
    /// Number of the message, from 1.
    #[n(1)]
    pub number: u64,
    /// Bytes of the whole message, at most [`MAX_APP_MESSAGE`].
    #[n(2)]
    pub length: u32,
    /// Bytes before this part: a multiple of [`MAX_FRAGMENT`].
    #[n(3)]
    pub offset: u32,
    /// The part: [`MAX_FRAGMENT`] bytes, or the rest of the message.
    #[n(4)]
    pub bytes: ByteVec,
}

/// Kind of a data-channel message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    /// [`ChannelMessage::Hello`].
    Hello,
    /// [`ChannelMessage::Ping`].
    Ping,
    /// [`ChannelMessage::Pong`].
    Pong,
    /// [`ChannelMessage::Member`].
    Member,
    /// [`ChannelMessage::Section`].
    Section,
    /// [`ChannelMessage::Refused`].
    Refused,
    /// [`ChannelMessage::Report`].
    Report,
    /// [`ChannelMessage::Message`].
    Message,
    /// [`ChannelMessage::MessageAck`].
    MessageAck,
    /// Not a message of this version.
    Unknown,
}

impl ChannelKind {
    /// Number of kinds.
    pub(crate) const COUNT: usize = 10;

    /// Kind of an encoded message: an array of two elements, of which the first is the kind.
    pub fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0x82, 0, ..] => Self::Hello,
            [0x82, 1, ..] => Self::Ping,
            [0x82, 2, ..] => Self::Pong,
            [0x82, 3, ..] => Self::Member,
            [0x82, 4, ..] => Self::Section,
            [0x82, 5, ..] => Self::Refused,
            [0x82, 6, ..] => Self::Report,
            [0x82, 7, ..] => Self::Message,
            [0x82, 8, ..] => Self::MessageAck,
            _ => Self::Unknown,
        }
    }
}

impl ChannelMessage {
    /// Kind of the message.
    pub fn kind(&self) -> ChannelKind {
        match self {
            Self::Hello { .. } => ChannelKind::Hello,
            Self::Ping { .. } => ChannelKind::Ping,
            Self::Pong { .. } => ChannelKind::Pong,
            Self::Member { .. } => ChannelKind::Member,
            Self::Section { .. } => ChannelKind::Section,
            Self::Refused { .. } => ChannelKind::Refused,
            Self::Report { .. } => ChannelKind::Report,
            Self::Message(..) => ChannelKind::Message,
            Self::MessageAck { .. } => ChannelKind::MessageAck,
        }
    }
}

/// Version of [`ChannelMessage::Report`].
pub const REPORT_VERSION: u32 = 1;

/// Reception statistics of one media section (as an RTCP report block, RFC 3550 §6.4.1).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SectionReport {
    /// Identification tag of the section (RFC 5888).
    #[n(0)]
    pub mid: String,
    /// Packets expected, by their sequence numbers.
    #[n(1)]
    pub expected: u32,
    /// Packets lost, of those expected.
    #[n(2)]
    pub lost: u32,
    /// Number of loss bursts: runs of one or more consecutive lost packets.
    #[n(3)]
    pub runs: u32,
    /// Interarrival jitter (RFC 3550 §6.4.1), in microseconds.
    #[n(4)]
    pub jitter_us: u32,
    /// Queueing delay: transit time of the fastest packet of this interval above that of the
    /// fastest recent packet, in microseconds.
    #[n(5)]
    pub delay_us: u32,
    /// Payload bytes received.
    #[n(6)]
    pub bytes: u32,
}

/// Maximum number of `captures` in a [`ChannelMessage::Report`]; further ones are ignored. A device
/// sends its microphone and at most three streams to another
/// ([`STREAM_SECTIONS`](crate::call::STREAM_SECTIONS)), each perhaps with two codecs while it
/// changes.
pub const MAX_CAPTURES: usize = 8;

/// Capture time of an RTP timestamp: as the first half of an RTCP sender report (RFC 3550 §6.4.1),
/// on the clock of the pings instead of an NTP clock.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CaptureReport {
    /// The stream; none for the microphone.
    #[n(0)]
    pub stream: Option<Bytes16>,
    /// Ticks per second of the RTP timestamp.
    #[n(1)]
    pub clock_rate: u32,
    /// RTP timestamp of a sample or frame that was sent of late, or would have been in a pause.
    #[n(2)]
    pub timestamp: u32,
    /// When it was captured, on the clock that `sent_us` of a Ping is read from, microseconds.
    #[n(3)]
    pub captured_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::cbor;

    #[test]
    fn the_kind_is_read_without_decoding() {
        let stream = Bytes16::from([1; 16]);
        for message in [
            ChannelMessage::Hello { link: stream },
            ChannelMessage::Ping { id: 1, sent_us: 2 },
            ChannelMessage::Pong { id: 1, sent_us: 2, received_us: 3 },
            ChannelMessage::Section { mid: "1".to_owned(), stream: None, sequence: 1 },
            ChannelMessage::Refused { stream },
            ChannelMessage::Report { version: 1, interval_ms: 1_000, sections: Vec::new(), captures: Vec::new() },
            ChannelMessage::Message(AppMessage {
                series: 1,
                number: 2,
                length: 3,
                offset: 0,
                bytes: vec![4; 3].into(),
            }),
            ChannelMessage::MessageAck { series: 1, number: 2 },
        ] {
            assert_eq!(ChannelKind::of(&cbor::encode(&message)), message.kind());
        }
        assert_eq!(ChannelKind::of(&[0x82, 3, 0x82]), ChannelKind::Member);
        for bytes in [&[][..], &[0x82], &[0x83, 0, 0, 0], &[0x82, 9, 0x80], &[0x82, 0x18, 3]] {
            assert_eq!(ChannelKind::of(bytes), ChannelKind::Unknown);
        }
    }

    /// The element was added later: a report without it is one of an older device, and an older
    /// device ignores it.
    #[test]
    fn a_report_without_captures_is_read_and_one_with_them_is_read_by_older_devices() {
        #[derive(Debug, PartialEq, Decode)]
        enum Older {
            #[n(6)]
            Report {
                #[n(0)]
                version: u32,
                #[n(1)]
                interval_ms: u32,
                #[n(2)]
                sections: Vec<SectionReport>,
            },
        }

        let older = [0x82, 6, 0x83, 1, 0x19, 0x03, 0xe8, 0x80];
        let none = Vec::new();
        let message =
            ChannelMessage::Report { version: 1, interval_ms: 1_000, sections: Vec::new(), captures: none.clone() };
        assert_eq!(cbor::decode::<ChannelMessage>(&older), Ok(message));

        let capture = CaptureReport {
            stream: Some(Bytes16::from([1; 16])),
            clock_rate: 90_000,
            timestamp: u32::MAX,
            captured_us: u64::MAX,
        };
        let microphone = CaptureReport { stream: None, clock_rate: 48_000, timestamp: 0, captured_us: 0 };
        for captures in [none, vec![capture, microphone]] {
            let message = ChannelMessage::Report { version: 1, interval_ms: 1_000, sections: Vec::new(), captures };
            let bytes = cbor::encode(&message);
            assert_eq!(cbor::decode::<ChannelMessage>(&bytes).as_ref(), Ok(&message));
            let read = Older::Report { version: 1, interval_ms: 1_000, sections: Vec::new() };
            assert_eq!(cbor::decode::<Older>(&bytes), Ok(read));
        }
    }

    /// Of captures out of range no report is made.
    #[test]
    fn captures_out_of_range_are_malformed() {
        // [6, [1, 1000, [], [[null, rate, timestamp, captured_us]]]]
        let report = |capture: &[u8]| [&[0x82, 6, 0x84, 1, 0x19, 0x03, 0xe8, 0x80, 0x81][..], capture].concat();
        let is_read = |capture: &[u8]| cbor::decode::<ChannelMessage>(&report(capture)).is_ok();
        assert!(is_read(&[0x84, 0xf6, 1, 2, 3]));
        assert!(is_read(&[0x85, 0xf6, 1, 2, 3, 4]), "elements beyond the last are ignored");
        assert!(!is_read(&[0x83, 0xf6, 1, 2]), "an element is missing");
        assert!(!is_read(&[0x84, 0xf6, 1, 0x20, 3]), "a negative timestamp");
        assert!(!is_read(&[0x84, 0xf6, 1, 0x1b, 0, 0, 0, 1, 0, 0, 0, 0, 3]), "a timestamp of 33 bits");
        assert!(!is_read(&[0x84, 0x41, 1, 1, 2, 3]), "a stream id of one byte");
        assert!(!is_read(&[0xf6]), "an entry that is no array");
    }
}
