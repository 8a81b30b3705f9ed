//! Deterministic CBOR: the single encoding of a value according to RFC 8949 §4.2.1, without floats
//! and tags, and with small integers as the only map keys.

use minicbor::{Decode, Encode};

/// Levels of nesting. The outermost item is the first level; items in an array or a map, keys
/// included, are one level deeper.
const MAX_DEPTH: u8 = 12;
/// Greatest key of a map.
const MAX_KEY: u64 = u16::MAX as u64;

/// Error of [`decode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Not deterministic: indefinite or overlong lengths, unsorted or repeated keys, trailing or
    /// missing bytes, floats, tags, map keys other than integers from 0 to 65,535, or nested too
    /// deeply.
    NotDeterministic,
    /// Value of another type, or out of range.
    WrongType,
}

/// Encodes a value. Types derive their encoding with ascending map keys, which makes it
/// deterministic.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("writing to a Vec does not fail")
}

/// Decodes bytes that are exactly the deterministic encoding of a value.
///
/// # Errors
/// [`Malformed`].
pub fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, Malformed> {
    check(bytes)?;
    minicbor::decode(bytes).map_err(|_| Malformed::WrongType)
}

/// Checks that bytes are exactly one value in deterministic encoding.
///
/// # Errors
/// [`Malformed::NotDeterministic`].
pub fn check(bytes: &[u8]) -> Result<(), Malformed> {
    match item(bytes, MAX_DEPTH) {
        Some([]) => Ok(()),
        _ => Err(Malformed::NotDeterministic),
    }
}

/// Walks over one item and returns the bytes after it.
fn item(bytes: &[u8], depth: u8) -> Option<&[u8]> {
    let depth = depth.checked_sub(1)?;
    let (major, argument, mut rest) = head(bytes)?;
    match major {
        0 | 1 => Some(rest),
        2 => rest.get(usize::try_from(argument).ok()?..),
        3 => {
            let (text, rest) = rest.split_at_checked(usize::try_from(argument).ok()?)?;
            std::str::from_utf8(text).ok().map(|_| rest)
        }
        4 => {
            for _ in 0..argument {
                rest = item(rest, depth)?;
            }
            Some(rest)
        }
        5 => map(rest, argument, depth),
        // Simple values: false, true and null; no floats, no tags.
        7 if matches!(argument, 20..=22) => Some(rest),
        _ => None,
    }
}

/// Walks over a map's entries, whose keys must be ascending small integers.
fn map(mut rest: &[u8], entries: u64, depth: u8) -> Option<&[u8]> {
    let mut previous: Option<u64> = None;
    for _ in 0..entries {
        // In shortest form, integers sort as their encodings do.
        let (major, key, after_key) = head(rest)?;
        if major != 0 || key > MAX_KEY || previous.is_some_and(|previous| previous >= key) {
            return None;
        }
        previous = Some(key);
        rest = item(after_key, depth)?;
    }
    Some(rest)
}

/// Major type, argument in shortest form, and the bytes after the head (RFC 8949 §3).
fn head(bytes: &[u8]) -> Option<(u8, u64, &[u8])> {
    let (&initial, rest) = bytes.split_first()?;
    let (major, short) = (initial >> 5, initial & 0x1f);
    let (argument, least, rest) = match short {
        0..=23 => (u64::from(short), 0, rest),
        24 if major == 7 => return None,
        24 => (u64::from(*rest.first()?), 24, &rest[1..]),
        25 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 0x100, &rest[2..]),
        26 => (u64::from(u32::from_be_bytes(*rest.first_chunk()?)), 0x1_0000, &rest[4..]),
        27 => (u64::from_be_bytes(*rest.first_chunk()?), 0x1_0000_0000, &rest[8..]),
        _ => return None,
    };
    (argument >= least && !(major == 7 && short > 24)).then_some((major, argument, rest))
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotDeterministic => "not deterministic CBOR",
            Self::WrongType => "value of another type",
        })
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deterministic_examples_of_rfc_8949_appendix_a_pass() {
        for hex in [
            "00",
            "17",
            "1818",
            "1903e8",
            "1a000f4240",
            "20",
            "3903e7",
            "f4",
            "f5",
            "f6",
            "40",
            "4401020304",
            "60",
            "6449455446",
            "80",
            "83010203",
            "a0",
            "a201020304",
            "a3000117021903e803",
            "a119ffff00",
            "1bffffffffffffffff",
        ] {
            assert_eq!(check(&bytes(hex)), Ok(()), "{hex}");
        }
    }

    #[test]
    fn every_other_encoding_is_refused() {
        for (hex, why) in [
            ("", "nothing"),
            ("0000", "trailing bytes"),
            ("1817", "an overlong integer"),
            ("190018", "an overlong integer"),
            ("1a00000018", "an overlong integer"),
            ("1b0000000000000018", "an overlong integer"),
            ("5801", "a truncated string"),
            ("5f4101ff", "an indefinite string"),
            ("9f01ff", "an indefinite array"),
            ("bf0102ff", "an indefinite map"),
            ("a203040102", "unsorted keys"),
            ("a201020102", "repeated keys"),
            ("a101", "a key without a value"),
            ("a1616101", "a key that is text"),
            ("a1410101", "a key that is bytes"),
            ("a12001", "a negative key"),
            ("a1f401", "a key that is no number"),
            ("a1800001", "a key that is an array"),
            ("a11a0001000001", "a key that is too great"),
            ("f93c00", "a float"),
            ("c000", "a tag"),
            ("f7", "undefined"),
            ("f814", "an overlong simple value"),
            ("61ff", "text that is not UTF-8"),
            ("9bffffffffffffffff", "an array that cannot be"),
            ("81818181818181818181818100", "too deep"),
            ("a100a100a100a100a100a100a100a100a100a100a100a10000", "too deep"),
        ] {
            assert_eq!(check(&bytes(hex)), Err(Malformed::NotDeterministic), "{hex}: {why}");
        }
    }

    /// Twelve levels, whatever the kind of item.
    #[test]
    fn what_is_not_too_deep_passes() {
        for hex in
            ["818181818181818181818180", "818181818181818181818100", "a100a100a100a100a100a100a100a100a100a100a10000"]
        {
            assert_eq!(check(&bytes(hex)), Ok(()), "{hex}");
        }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }
}
