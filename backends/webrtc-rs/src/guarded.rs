//! A socket whose datagrams pass the guard.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use crate::guard::{BINDING, Guard};

/// Reads of nothing that is for the stack, after which it gets its turn all the same.
const MAX_IDLE_READS: usize = 32;

#[derive(Debug)]
pub(crate) struct GuardedSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    local: SocketAddr,
    guard: Arc<Guard>,
}

impl GuardedSocket {
    /// # Errors
    /// [`io::Error`] where the socket has no address.
    pub(crate) fn wrap(socket: Arc<dyn AsyncUdpSocket>, guard: &Arc<Guard>) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let local = socket.local_addr()?;
        Ok(Arc::new(Self { socket, local, guard: Arc::clone(guard) }))
    }

    /// Leaves in the buffer what is for the stack, and says how long that is.
    fn filter(&self, buffer: &mut [u8], meta: &RecvMeta) -> usize {
        let (now, stride, end) = (Instant::now(), meta.stride.max(1), meta.len.min(buffer.len()));
        let mut kept = 0;
        for begin in (0..end).step_by(stride) {
            let datagram = begin..(begin + stride).min(end);
            if self.guard.lets_in(now, self.local, meta.addr, &buffer[datagram.clone()]) {
                let length = datagram.len();
                buffer.copy_within(datagram, kept);
                kept += length;
            }
        }
        kept
    }
}

