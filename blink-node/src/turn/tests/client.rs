//! Server and clients without sockets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use turn_types::AddressFamily;
use turn_types::attribute::{
    ChannelNumber, Data, EvenPort, Lifetime, RequestedAddressFamily, RequestedTransport, XorPeerAddress,
    XorRelayedAddress,
};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, DATA, REFRESH, SEND};
use turn_types::stun::attribute::{ErrorCode, Nonce, Realm, Username, XorMappedAddress};
use turn_types::stun::message::{
    BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageWriteVec, Method,
};
use turn_types::stun::prelude::{MessageWrite as _, MessageWriteExt as _};

use super::super::authentication::REALM;
use super::super::credentials::{TurnCredentials, TurnSecret};
use super::super::peer_policy::PeerPolicy;
use super::super::protocol::{AllocationId, Client, ClientTransport, Now, OpenError, OpenRelay, Output, TurnServer};
use super::TurnLimits;
use crate::AddressPolicy;
use crate::metrics::{Gauge, Metrics};

const USER: &str = "alice";
/// Addresses of the server's machine.
pub(super) const EXTERNAL: &str = "5.5.5.5";
pub(super) const EXTERNAL_IPV6: &str = "2606:4700::5";
pub(super) const INTERFACE: &str = "6.6.6.6";
pub(super) const LISTENER_PORT: u16 = 3478;
const BEGIN: u64 = 1_700_000_000;
const SECRET: &[u8] = b"secret of the tests";

/// Datagram that left the server, other than responses.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// From a relayed address to a peer.
    ToPeer(SocketAddr, SocketAddr, Vec<u8>),
    /// A Data indication.
    Indication(Client, SocketAddr, Vec<u8>),
    /// Anything else to a client.
    Other(Client, Vec<u8>),
}

#[derive(Default)]
pub(super) struct Relays {
    pub(super) exhausted: bool,
    pub(super) ipv6: bool,
    next: u16,
    open: HashMap<AllocationId, SocketAddr>,
}

impl OpenRelay for Relays {
    fn open(&mut self, allocation: AllocationId, is_ipv6: bool) -> Result<SocketAddr, OpenError> {
        if is_ipv6 && !self.ipv6 {
            return Err(OpenError::Family);
        }
        if self.exhausted {
            return Err(OpenError::Ports);
        }
        self.next += 1;
        let ip = if is_ipv6 { EXTERNAL_IPV6 } else { EXTERNAL };
        let relayed = SocketAddr::new(ip.parse().unwrap(), 50_000 + self.next);
        self.open.insert(allocation, relayed);
        Ok(relayed)
    }
}

