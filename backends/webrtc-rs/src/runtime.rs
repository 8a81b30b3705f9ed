//! The runtime the stack's driver runs on: tokio, and no datagram left lying until the next timer.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime, TokioRuntime,
};

use crate::guard::{Guard, GuardedSocket};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Tokio, for one connection.
///
/// The stack's driver sends first, then handles events, then sleeps. What an event made it want to send (the first flight of DTLS, the
/// INIT of SCTP, the opening of a data channel) would lie there until a packet or timer comes, up to 200 ms each. The driver sleeps once
/// in each round. So each time it wakes up, its first sleep is over at once and it goes round again; in the second round there is
/// nothing new, and it sleeps as long as it wants.
#[derive(Debug)]
pub(crate) struct SettlingRuntime {
    tokio: TokioRuntime,
    /// The first task that is spawned. What others sleep for is left alone: they mean it as a deadline.
    driver: Arc<OnceLock<task::Id>>,
    /// The driver has gone round once more since it last woke up.
    is_settled: Arc<AtomicBool>,
    guard: Arc<Guard>,
}

impl SettlingRuntime {
    pub(crate) fn new(guard: Arc<Guard>) -> Self {
        Self { tokio: TokioRuntime, driver: Arc::default(), is_settled: Arc::default(), guard }
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
        if !self.is_driver() || self.is_settled.swap(false, Ordering::Relaxed) {
            return self.tokio.sleep(duration);
        }
        // Set only where this sleep is what the driver goes on for; a packet that is faster begins anew.
        let is_settled = Arc::clone(&self.is_settled);
        Box::pin(async move { is_settled.store(true, Ordering::Relaxed) })
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(GuardedSocket::wrap(self.tokio.wrap_udp_socket(socket)?, &self.guard))
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
            let found = self.tokio.resolve_host(&host).await?;
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
