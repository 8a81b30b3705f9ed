//! Boxes and numbers in memory.

use std::io;

/// Letters of a name that are kept.
const LONGEST_NAME: usize = 256;

/// Boxes within a box.
pub(super) struct Boxes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Boxes<'a> {
    type Item = ([u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let size = u32_at(self.0, 0)? as usize;
        let kind = *self.0.get(4..8)?.first_chunk()?;
        let (header, size) = match size {
            0 => (8, self.0.len()),
            1 => (16, usize::try_from(u64_at(self.0, 8)?).ok()?),
            _ => (8, size),
        };
        let body = self.0.get(header..size)?;
        self.0 = &self.0[size..];
        Some((kind, body))
    }
}

pub(super) fn has_box(content: &[u8], wanted: &[u8; 4]) -> bool {
    Boxes(content).any(|(kind, _)| kind == *wanted)
}

/// The box at a path of types.
pub(super) fn find<'a>(content: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter()
        .try_fold(content, |content, wanted| Boxes(content).find(|(kind, _)| kind == *wanted).map(|(_, body)| body))
}

/// Optional fields behind each other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn u32_if(&mut self, present: bool) -> Option<u32> {
        let value = present.then(|| u32_at(self.0, 0)).flatten()?;
        self.0 = &self.0[4..];
        Some(value)
    }

    pub(super) fn u64_if(&mut self, present: bool) -> Option<u64> {
        let value = present.then(|| u64_at(self.0, 0)).flatten()?;
        self.0 = &self.0[8..];
        Some(value)
    }

    /// The field, or the default where it is absent; `None` where it is cut off.
    pub(super) fn value(&mut self, present: bool, default: u32) -> Option<u32> {
        if present { self.u32_if(true) } else { Some(default) }
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()).min(LONGEST_NAME);
    String::from_utf8_lossy(&bytes[..end]).chars().filter(|letter| !letter.is_control()).collect()
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_be_bytes)
}

pub(super) fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
