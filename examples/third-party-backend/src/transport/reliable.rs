//! Messages of data channels: one stream of numbered chunks, each repeated until it is
//! acknowledged.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::datagram::{ChunkKind, Frame};

/// Longest chunk.
const CHUNK: usize = 1_000;
/// Chunks on their way.
const FLIGHT: usize = 32;
/// Bytes that wait to be sent or acknowledged.
const MAX_QUEUED: usize = 512 * 1024;
/// Longest message, as in the contract.
const MAX_MESSAGE: usize = 16 * 1024;
/// Time without progress after which chunks are repeated.
const REPEAT: Duration = Duration::from_millis(60);

#[derive(Default)]
pub(super) struct Outgoing {
    /// Chunks that are not acknowledged, the first of which has the number `first`.
    chunks: VecDeque<(u32, ChunkKind, Bytes)>,
    first: u64,
    /// Chunks that were sent at least once.
    in_flight: usize,
    bytes: usize,
    progress: Option<Instant>,
}

#[derive(Default)]
pub(super) struct Incoming {
    next: u64,
    message: BytesMut,
}

/// An arrived channel or message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    Opened { channel: u32, label: String },
    Message { channel: u32, message: Bytes },
}

impl Outgoing {
    pub(super) fn has_room(&self, length: usize) -> bool {
        self.bytes + length <= MAX_QUEUED
    }

    pub(super) fn open(&mut self, channel: u32, label: &str) {
        self.push(channel, ChunkKind::Open, Bytes::copy_from_slice(label.as_bytes()));
    }

    pub(super) fn send(&mut self, channel: u32, mut message: Bytes) {
        while message.len() > CHUNK {
            self.push(channel, ChunkKind::More, message.split_to(CHUNK));
        }
        self.push(channel, ChunkKind::Last, message);
    }

    fn push(&mut self, channel: u32, kind: ChunkKind, bytes: Bytes) {
        self.bytes += bytes.len();
        self.chunks.push_back((channel, kind, bytes));
    }

    /// Frames to send now: new ones, and all on their way where none was acknowledged for a while.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Frame> {
        let is_late = self.progress.is_some_and(|at| now >= at + REPEAT);
        let from = if is_late { 0 } else { self.in_flight };
        let frames = self.chunks.iter().enumerate().take(FLIGHT).skip(from).map(|(place, (channel, kind, bytes))| {
            let number = self.first + place as u64;
            Frame::Chunk { number, channel: *channel, kind: *kind, bytes: bytes.clone() }
        });
        let frames: Vec<_> = frames.collect();
        self.in_flight = self.chunks.len().min(FLIGHT);
        if !frames.is_empty() {
            self.progress = Some(now);
        }
        frames
    }

    /// Handles an acknowledgement of all chunks before a number. Returns the channels that are
    /// open in both directions now.
    pub(super) fn acknowledged(&mut self, next: u64, now: Instant) -> Vec<(u32, String)> {
        let mut opened = Vec::new();
        while self.first < next
            && let Some((channel, kind, bytes)) = self.chunks.pop_front()
        {
            self.first += 1;
            self.in_flight = self.in_flight.saturating_sub(1);
            self.bytes -= bytes.len();
            self.progress = Some(now);
            if kind == ChunkKind::Open {
                opened.push((channel, String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        if self.chunks.is_empty() {
            self.progress = None;
        }
        opened
    }
}

impl Incoming {
    /// Number of the next chunk, to acknowledge those before it.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Handles a chunk. Any but the next one is dropped: it is repeated.
    pub(super) fn receive(&mut self, number: u64, channel: u32, kind: ChunkKind, bytes: &Bytes) -> Option<Arrived> {
        if number != self.next {
            return None;
        }
        self.next += 1;
        if kind == ChunkKind::Open {
            return Some(Arrived::Opened { channel, label: String::from_utf8_lossy(bytes).into_owned() });
        }
        // A peer that exceeds the longest message loses the rest of it.
        if self.message.len() + bytes.len() <= MAX_MESSAGE {
            self.message.extend_from_slice(bytes);
        }
        (kind == ChunkKind::Last).then(|| Arrived::Message { channel, message: self.message.split().freeze() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_in_order_although_every_third_datagram_is_lost() {
        let (mut outgoing, mut incoming) = (Outgoing::default(), Incoming::default());
        let messages: Vec<Bytes> = (0..20u8).map(|n| vec![n; 800 * usize::from(n)].into()).collect();
        messages.iter().for_each(|message| outgoing.send(1, message.clone()));
        let (mut now, mut arrived, mut count) = (Instant::now(), Vec::new(), 0);
        while arrived.len() < messages.len() {
            for frame in outgoing.due(now) {
                count += 1;
                let Frame::Chunk { number, channel, kind, bytes } = frame else { unreachable!("only chunks are due") };
                if count % 3 != 0
                    && let Some(Arrived::Message { message, .. }) = incoming.receive(number, channel, kind, &bytes)
                {
                    arrived.push(message);
                }
            }
            now += REPEAT;
            outgoing.acknowledged(incoming.next(), now);
            assert!(count < 10_000, "progress is made");
        }
        assert!(arrived == messages, "all arrive whole and in order");
    }
}
