//! Memory of packets, which is used again once no one holds them.

use bytes::{Bytes, BytesMut};

/// Bytes in one block: some hundred packets of speech.
const BLOCK: usize = 16 * 1024;

/// Blocks that are kept. Packets that are on their way hold on to one or two.
const BLOCKS: usize = 4;

/// Gives packets their bytes from a few blocks that are used again and again: while packets are let
/// go of before their block's turn comes again, nothing is allocated.
#[derive(Debug)]
pub(super) struct PacketStore {
    blocks: [BytesMut; BLOCKS],
    current: usize,
}

impl PacketStore {
    pub(super) fn new() -> Self {
        let mut blocks = std::array::from_fn(|_| BytesMut::with_capacity(BLOCK));
        // A block's first packet makes it a shared one, which takes an allocation of its own.
        blocks.iter_mut().for_each(share);
        Self { blocks, current: 0 }
    }

    /// A packet's bytes.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Bytes {
        if self.blocks[self.current].capacity() < bytes.len() {
            self.current = (self.current + 1) % BLOCKS;
            let next = &mut self.blocks[self.current];
            if !next.try_reclaim(BLOCK) {
                // A receiver keeps packets for long: it keeps that block, and there is a new one.
                *next = BytesMut::with_capacity(BLOCK.max(bytes.len()));
                share(next);
            }
        }
        let block = &mut self.blocks[self.current];
        block.extend_from_slice(bytes);
        block.split().freeze()
    }
}

fn share(block: &mut BytesMut) {
    block.extend_from_slice(&[0]);
    drop(block.split());
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Packets keep their bytes however long they live, and blocks come back when they are let go
    /// of.
    #[test]
    fn packets_keep_their_bytes() {
        let mut store = PacketStore::new();
        let mut held = VecDeque::new();
        let mut places = std::collections::BTreeSet::new();
        for n in 0..10_000_usize {
            let bytes = vec![n as u8; 1 + n % 200];
            let kept = store.keep(&bytes);
            places.insert(kept.as_ptr() as usize / BLOCK);
            held.push_back((n, kept));
            if held.len() > 50 {
                let (n, kept) = held.pop_front().unwrap();
                assert_eq!(kept, vec![n as u8; 1 + n % 200]);
            }
        }
        assert!(places.len() <= 2 * BLOCKS, "{} places", places.len());
        assert_eq!(store.keep(&vec![7; 2 * BLOCK]).len(), 2 * BLOCK);
    }
}
