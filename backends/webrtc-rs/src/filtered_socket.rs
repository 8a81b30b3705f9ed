//! Socket with the packet filter in front of the stack.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use crate::datagrams;
use crate::packet_filter::{BINDING, PacketFilter};

/// Limit of consecutive reads without data for the stack before it yields.
const MAX_FILTERED_READS: usize = 32;

#[derive(Debug)]
pub(crate) struct FilteredSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    local: SocketAddr,
    packet_filter: Arc<PacketFilter>,
}

/// UDP socket that passes datagrams through the filter.
impl FilteredSocket {
    /// Wraps a socket.
    ///
    /// # Errors
    /// [`io::Error`] if the socket has no address.
    pub(crate) fn wrap(
        socket: Arc<dyn AsyncUdpSocket>,
        packet_filter: &Arc<PacketFilter>,
    ) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let local = socket.local_addr()?;
        Ok(Arc::new(Self { socket, local, packet_filter: Arc::clone(packet_filter) }))
    }

    /// Keeps the datagrams for the stack in the buffer; returns their length.
    fn filter(&self, buffer: &mut [u8], meta: &RecvMeta) -> usize {
        let (now, stride, end) = (Instant::now(), meta.stride.max(1), meta.len.min(buffer.len()));
        let mut kept = 0;
        for begin in (0..end).step_by(stride) {
            let datagram = begin..(begin + stride).min(end);
            if self.packet_filter.allows_incoming(now, self.local, meta.addr, &buffer[datagram.clone()]) {
                let length = datagram.len();
                buffer.copy_within(datagram, kept);
                kept += length;
            }
        }
        kept
    }
}

