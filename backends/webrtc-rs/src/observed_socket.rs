//! Socket that observes DTLS handshakes: the stack does not say why one fails.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use blink_transport_kit::handshake::Direction;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use crate::datagrams;
use crate::shared::Shared;

/// First bytes of DTLS (RFC 7983 §7).
const DTLS: std::ops::Range<u8> = 20..64;

/// UDP socket of one session. Handshakes through relays are wrapped in TURN and not observed.
pub(crate) struct ObservedSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    shared: Arc<Shared>,
}

impl ObservedSocket {
    pub(crate) fn wrap(socket: Arc<dyn AsyncUdpSocket>, shared: &Arc<Shared>) -> Arc<dyn AsyncUdpSocket> {
        Arc::new(Self { socket, shared: Arc::clone(shared) })
    }

    fn observe<'a>(&self, direction: Direction, datagrams: impl Iterator<Item = &'a [u8]>) {
        let of_dtls = |datagram: &&[u8]| datagram.first().is_some_and(|first| DTLS.contains(first));
        datagrams.filter(of_dtls).for_each(|datagram| self.shared.observe(direction, datagram));
    }
}

impl fmt::Debug for ObservedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedSocket").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for ObservedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, context: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = ready!(self.socket.poll_send(context, transmit));
        self.observe(Direction::Sent, datagrams::sent(transmit));
        Poll::Ready(sent)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.socket.poll_recv(context, buffers, metas))?;
        self.observe(Direction::Received, datagrams::received(buffers, metas, received));
        Poll::Ready(Ok(received))
    }

    fn max_gso_segments(&self) -> usize {
        self.socket.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}