impl AsyncUdpSocket for GuardedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn poll_send(&self, context: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let (now, to) = (Instant::now(), transmit.destination);
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        if !transmit.contents.chunks(segment).any(|datagram| self.guard.concerns(datagram)) {
            return self.socket.poll_send(context, transmit);
        }
        let mut has_request = false;
        let passes = |datagram: &&[u8]| {
            // All are for one pair, of which two checks at once would both be in time.
            let is_one_too_many = datagram.starts_with(&BINDING) && std::mem::replace(&mut has_request, true);
            !is_one_too_many && self.guard.lets_out(now, self.local, to, datagram)
        };
        let datagrams: Vec<&[u8]> = transmit.contents.chunks(segment).filter(passes).collect();
        let length: usize = datagrams.iter().map(|datagram| datagram.len()).sum();
        if length == transmit.contents.len() {
            ready!(self.socket.poll_send(context, transmit))?;
        } else if length > 0 {
            let contents = datagrams.concat();
            let segment_size = Some(segment).filter(|segment| *segment < length);
            let rest = Transmit {
                destination: to,
                ecn: transmit.ecn,
                contents: &contents,
                segment_size,
                src_ip: transmit.src_ip,
            };
            ready!(self.socket.poll_send(context, &rest))?;
        }
        datagrams.into_iter().for_each(|datagram| self.guard.handle_sent(now, self.local, to, datagram));
        Poll::Ready(Ok(transmit.contents.len()))
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        // What is not for the stack must not wake it: others decide how much of that comes.
        for _ in 0..MAX_IDLE_READS {
            let received = ready!(self.socket.poll_recv(context, buffers, metas))?;
            for (buffer, meta) in buffers.iter_mut().zip(metas.iter_mut()).take(received) {
                // An empty datagram is none to the stack.
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

    /// How a ClientHello begins, and what it may be preceded by.
    const CLIENT_HELLO: [u8; 4] = [22, 254, 253, 1];
    const PEER: ([u8; 4], u16) = ([192, 0, 2, 1], 6000);
    const STRANGER: ([u8; 4], u16) = ([192, 0, 2, 2], 6000);

    /// A network that holds what comes in, and keeps what went out.
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
            let guard =
                Arc::new(Guard::new(&IceConfig::default(), CheckBudgets::default().session(None)).expect("no servers"));
            let socket =
                GuardedSocket::wrap(Arc::clone(&network) as Arc<dyn AsyncUdpSocket>, &guard).expect("a socket");
            Self { network, socket }
        }

        /// Has a datagram come; says whether the stack gets it.
        fn receive(&self, from: ([u8; 4], u16), datagram: &[u8]) -> bool {
            self.network.incoming.lock().unwrap().push_back((from.into(), datagram.to_vec()));
            let (mut buffer, mut metas) = ([0; 2000], [RecvMeta::default()]);
            let mut context = Context::from_waker(Waker::noop());
            let read = self.socket.poll_recv(&mut context, &mut [IoSliceMut::new(&mut buffer)], &mut metas);
            assert!(read.is_pending() || buffer[..metas[0].len] == *datagram);
            read.is_ready()
        }

        /// Has the stack send datagrams at once; says what went out.
        fn send(&self, to: ([u8; 4], u16), datagrams: &[&[u8]]) -> Vec<u8> {
            let contents = datagrams.concat();
            let segment_size = datagrams.first().map(|datagram| datagram.len());
            let transmit =
                Transmit { destination: to.into(), ecn: None, contents: &contents, segment_size, src_ip: None };
            let sent = self.socket.poll_send(&mut Context::from_waker(Waker::noop()), &transmit);
            assert!(matches!(sent, Poll::Ready(Ok(length)) if length == contents.len()), "the stack learns of nothing");
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
        // Both ends know the password; a server does not.
        message.add(ATTR_MESSAGE_INTEGRITY, &[0; 20]);
        message.raw
    }

    #[test]
    fn what_is_not_stun_comes_from_addresses_that_were_checked() {
        let side = Side::new();
        let hello = |from| side.receive(from, &CLIENT_HELLO);
        assert!(!hello(PEER) && !hello(STRANGER), "nobody was checked");
        let check = stun(BINDING_REQUEST, 1);
        assert_eq!(side.send(PEER, &[&check]), check);
        assert!(!hello(PEER), "a check alone says nothing");
        assert!(side.receive(STRANGER, &stun(BINDING_SUCCESS, 1)) && !hello(STRANGER), "it was not asked");
        assert!(side.receive(PEER, &stun(BINDING_SUCCESS, 2)) && !hello(PEER), "it answers nothing");
        let without_integrity = &stun(BINDING_SUCCESS, 1)[..20];
        assert!(side.receive(PEER, without_integrity) && !hello(PEER), "a server answers so, and anybody");
        assert!(side.receive(PEER, &stun(BINDING_SUCCESS, 1)) && hello(PEER));
        assert!(!hello(STRANGER));
        assert!(side.receive(STRANGER, &stun(BINDING_REQUEST, 3)) && !hello(STRANGER), "the stack has not answered it");
        side.send(STRANGER, &[&stun(BINDING_SUCCESS, 3)]);
        assert!(hello(STRANGER), "the stack found its request to be the peer's");
        for relayed in [&[0x40, 0, 0, 4, 22, 254, 253, 1][..], &[0, 0x17, 0, 0, 0x21, 0x12, 0xa4, 0x42]] {
            assert!(!side.receive(PEER, relayed), "it is no server");
        }
    }

    #[test]
    fn checks_are_kept_to_their_pace_and_everything_else_goes_out() {
        let side = Side::new();
        let check = stun(BINDING_REQUEST, 1);
        assert_eq!(side.send(PEER, &[&check]), check);
        assert_eq!(side.send(PEER, &[&check]), [0; 0], "too soon");
        let answer = stun(BINDING_SUCCESS, 2);
        assert_eq!(side.send(PEER, &[&check, &answer]), answer);
        assert_eq!(side.send(PEER, &[&check, &check]), check, "the peer's check is returned, once");
        for _ in 0..2 {
            assert_eq!(side.send(STRANGER, &[&CLIENT_HELLO, &CLIENT_HELLO]), CLIENT_HELLO.repeat(2));
        }
    }

    #[test]
    fn what_is_not_for_the_stack_does_not_hold_up_what_is() {
        let side = Side::new();
        for _ in 0..MAX_IDLE_READS - 1 {
            side.network.incoming.lock().unwrap().push_back((STRANGER.into(), CLIENT_HELLO.to_vec()));
        }
        assert!(side.receive(PEER, &stun(BINDING_REQUEST, 1)), "all in one reading");
    }
}