impl AsyncUdpSocket for FilteredSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn poll_send(&self, context: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let (now, to) = (Instant::now(), transmit.destination);
        if !datagrams::sent(transmit).any(|datagram| self.packet_filter.applies_to(datagram)) {
            return self.socket.poll_send(context, transmit);
        }
        let mut has_request = false;
        let passes = |datagram: &&[u8]| {
            // A batch is for one pair, and the filter would pass two checks of it at once.
            let is_one_too_many = datagram.starts_with(&BINDING) && std::mem::replace(&mut has_request, true);
            !is_one_too_many && self.packet_filter.allows_outgoing(now, self.local, to, datagram)
        };
        let passed: Vec<&[u8]> = datagrams::sent(transmit).filter(passes).collect();
        let length: usize = passed.iter().map(|datagram| datagram.len()).sum();
        if length == transmit.contents.len() {
            ready!(self.socket.poll_send(context, transmit))?;
        } else if length > 0 {
            let contents = passed.concat();
            let segment_size = Some(datagrams::segment(transmit)).filter(|segment| *segment < length);
            let rest = Transmit {
                destination: to,
                ecn: transmit.ecn,
                contents: &contents,
                segment_size,
                src_ip: transmit.src_ip,
            };
            ready!(self.socket.poll_send(context, &rest))?;
        }
        passed.into_iter().for_each(|datagram| self.packet_filter.handle_sent(now, self.local, to, datagram));
        Poll::Ready(Ok(transmit.contents.len()))
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        // Filtered datagrams must not wake the stack, because third parties control their rate.
        for _ in 0..MAX_FILTERED_READS {
            let received = ready!(self.socket.poll_recv(context, buffers, metas))?;
            for (buffer, meta) in buffers.iter_mut().zip(metas.iter_mut()).take(received) {
                // The stack ignores empty datagrams.
                meta.len = self.filter(buffer, meta);
            }
            if metas.iter().take(received).any(|meta| meta.len > 0) {
                return Poll::Ready(Ok(received));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn max_gso_segments(&self) -> usize {
        self.socket.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::task::Waker;

    use blink_api::IceConfig;
    use blink_transport_kit::check_budget::CheckBudgets;
    use rtc::stun::attributes::{ATTR_MESSAGE_INTEGRITY, ATTR_USERNAME};
    use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, MessageType, Setter, TransactionId};
    use rtc::stun::textattrs::Username;

    use super::*;

    /// Start of a DTLS ClientHello.
    const CLIENT_HELLO: [u8; 4] = [22, 254, 253, 1];
    const PEER: ([u8; 4], u16) = ([192, 0, 2, 1], 6000);
    const STRANGER: ([u8; 4], u16) = ([192, 0, 2, 2], 6000);

    /// Simulated network.
    #[derive(Debug, Default)]
    struct Network {
        incoming: Mutex<VecDeque<(SocketAddr, Vec<u8>)>>,
        outgoing: Mutex<Vec<Vec<u8>>>,
    }

    impl AsyncUdpSocket for Network {
        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(([10, 0, 0, 1], 5000).into())
        }

        fn poll_send(&self, _: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
            self.outgoing.lock().unwrap().push(transmit.contents.to_vec());
            Poll::Ready(Ok(transmit.contents.len()))
        }

        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            buffers: &mut [IoSliceMut<'_>],
            metas: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            let Some((from, datagrams)) = self.incoming.lock().unwrap().pop_front() else { return Poll::Pending };
            buffers[0][..datagrams.len()].copy_from_slice(&datagrams);
            let mut meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride) = (from, datagrams.len(), datagrams.len());
            metas[0] = meta;
            Poll::Ready(Ok(1))
        }
    }

    struct Side {
        network: Arc<Network>,
        socket: Arc<dyn AsyncUdpSocket>,
    }

    impl Side {
        fn new() -> Self {
            let network = Arc::new(Network::default());
            let packet_filter = Arc::new(
                PacketFilter::new(&IceConfig::default(), CheckBudgets::default().session(None)).expect("no servers"),
            );
            let socket = FilteredSocket::wrap(Arc::clone(&network) as Arc<dyn AsyncUdpSocket>, &packet_filter)
                .expect("a socket");
            Self { network, socket }
        }

        /// Receives a datagram; returns whether the stack gets it.
        fn receive(&self, from: ([u8; 4], u16), datagram: &[u8]) -> bool {
            self.network.incoming.lock().unwrap().push_back((from.into(), datagram.to_vec()));
            let (mut buffer, mut metas) = ([0; 2000], [RecvMeta::default()]);
            let mut context = Context::from_waker(Waker::noop());
            let read = self.socket.poll_recv(&mut context, &mut [IoSliceMut::new(&mut buffer)], &mut metas);
            assert!(read.is_pending() || buffer[..metas[0].len] == *datagram);
            read.is_ready()
        }

        /// Sends a batch of datagrams from the stack; returns what reaches the network.
        fn send(&self, to: ([u8; 4], u16), datagrams: &[&[u8]]) -> Vec<u8> {
            let contents = datagrams.concat();
            let segment_size = datagrams.first().map(|datagram| datagram.len());
            let transmit =
                Transmit { destination: to.into(), ecn: None, contents: &contents, segment_size, src_ip: None };
            let sent = self.socket.poll_send(&mut Context::from_waker(Waker::noop()), &transmit);
            assert!(matches!(sent, Poll::Ready(Ok(length)) if length == contents.len()), "dropped datagrams look sent");
            std::mem::take(&mut *self.network.outgoing.lock().unwrap()).concat()
        }
    }

    fn stun(kind: MessageType, transaction: u8) -> Vec<u8> {
        let mut message = Message::new();
        let setters: [Box<dyn Setter>; 3] = [
            Box::new(TransactionId([transaction; 12])),
            Box::new(kind),
            Box::new(Username::new(ATTR_USERNAME, "peer:own".to_owned())),
        ];
        message.build(&setters).expect("a message");
        // Added by both peers, but not by servers.
        message.add(ATTR_MESSAGE_INTEGRITY, &[0; 20]);
        message.raw
    }

    #[test]
    fn datagrams_other_than_stun_are_accepted_from_validated_addresses_only() {
        let side = Side::new();
        let hello = |from| side.receive(from, &CLIENT_HELLO);
        assert!(!hello(PEER) && !hello(STRANGER), "no address is validated");
        let check = stun(BINDING_REQUEST, 1);
        assert_eq!(side.send(PEER, &[&check]), check);
        assert!(!hello(PEER), "a sent check validates nothing");
        assert!(side.receive(STRANGER, &stun(BINDING_SUCCESS, 1)) && !hello(STRANGER), "it was not checked");
        assert!(side.receive(PEER, &stun(BINDING_SUCCESS, 2)) && !hello(PEER), "unknown transaction");
        let without_integrity = &stun(BINDING_SUCCESS, 1)[..20];
        assert!(side.receive(PEER, without_integrity) && !hello(PEER), "anyone could respond like this");
        assert!(side.receive(PEER, &stun(BINDING_SUCCESS, 1)) && hello(PEER));
        assert!(!hello(STRANGER));
        assert!(side.receive(STRANGER, &stun(BINDING_REQUEST, 3)) && !hello(STRANGER), "not authenticated yet");
        side.send(STRANGER, &[&stun(BINDING_SUCCESS, 3)]);
        assert!(hello(STRANGER), "the stack authenticated its request");
        for relayed in [&[0x40, 0, 0, 4, 22, 254, 253, 1][..], &[0, 0x17, 0, 0, 0x21, 0x12, 0xa4, 0x42]] {
            assert!(!side.receive(PEER, relayed), "it is not a server");
        }
    }

    #[test]
    fn checks_are_paced_and_other_datagrams_pass() {
        let side = Side::new();
        let check = stun(BINDING_REQUEST, 1);
        assert_eq!(side.send(PEER, &[&check]), check);
        assert_eq!(side.send(PEER, &[&check]), [0; 0], "too early");
        let answer = stun(BINDING_SUCCESS, 2);
        assert_eq!(side.send(PEER, &[&check, &answer]), answer);
        assert_eq!(side.send(PEER, &[&check, &check]), check, "one triggered check");
        for _ in 0..2 {
            assert_eq!(side.send(STRANGER, &[&CLIENT_HELLO, &CLIENT_HELLO]), CLIENT_HELLO.repeat(2));
        }
    }

    #[test]
    fn filtered_datagrams_do_not_delay_others() {
        let side = Side::new();
        for _ in 0..MAX_FILTERED_READS - 1 {
            side.network.incoming.lock().unwrap().push_back((STRANGER.into(), CLIENT_HELLO.to_vec()));
        }
        assert!(side.receive(PEER, &stun(BINDING_REQUEST, 1)), "found in a single read");
    }
}
