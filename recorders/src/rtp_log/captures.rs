//! RTP logs as captures that other programs read: rtpdump, and pcapng for Wireshark.

use super::records::{Log, PacketRecord, Record};

/// Link type of packets that name their dissector (`LINKTYPE_WIRESHARK_UPPER_PDU`).
const UPPER_PDU: u16 = 252;
const TAG_PROTOCOL: u16 = 12;
const TAG_IPV4_SOURCE: u16 = 20;
const TAG_IPV4_DESTINATION: u16 = 21;
const TAG_PORT_TYPE: u16 = 24;
const TAG_SOURCE_PORT: u16 = 25;
const TAG_DESTINATION_PORT: u16 = 26;
/// UDP, in Wireshark's numbering of port types.
const PORT_UDP: u32 = 3;
const RTP_HEADER: usize = 12;

/// The log in the format of rtptools' `rtpdump -F dump`.
pub(crate) fn rtpdump(log: &Log) -> Vec<u8> {
    let (seconds, micros) = (log.header.started / 1_000_000, log.header.started % 1_000_000);
    let mut out = b"#!rtpplay1.0 127.0.0.1/5004\n".to_vec();
    out.extend((seconds as u32).to_be_bytes());
    out.extend((micros as u32).to_be_bytes());
    out.extend([127, 0, 0, 1]);
    out.extend(5004u16.to_be_bytes());
    out.extend([0, 0]);
    for record in log.iter() {
        let (arrival, packet, length) = match &record {
            Record::Track(_) => continue,
            Record::Rtp(packet) => (packet.arrival, rtp(packet), packet.length.saturating_add(RTP_HEADER as u16)),
            // A length of 0 marks RTCP.
            Record::Rtcp(packet) => (packet.arrival, packet.packet.to_vec(), 0),
        };
        let offset = arrival.saturating_sub(log.header.begin) / 1_000;
        out.extend((packet.len().min(60_000) as u16 + 8).to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend((offset as u32).to_be_bytes());
        out.extend(&packet[..packet.len().min(60_000)]);
    }
    out
}

/// The log as pcapng. Each packet names its dissector, so that nothing needs to be configured.
pub(crate) fn pcapng(log: &Log) -> Vec<u8> {
    let mut out = Vec::new();
    let mut section = 0x1a2b_3c4du32.to_le_bytes().to_vec();
    section.extend([1, 0, 0, 0]);
    section.extend(u64::MAX.to_le_bytes());
    block(&mut out, 0x0a0d_0d0a, &section);
    let mut interface = UPPER_PDU.to_le_bytes().to_vec();
    interface.extend([0; 6]);
    block(&mut out, 1, &interface);
    let mut local = Vec::new();
    for record in log.iter() {
        let (track, arrival, protocol, packet, length, sent) = match &record {
            Record::Track(track) => {
                local.push(track.local);
                continue;
            }
            Record::Rtp(packet) => {
                let sent = local.get(usize::from(packet.track)).is_some_and(|local| *local);
                let length = RTP_HEADER + usize::from(packet.length);
                (packet.track, packet.arrival, "rtp", rtp(packet), length, sent)
            }
            Record::Rtcp(rtcp) => {
                (rtcp.track, rtcp.arrival, "rtcp", rtcp.packet.to_vec(), rtcp.packet.len(), rtcp.sent)
            }
        };
        let mut data = tags(track, protocol, sent);
        let original = data.len() + length;
        data.extend(packet);
        let time = log.header.started.wrapping_add(arrival.saturating_sub(log.header.begin));
        let mut body = 0u32.to_le_bytes().to_vec();
        body.extend(((time >> 32) as u32).to_le_bytes());
        body.extend((time as u32).to_le_bytes());
        body.extend((data.len() as u32).to_le_bytes());
        body.extend((original as u32).to_le_bytes());
        body.extend(data);
        block(&mut out, 6, &body);
    }
    out
}

/// The packet as on the wire, as far as it is kept. The SSRC is the number of the track.
fn rtp(packet: &PacketRecord<'_>) -> Vec<u8> {
    let mut bytes = vec![0x80, (u8::from(packet.marker) << 7) | packet.payload_type];
    bytes.extend(packet.sequence.to_be_bytes());
    bytes.extend(packet.timestamp.to_be_bytes());
    bytes.extend(u32::from(packet.track).to_be_bytes());
    bytes.extend(packet.payload);
    bytes
}

/// Addresses that tell tracks and directions apart: 10.0.0.1 is this endpoint.
fn tags(track: u16, protocol: &str, sent: bool) -> Vec<u8> {
    let [high, low] = track.to_be_bytes();
    let (this, other) = ([10, 0, 0, 1], [10, 1, high, low]);
    let (source, destination) = if sent { (this, other) } else { (other, this) };
    let mut out = Vec::new();
    let mut tag = |kind: u16, value: &[u8]| {
        let padded = value.len().next_multiple_of(4);
        out.extend(kind.to_be_bytes());
        out.extend((padded as u16).to_be_bytes());
        out.extend(value);
        out.resize(out.len() + padded - value.len(), 0);
    };
    tag(TAG_PROTOCOL, protocol.as_bytes());
    tag(TAG_IPV4_SOURCE, &source);
    tag(TAG_IPV4_DESTINATION, &destination);
    tag(TAG_PORT_TYPE, &PORT_UDP.to_be_bytes());
    tag(TAG_SOURCE_PORT, &5_004u32.to_be_bytes());
    tag(TAG_DESTINATION_PORT, &5_004u32.to_be_bytes());
    tag(0, &[]);
    out
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let padded = body.len().next_multiple_of(4);
    let length = (padded + 12) as u32;
    out.extend(kind.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(body);
    out.resize(out.len() + padded - body.len(), 0);
    out.extend(length.to_le_bytes());
}
