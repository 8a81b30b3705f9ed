//! Everybody computes the same roster, and nobody can fill it.

use blink_api::{DeviceId, Endpoint};

use super::*;

fn person(n: u8) -> Identity {
    Identity::from_seed(&[n; 32])
}

pub(super) fn roster(members: &[u8]) -> Roster {
    let mut dids: Vec<_> = members.iter().map(|n| person(*n).did()).collect();
    dids.sort();
    let creator = Endpoint { did: person(members[0]).did(), device: DeviceId::from_random([0; 16]) };
    let root = Root { creator, nonce: [0; 16], unix_ms: 0, secret_hash: sha256(&[&[1; 32]]), members: dids };
    Roster::create(root, &person(members[0]))
}

fn signed(roster: &Roster, did: Did, body: EntryBody, signer: &Identity) -> Signed {
    let bytes = cbor::encode(&Entry { call: roster.call(), did, body });
    Signed { signature: signer.sign(ENTRY_CONTEXT, &bytes), bytes }
}

pub(super) fn add(roster: &Roster, by: u8, did: u8, slot: u8) -> Signed {
    let body = EntryBody::Add { by: person(by).did(), slot };
    signed(roster, person(did).did(), body, &person(by))
}

#[test]
fn whatever_the_order_everybody_computes_the_same() {
    let start = roster(&[1, 2]);
    let remove = signed(&start, person(3).did(), EntryBody::Remove { keep: 1 }, &person(1));
    let mut entries = [
        add(&start, 1, 3, 0),
        add(&start, 3, 4, 0),
        add(&start, 3, 5, 1),
        add(&start, 4, 6, 0),
        add(&start, 1, 7, 1),
        add(&start, 1, 8, 1),
        remove,
    ];
    let mut results = Vec::new();
    for _ in 0..entries.len() {
        entries.rotate_left(1);
        for chunk in [1, 3, 7] {
            let mut copy = start.clone();
            // Entries whose signers are not known yet come again, as they do on the wire.
            for _ in 0..entries.len() {
                for some in entries.chunks(chunk) {
                    copy.merge(some).unwrap();
                }
            }
            results.push((copy.valid().to_vec(), copy.digest()));
        }
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    let valid = &results[0].0;
    let is = |n: u8| valid.contains(&person(n).did());
    assert_eq!([3, 4, 5, 6].map(is), [false, true, false, true], "3 is removed, its slot 0 stays");
    assert!(is(7) != is(8), "one of two in the same slot");
}

#[test]
fn entries_of_strangers_other_calls_and_wrong_signers_change_nothing() {
    let mut roster = roster(&[1, 2]);
    let before = roster.digest();
    assert_eq!(roster.merge(&[add(&roster, 9, 10, 0)]), Ok(false), "a stranger invites");
    let mut forged = add(&roster, 1, 9, 0);
    forged.signature = add(&roster, 2, 9, 0).signature;
    assert_eq!(roster.merge(&[forged]), Err(Refusal::BadSignature));
    let by_another = signed(&roster, person(1).did(), EntryBody::Remove { keep: 0 }, &person(2));
    assert_eq!(roster.merge(&[by_another]), Err(Refusal::BadSignature), "only the creator removes");
    let elsewhere = add(&self::roster(&[1, 3]), 1, 9, 0);
    assert_eq!(roster.merge(&[elsewhere]), Err(Refusal::Inconsistent));
    let fifth = add(&roster, 1, 9, SLOTS);
    assert_eq!(roster.merge(&[fifth]), Err(Refusal::Inconsistent));
    assert_eq!((roster.digest(), roster.is_group()), (before, false));
}

#[test]
fn one_person_cannot_fill_the_roster_with_entries() {
    let mut roster = roster(&[1, 2]);
    for n in 0..=u8::MAX {
        let reject = signed(&roster, person(2).did(), EntryBody::Reject { n }, &person(2));
        roster.merge(&[reject]).unwrap();
        roster.merge(&[add(&roster, 2, n.max(3), 0)]).unwrap();
    }
    assert_eq!(roster.entries().len(), 2);
}

#[test]
fn invitations_reach_three_steps_from_the_root_and_no_further() {
    let mut roster = roster(&[1, 2]);
    for (by, did) in [(2, 3), (3, 4), (4, 5)] {
        roster.add(person(did).did(), &person(by)).unwrap();
    }
    let refused = roster.add(person(6).did(), &person(5)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::State);
    assert_eq!(roster.valid().len(), 5);
}
