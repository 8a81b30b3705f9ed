//! Workaround for DTLS handshakes on lossy networks: retransmits flights that the stack does not.
//!
//! The stack stops its retransmission timer whenever a handshake message arrives. If that was only
//! a part of a flight, or a retransmission, the timer never restarts, and two such endpoints
//! deadlock (20 % of calls to str0m at 10 % packet loss). So this socket retransmits the latest
//! local flight until both endpoints have sent data that requires the complete handshake. The
//! peer's completion alone is not enough: its last flight, which it retransmits only on request,
//! may be the lost one. Retransmitted records are identical, so a peer that has them discards them
//! as replays (RFC 6347 §4.1.2.6). Handshakes through relays are wrapped in TURN and left to the
//! stack.

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

use crate::datagrams;

/// Retransmission timeout of a flight, as recommended for DTLS-SRTP (RFC 9147 §5.8.2). The stack's
/// own is a second.
const RETRANSMIT_TIMEOUT: Duration = Duration::from_millis(400);
/// Time within which datagrams belong to one flight, whatever is received in between.
const FLIGHT_WINDOW: Duration = Duration::from_millis(50);
/// Limit of datagrams in a flight; with certificates it has four or five.
const MAX_DATAGRAMS: usize = 16;
/// Limit of retransmissions of a flight; by then the call has failed too.
const MAX_ROUNDS: u32 = 90;

/// Record types (RFC 5246 §6.2.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// First bytes of SRTP and SRTCP (RFC 7983 §7).
const SRTP: std::ops::RangeInclusive<u8> = 128..=191;

/// UDP socket that retransmits the latest flight of a DTLS handshake.
#[derive(Debug)]
pub(crate) struct RetransmittingSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    handshake: Mutex<Handshake>,
    /// Copy of [`Handshake::is_over`] that needs no lock, for every later packet.
    is_over: AtomicBool,
}

#[derive(Debug, Default)]
struct Handshake {
    /// Datagrams of the latest flight: time of first transmission, destination and content.
    flight: Vec<(Instant, SocketAddr, Vec<u8>)>,
    /// A handshake message of the peer was received since the flight began.
    answered: bool,
    /// The local endpoint has completed the handshake.
    is_complete: bool,
    /// The peer has completed the handshake.
    is_complete_there: bool,
    rounds: u32,
    timer: Option<Pin<Box<Sleep>>>,
}

impl RetransmittingSocket {
    pub(crate) fn wrap(socket: Arc<dyn AsyncUdpSocket>) -> Arc<dyn AsyncUdpSocket> {
        Arc::new(Self { socket, handshake: Mutex::default(), is_over: AtomicBool::new(false) })
    }

    /// Handshake state; `None` once it is over.
    fn handshake(&self) -> Option<MutexGuard<'_, Handshake>> {
        let is_over = self.is_over.load(Ordering::Relaxed);
        (!is_over).then(|| self.handshake.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Retransmits the flight if it is due, and registers the waker for the next time.
    fn repeat(&self, handshake: &mut Handshake, context: &mut Context<'_>) {
        if !handshake.is_due(context) {
            return;
        }
        for (_, destination, contents) in &handshake.flight {
            let transmit =
                Transmit { destination: *destination, ecn: None, contents, segment_size: None, src_ip: None };
            // A datagram that cannot be sent now is sent in the next round.
            let _ = self.socket.poll_send(context, &transmit);
        }
        handshake.rounds += 1;
        handshake.wait();
        // Polling the new timer registers the waker.
        handshake.is_due(context);
    }
}

impl Handshake {
    fn sent(&mut self, destination: SocketAddr, datagram: &[u8]) {
        if requires_complete_handshake(datagram) {
            self.is_complete = true;
            self.end();
        }
        if !is_handshake(datagram) || self.is_over() {
            return;
        }
        let now = Instant::now();
        // A handshake message of the peer ends the flight, so this datagram starts a new one.
        // Datagrams sent within the window belong to the same flight although something was
        // received between.
        if std::mem::take(&mut self.answered) {
            self.flight.retain(|(at, ..)| now < *at + FLIGHT_WINDOW);
            self.rounds = 0;
        }
        // Each datagram restarts the timer, so that a flight is repeated as a whole after its end.
        if self.flight.len() < MAX_DATAGRAMS {
            self.flight.push((now, destination, datagram.to_vec()));
            self.wait();
        }
    }

    fn received(&mut self, datagram: &[u8]) {
        self.answered |= is_handshake(datagram);
        if requires_complete_handshake(datagram) {
            self.is_complete_there = true;
            self.end();
        }
    }

    fn is_over(&self) -> bool {
        self.is_complete && self.is_complete_there
    }

    /// Drops the flight if neither endpoint needs it.
    fn end(&mut self) {
        if self.is_over() {
            self.flight.clear();
            self.timer = None;
        }
    }

