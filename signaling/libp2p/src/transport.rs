//! TCP, WebSocket, QUIC and circuits through relays as one transport, with DNS resolution.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::Either;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent};
use libp2p::core::transport::timeout::{TransportTimeout, TransportTimeoutError};
use libp2p::core::transport::{Boxed, OptionalTransport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport, TransportError, dns, noise, quic, relay, tcp, websocket, yamux};
use tokio::time::Sleep;

/// Timeout of an outbound connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of an inbound handshake, during which it occupies one of the address's pending slots.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for the remote node to read pending data when a connection is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Creates the transport, of which `circuits` is a part if given.
///
/// # Errors
/// The system's DNS configuration cannot be read.
pub(crate) fn transport(
    key: &Keypair,
    circuits: Option<relay::client::Transport>,
) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let noise = noise::Config::new(key).map_err(io::Error::other)?;
    let sockets = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));

    // WebSocket resolves names in its own lower layer, since TLS needs the name for SNI.
    let websocket = websocket::Config::new(dns::tokio::Transport::system(sockets())?)
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, close_with_timeout(muxer)));
    let circuits = circuits.map_or_else(OptionalTransport::none, OptionalTransport::some);
    let circuits = circuits
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, close_with_timeout(muxer)));
    let tcp = sockets()
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, close_with_timeout(muxer)));
    let quic = quic::tokio::Transport::new(quic::Config::new(key))
        .map(|(peer, connection), _| (peer, close_with_timeout(connection)));

    let named = dns::tokio::Transport::system(quic.or_transport(tcp).map(either))?;
    let direct = websocket.or_transport(named).map(either);
    let timely = TransportTimeout::with_ingoing_timeout(circuits.or_transport(direct).map(either), HANDSHAKE_TIMEOUT);
    Ok(TransportTimeout::with_outgoing_timeout(timely.boxed(), CONNECT_TIMEOUT).boxed())
}

/// Returns whether a dial failed because of a timeout.
pub(crate) fn is_timeout(error: &TransportError<io::Error>) -> bool {
    let TransportError::Other(error) = error else { return false };
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<TransportTimeoutError<io::Error>>());
    matches!(cause, Some(TransportTimeoutError::Timeout))
}

fn either<T, C>(output: Either<T, T>, _: C) -> T {
    output.into_inner()
}

fn close_with_timeout<M>(muxer: M) -> StreamMuxerBox
where
    M: StreamMuxer + Send + 'static,
    M::Substream: Send + 'static,
    M::Error: Send + Sync + 'static,
{
    StreamMuxerBox::new(CloseWithTimeout { inner: Box::pin(muxer), deadline: None })
}

/// Muxer that closes after [`CLOSE_TIMEOUT`] even if the remote node does not read. Otherwise a
/// stalled connection with a full send buffer would count as open until the kernel's TCP timeout of
/// about 15 minutes.
struct CloseWithTimeout<M> {
    inner: Pin<Box<M>>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<M: StreamMuxer> StreamMuxer for CloseWithTimeout<M> {
    type Substream = M::Substream;
    type Error = M::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        self.inner.as_mut().poll_inbound(cx)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        self.inner.as_mut().poll_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Poll::Ready(result) = self.inner.as_mut().poll_close(cx) {
            return Poll::Ready(result);
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSE_TIMEOUT)));
        deadline.as_mut().poll(cx).map(Ok)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        self.inner.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::muxing::{StreamMuxerExt, SubstreamBox};
    use tokio::time::Instant;

    use super::*;

    /// Connection whose remote side reads nothing.
    struct Stalled;

    impl StreamMuxer for Stalled {
        type Substream = SubstreamBox;
        type Error = io::Error;

        fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
            Poll::Pending
        }

        fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_connection_closes_after_the_timeout() {
        let begin = Instant::now();
        close_with_timeout(Stalled).close().await.unwrap();
        assert_eq!(begin.elapsed(), CLOSE_TIMEOUT);
    }
}
