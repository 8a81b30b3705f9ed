//! Whatever is in the file, a start is refused with what to do, and a repair keeps what can be
//! read.

use blink_api::Did;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use blink_proto::call::HistoryEntry;

/// A file as several starts and calls leave it, and whose it is.
fn used() -> (Vec<u8>, Did) {
    let directory = tempfile::tempdir().unwrap();
    let mut did = None;
    for start in 0..5 {
        let store = Store::open(directory.path()).unwrap();
        did = Some(store.identity(|| Identity::from_seed(&[7; 32])).unwrap().did());
        store.device(DeviceId::from_random([7; 16])).unwrap();
        store.next_boot(1_700_000_000_000 + start).unwrap();
        store.write_memory(&changes()).unwrap();
        // Many calls, so that there is more than one page of them.
        let entry = store.memory().unwrap().0.history.into_values().next().unwrap();
        let call = |n: u64| CallId::from_bytes([&n.to_be_bytes()[..], &[1; 8]].concat().try_into().unwrap());
        let calls = (0..200).map(|n| call(start * 1_000 + n));
        let history = calls.map(|call| {
            let mut entry: HistoryEntry = entry.clone();
            entry.call = call;
            Change::History(call, Some(Box::new(entry)))
        });
        store.write_memory(&history.collect::<Vec<_>>()).unwrap();
    }
    (std::fs::read(directory.path().join(FILE)).unwrap(), did.unwrap())
}

/// Opens the store and reads it as an engine does at its start.
fn start(directory: &Path) -> Result<(Did, usize)> {
    let store = Store::open(directory)?;
    let identity = store.identity(|| Identity::from_seed(&[8; 32]))?;
    store.device(DeviceId::from_random([8; 16]))?;
    store.next_boot(1)?;
    Ok((identity.did(), store.memory()?.0.history.len()))
}

/// Outcome for a damaged file.
enum Outcome {
    /// It was read without a repair.
    Sound,
    /// Number of calls of the history that the repair kept.
    Kept(usize),
    /// The identity was lost.
    Lost,
}

fn outcome(bytes: &[u8], did: Did, what: &str) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(FILE), bytes).unwrap();
    let error = match start(directory.path()) {
        Ok((read, _)) => {
            assert_eq!(read, did, "{what}: another identity without an error");
            return Outcome::Sound;
        }
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Invalid, "{what}: {error}");
    assert!(error.to_string().contains("blink history --repair"), "{what}: {error}");
    let repaired = DataDirectory::repair(directory.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let aside = repaired.damaged.expect("it was damaged");
    assert!(aside.exists(), "{what}: the damaged file is there");
    let (read, history) = start(directory.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
    match repaired.identity {
        Some(kept) if repaired.is_verified => assert_eq!((kept, read), (did, did), "{what}"),
        Some(kept) => assert_eq!(kept, read, "{what}"),
        None => return Outcome::Lost,
    }
    Outcome::Kept(history)
}

/// Overwrites, zeroes, flips or truncates bytes, at positions drawn from a seed.
fn damage(bytes: &[u8], seed: u64) -> (Vec<u8>, String) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut damaged = bytes.to_vec();
    // Pages that were never written are zeros, and their damage has no effect: positions are drawn
    // among the others.
    let written: Vec<usize> =
        (0..bytes.len()).step_by(512).filter(|n| bytes[*n..].iter().take(512).any(|b| *b != 0)).collect();
    let block = written[random.random_range(0..written.len())];
    let place = block + random.random_range(0..512);
    let what = match seed % 8 {
        0..=3 => {
            damaged[place..].iter_mut().take(64).for_each(|byte| *byte = random.random());
            "64 random bytes"
        }
        4 => {
            damaged[block..].iter_mut().take(4096).for_each(|byte| *byte = 0);
            "a page of zeros"
        }
        5 => {
            damaged[place.min(bytes.len() - 1)] ^= 1 << random.random_range(0..8);
            "one bit"
        }
        6 => {
            damaged.truncate(place.max(1));
            "cut off"
        }
        _ => {
            damaged[..320].iter_mut().for_each(|byte| {
                if random.random_ratio(1, 16) {
                    *byte = random.random();
                }
            });
            "the header"
        }
    };
    (damaged, format!("seed {seed}, {what} at {place}"))
}

#[test]
fn a_file_damaged_anywhere_is_refused_with_what_to_do_and_repaired() {
    let (bytes, did) = used();
    let (mut sound, mut kept, mut calls) = (0, 0, 0);
    let mut lost = Vec::new();
    for seed in 0..200 {
        let (damaged, what) = damage(&bytes, seed);
        match outcome(&damaged, did, &what) {
            Outcome::Sound => sound += 1,
            Outcome::Kept(history) => {
                kept += 1;
                calls += history;
            }
            Outcome::Lost => lost.push(what),
        }
    }
    // Only where all of the pages with the key are gone.
    lost.retain(|what| !what.contains("cut off"));
    assert!(
        kept > 80 && lost.len() * 20 < kept && calls * 2 > kept * 1_002,
        "{sound} start, {kept} keep the identity, {calls} calls: {lost:#?}"
    );
}

#[test]
fn a_file_of_anything_is_refused_with_what_to_do_or_empty() {
    for bytes in [&b"hello"[..], &[0; 4096], &[0xFF; 100_000], b"redb\x1a\x0a\xa9\x0d\x0a", &[]] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), bytes).unwrap();
        match start(directory.path()) {
            Ok(_) => assert!(bytes.is_empty(), "an empty file is one of a start that was interrupted"),
            Err(error) => assert!(error.to_string().contains("blink history --repair"), "{error}"),
        }
        let repaired = DataDirectory::repair(directory.path()).unwrap();
        assert_eq!(repaired.damaged.is_some(), !bytes.is_empty());
        start(directory.path()).unwrap();
    }
}

#[test]
fn a_sound_directory_is_left_as_it_is_and_one_in_use_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(DataDirectory::repair(directory.path()).unwrap_err().kind(), ErrorKind::NotFound);
    let (bytes, did) = used();
    std::fs::write(directory.path().join(FILE), bytes).unwrap();
    let repaired = DataDirectory::repair(directory.path()).unwrap();
    assert_eq!((repaired.damaged, repaired.identity, repaired.history), (None, Some(did), 1_002));
    let _store = Store::open(directory.path()).unwrap();
    assert_eq!(DataDirectory::repair(directory.path()).unwrap_err().kind(), ErrorKind::Busy);
}

/// Files of before the DID was kept beside the key.
#[test]
fn an_identity_without_its_did_is_kept_by_a_repair_and_by_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let did = {
        let store = Store::open(directory.path()).unwrap();
        let did = store.identity(|| Identity::from_seed(&[7; 32])).unwrap().did();
        let transaction = store.database.begin_write().unwrap();
        transaction.open_table(META).unwrap().remove("did").unwrap();
        transaction.commit().unwrap();
        did
    };
    let file = directory.path().join(FILE);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[..9].fill(0);
    std::fs::write(&file, bytes).unwrap();
    let repaired = DataDirectory::repair(directory.path()).unwrap();
    assert_eq!(repaired.identity, Some(did));
    assert_eq!(start(directory.path()).unwrap().0, did);
}