pub(super) struct Fixture {
    server: TurnServer,
    pub(super) relays: Relays,
    secret: TurnSecret,
    metrics: Arc<Metrics>,
    begin: Instant,
    elapsed: Duration,
    delivered: Vec<Delivered>,
    responses: Vec<Vec<u8>>,
}

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl Fixture {
    pub(super) fn new(limits: TurnLimits) -> Self {
        Self::with_policy(limits, AddressPolicy::default())
    }

    pub(super) fn private(limits: TurnLimits) -> Self {
        Self::with_policy(limits, AddressPolicy { allow_private: true })
    }

    fn with_policy(limits: TurnLimits, addresses: AddressPolicy) -> Self {
        let policy = PeerPolicy {
            addresses,
            own: [EXTERNAL, EXTERNAL_IPV6, INTERFACE].map(|ip| ip.parse().unwrap()).to_vec(),
            listeners: vec![SocketAddr::from(([0, 0, 0, 0], LISTENER_PORT))],
        };
        let (secret, metrics, begin) = (TurnSecret::new(SECRET), Arc::new(Metrics::default()), Instant::now());
        Self {
            server: TurnServer::new(secret.clone(), limits, policy, Arc::clone(&metrics), begin),
            relays: Relays::default(),
            secret,
            metrics,
            begin,
            elapsed: Duration::ZERO,
            delivered: Vec::new(),
            responses: Vec::new(),
        }
    }

    pub(super) fn client(&self, number: u16) -> Client {
        self.client_over(number, ClientTransport::Udp)
    }

    pub(super) fn client_over(&self, number: u16, transport: ClientTransport) -> Client {
        Client { listener: 0, transport, address: SocketAddr::from(([7, 7, 7, 7], 10_000 + number)) }
    }

    pub(super) fn credentials(&self, user: &str) -> TurnCredentials {
        self.secret.issue(user, Duration::from_secs(86_400), UNIX_EPOCH + Duration::from_secs(BEGIN)).unwrap()
    }

    /// Description, username and password of each pair.
    pub(super) fn bad_credentials(&self) -> Vec<(&'static str, String, String)> {
        let good = self.credentials(USER);
        let issue = |secret: &TurnSecret, at: u64| {
            secret.issue(USER, Duration::from_secs(60), UNIX_EPOCH + Duration::from_secs(at)).unwrap()
        };
        let (old, foreign) = (issue(&self.secret, BEGIN - 60), issue(&TurnSecret::new(b"another"), BEGIN));
        let extended = format!("{}9:{USER}", good.expires);
        vec![
            ("a wrong password", good.username.clone(), "password".to_owned()),
            ("an empty password", good.username, String::new()),
            ("expired", old.username, old.password),
            ("of another secret", foreign.username, foreign.password),
            ("a later expiry", extended, good.password.clone()),
            ("no expiry", USER.to_owned(), good.password.clone()),
            ("a negative expiry", format!("-1:{USER}"), good.password.clone()),
            ("a long name", format!("{}:{}", good.expires, "a".repeat(400)), good.password),
        ]
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.elapsed += by;
        self.server.expire(self.now().instant);
        self.flush();
    }

    pub(super) fn open_relays(&self) -> usize {
        self.relays.open.len()
    }

    pub(super) fn gauge(&self, gauge: Gauge) -> u64 {
        self.metrics.value(gauge)
    }

    /// Number of clients that the server remembers.
    pub(super) fn server_state(&self) -> usize {
        self.server.clients.len() + self.server.allocations.len() + self.server.quotas.allocations()
    }

    pub(super) fn input(&mut self, client: Client, data: &[u8]) {
        let now = self.now();
        self.server.handle_client(client, data, now, &mut self.relays);
        self.flush();
    }

    pub(super) fn delivered(&mut self) -> Vec<Delivered> {
        std::mem::take(&mut self.delivered)
    }

    /// Passes a datagram of a peer in, and returns whether something was delivered.
    pub(super) fn deliver_from(&mut self, relayed: SocketAddr, peer: SocketAddr, data: &[u8]) -> bool {
        let id = *self.relays.open.iter().find(|(_, open)| **open == relayed).unwrap().0;
        let before = self.delivered.len();
        self.server.handle_peer(id, peer, data, self.begin + self.elapsed);
        self.flush();
        self.delivered.len() > before
    }

    pub(super) fn close(&mut self, client: Client) {
        self.server.close_client(client);
        self.flush();
    }

    pub(super) fn binding(&mut self, client: Client) -> SocketAddr {
        let request = Message::builder_request(BINDING, MessageWriteVec::new()).finish();
        let response = self.response(client, &request);
        let message = Message::from_bytes(&response).unwrap();
        message.attribute::<XorMappedAddress>().unwrap().addr(message.transaction_id())
    }

    pub(super) fn unsigned(&mut self, client: Client, method: Method) -> u16 {
        let request = Message::builder_request(method, MessageWriteVec::new()).finish();
        code(&self.response(client, &request)).unwrap_err()
    }

    pub(super) fn allocate(&mut self, client: Client) -> Result<SocketAddr, u16> {
        let TurnCredentials { username, password, .. } = self.credentials(USER);
        self.allocate_as(client, &username, &password)
    }

    pub(super) fn allocate_as(&mut self, client: Client, username: &str, password: &str) -> Result<SocketAddr, u16> {
        self.allocate_with(client, username, password, |_| {})
    }

    pub(super) fn allocate_ipv6(&mut self, client: Client) -> Result<SocketAddr, u16> {
        let TurnCredentials { username, password, .. } = self.credentials(USER);
        self.allocate_with(client, &username, &password, |message| {
            message.add_attribute(&RequestedAddressFamily::new(AddressFamily::IPV6)).unwrap();
        })
    }

    pub(super) fn allocate_even_port(&mut self, client: Client) -> Result<SocketAddr, u16> {
        let TurnCredentials { username, password, .. } = self.credentials(USER);
        self.allocate_with(client, &username, &password, |message| {
            message.add_attribute(&EvenPort::new(false)).unwrap();
        })
    }

    pub(super) fn allocate_tcp(&mut self, client: Client) -> Result<(), u16> {
        self.request(client, ALLOCATE, |message| {
            message.add_attribute(&RequestedTransport::new(RequestedTransport::TCP)).unwrap();
        })
        .map(drop)
    }

    fn allocate_with(
        &mut self,
        client: Client,
        username: &str,
        password: &str,
        more: impl Fn(&mut MessageWriteVec),
    ) -> Result<SocketAddr, u16> {
        let response = self.request_as(client, username, password, ALLOCATE, |message| {
            message.add_attribute(&RequestedTransport::new(RequestedTransport::UDP)).unwrap();
            more(message);
        })?;
        let message = Message::from_bytes(&response).unwrap();
        Ok(message.attribute::<XorRelayedAddress>().unwrap().addr(message.transaction_id()))
    }

    /// Refreshes an allocation, and returns its lifetime.
    pub(super) fn refresh(&mut self, client: Client, seconds: u32) -> Result<u32, u16> {
        let response = self.request(client, REFRESH, |message| {
            message.add_attribute(&Lifetime::new(seconds)).unwrap();
        })?;
        Ok(Message::from_bytes(&response).unwrap().attribute::<Lifetime>().unwrap().seconds())
    }

    pub(super) fn permit(&mut self, client: Client, peer: SocketAddr) -> Result<(), u16> {
        self.request(client, CREATE_PERMISSION, |message| add_peer(message, peer)).map(drop)
    }

    pub(super) fn permit_nothing(&mut self, client: Client) -> Result<(), u16> {
        self.request(client, CREATE_PERMISSION, |_| {}).map(drop)
    }

    pub(super) fn bind(&mut self, client: Client, number: u16, peer: SocketAddr) -> Result<(), u16> {
        let bound = self.request(client, CHANNEL_BIND, |message| {
            message.add_attribute(&ChannelNumber::new(number)).unwrap();
            add_peer(message, peer);
        });
        bound.map(drop)
    }

    pub(super) fn send(&mut self, client: Client, peer: SocketAddr, data: &[u8]) {
        let mut message = Message::builder_indication(SEND, MessageWriteVec::new());
        add_peer(&mut message, peer);
        message.add_attribute(&Data::new(data)).unwrap();
        self.input(client, &message.finish());
    }

    pub(super) fn send_on_channel(&mut self, client: Client, number: u16, data: &[u8]) {
        let length = u16::try_from(data.len()).unwrap();
        self.input(client, &[&number.to_be_bytes()[..], &length.to_be_bytes(), data].concat());
    }

    /// A valid Allocate request, not sent.
    pub(super) fn signed_allocate(&mut self, client: Client) -> Vec<u8> {
        let TurnCredentials { username, password, .. } = self.credentials(USER);
        self.build(client, &username, &password, ALLOCATE, |message| {
            message.add_attribute(&RequestedTransport::new(RequestedTransport::UDP)).unwrap();
        })
    }

    /// A valid request with a peer and a channel, not sent.
    pub(super) fn signed(&mut self, client: Client, method: Method) -> Vec<u8> {
        let TurnCredentials { username, password, .. } = self.credentials(USER);
        self.build(client, &username, &password, method, |message| {
            message.add_attribute(&ChannelNumber::new(0x4000)).unwrap();
            add_peer(message, address("9.9.9.9:9000"));
        })
    }

    pub(super) fn replay(&mut self, client: Client, request: &[u8]) -> Result<(), u16> {
        code(&self.response(client, request))
    }

    fn request(&mut self, client: Client, method: Method, add: impl Fn(&mut MessageWriteVec)) -> Result<Vec<u8>, u16> {
        let TurnCredentials { username, password, .. } = self.credentials(USER);
        self.request_as(client, &username, &password, method, add)
    }

    pub(super) fn request_as(
        &mut self,
        client: Client,
        username: &str,
        password: &str,
        method: Method,
        add: impl Fn(&mut MessageWriteVec),
    ) -> Result<Vec<u8>, u16> {
        let request = self.build(client, username, password, method, add);
        let response = self.response(client, &request);
        code(&response)?;
        let key = key(username, password);
        let is_signed = Message::from_bytes(&response).unwrap().validate_integrity_with_key(&key);
        is_signed.expect("the response is signed");
        Ok(response)
    }

    /// Gets a nonce, and signs a request.
    fn build(
        &mut self,
        client: Client,
        username: &str,
        password: &str,
        method: Method,
        add: impl Fn(&mut MessageWriteVec),
    ) -> Vec<u8> {
        let unsigned = Message::builder_request(method, MessageWriteVec::new()).finish();
        let challenge = self.response(client, &unsigned);
        let challenge = Message::from_bytes(&challenge).unwrap();
        let nonce = challenge.attribute::<Nonce>().unwrap().nonce().to_owned();
        let mut message = Message::builder_request(method, MessageWriteVec::new());
        add(&mut message);
        message.add_attribute(&Username::new(username).unwrap()).unwrap();
        message.add_attribute(&Realm::new(REALM).unwrap()).unwrap();
        message.add_attribute(&Nonce::new(&nonce).unwrap()).unwrap();
        message.add_message_integrity_with_key(&key(username, password), IntegrityAlgorithm::Sha1).unwrap();
        message.finish()
    }

    fn response(&mut self, client: Client, request: &[u8]) -> Vec<u8> {
        self.responses.clear();
        self.input(client, request);
        assert_eq!(self.responses.len(), 1, "each request gets one response");
        self.responses.remove(0)
    }

    fn flush(&mut self) {
        while let Some(output) = self.server.poll() {
            match output {
                Output::ToClient(client, data) => match Message::from_bytes(&data) {
                    Ok(message) if message.is_response() => self.responses.push(data),
                    Ok(message) if message.has_method(DATA) => {
                        let peer = message.attribute::<XorPeerAddress>().unwrap().addr(message.transaction_id());
                        let payload = message.attribute::<Data<'_>>().unwrap().data().to_vec();
                        self.delivered.push(Delivered::Indication(client, peer, payload));
                    }
                    _ => self.delivered.push(Delivered::Other(client, data)),
                },
                Output::ToPeer(allocation, peer, data) => {
                    self.delivered.push(Delivered::ToPeer(self.relays.open[&allocation], peer, data));
                }
                Output::Close(allocation) => drop(self.relays.open.remove(&allocation)),
            }
        }
    }

    fn now(&self) -> Now {
        Now { instant: self.begin + self.elapsed, unix: BEGIN + self.elapsed.as_secs() }
    }
}

fn add_peer(message: &mut MessageWriteVec, peer: SocketAddr) {
    let attribute = XorPeerAddress::new(peer, message.transaction_id());
    message.add_attribute(&attribute).unwrap();
}

fn key(username: &str, password: &str) -> turn_types::stun::message::IntegrityKey {
    LongTermKeyCredentials::new(username.to_owned(), password.to_owned(), REALM.to_owned())
        .make_key(IntegrityAlgorithm::Sha1)
}

fn code(response: &[u8]) -> Result<(), u16> {
    let message = Message::from_bytes(response).unwrap();
    message.attribute::<ErrorCode>().map_or(Ok(()), |error| Err(error.code()))
}
