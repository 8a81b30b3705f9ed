//! TCP, WebSocket and QUIC as one transport, with names resolved where the carrier wants it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::Either;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent};
use libp2p::core::transport::Boxed;
use libp2p::core::transport::timeout::{TransportTimeout, TransportTimeoutError};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport, TransportError, dns, noise, quic, tcp, websocket, yamux};
use tokio::time::Sleep;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that an inbound handshake may take. It occupies one of the address's few places meanwhile.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the other side may take to read what is still to be written when a connection is
/// closed.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// # Errors
/// Where the system's name servers cannot be read.
pub(crate) fn transport(key: &Keypair) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let noise = noise::Config::new(key).map_err(io::Error::other)?;
    let sockets = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));

    // WebSocket resolves names below itself: with TLS it has to know the name.
    let websocket = websocket::Config::new(dns::tokio::Transport::system(sockets())?)
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, prompt(muxer)));
    let tcp = sockets()
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, prompt(muxer)));
    let quic =
        quic::tokio::Transport::new(quic::Config::new(key)).map(|(peer, connection), _| (peer, prompt(connection)));

    let named = dns::tokio::Transport::system(quic.or_transport(tcp).map(either))?;
    let timely = TransportTimeout::with_ingoing_timeout(websocket.or_transport(named).map(either), HANDSHAKE_TIMEOUT);
    Ok(TransportTimeout::with_outgoing_timeout(timely.boxed(), CONNECT_TIMEOUT).boxed())
}

/// Whether a dial failed because nobody answered.
pub(crate) fn is_timeout(error: &TransportError<io::Error>) -> bool {
    let TransportError::Other(error) = error else { return false };
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<TransportTimeoutError<io::Error>>());
    matches!(cause, Some(TransportTimeoutError::Timeout))
}

fn either<T, C>(output: Either<T, T>, _: C) -> T {
    output.into_inner()
}

fn prompt<M>(muxer: M) -> StreamMuxerBox
where
    M: StreamMuxer + Send + 'static,
    M::Substream: Send + 'static,
    M::Error: Send + Sync + 'static,
{
    StreamMuxerBox::new(PromptClose { inner: Box::pin(muxer), deadline: None })
}

/// A muxer that is closed after [`CLOSE_TIMEOUT`] whether or not the other side reads: else a
/// stalled connection with a full send buffer would count as open until the kernel gives it up, a
/// quarter of an hour later.
struct PromptClose<M> {
    inner: Pin<Box<M>>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<M: StreamMuxer> StreamMuxer for PromptClose<M> {
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

    /// The other side reads nothing: nothing ever gets ready.
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
    async fn a_stalled_connection_is_closed_in_time() {
        let begin = Instant::now();
        prompt(Stalled).close().await.unwrap();
        assert_eq!(begin.elapsed(), CLOSE_TIMEOUT);
    }
}
