//! TURN client over UDP or TCP, as simple as the tests allow.

use std::net::SocketAddr;
use std::time::Duration;

use blink_node::TurnCredentials;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use turn_types::attribute::{Data, Lifetime, RequestedTransport, XorPeerAddress, XorRelayedAddress};
use turn_types::message::{ALLOCATE, CREATE_PERMISSION, REFRESH, SEND};
use turn_types::stun::attribute::{ErrorCode, Nonce, Realm, Username};
use turn_types::stun::message::{IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageWriteVec, Method};
use turn_types::stun::prelude::{MessageWrite as _, MessageWriteExt as _};

use crate::client::DEADLINE;

/// Time after which a request over UDP is repeated.
const REPEAT: Duration = Duration::from_millis(500);

enum Stream {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

pub(crate) struct TurnClient {
    stream: Stream,
    credentials: TurnCredentials,
    nonce: Option<(String, String)>,
}

impl TurnClient {
    pub(crate) async fn udp(server: SocketAddr, credentials: TurnCredentials) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        socket.connect(server).await.unwrap();
        Self { stream: Stream::Udp(socket), credentials, nonce: None }
    }

    pub(crate) async fn tcp(server: SocketAddr, credentials: TurnCredentials) -> Self {
        let stream = TcpStream::connect(server).await.unwrap();
        Self { stream: Stream::Tcp(stream), credentials, nonce: None }
    }

    pub(crate) async fn allocate(&mut self) -> Result<SocketAddr, u16> {
        let response = self
            .request(ALLOCATE, |message| {
                message.add_attribute(&RequestedTransport::new(RequestedTransport::UDP)).unwrap();
            })
            .await?;
        let message = Message::from_bytes(&response).unwrap();
        Ok(message.attribute::<XorRelayedAddress>().unwrap().addr(message.transaction_id()))
    }

    pub(crate) async fn release(&mut self) -> Result<(), u16> {
        self.request(REFRESH, |message| message.add_attribute(&Lifetime::new(0)).unwrap()).await.map(drop)
    }

    pub(crate) async fn permit(&mut self, peer: SocketAddr) -> Result<(), u16> {
        self.request(CREATE_PERMISSION, |message| add_peer(message, peer)).await.map(drop)
    }

    pub(crate) async fn send_to(&mut self, peer: SocketAddr, data: &[u8]) {
        let mut message = Message::builder_indication(SEND, MessageWriteVec::new());
        add_peer(&mut message, peer);
        message.add_attribute(&Data::new(data)).unwrap();
        self.write(&message.finish()).await;
    }

    /// Next datagram of a peer.
    pub(crate) async fn receive(&mut self) -> (SocketAddr, Vec<u8>) {
        let message = tokio::time::timeout(DEADLINE, self.read()).await.expect("a datagram comes");
        let message = Message::from_bytes(&message).unwrap();
        let peer = message.attribute::<XorPeerAddress>().unwrap().addr(message.transaction_id());
        (peer, message.attribute::<Data<'_>>().unwrap().data().to_vec())
    }

    async fn request(&mut self, method: Method, add: impl Fn(&mut MessageWriteVec)) -> Result<Vec<u8>, u16> {
        let mut attempts = 0;
        loop {
            let mut message = Message::builder_request(method, MessageWriteVec::new());
            add(&mut message);
            if let Some((realm, nonce)) = &self.nonce {
                let TurnCredentials { username, password, .. } = &self.credentials;
                message.add_attribute(&Username::new(username).unwrap()).unwrap();
                message.add_attribute(&Realm::new(realm).unwrap()).unwrap();
                message.add_attribute(&Nonce::new(nonce).unwrap()).unwrap();
                let key = LongTermKeyCredentials::new(username.clone(), password.clone(), realm.clone());
                let key = key.make_key(IntegrityAlgorithm::Sha1);
                message.add_message_integrity_with_key(&key, IntegrityAlgorithm::Sha1).unwrap();
            }
            let response = self.exchange(&message.finish()).await;
            let response_message = Message::from_bytes(&response).unwrap();
            let Ok(error) = response_message.attribute::<ErrorCode>() else { return Ok(response) };
            attempts += 1;
            match (response_message.attribute::<Realm>(), response_message.attribute::<Nonce>()) {
                (Ok(realm), Ok(nonce)) if self.nonce.is_none() || error.code() == 438 && attempts < 3 => {
                    self.nonce = Some((realm.realm().to_owned(), nonce.nonce().to_owned()));
                }
                _ => return Err(error.code()),
            }
        }
    }

    async fn exchange(&mut self, request: &[u8]) -> Vec<u8> {
        let exchange = async {
            loop {
                self.write(request).await;
                if let Ok(response) = tokio::time::timeout(REPEAT, self.read()).await {
                    return response;
                }
            }
        };
        tokio::time::timeout(DEADLINE, exchange).await.expect("the server answers")
    }

    async fn write(&mut self, data: &[u8]) {
        match &mut self.stream {
            Stream::Udp(socket) => drop(socket.send(data).await.unwrap()),
            Stream::Tcp(stream) => stream.write_all(data).await.unwrap(),
        }
    }

    async fn read(&mut self) -> Vec<u8> {
        match &mut self.stream {
            Stream::Udp(socket) => {
                let mut buffer = vec![0; 2048];
                let length = socket.recv(&mut buffer).await.unwrap();
                buffer.truncate(length);
                buffer
            }
            Stream::Tcp(stream) => {
                let mut message = vec![0; 20];
                stream.read_exact(&mut message).await.unwrap();
                let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
                message.resize(20 + length, 0);
                stream.read_exact(&mut message[20..]).await.unwrap();
                message
            }
        }
    }
}

fn add_peer(message: &mut MessageWriteVec, peer: SocketAddr) {
    let attribute = XorPeerAddress::new(peer, message.transaction_id());
    message.add_attribute(&attribute).unwrap();
}
