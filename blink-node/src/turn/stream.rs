//! TURN over TCP (RFC 8656 §3.1): framing and limits.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use blink_signaling_kit::admission::{Prefix, Source};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::driver::{BUFFER, Driver};
use super::protocol::Client;
use crate::metrics::{Gauge, Metrics};

/// Limits of connections in total and per address (IPv6: per /64).
const MAX_STREAMS: usize = 2048;
const MAX_PER_SOURCE: usize = 128;
/// Queue of messages to a client; further ones are dropped.
const QUEUE: usize = 256;
/// Time for a client to make an allocation, and to send the rest of a message.
const ALLOCATION_TIMEOUT: Duration = Duration::from_secs(30);
/// Header of a STUN message, and of the part that tells its length.
const STUN_HEADER: usize = 20;
const PREFIX: usize = 4;

/// Streams of all clients.
#[derive(Debug)]
pub(super) struct Streams {
    queues: HashMap<Client, mpsc::Sender<Vec<u8>>>,
    per_source: HashMap<Prefix, usize>,
    metrics: Arc<Metrics>,
}

impl Streams {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { queues: HashMap::new(), per_source: HashMap::new(), metrics }
    }

    pub(super) fn open(&mut self, client: Client) -> Option<mpsc::Receiver<Vec<u8>>> {
        let of_source = self.per_source.entry(source(client)).or_default();
        if self.queues.len() >= MAX_STREAMS || *of_source >= MAX_PER_SOURCE {
            return None;
        }
        *of_source += 1;
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.queues.insert(client, sender);
        self.metrics.set(Gauge::TurnConnections, self.queues.len() as u64);
        Some(receiver)
    }

    pub(super) fn close(&mut self, client: Client) {
        if self.queues.remove(&client).is_none() {
            return;
        }
        if let Some(of_source) = self.per_source.get_mut(&source(client)) {
            *of_source -= 1;
            if *of_source == 0 {
                self.per_source.remove(&source(client));
            }
        }
        self.metrics.set(Gauge::TurnConnections, self.queues.len() as u64);
    }

    pub(super) fn send(&self, client: Client, data: Vec<u8>) {
        let sent = self.queues.get(&client).map(|queue| queue.try_send(data));
        if !matches!(sent, Some(Ok(()))) {
            tracing::trace!("a message to a client is lost");
        }
    }
}

fn source(client: Client) -> Prefix {
    Source::from(client.address.ip()).host()
}

/// Serves a stream until it ends, or until its client has no allocation.
pub(super) async fn serve(driver: Weak<Driver>, client: Client, stream: TcpStream) {
    let Some(queue) = driver.upgrade().and_then(|driver| driver.open_stream(client)) else {
        tracing::debug!("too many connections of TURN clients");
        return;
    };
    let _registration = Registration { driver: driver.clone(), client };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a stream keeps its delay");
    }
    let (reader, writer) = stream.into_split();
    let ended = tokio::select! {
        ended = read(&driver, client, reader) => ended,
        ended = write(queue, writer) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "the stream of a TURN client ended");
    }
}

/// Removes the stream at its end, also if the task is aborted.
struct Registration {
    driver: Weak<Driver>,
    client: Client,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.upgrade() {
            driver.close_stream(self.client);
        }
    }
}

async fn read(driver: &Weak<Driver>, client: Client, mut reader: OwnedReadHalf) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        while let Some(length) = message_length(&buffer)? {
            let Some(padded) = buffer.get(..length.next_multiple_of(4)) else { break };
            let Some(driver) = driver.upgrade() else { return Ok(()) };
            driver.handle_client(client, &padded[..length]);
            buffer.drain(..length.next_multiple_of(4));
        }
        match tokio::time::timeout(ALLOCATION_TIMEOUT, reader.read_buf(&mut buffer)).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(read) => drop(read?),
            // Silence is normal while an allocation exists, which expires without refreshes.
            Err(_) if driver.upgrade().is_some_and(|driver| driver.has_allocation(client)) => {}
            Err(_) => return Ok(()),
        }
    }
}

async fn write(mut queue: mpsc::Receiver<Vec<u8>>, mut writer: OwnedWriteHalf) -> io::Result<()> {
    while let Some(message) = queue.recv().await {
        writer.write_all(&message).await?;
    }
    Ok(())
}

/// Length of the message at the start of a buffer, without padding; `None` if its prefix is
/// incomplete.
fn message_length(buffer: &[u8]) -> io::Result<Option<usize>> {
    let Some(prefix) = buffer.first_chunk::<PREFIX>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([prefix[2], prefix[3]]));
    let total = match prefix[0] >> 6 {
        // STUN messages are multiples of four bytes.
        0 if length.is_multiple_of(4) => STUN_HEADER + length,
        1 => PREFIX + length,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "neither STUN nor ChannelData")),
    };
    if total > BUFFER {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
    }
    Ok(Some(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed_by_their_prefix() {
        assert_eq!(message_length(&[0, 1, 0]).unwrap(), None);
        assert_eq!(message_length(&[0, 1, 0, 8, 0]).unwrap(), Some(28));
        assert_eq!(message_length(&[0x40, 0, 0, 5]).unwrap(), Some(9));
        for invalid in [[0x80, 0, 0, 0], [0xFF; 4], [0, 1, 0, 7], [0x40, 0, 0xFF, 0xFF], [0, 1, 0xFF, 0xFC]] {
            message_length(&invalid).unwrap_err();
        }
    }
}
