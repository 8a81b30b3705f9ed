//! DTLS handshakes on networks that lose packets: what the stack stops repeating is repeated here.
//!
//! The stack stops its timer whenever a message of the handshake comes in, and where that was not
//! the whole flight, or one it had already, it never starts it again. Two ends that both wait so
//! wait for ever. So each datagram of the newest own flight goes out again until both ends have
//! sent what only who has the whole handshake can send. That the other end has is not enough: its
//! last flight, which it repeats for nobody who does not ask again, may be what was lost. What is
//! repeated are the same records: whoever has them takes them for replays (RFC 6347 §4.1.2.6) and
//! does nothing. Handshakes through relays are wrapped, and left to the stack.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

/// How long after a flight it goes out again: what is recommended for DTLS-SRTP (RFC 9147 §5.8.2).
/// The stack itself would wait a second.
const PAUSE: Duration = Duration::from_millis(400);
/// Datagrams that are sent within this belong to one flight, whatever came in between.
const FLIGHT: Duration = Duration::from_millis(50);
/// Datagrams of one flight: certificates and all are four or five.
const MOST: usize = 16;
/// Flights that go out again. After that the call has given up, too.
const MOST_ROUNDS: u32 = 90;

/// Record types (RFC 5246 §6.2.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// The first bytes of SRTP and SRTCP (RFC 7983 §7).
const SRTP: std::ops::RangeInclusive<u8> = 128..=191;

/// A socket that repeats the newest flight of a handshake.
#[derive(Debug)]
pub(crate) struct RepeatingSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    handshake: Mutex<Handshake>,
    /// As the handshake says, for every packet after it.
    is_over: AtomicBool,
}

#[derive(Debug, Default)]
struct Handshake {
    /// When each was sent first, where to, and what.
    flight: Vec<(Instant, SocketAddr, Vec<u8>)>,
    /// A message of the other end came since the flight began.
    answered: bool,
    /// This end has the whole handshake.
    is_complete: bool,
    /// The other end has.
    is_complete_there: bool,
    rounds: u32,
    timer: Option<Pin<Box<Sleep>>>,
}

impl RepeatingSocket {
    pub(crate) fn wrap(socket: Arc<dyn AsyncUdpSocket>) -> Arc<dyn AsyncUdpSocket> {
        Arc::new(Self { socket, handshake: Mutex::default(), is_over: AtomicBool::new(false) })
    }

    /// `None` once it is over.
    fn handshake(&self) -> Option<MutexGuard<'_, Handshake>> {
        let is_over = self.is_over.load(Ordering::Relaxed);
        (!is_over).then(|| self.handshake.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends the flight again where it is time, and sees to it that this is called when it is.
    fn repeat(&self, handshake: &mut Handshake, context: &mut Context<'_>) {
        if !handshake.is_due(context) {
            return;
        }
        for (_, destination, contents) in &handshake.flight {
            let transmit =
                Transmit { destination: *destination, ecn: None, contents, segment_size: None, src_ip: None };
            // One that cannot go out now goes out in the next round.
            let _ = self.socket.poll_send(context, &transmit);
        }
        handshake.rounds += 1;
        handshake.wait();
        // Whoever is asked for the first time says when to ask again.
        handshake.is_due(context);
    }
}

impl Handshake {
    fn sent(&mut self, destination: SocketAddr, datagram: &[u8]) {
        if is_under_keys(datagram) {
            self.is_complete = true;
            self.end();
        }
        if !is_handshake(datagram) || self.is_over() {
            return;
        }
        let now = Instant::now();
        if std::mem::take(&mut self.answered) {
            self.flight.retain(|(at, ..)| now < *at + FLIGHT);
            self.rounds = 0;
        }
        if self.flight.len() < MOST {
            self.flight.push((now, destination, datagram.to_vec()));
            self.wait();
        }
    }

    fn received(&mut self, datagram: &[u8]) {
        self.answered |= is_handshake(datagram);
        if is_under_keys(datagram) {
            self.is_complete_there = true;
            self.end();
        }
    }

    fn is_over(&self) -> bool {
        self.is_complete && self.is_complete_there
    }

    /// Forgets the flight if nobody needs it any more.
    fn end(&mut self) {
        if self.is_over() {
            self.flight.clear();
            self.timer = None;
        }
    }

    fn wait(&mut self) {
        let again = self.rounds < MOST_ROUNDS;
        self.timer = again.then(|| Box::pin(sleep_until(Instant::now() + PAUSE)));
    }

    fn is_due(&mut self, context: &mut Context<'_>) -> bool {
        self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(context).is_ready())
    }
}

fn is_handshake(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(&(CHANGE_CIPHER_SPEC | HANDSHAKE)))
}

/// Only who has the whole handshake can send that.
fn is_under_keys(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first == APPLICATION_DATA || SRTP.contains(first))
}

