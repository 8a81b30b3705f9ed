//! mDNS names for local addresses in host candidates, resolvable in the local network only (RFC
//! 6762, draft-ietf-mmusic-mdns-ice-candidates).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_mdns::{MDNS_PORT, Mdns, MdnsConfig, MdnsEvent, MulticastSocket, QueryId};
use rtc_shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use sansio::Protocol as _;
use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Timeout of a query. A responder in the local network answers immediately.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(4);
/// Interval between repetitions of a query.
const REPEAT_INTERVAL: Duration = Duration::from_millis(500);
/// Limit of queued queries.
const QUEUE: usize = 64;
/// Maximum size of an mDNS packet (RFC 6762 §17).
const MAX_PACKET: usize = 9000;

/// mDNS responder with a random name per local IPv4 address, which also resolves the names of
/// others. It answers until dropped.
///
/// IPv6 addresses get no names.
#[derive(Debug)]
pub struct MdnsResponder {
    names: Vec<(IpAddr, String)>,
    queries: Vec<mpsc::Sender<Query>>,
    tasks: Vec<JoinHandle<()>>,
}

struct Query {
    name: String,
    answer: oneshot::Sender<IpAddr>,
}

impl MdnsResponder {
    /// Assigns names. Opens port 5353 on the interface of each address, shared with other
    /// responders.
    ///
    /// # Errors
    /// No interface allows it.
    pub fn announce(addresses: &[IpAddr]) -> io::Result<Self> {
        let mut names = Self { names: Vec::new(), queries: Vec::new(), tasks: Vec::new() };
        let mut failure = io::Error::other("there is no IPv4 address to name");
        for address in addresses {
            let IpAddr::V4(address) = *address else { continue };
            match socket(address) {
                Ok(socket) => names.add(address, socket),
                Err(error) => failure = error,
            }
        }
        if names.names.is_empty() { Err(failure) } else { Ok(names) }
    }

    /// Local addresses with their names.
    pub fn names(&self) -> &[(IpAddr, String)] {
        &self.names
    }

    /// Resolves a name on all interfaces. Dropping the future cancels the query.
    pub fn resolve(&self, name: &str) -> impl Future<Output = Option<IpAddr>> + Send + use<> {
        let asked = self.queries.iter().filter_map(|queries| {
            let (answer, answered) = oneshot::channel();
            queries.try_send(Query { name: name.to_owned(), answer }).ok().map(|()| answered)
        });
        let mut asked: Vec<_> = asked.collect();
        async move {
            let first = std::future::poll_fn(|context| {
                let mut finished = true;
                for answered in &mut asked {
                    match std::pin::Pin::new(answered).poll(context) {
                        std::task::Poll::Ready(Ok(address)) => return std::task::Poll::Ready(Some(address)),
                        std::task::Poll::Ready(Err(_)) => {}
                        std::task::Poll::Pending => finished = false,
                    }
                }
                if finished { std::task::Poll::Ready(None) } else { std::task::Poll::Pending }
            });
            tokio::time::timeout(RESPONSE_TIMEOUT, first).await.ok().flatten()
        }
    }

    fn add(&mut self, address: Ipv4Addr, socket: UdpSocket) {
        let name = format!("{}.local", uuid::Uuid::new_v4());
        let config = MdnsConfig::default()
            .with_query_interval(REPEAT_INTERVAL)
            .with_query_timeout(RESPONSE_TIMEOUT)
            .with_local_names(vec![name.clone()])
            .with_local_ip(address.into());
        let (queries, queue) = mpsc::channel(QUEUE);
        let interface = Interface { mdns: Mdns::new(Instant::now(), config), socket, address, open: Vec::new() };
        self.tasks.push(tokio::spawn(interface.run(queue)));
        self.queries.push(queries);
        self.names.push((address.into(), name));
    }
}

impl Drop for MdnsResponder {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Responder and querier on one interface.
struct Interface {
    mdns: Mdns,
    socket: UdpSocket,
    address: Ipv4Addr,
    open: Vec<(QueryId, oneshot::Sender<IpAddr>)>,
}

impl Interface {
    async fn run(mut self, mut queries: mpsc::Receiver<Query>) {
        let mut buffer = vec![0; MAX_PACKET];
        loop {
            self.advance().await;
            let timeout = self.mdns.poll_timeout().unwrap_or_else(|| Instant::now() + RESPONSE_TIMEOUT);
            tokio::select! {
                query = queries.recv() => match query {
                    Some(Query { name, answer }) => {
                        let id = self.mdns.query_now(Instant::now(), &name);
                        self.open.push((id, answer));
                    }
                    None => return,
                },
                received = self.socket.recv_from(&mut buffer) => {
                    // Some systems report errors of earlier sends here.
                    let Ok((length, source)) = received else { continue };
                    self.handle_packet(&buffer[..length], source);
                }
                () = tokio::time::sleep_until(timeout.into()) => self.handle_timeout(),
            }
        }
    }

    fn handle_packet(&mut self, packet: &[u8], source: SocketAddr) {
        let transport = TransportContext {
            local_addr: SocketAddr::new(self.address.into(), MDNS_PORT),
            peer_addr: source,
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        };
        let message = TaggedBytesMut { now: Instant::now(), transport, message: BytesMut::from(packet) };
        if let Err(error) = self.mdns.handle_read(message) {
            tracing::debug!(%error, "multicast DNS");
        }
    }

    fn handle_timeout(&mut self) {
        if let Err(error) = self.mdns.handle_timeout(Instant::now()) {
            tracing::debug!(%error, "multicast DNS");
        }
    }

    /// Sends pending packets and completes queries.
    async fn advance(&mut self) {
        while let Some(packet) = self.mdns.poll_write() {
            if let Err(error) = self.socket.send_to(&packet.message, packet.transport.peer_addr).await {
                tracing::debug!(%error, "multicast DNS");
            }
        }
        while let Some(event) = self.mdns.poll_event() {
            let (id, address) = match event {
                MdnsEvent::QueryAnswered(id, address) => (id, Some(address)),
                MdnsEvent::QueryTimeout(id) => (id, None),
                _ => continue,
            };
            for (_, answer) in self.open.extract_if(.., |(open, _)| *open == id) {
                // The query may have been answered on another interface.
                address.map(|address| answer.send(address));
            }
        }
    }
}

/// Opens a multicast socket on the interface of an address.
fn socket(address: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket: StdUdpSocket = MulticastSocket::new().with_interface(address).into_std()?;
    SockRef::from(&socket).set_multicast_if_v4(&address)?;
    UdpSocket::from_std(socket)
}
