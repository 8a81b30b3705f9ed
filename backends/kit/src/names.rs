//! Names that stand for addresses in host candidates, and are resolved by multicast DNS (RFC 6762)
//! in the same network only (draft-ietf-mmusic-mdns-ice-candidates).

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

/// How long a name is looked for. Whoever told it answers at once, or is not in this network.
const PATIENCE: Duration = Duration::from_secs(4);
/// When a question without an answer is asked again.
const INTERVAL: Duration = Duration::from_millis(500);
/// Questions that wait to be asked.
const QUEUE: usize = 64;
/// Larger than any packet of multicast DNS (RFC 6762 §17).
const LARGEST_PACKET: usize = 9000;

/// Random names for local IPv4 addresses, for as long as it is kept; it answers whoever asks for
/// them, and asks for those of others.
///
/// IPv6 addresses get no names.
pub struct Names {
    names: Vec<(IpAddr, String)>,
    questions: Vec<mpsc::Sender<Question>>,
    tasks: Vec<JoinHandle<()>>,
}

struct Question {
    name: String,
    answer: oneshot::Sender<IpAddr>,
}

impl Names {
    /// Names addresses. It opens port 5353 on the interface of each, shared with others who do.
    ///
    /// # Errors
    /// Where that is possible on no interface.
    pub fn announce(addresses: &[IpAddr]) -> io::Result<Self> {
        let mut names = Self { names: Vec::new(), questions: Vec::new(), tasks: Vec::new() };
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

    /// The addresses with their names.
    pub fn names(&self) -> &[(IpAddr, String)] {
        &self.names
    }

    /// Asks on all interfaces what address somebody's name stands for. Dropping it asks no more.
    pub fn resolve(&self, name: &str) -> impl Future<Output = Option<IpAddr>> + Send + use<> {
        let asked = self.questions.iter().filter_map(|questions| {
            let (answer, answered) = oneshot::channel();
            questions.try_send(Question { name: name.to_owned(), answer }).ok().map(|()| answered)
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
            tokio::time::timeout(PATIENCE, first).await.ok().flatten()
        }
    }

    fn add(&mut self, address: Ipv4Addr, socket: UdpSocket) {
        let name = format!("{}.local", uuid::Uuid::new_v4());
        let config = MdnsConfig::default()
            .with_query_interval(INTERVAL)
            .with_query_timeout(PATIENCE)
            .with_local_names(vec![name.clone()])
            .with_local_ip(address.into());
        let (questions, queue) = mpsc::channel(QUEUE);
        let responder = Responder { mdns: Mdns::new(Instant::now(), config), socket, address, open: Vec::new() };
        self.tasks.push(tokio::spawn(responder.run(queue)));
        self.questions.push(questions);
        self.names.push((address.into(), name));
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// One interface's conversation.
struct Responder {
    mdns: Mdns,
    socket: UdpSocket,
    address: Ipv4Addr,
    open: Vec<(QueryId, oneshot::Sender<IpAddr>)>,
}

impl Responder {
    async fn run(mut self, mut questions: mpsc::Receiver<Question>) {
        let mut buffer = vec![0; LARGEST_PACKET];
        loop {
            self.advance().await;
            let timeout = self.mdns.poll_timeout().unwrap_or_else(|| Instant::now() + PATIENCE);
            tokio::select! {
                question = questions.recv() => match question {
                    Some(Question { name, answer }) => {
                        let id = self.mdns.query_now(Instant::now(), &name);
                        self.open.push((id, answer));
                    }
                    None => return,
                },
                received = self.socket.recv_from(&mut buffer) => {
                    // Some systems report here what became of an earlier packet.
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

    /// Sends and hands over what there is.
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
                // Whoever asked may have been answered on another interface.
                address.map(|address| answer.send(address));
            }
        }
    }
}

/// A socket for the interface of an address.
fn socket(address: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket: StdUdpSocket = MulticastSocket::new().with_interface(address).into_std()?;
    SockRef::from(&socket).set_multicast_if_v4(&address)?;
    UdpSocket::from_std(socket)
}
