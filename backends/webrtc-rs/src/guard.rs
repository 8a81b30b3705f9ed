//! What passes between a connection's sockets and the network: it is watched for what servers answer, and kept to them with
//! `ice.relay_only`.
//!
//! The stack neither tells why a server gave no relay nor that one does not answer, and what it sends with relays only is its own affair.
//! Here both can be seen to.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use blink_api::{Error, IceConfig, Result};
use blink_transport_kit::servers::{Failure, Method, Refusal, Server};
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

/// Success responses to Binding (RFC 8489 §6.3.3) and Allocate requests (RFC 8656 §7.3).
const SEEN: [u8; 2] = [0x01, 0x01];
const ALLOCATED: [u8; 2] = [0x01, 0x03];

/// A connection's servers and what is known of them.
#[derive(Default)]
pub(crate) struct Guard {
    pub(crate) servers: Vec<Server>,
    relay_only: bool,
    answers: Mutex<Answers>,
}

#[derive(Default)]
struct Answers {
    /// Addresses of names, as they were looked up.
    addresses: HashMap<String, Vec<SocketAddr>>,
    /// What the newest answers of addresses were.
    newest: HashMap<SocketAddr, Answer>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Answer {
    has_seen: bool,
    has_allocated: bool,
    refused: Option<u16>,
}

impl Guard {
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for text that names no server.
    pub(crate) fn new(ice: &IceConfig) -> Result<Self> {
        let mut servers = ice.servers.iter().map(Server::parse).collect::<Result<Vec<_>>>()?;
        servers.retain(|server| server.account.is_some() || !ice.relay_only);
        Ok(Self { servers, relay_only: ice.relay_only, answers: Mutex::default() })
    }

    /// Gathering begins: answers from before count no more.
    pub(crate) fn begin(&self) {
        self.answers().newest.clear();
    }

    /// A server's name was looked up.
    pub(crate) fn found(&self, host: &str, addresses: &[SocketAddr]) {
        self.answers().addresses.insert(host.to_owned(), addresses.to_vec());
    }

    /// The servers that gave nothing of what they are there for, and why.
    pub(crate) fn failures(&self) -> Vec<(String, Error)> {
        let answers = self.answers();
        let failure = |server: &Server| {
            let addresses = answers.addresses.get(&place(&server.host, server.port));
            let Some(addresses) = addresses.filter(|addresses| !addresses.is_empty()) else {
                return Some(Failure::Unknown);
            };
            let newest: Vec<Answer> =
                addresses.iter().filter_map(|address| answers.newest.get(address)).copied().collect();
            let has_given =
                |answer: &Answer| if server.account.is_some() { answer.has_allocated } else { answer.has_seen };
            if newest.iter().any(has_given) {
                return None;
            }
            let refused = newest.iter().find_map(|answer| answer.refused);
            Some(refused.map_or(Failure::Silent, Failure::Refused))
        };
        let failed = self.servers.iter().filter_map(|server| Some((server, failure(server)?)));
        failed.map(|(server, failure)| (server.url.clone(), server.failed(failure))).collect()
    }

    /// Whether packets may go there and come from there.
    fn lets_pass(&self, address: SocketAddr) -> bool {
        !self.relay_only || self.answers().addresses.values().any(|known| known.contains(&address))
    }

    fn watch(&self, from: SocketAddr, datagram: &[u8]) {
        let Some(kind) = datagram.first_chunk().copied() else { return };
        let refusal = Refusal::parse(datagram).filter(|refusal| refusal.method == Method::Allocate);
        if kind != SEEN && kind != ALLOCATED && refusal.is_none() {
            return;
        }
        let mut answers = self.answers();
        if !answers.addresses.values().any(|known| known.contains(&from)) {
            return;
        }
        let answer = answers.newest.entry(from).or_default();
        answer.has_seen |= kind == SEEN;
        answer.has_allocated |= kind == ALLOCATED;
        // The first request is refused to tell what the second must have (401); what counts is the newest.
        answer.refused = refusal.map(|refusal| refusal.code).or(answer.refused);
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server as its name is looked up.
pub(crate) fn place(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A socket whose datagrams pass the guard.
#[derive(Debug)]
pub(crate) struct GuardedSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    guard: Arc<Guard>,
}

impl GuardedSocket {
    /// The socket itself where there is nothing to guard.
    pub(crate) fn wrap(socket: Arc<dyn AsyncUdpSocket>, guard: &Arc<Guard>) -> Arc<dyn AsyncUdpSocket> {
        if guard.servers.is_empty() { socket } else { Arc::new(Self { socket, guard: Arc::clone(guard) }) }
    }
}

impl AsyncUdpSocket for GuardedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, context: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        if self.guard.lets_pass(transmit.destination) {
            self.socket.poll_send(context, transmit)
        } else {
            Poll::Ready(Ok(transmit.contents.len()))
        }
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = std::task::ready!(self.socket.poll_recv(context, buffers, metas))?;
        for (buffer, meta) in buffers.iter().zip(metas.iter_mut()).take(received) {
            if self.guard.lets_pass(meta.addr) {
                let datagrams = buffer[..meta.len.min(buffer.len())].chunks(meta.stride.max(1));
                datagrams.for_each(|datagram| self.guard.watch(meta.addr, datagram));
            } else {
                // An empty datagram is none to the stack.
                meta.len = 0;
            }
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

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("relay_only", &self.relay_only).finish_non_exhaustive()
    }
}