impl AsyncUdpSocket for RepeatingSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, context: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = std::task::ready!(self.socket.poll_send(context, transmit));
        if let Some(mut handshake) = self.handshake() {
            let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
            transmit.contents.chunks(segment).for_each(|datagram| handshake.sent(transmit.destination, datagram));
            self.is_over.store(handshake.is_over(), Ordering::Relaxed);
        }
        Poll::Ready(sent)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let Some(mut handshake) = self.handshake() else {
            return self.socket.poll_recv(context, buffers, metas);
        };
        self.repeat(&mut handshake, context);
        let received = std::task::ready!(self.socket.poll_recv(context, buffers, metas))?;
        if !handshake.flight.is_empty() {
            for (buffer, meta) in buffers.iter().zip(metas.iter()).take(received) {
                let datagrams = buffer[..meta.len.min(buffer.len())].chunks(meta.stride.max(1));
                datagrams.for_each(|datagram| handshake.received(datagram));
            }
            self.is_over.store(handshake.is_over(), Ordering::Relaxed);
        }
        Poll::Ready(Ok(received))
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
    use std::task::Waker;

    use super::*;

    /// A wire that holds what comes in, and tells what went out.
    #[derive(Debug, Default)]
    struct Wire {
        incoming: Mutex<VecDeque<Vec<u8>>>,
        outgoing: Mutex<Vec<Vec<u8>>>,
    }

    impl Wire {
        fn comes(&self, datagram: &[u8]) {
            self.incoming.lock().unwrap().push_back(datagram.to_vec());
        }

        fn went_out(&self) -> Vec<Vec<u8>> {
            std::mem::take(&mut self.outgoing.lock().unwrap())
        }
    }

    impl AsyncUdpSocket for Wire {
        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(there())
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
            let Some(datagram) = self.incoming.lock().unwrap().pop_front() else { return Poll::Pending };
            buffers[0][..datagram.len()].copy_from_slice(&datagram);
            let mut meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride) = (there(), datagram.len(), datagram.len());
            metas[0] = meta;
            Poll::Ready(Ok(1))
        }
    }

    fn there() -> SocketAddr {
        ([127, 0, 0, 1], 9).into()
    }

    fn send(socket: &dyn AsyncUdpSocket, contents: &[u8]) {
        let transmit = Transmit { destination: there(), ecn: None, contents, segment_size: None, src_ip: None };
        let sent = socket.poll_send(&mut Context::from_waker(Waker::noop()), &transmit);
        assert!(matches!(sent, Poll::Ready(Ok(length)) if length == contents.len()));
    }

    fn read(socket: &dyn AsyncUdpSocket) {
        let (mut buffer, mut metas) = ([0; 100], [RecvMeta::default()]);
        let mut context = Context::from_waker(Waker::noop());
        while socket.poll_recv(&mut context, &mut [IoSliceMut::new(&mut buffer)], &mut metas).is_ready() {}
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_flight_goes_out_until_the_other_end_has_all_of_it() {
        let wire = Arc::new(Wire::default());
        let socket = RepeatingSocket::wrap(Arc::clone(&wire) as Arc<dyn AsyncUdpSocket>);
        let pass = async |time| {
            tokio::time::sleep(time).await;
            read(&*socket);
            wire.went_out()
        };
        send(&*socket, &[0, 1]);
        send(&*socket, &[HANDSHAKE, 1]);
        assert_eq!(wire.went_out(), [[0, 1], [HANDSHAKE, 1]]);
        assert_eq!(pass(PAUSE / 2).await, [[0; 0]; 0]);
        assert_eq!(pass(PAUSE).await, [[HANDSHAKE, 1]], "what is no handshake is not repeated");

        wire.comes(&[HANDSHAKE, 7]);
        assert_eq!(pass(FLIGHT).await, [[0; 0]; 0]);
        send(&*socket, &[HANDSHAKE, 2]);
        wire.comes(&[HANDSHAKE, 7]);
        read(&*socket);
        send(&*socket, &[CHANGE_CIPHER_SPEC, 3]);
        wire.went_out();
        for _ in 0..3 {
            assert_eq!(
                pass(PAUSE).await,
                [[HANDSHAKE, 2], [CHANGE_CIPHER_SPEC, 3]],
                "one flight, though something came within"
            );
        }

        wire.comes(&[APPLICATION_DATA, 7]);
        assert_eq!(pass(Duration::ZERO).await, [[0; 0]; 0]);
        assert_eq!(
            pass(PAUSE).await,
            [[HANDSHAKE, 2], [CHANGE_CIPHER_SPEC, 3]],
            "the other end has all, but its last flight may be lost"
        );
        send(&*socket, &[*SRTP.start(), 4]);
        assert_eq!(pass(Duration::ZERO).await, [[*SRTP.start(), 4]]);
        assert_eq!(pass(PAUSE * 3).await, [[0; 0]; 0]);

        send(&*socket, &[HANDSHAKE, 2]);
        wire.went_out();
        assert_eq!(pass(PAUSE * 3).await, [[0; 0]; 0], "the stack's own affair, once both are complete");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_complete_first_repeats_until_the_other_end_is() {
        let wire = Arc::new(Wire::default());
        let socket = RepeatingSocket::wrap(Arc::clone(&wire) as Arc<dyn AsyncUdpSocket>);
        send(&*socket, &[HANDSHAKE, 1]);
        send(&*socket, &[APPLICATION_DATA, 2]);
        wire.went_out();
        tokio::time::sleep(PAUSE).await;
        read(&*socket);
        assert_eq!(wire.went_out(), [[HANDSHAKE, 1]]);
        wire.comes(&[*SRTP.end(), 7]);
        read(&*socket);
        tokio::time::sleep(PAUSE).await;
        read(&*socket);
        assert_eq!(wire.went_out(), [[0; 0]; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_sent_a_flight_for_ever() {
        let wire = Arc::new(Wire::default());
        let socket = RepeatingSocket::wrap(Arc::clone(&wire) as Arc<dyn AsyncUdpSocket>);
        for number in 0..100 {
            send(&*socket, &[HANDSHAKE, number]);
        }
        wire.went_out();
        let mut repeated = 0;
        for _ in 0..100 {
            tokio::time::sleep(PAUSE).await;
            read(&*socket);
            repeated += wire.went_out().len();
        }
        assert_eq!(repeated, MOST * MOST_ROUNDS as usize);
    }
}
