//! What happens next to the wire: RTCP is shown to the application, and lost packets come in under
//! their own names.
//!
//! The stack takes a retransmission (RFC 4588) apart only after its NACK generator has passed it
//! by, which so asks for the packet again and again; and it sends them with the payload type that
//! belongs to a track's first codec, whichever one the packet is of. So both is done here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtp;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

use crate::shared::Shared;

/// As many packets as the stack keeps to send them again.
const HISTORY: usize = 1024;

/// An interceptor in the slot that is nearest to the wire.
pub(crate) struct Tap {
    shared: Arc<Shared>,
    incoming: VecDeque<TaggedPacket>,
    outgoing: VecDeque<TaggedPacket>,
    /// Sources of retransmissions that come in, each with the source whose packets it repeats.
    remote: Vec<(u32, u32)>,
    local: Vec<LocalStream>,
}

/// A stream that is sent, with one of retransmissions.
struct LocalStream {
    ssrc: u32,
    resends: u32,
    /// Sequence number and payload type of what was sent, by the number's remainder.
    sent: Vec<(u16, u8)>,
}

impl Tap {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, incoming: VecDeque::new(), outgoing: VecDeque::new(), remote: Vec::new(), local: Vec::new() }
    }

    /// Turns a retransmission into the packet it repeats: its payload is that packet's number and
    /// payload (RFC 4588 §4).
    fn restore(&self, packet: &mut rtp::Packet) {
        let Some((_, ssrc)) = self.remote.iter().find(|(resends, _)| *resends == packet.header.ssrc) else { return };
        let state = self.shared.lock();
        let repeated = state.repeats.iter().find(|(number, _)| *number == packet.header.payload_type);
        if let (Some((_, payload_type)), Some(sequence)) = (repeated, repeated_sequence(packet)) {
            packet.header.ssrc = *ssrc;
            packet.header.payload_type = *payload_type;
            packet.header.sequence_number = sequence;
            packet.payload = packet.payload.slice(2..);
        }
    }

    /// Gives a retransmission the payload type that goes with the packet it repeats.
    fn label(&mut self, packet: &mut rtp::Packet) {
        let header = &mut packet.header;
        if let Some(stream) = self.local.iter_mut().find(|stream| stream.ssrc == header.ssrc) {
            stream.sent[usize::from(header.sequence_number) % HISTORY] = (header.sequence_number, header.payload_type);
            return;
        }
        let Some(stream) = self.local.iter().find(|stream| stream.resends == packet.header.ssrc) else { return };
        let Some(sequence) = repeated_sequence(packet) else { return };
        let (known, sent_with) = stream.sent[usize::from(sequence) % HISTORY];
        let state = self.shared.lock();
        let label = state.repeats.iter().find(|(_, repeated)| known == sequence && *repeated == sent_with);
        if let Some((payload_type, _)) = label {
            packet.header.payload_type = *payload_type;
        }
    }
}

/// The number of the packet that a retransmission repeats; `None` for mere padding.
fn repeated_sequence(packet: &rtp::Packet) -> Option<u16> {
    packet.payload.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        match &mut packet.message.packet {
            Packet::Rtcp(packets) => self.shared.handle_rtcp(packets),
            Packet::Rtp(packet) => self.restore(packet),
            _ => {}
        }
        self.incoming.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.incoming.pop_front()
    }

    fn handle_write(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(packet) = &mut packet.message.packet {
            self.label(packet);
        }
        self.outgoing.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outgoing.pop_front()
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        if let Some(resends) = info.ssrc_rtx {
            self.unbind_local_stream(info);
            self.local.push(LocalStream { ssrc: info.ssrc, resends, sent: vec![(0, 0); HISTORY] });
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.local.retain(|stream| stream.ssrc != info.ssrc);
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        if let Some(resends) = info.ssrc_rtx {
            self.unbind_remote_stream(info);
            self.remote.push((resends, info.ssrc));
        }
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.remote.retain(|(_, ssrc)| *ssrc != info.ssrc);
    }
}