    fn wait(&mut self) {
        let again = self.rounds < MAX_ROUNDS;
        self.timer = again.then(|| Box::pin(sleep_until(Instant::now() + RETRANSMIT_TIMEOUT)));
    }

    fn is_due(&mut self, context: &mut Context<'_>) -> bool {
        self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(context).is_ready())
    }
}

fn is_handshake(datagram: &[u8]) -> bool {
    // A datagram may contain several records; the first one decides (RFC 6347 §4.1.1).
    matches!(datagram.first(), Some(&(CHANGE_CIPHER_SPEC | HANDSHAKE)))
}

/// Returns whether a datagram requires the complete handshake: application data or SRTP.
fn requires_complete_handshake(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first == APPLICATION_DATA || SRTP.contains(first))
}

impl AsyncUdpSocket for RetransmittingSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, context: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = std::task::ready!(self.socket.poll_send(context, transmit));
        if let Some(mut handshake) = self.handshake() {
            datagrams::sent(transmit).for_each(|datagram| handshake.sent(transmit.destination, datagram));
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
            datagrams::received(buffers, metas, received).for_each(|datagram| handshake.received(datagram));
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

    /// Simulated network.
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
    async fn the_latest_flight_is_retransmitted_until_both_endpoints_are_complete() {
        let wire = Arc::new(Wire::default());
        let socket = RetransmittingSocket::wrap(Arc::clone(&wire) as Arc<dyn AsyncUdpSocket>);
        let pass = async |time| {
            tokio::time::sleep(time).await;
            read(&*socket);
            wire.went_out()
        };
        send(&*socket, &[0, 1]);
        send(&*socket, &[HANDSHAKE, 1]);
        assert_eq!(wire.went_out(), [[0, 1], [HANDSHAKE, 1]]);
        assert_eq!(pass(RETRANSMIT_TIMEOUT / 2).await, [[0; 0]; 0]);
        assert_eq!(pass(RETRANSMIT_TIMEOUT).await, [[HANDSHAKE, 1]], "only handshake records are retransmitted");

        wire.comes(&[HANDSHAKE, 7]);
        assert_eq!(pass(FLIGHT_WINDOW).await, [[0; 0]; 0]);
        send(&*socket, &[HANDSHAKE, 2]);
        wire.comes(&[HANDSHAKE, 7]);
        read(&*socket);
        send(&*socket, &[CHANGE_CIPHER_SPEC, 3]);
        wire.went_out();
        for _ in 0..3 {
            assert_eq!(
                pass(RETRANSMIT_TIMEOUT).await,
                [[HANDSHAKE, 2], [CHANGE_CIPHER_SPEC, 3]],
                "one flight, although a message was received within"
            );
        }

        wire.comes(&[APPLICATION_DATA, 7]);
        assert_eq!(pass(Duration::ZERO).await, [[0; 0]; 0]);
        assert_eq!(
            pass(RETRANSMIT_TIMEOUT).await,
            [[HANDSHAKE, 2], [CHANGE_CIPHER_SPEC, 3]],
            "the peer is complete, but its last flight may be lost"
        );
        send(&*socket, &[*SRTP.start(), 4]);
        assert_eq!(pass(Duration::ZERO).await, [[*SRTP.start(), 4]]);
        assert_eq!(pass(RETRANSMIT_TIMEOUT * 3).await, [[0; 0]; 0]);

        send(&*socket, &[HANDSHAKE, 2]);
        wire.went_out();
        assert_eq!(
            pass(RETRANSMIT_TIMEOUT * 3).await,
            [[0; 0]; 0],
            "once both are complete, this is left to the stack"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_endpoint_to_complete_retransmits_until_the_other_has() {
        let wire = Arc::new(Wire::default());
        let socket = RetransmittingSocket::wrap(Arc::clone(&wire) as Arc<dyn AsyncUdpSocket>);
        send(&*socket, &[HANDSHAKE, 1]);
        send(&*socket, &[APPLICATION_DATA, 2]);
        wire.went_out();
        tokio::time::sleep(RETRANSMIT_TIMEOUT).await;
        read(&*socket);
        assert_eq!(wire.went_out(), [[HANDSHAKE, 1]]);
        wire.comes(&[*SRTP.end(), 7]);
        read(&*socket);
        tokio::time::sleep(RETRANSMIT_TIMEOUT).await;
        read(&*socket);
        assert_eq!(wire.went_out(), [[0; 0]; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn retransmissions_are_limited() {
        let wire = Arc::new(Wire::default());
        let socket = RetransmittingSocket::wrap(Arc::clone(&wire) as Arc<dyn AsyncUdpSocket>);
        for number in 0..100 {
            send(&*socket, &[HANDSHAKE, number]);
        }
        wire.went_out();
        let mut repeated = 0;
        for _ in 0..100 {
            tokio::time::sleep(RETRANSMIT_TIMEOUT).await;
            read(&*socket);
            repeated += wire.went_out().len();
        }
        assert_eq!(repeated, MAX_DATAGRAMS * MAX_ROUNDS as usize);
    }
}
