//! RTX (RFC 4588) and RTCP interceptor, closest to the network.
//!
//! The stack unwraps a retransmission only after its NACK generator, which therefore requests the
//! packet again and again; and it sends retransmissions with the RTX payload type of a track's
//! first codec, whatever the packet's codec. This interceptor does both correctly. It also reports
//! RTCP.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtp;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

use crate::shared::Shared;

/// Size of the history, as many packets as the stack keeps for retransmission.
const HISTORY: usize = 1024;

/// Interceptor closest to the network.
pub(crate) struct RtxInterceptor {
    shared: Arc<Shared>,
    incoming: VecDeque<TaggedPacket>,
    outgoing: VecDeque<TaggedPacket>,
    /// Remote RTX SSRCs, each with the SSRC that it retransmits.
    remote: Vec<(u32, u32)>,
    local: Vec<LocalStream>,
}

/// Sent stream with an RTX stream.
struct LocalStream {
    ssrc: u32,
    rtx_ssrc: u32,
    /// Sequence number and payload type of sent packets, indexed by the number modulo [`HISTORY`].
    sent: Vec<(u16, u8)>,
}

impl RtxInterceptor {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, incoming: VecDeque::new(), outgoing: VecDeque::new(), remote: Vec::new(), local: Vec::new() }
    }

    /// Unwraps a retransmission. Its payload is the original sequence number and the original
    /// payload (RFC 4588 §4).
    fn unwrap_rtx(&self, packet: &mut rtp::Packet) {
        let Some((_, ssrc)) = self.remote.iter().find(|(rtx_ssrc, _)| *rtx_ssrc == packet.header.ssrc) else { return };
        let state = self.shared.lock();
        let repeated = state.rtx_payload_types.iter().find(|(number, _)| *number == packet.header.payload_type);
        if let (Some((_, payload_type)), Some(sequence)) = (repeated, original_sequence(packet)) {
            // The rest of the chain then sees the original packet, and stops requesting it.
            packet.header.ssrc = *ssrc;
            packet.header.payload_type = *payload_type;
            packet.header.sequence_number = sequence;
            packet.payload = packet.payload.slice(2..);
        }
    }

    /// Sets the RTX payload type that belongs to the retransmitted packet.
    fn set_rtx_payload_type(&mut self, packet: &mut rtp::Packet) {
        let header = &mut packet.header;
        if let Some(stream) = self.local.iter_mut().find(|stream| stream.ssrc == header.ssrc) {
            stream.sent[usize::from(header.sequence_number) % HISTORY] = (header.sequence_number, header.payload_type);
            return;
        }
        let Some(stream) = self.local.iter().find(|stream| stream.rtx_ssrc == packet.header.ssrc) else { return };
        let Some(sequence) = original_sequence(packet) else { return };
        let (known, sent_with) = stream.sent[usize::from(sequence) % HISTORY];
        let state = self.shared.lock();
        let label = state.rtx_payload_types.iter().find(|(_, repeated)| known == sequence && *repeated == sent_with);
        if let Some((payload_type, _)) = label {
            packet.header.payload_type = *payload_type;
        }
    }
}

/// Original sequence number (OSN) of a retransmission; `None` for padding.
fn original_sequence(packet: &rtp::Packet) -> Option<u16> {
    packet.payload.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for RtxInterceptor {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        match &mut packet.message.packet {
            Packet::Rtcp(packets) => self.shared.handle_rtcp(packets),
            Packet::Rtp(packet) => self.unwrap_rtx(packet),
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
            self.set_rtx_payload_type(packet);
        }
        self.outgoing.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outgoing.pop_front()
    }
}

impl Interceptor for RtxInterceptor {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        if let Some(rtx_ssrc) = info.ssrc_rtx {
            self.unbind_local_stream(info);
            self.local.push(LocalStream { ssrc: info.ssrc, rtx_ssrc, sent: vec![(0, 0); HISTORY] });
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.local.retain(|stream| stream.ssrc != info.ssrc);
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        if let Some(rtx_ssrc) = info.ssrc_rtx {
            self.unbind_remote_stream(info);
            self.remote.push((rtx_ssrc, info.ssrc));
        }
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.remote.retain(|(_, ssrc)| *ssrc != info.ssrc);
    }
}
