//! Runtime of the stack: tokio, with a workaround for datagrams that the stack sends late.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task;
use tokio::time::timeout;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime, TokioRuntime,
};

use crate::dtls_retransmit::RetransmittingSocket;
use crate::filtered_socket::FilteredSocket;
use crate::observed_socket::ObservedSocket;
use crate::shared::Shared;

/// Timeout of a server's name lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);
/// Additional driver rounds without relays: events are handled after sending, so one more sends
/// their output.
const EXTRA_ROUNDS: u8 = 1;
/// Additional driver rounds with relays: a datagram is read in the first, causes events in the
/// second, whose output is wrapped for the relay in the third and sent in the fourth.
const EXTRA_ROUNDS_RELAYED: u8 = 3;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Tokio runtime of one connection.
///
/// The stack's driver sends, handles events, reads and sleeps, in this order. Output of an event
/// (the first DTLS flight, the SCTP INIT, the opening of a data channel) would wait for the next
/// packet or timer, up to 200 ms each. The driver sleeps once per round. So after each wakeup its
/// first sleeps return immediately, and it runs again until there is no output left.
#[derive(Debug)]
pub(crate) struct SettlingRuntime {
    tokio: TokioRuntime,
    /// Id of the driver task, the first to be spawned. Sleeps of other tasks are deadlines and
    /// unchanged.
    driver: Arc<OnceLock<task::Id>>,
    /// Additional rounds per wakeup.
    extra_rounds: u8,
    /// Additional rounds since the last wakeup.
    rounds: Arc<AtomicU8>,
    shared: Arc<Shared>,
}

impl SettlingRuntime {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let extra_rounds = if shared.packet_filter.has_relays() { EXTRA_ROUNDS_RELAYED } else { EXTRA_ROUNDS };
        Self { tokio: TokioRuntime, driver: Arc::default(), extra_rounds, rounds: Arc::default(), shared }
    }

    fn is_driver(&self) -> bool {
        self.driver.get().is_some_and(|driver| task::try_id() == Some(*driver))
    }
}

impl Runtime for SettlingRuntime {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        let driver = Arc::clone(&self.driver);
        self.tokio.spawn(Box::pin(async move {
            driver.get_or_init(task::id);
            future.await;
        }))
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        if !self.is_driver() {
            return self.tokio.sleep(duration);
        }
        if self.rounds.load(Ordering::Relaxed) >= self.extra_rounds {
            self.rounds.store(0, Ordering::Relaxed);
            return self.tokio.sleep(duration);
        }
        let rounds = Rounds { count: Arc::clone(&self.rounds), is_over: false };
        Box::pin(async move { rounds.go_on() })
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        // Handshakes are observed behind the filter, because a third party's message must not count
        // as a response.
        let filtered = FilteredSocket::wrap(self.tokio.wrap_udp_socket(socket)?, &self.shared.packet_filter)?;
        Ok(ObservedSocket::wrap(RetransmittingSocket::wrap(filtered), &self.shared))
    }

    fn wrap_tcp_listener(&self, listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.tokio.wrap_tcp_listener(listener)
    }

    fn connect_tcp(&self, remote: SocketAddr) -> Boxed<'_, io::Result<Arc<dyn AsyncTcpStream>>> {
        self.tokio.connect_tcp(remote)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            // The stack omits the brackets around a TURN server's IPv6 address.
            let host = match host.rsplit_once(':') {
                Some((address, port)) if address.contains(':') && !address.starts_with('[') => {
                    format!("[{address}]:{port}")
                }
                _ => host.to_owned(),
            };
            // The stack does nothing else during a lookup, hence the short timeout.
            let found = timeout(LOOKUP_TIMEOUT, self.tokio.resolve_host(&host)).await??;
            self.shared.packet_filter.found(&host, &found);
            Ok(found)
        })
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.tokio.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.tokio.block_on(future);
    }

    fn yield_now(&self) -> Boxed<'static, ()> {
        self.tokio.yield_now()
    }

    fn name(&self) -> &'static str {
        self.tokio.name()
    }
}

/// Sleep that returns immediately. If it is cancelled because a packet was faster, the count
/// restarts.
struct Rounds {
    count: Arc<AtomicU8>,
    is_over: bool,
}

impl Rounds {
    fn go_on(mut self) {
        self.is_over = true;
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        if !self.is_over {
            self.count.store(0, Ordering::Relaxed);
        }
    }
}
