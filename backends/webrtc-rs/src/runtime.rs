//! The runtime the stack's driver runs on: tokio, and no datagram left lying until the next timer.

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

use crate::guard::Guard;
use crate::guarded::GuardedSocket;
use crate::handshake::RepeatingSocket;

/// Longest time a server's name is looked up.
const LOOKUP: Duration = Duration::from_secs(1);
/// How often the driver goes round again without relays: to send what events made it want to.
const MORE_ROUNDS: u8 = 1;
/// And with relays, where what came is read in the first round, makes events in the second, of
/// which what is to be sent is wrapped for the relay in the third, and goes out in the fourth.
const MORE_ROUNDS_RELAYED: u8 = 3;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Tokio, for one connection.
///
/// The stack's driver sends first, then handles events, then reads, then sleeps. What an event made
/// it want to send (the first flight of DTLS, the INIT of SCTP, the opening of a data channel)
/// would lie there until a packet or timer comes, up to 200 ms each. The driver sleeps once in each
/// round. So each time it wakes up, its first sleeps are over at once and it goes round again,
/// until there is nothing new and it sleeps as long as it wants.
#[derive(Debug)]
pub(crate) struct SettlingRuntime {
    tokio: TokioRuntime,
    /// The first task that is spawned. What others sleep for is left alone: they mean it as a
    /// deadline.
    driver: Arc<OnceLock<task::Id>>,
    /// How often it goes round again.
    more_rounds: u8,
    /// How often it has since it last woke up.
    rounds: Arc<AtomicU8>,
    guard: Arc<Guard>,
}

impl SettlingRuntime {
    pub(crate) fn new(guard: Arc<Guard>) -> Self {
        let relays = guard.servers.iter().any(|server| server.account.is_some());
        let more_rounds = if relays { MORE_ROUNDS_RELAYED } else { MORE_ROUNDS };
        Self { tokio: TokioRuntime, driver: Arc::default(), more_rounds, rounds: Arc::default(), guard }
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
        if self.rounds.load(Ordering::Relaxed) >= self.more_rounds {
            self.rounds.store(0, Ordering::Relaxed);
            return self.tokio.sleep(duration);
        }
        let rounds = Rounds { count: Arc::clone(&self.rounds), is_over: false };
        Box::pin(async move { rounds.go_on() })
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        // Handshakes are watched behind the guard: what a stranger sends is no answer to a flight.
        Ok(RepeatingSocket::wrap(GuardedSocket::wrap(self.tokio.wrap_udp_socket(socket)?, &self.guard)?))
    }

    fn wrap_tcp_listener(&self, listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.tokio.wrap_tcp_listener(listener)
    }

    fn connect_tcp(&self, remote: SocketAddr) -> Boxed<'_, io::Result<Arc<dyn AsyncTcpStream>>> {
        self.tokio.connect_tcp(remote)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            // The stack leaves out the brackets of a TURN server's IPv6 address.
            let host = match host.rsplit_once(':') {
                Some((address, port)) if address.contains(':') && !address.starts_with('[') => {
                    format!("[{address}]:{port}")
                }
                _ => host.to_owned(),
            };
            // The stack does nothing else meanwhile.
            let found = timeout(LOOKUP, self.tokio.resolve_host(&host)).await??;
            self.guard.found(&host, &found);
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

/// A sleep that is over at once. Where the driver goes on for something else, a packet that was
/// faster, the count begins anew.
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
