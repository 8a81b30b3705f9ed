//! Frames of a connection: a length of 4 bytes, a kind of 1 byte, a topic of 32 bytes, and a
//! message.

use std::io;

use blink_api::Topic;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest message, as the contract asks for.
pub(super) const MAX_MESSAGE: usize = 16 * 1024;
/// Bytes of kind and topic.
const HEAD: usize = 33;

/// A frame between two nodes.
#[derive(Debug, Clone)]
pub(super) enum Frame {
    /// The sender's id, first on every connection.
    Hello([u8; 32]),
    Subscribe(Topic),
    Unsubscribe(Topic),
    Message(Topic, Bytes),
}

impl Frame {
    pub(super) async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let (kind, topic, message): (u8, &[u8; 32], &[u8]) = match self {
            Self::Hello(id) => (0, id, &[]),
            Self::Subscribe(topic) => (1, topic.as_bytes(), &[]),
            Self::Unsubscribe(topic) => (2, topic.as_bytes(), &[]),
            Self::Message(topic, message) => (3, topic.as_bytes(), message),
        };
        let length = (HEAD + message.len()) as u32;
        let frame = [&length.to_be_bytes()[..], &[kind], topic, message].concat();
        to.write_all(&frame).await
    }

    /// Reads a frame. Whatever is none is an error: the connection is then closed.
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let length = from.read_u32().await? as usize;
        let rest = length.checked_sub(HEAD).filter(|rest| *rest <= MAX_MESSAGE);
        let rest = rest.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the frame's length is wrong"))?;
        let kind = from.read_u8().await?;
        let mut topic = [0; 32];
        from.read_exact(&mut topic).await?;
        let mut message = vec![0; rest];
        from.read_exact(&mut message).await?;
        match kind {
            0 => Ok(Self::Hello(topic)),
            1 => Ok(Self::Subscribe(Topic::from_bytes(topic))),
            2 => Ok(Self::Unsubscribe(Topic::from_bytes(topic))),
            3 => Ok(Self::Message(Topic::from_bytes(topic), message.into())),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the frame's kind is unknown")),
        }
    }
}
