//! Unwrapping of datagrams relayed by TURN servers.

use std::borrow::Cow;
use std::net::SocketAddr;

use rtc::stun::attributes::{ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_XOR_PEER_ADDRESS};
use rtc::stun::message::{
    CLASS_INDICATION, CLASS_REQUEST, METHOD_CHANNEL_BIND, METHOD_DATA, METHOD_SEND, Message, is_stun_message,
};
use rtc::stun::xoraddr::XorMappedAddress;

/// Limit of tracked channels, one per relay and peer address; the oldest are evicted.
const MAX_CHANNELS: usize = 256;
/// First bytes of ChannelData (RFC 8656 §12.4).
pub(crate) const CHANNEL_DATA: std::ops::RangeInclusive<u8> = 64..=79;

/// TURN channels of a session's relays.
#[derive(Debug, Default)]
pub(crate) struct TurnChannels(Vec<Channel>);

#[derive(Debug, Clone, Copy)]
struct Channel {
    local: SocketAddr,
    server: SocketAddr,
    number: u16,
    peer: SocketAddr,
}

impl TurnChannels {
    /// Peer and content of a datagram to or from a server; `None` if it is not relayed, or of an
    /// unknown channel.
    pub(crate) fn unwrap<'a>(
        &self,
        local: SocketAddr,
        server: SocketAddr,
        datagram: &'a [u8],
    ) -> Option<(SocketAddr, Cow<'a, [u8]>)> {
        if let [first, second, high, low, data @ ..] = datagram
            && CHANNEL_DATA.contains(first)
        {
            let number = u16::from_be_bytes([*first, *second]);
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let is_it = |channel: &&Channel| (channel.local, channel.server, channel.number) == (local, server, number);
            let peer = self.0.iter().find(is_it)?.peer;
            return Some((peer, Cow::Borrowed(data.get(..length)?)));
        }
        let message = decode(datagram)?;
        let is_relayed =
            message.typ.class == CLASS_INDICATION && [METHOD_SEND, METHOD_DATA].contains(&message.typ.method);
        let data = message.get(ATTR_DATA).ok().filter(|_| is_relayed)?;
        Some((peer(&message)?, Cow::Owned(data)))
    }

    /// Learns the peers of channels from requests to a server (RFC 8656 §12.1).
    pub(crate) fn handle_sent(&mut self, local: SocketAddr, server: SocketAddr, datagram: &[u8]) {
        let Some(message) = decode(datagram) else { return };
        if message.typ.class != CLASS_REQUEST || message.typ.method != METHOD_CHANNEL_BIND {
            return;
        }
        let number = message.get(ATTR_CHANNEL_NUMBER).ok();
        let number = number.and_then(|value| Some(u16::from_be_bytes(*value.first_chunk()?)));
        let (Some(number), Some(peer)) = (number, peer(&message)) else { return };
        self.0.retain(|channel| (channel.local, channel.server, channel.number) != (local, server, number));
        if self.0.len() == MAX_CHANNELS {
            self.0.remove(0);
        }
        self.0.push(Channel { local, server, number, peer });
    }
}

/// Decodes a STUN message; `None` for anything else.
pub(crate) fn decode(datagram: &[u8]) -> Option<Message> {
    if !is_stun_message(datagram) {
        return None;
    }
    let mut message = Message { raw: datagram.to_vec(), ..Message::default() };
    message.decode().ok()?;
    Some(message)
}

fn peer(message: &Message) -> Option<SocketAddr> {
    let mut address = XorMappedAddress::default();
    address.get_from_as(message, ATTR_XOR_PEER_ADDRESS).ok()?;
    Some(SocketAddr::new(address.ip, address.port))
}

#[cfg(test)]
mod tests {
    use rtc::stun::message::{MessageType, Setter, TransactionId};

    use super::*;

    const LOCAL: &str = "10.0.0.1:5000";
    const SERVER: &str = "192.0.2.1:3478";
    const PEER: &str = "198.51.100.7:6000";

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn message(method: rtc::stun::message::Method, class: rtc::stun::message::MessageClass, number: u16) -> Vec<u8> {
        struct Peer;
        impl Setter for Peer {
            fn add_to(&self, message: &mut Message) -> rtc::shared::error::Result<()> {
                let peer = address(PEER);
                XorMappedAddress { ip: peer.ip(), port: peer.port() }.add_to_as(message, ATTR_XOR_PEER_ADDRESS)
            }
        }
        let mut message = Message::new();
        let setters: [Box<dyn Setter>; 3] =
            [Box::new(TransactionId::new()), Box::new(MessageType::new(method, class)), Box::new(Peer)];
        message.build(&setters).expect("a message");
        message.add(ATTR_DATA, b"data");
        message.add(ATTR_CHANNEL_NUMBER, &[number.to_be_bytes(), [0, 0]].concat());
        message.write_header();
        message.raw
    }

    #[test]
    fn relayed_datagrams_are_unwrapped_by_indication_or_bound_channel() {
        let (local, server, peer) = (address(LOCAL), address(SERVER), address(PEER));
        let mut relayed = TurnChannels::default();
        for method in [METHOD_SEND, METHOD_DATA] {
            let sent = message(method, CLASS_INDICATION, 0x4001);
            assert_eq!(relayed.unwrap(local, server, &sent), Some((peer, Cow::Owned(b"data".to_vec()))));
            relayed.handle_sent(local, server, &sent);
        }
        let data = [0x40, 1, 0, 3, 7, 8, 9, 0];
        assert_eq!(relayed.unwrap(local, server, &data), None, "the channel is not bound");
        relayed.handle_sent(local, server, &message(METHOD_CHANNEL_BIND, CLASS_REQUEST, 0x4001));
        assert_eq!(relayed.unwrap(local, server, &data), Some((peer, Cow::Borrowed(&[7, 8, 9][..]))));
        assert_eq!(relayed.unwrap(server, server, &data), None, "bound on another socket");
        assert_eq!(relayed.unwrap(local, server, &data[..6]), None, "truncated");
        for garbage in [&[][..], &[0x40], &[0; 40], &[0x40, 1, 255, 255, 0]] {
            assert_eq!(relayed.unwrap(local, server, garbage), None);
        }
    }
}
