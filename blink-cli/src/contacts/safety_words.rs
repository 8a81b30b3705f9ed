//! Safety words: a short authentication string of two identities, to be compared by voice.

use bip39::Language;
use blink_api::Did;
use sha2::{Digest, Sha512};

/// Words of each identity. With 11 bits each, and [`ROUNDS`] hashes for each attempt, an identity
/// with the same words costs 2^60 hashes.
const WORDS: usize = 4;
/// Chained hashes of an identity: 2^16.
const ROUNDS: u32 = 1 << 16;

/// Words of a pair of identities, in the same order on both sides: four of the lesser DID, then
/// four of the greater.
///
/// Each half depends on one identity alone: a man in the middle has to find a key with given words
/// for each person, instead of two keys with the same ones (a collision, which takes the square
/// root of the work).
pub(crate) fn safety_words(one: &Did, other: &Did) -> Vec<&'static str> {
    let (lesser, greater) = if one <= other { (one, other) } else { (other, one) };
    [lesser, greater].into_iter().flat_map(words).collect()
}

fn words(did: &Did) -> [&'static str; WORDS] {
    let key = did.public_key();
    let mut hash = Sha512::new().chain_update(b"blink safety words 1").chain_update(key).finalize();
    for _ in 1..ROUNDS {
        hash = Sha512::new().chain_update(hash).chain_update(key).finalize();
    }
    let bits = hash.iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let list = Language::English.word_list();
    // The topmost 44 bits.
    std::array::from_fn(|n| list[(bits >> (64 - 11 * (n + 1)) & 0x7FF) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
    const BOB: &str = "did:key:z6MknGc3ocHs3zdPiJbnaaqDi58NGb4pk1Sp9WxWufuXSdxf";

    #[test]
    fn both_sides_see_the_same_words_and_another_key_has_others() {
        let (alice, bob): (Did, Did) = (ALICE.parse().unwrap(), BOB.parse().unwrap());
        let shown = safety_words(&alice, &bob);
        assert_eq!(shown, safety_words(&bob, &alice));
        assert_eq!(shown.len(), 2 * WORDS);
        let mut key = *bob.public_key();
        key[31] ^= 1;
        let mallory = safety_words(&alice, &Did::from_public_key(key));
        // Each half depends on its own identity only.
        let halves = |words: &[&str]| [words[..WORDS].join(" "), words[WORDS..].join(" ")];
        let (shown, mallory) = (halves(&shown), halves(&mallory));
        assert_eq!(shown.iter().filter(|half| mallory.contains(half)).count(), 1, "{shown:?} {mallory:?}");
    }

    /// The words of a published pair never change, since people compare those of different
    /// versions.
    #[test]
    fn the_words_of_this_pair_are_fixed() {
        let words = safety_words(&ALICE.parse().unwrap(), &BOB.parse().unwrap());
        assert_eq!(words.join(" "), "depart baby laugh draft travel know pyramid memory");
    }
}
