//! All members compute the same roster, and no member can fill it.

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

fn remove(roster: &Roster, did: u8, keep: &[u8]) -> Signed {
    let mut keep: Vec<_> = keep.iter().map(|n| person(*n).did()).collect();
    keep.sort();
    signed(roster, person(did).did(), EntryBody::Remove { keep }, &person(1))
}

/// Everything that a member can make with people that do not exist: invitations as deep as they go,
/// and rejections.
fn made_up(roster: &Roster, by: u8) -> Vec<Signed> {
    let (mut entries, mut level, mut next) = (Vec::new(), vec![by], 20);
    for _ in 0..3 {
        for by in std::mem::take(&mut level) {
            for slot in 0..SLOTS {
                entries.push(add(roster, by, next, slot));
                let reject = EntryBody::Reject { n: 0 };
                entries.push(signed(roster, person(next).did(), reject, &person(next)));
                level.push(next);
                next += 1;
            }
        }
    }
    entries
}

fn merge_all(roster: &mut Roster, entries: &[Signed]) {
    for some in entries.chunks(MAX_ENTRIES) {
        roster.merge(some, None).unwrap();
    }
}

#[test]
fn a_member_that_fills_the_roster_is_removed_and_keeps_no_other_out() {
    let mut creator = roster(&[1, 2, 3]);
    let made_up = made_up(&creator, 2);
    merge_all(&mut creator, &made_up);
    let mut other = creator.clone();
    assert!(creator.entries().len() <= MAX_ENTRIES);
    other.add(person(4).did(), &person(3)).unwrap();
    creator.add(person(5).did(), &person(1)).unwrap();
    creator.remove(person(2).did(), &person(1)).unwrap();
    merge_all(&mut other, &creator.entries());
    merge_all(&mut creator, &other.entries());
    let is = |n: u8| other.is_valid(&person(n).did());
    assert_eq!([1, 2, 3, 4, 5].map(is), [true, false, true, true, true]);
    assert_eq!(creator.digest(), other.digest());
    // Everybody whom it invited before stays until removed, too, and of those there are only so
    // many.
    while let Some(did) = creator.valid().iter().copied().find(|did| (20..110).any(|n| person(n).did() == *did)) {
        creator.remove(did, &person(1)).unwrap();
    }
    merge_all(&mut other, &creator.entries());
    merge_all(&mut other, &made_up);
    assert_eq!(other.valid().len(), 4, "none of them comes back");
    assert_eq!(creator.digest(), other.digest());
}

#[test]
fn a_removed_member_invites_no_more() {
    let mut roster = roster(&[1, 2, 3]);
    roster.add(person(4).did(), &person(2)).unwrap();
    roster.remove(person(2).did(), &person(1)).unwrap();
    let held = roster.entries().len();
    roster.merge(&[add(&roster, 2, 5, 1), add(&roster, 4, 6, 0)], None).unwrap();
    // Of two in one slot the one with the smaller hash counts, unless the removal says otherwise.
    let rivals: Vec<_> = (7..40).map(|n| add(&roster, 2, n, 0)).collect();
    merge_all(&mut roster, &rivals);
    assert!(roster.is_valid(&person(4).did()), "invited before the removal");
    assert_eq!((roster.valid().len(), roster.entries().len()), (3, held));
}

#[test]
fn a_removal_finds_room_beside_a_hundred_of_people_who_are_not_there() {
    let mut roster = roster(&[1, 2, 3]);
    let idle: Vec<_> = (100..200).map(|n| remove(&roster, n, &[])).collect();
    merge_all(&mut roster, &idle);
    assert_eq!(roster.entries().len(), 44);
    for n in 4..8 {
        roster.add(person(n).did(), &person(1)).unwrap();
    }
    let mut other = roster.clone();
    for n in 2..8 {
        roster.remove(person(n).did(), &person(1)).unwrap();
        other.merge(&roster.entries(), None).unwrap();
        assert!(!other.is_valid(&person(n).did()) && other.removal_of(&person(n).did()).is_some(), "{n}");
    }
    assert_eq!((roster.digest(), roster.valid().len()), (other.digest(), 1));
}

#[test]
fn a_new_secret_is_taken_only_together_with_it_and_of_two_everybody_takes_the_same() {
    let mut start = roster(&[1, 2, 3]);
    start.remove(person(3).did(), &person(1)).unwrap();
    let (mut one, mut other) = (start.clone(), start);
    one.rotate(&[11; 32], &person(1));
    other.rotate(&[12; 32], &person(1));
    assert!(one.fits(&[11; 32]) && !one.fits(&[1; 32]) && other.fits(&[12; 32]));
    let (of_one, of_other) = (one.entries(), other.entries());
    for secret in [None, Some(&[11; 32]), Some(&[1; 32])] {
        one.merge(&of_other, secret).unwrap();
        assert!(one.fits(&[11; 32]));
    }
    one.merge(&of_other, Some(&[12; 32])).unwrap();
    other.merge(&of_one, Some(&[11; 32])).unwrap();
    assert_eq!((one.rotation(), one.digest()), (other.rotation(), other.digest()));
    // A later one counts, whatever its hash.
    let newest = (0..8).fold(one.clone(), |mut roster, n| {
        roster.rotate(&[20 + n; 32], &person(1));
        roster
    });
    assert!(newest.fits(&[27; 32]));
    one.merge(&newest.entries(), Some(&[27; 32])).unwrap();
    assert_eq!(one.digest(), newest.digest());
    let told = newest.entries_for_removed();
    assert_eq!(told.len() + 1, newest.entries().len(), "all but the rotation");
    let later = || EntryBody::Rotate { n: 99, secret_hash: sha256(&[&[9; 32]]) };
    let by_another = signed(&one, person(2).did(), later(), &person(2));
    assert_eq!(one.merge(&[by_another], Some(&[9; 32])), Err(Refusal::Inconsistent));
    let forged = signed(&one, person(1).did(), later(), &person(2));
    assert_eq!(one.merge(&[forged], Some(&[9; 32])), Err(Refusal::BadSignature));
}

#[test]
fn an_offer_brings_the_newest_secret_that_its_entries_name() {
    let mut creator = roster(&[1, 2, 3]);
    let offered = |roster: &Roster, secret: &[u8; 32]| {
        Roster::verified(roster.call(), roster.signed_root(), secret, &roster.entries()).map(|roster| roster.digest())
    };
    assert_eq!(offered(&creator, &[1; 32]), Ok(creator.digest()));
    creator.rotate(&[11; 32], &person(1));
    assert_eq!(offered(&creator, &[11; 32]), Ok(creator.digest()));
    assert_eq!(offered(&creator, &[12; 32]), Err(Refusal::Inconsistent));
    // The root's secret still counts for members that have not heard of the newest; its entries
    // then do not name it.
    assert_ne!(offered(&creator, &[1; 32]), Ok(creator.digest()));
    // Of two that are named the newest is needed.
    let older = creator.entries();
    creator.rotate(&[13; 32], &person(1));
    let both: Vec<_> = older.into_iter().chain(creator.entries()).collect();
    let with = |secret: &[u8; 32]| {
        Roster::verified(creator.call(), creator.signed_root(), secret, &both).map(|roster| roster.fits(secret))
    };
    assert_eq!((with(&[13; 32]), with(&[11; 32])), (Ok(true), Ok(true)), "each is taken with its own secret");
}

#[test]
fn the_sixteenth_member_of_a_full_call_is_heard_as_well_as_the_first() {
    let everybody: Vec<u8> = (1..=16).collect();
    let mut roster = roster(&everybody);
    for by in 2..16 {
        let entries = made_up(&roster, by);
        merge_all(&mut roster, &entries);
    }
    assert!(roster.entries().len() <= MAX_ENTRIES && roster.valid().len() <= 32);
    assert!(!roster.is_too_large());
    for did in 2..16 {
        roster.remove(person(did).did(), &person(1)).unwrap();
    }
    roster.add(person(200).did(), &person(16)).unwrap();
}

#[test]
fn however_entries_travel_everybody_ends_with_the_same() {
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};
    for seed in 0..60 {
        let mut random = crate::secure::Random::seed_from_u64(seed);
        let start = roster(&[1, 2, 3, 4]);
        let mut entries = Vec::new();
        for _ in 0..random.random_range(20..160) {
            let member = random.random_range(2..40);
            let by = if random.random_bool(0.4) { random.random_range(1..5) } else { random.random_range(1..40) };
            entries.push(match random.random_range(0..10) {
                0 => remove(&start, member, &[random.random_range(5..40), random.random_range(40..45)]),
                1 => remove(&start, member, &[]),
                2 => signed(
                    &start,
                    person(member).did(),
                    EntryBody::Reject { n: random.random_range(0..3) },
                    &person(member),
                ),
                _ => add(&start, by, member, random.random_range(0..SLOTS)),
            });
        }
        let mut devices = vec![start; 4];
        for device in &mut devices {
            entries.shuffle(&mut random);
            let heard = random.random_range(1..=entries.len());
            for some in entries[..heard].chunks(5) {
                device.merge(some, None).unwrap();
            }
        }
        // Each round everybody tells everything it holds to everybody.
        for _ in 0..6 {
            for to in 0..devices.len() {
                for from in 0..devices.len() {
                    let told = devices[from].entries();
                    devices[to].merge(&told, None).unwrap();
                }
            }
        }
        let ends: Vec<_> = devices.iter().map(|device| (device.digest(), device.valid().to_vec())).collect();
        assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "seed {seed}");
    }
}

#[test]
fn whatever_the_order_everybody_computes_the_same() {
    let start = roster(&[1, 2]);
    let remove = remove(&start, 3, &[4, 6]);
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
                    copy.merge(some, None).unwrap();
                }
            }
            results.push((copy.valid().to_vec(), copy.digest()));
        }
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    let valid = &results[0].0;
    let is = |n: u8| valid.contains(&person(n).did());
    assert_eq!([3, 4, 5, 6].map(is), [false, true, false, true], "3 is removed, 4 stays, and whom 4 invited");
    assert!(is(7) != is(8), "one of two in the same slot");
}

#[test]
fn entries_of_strangers_other_calls_and_wrong_signers_change_nothing() {
    let mut roster = roster(&[1, 2]);
    let before = roster.digest();
    assert_eq!(roster.merge(&[add(&roster, 9, 10, 0)], None), Ok(false), "a stranger invites");
    let mut forged = add(&roster, 1, 9, 0);
    forged.signature = add(&roster, 2, 9, 0).signature;
    assert_eq!(roster.merge(&[forged], None), Err(Refusal::BadSignature));
    let by_another = signed(&roster, person(1).did(), EntryBody::Remove { keep: Vec::new() }, &person(2));
    assert_eq!(roster.merge(&[by_another], None), Err(Refusal::BadSignature), "only the creator removes");
    let elsewhere = add(&self::roster(&[1, 3]), 1, 9, 0);
    assert_eq!(roster.merge(&[elsewhere], None), Err(Refusal::Inconsistent));
    let fifth = add(&roster, 1, 9, SLOTS);
    assert_eq!(roster.merge(&[fifth], None), Err(Refusal::Inconsistent));
    assert_eq!((roster.digest(), roster.is_group()), (before, false));
}

#[test]
fn one_person_cannot_fill_the_roster_with_entries() {
    let mut roster = roster(&[1, 2]);
    for n in 0..=u8::MAX {
        let reject = signed(&roster, person(2).did(), EntryBody::Reject { n }, &person(2));
        roster.merge(&[reject], None).unwrap();
        roster.merge(&[add(&roster, 2, n.max(3), 0)], None).unwrap();
    }
    assert_eq!(roster.entries().len(), 2);
}

#[test]
fn a_call_that_was_a_groups_stays_one_when_everybody_else_is_removed() {
    let mut roster = roster(&[1, 2]);
    roster.add(person(3).did(), &person(2)).unwrap();
    for n in [3, 2] {
        roster.remove(person(n).did(), &person(1)).unwrap();
        assert!(roster.is_group());
    }
    assert_eq!(roster.valid(), [person(1).did()]);
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

/// A member whose inviter also signed another invitation for the same slot: those who hold that one
/// refuse it, and can tell it why.
#[test]
fn of_two_invitations_for_one_slot_the_held_one_is_known_to_both_invited() {
    let start = roster(&[1, 2]);
    let (one, other) = (add(&start, 1, 3, 0), add(&start, 1, 4, 0));
    let mut roster = start;
    merge_all(&mut roster, &[one.clone(), other.clone()]);
    let in_it = |n: u8| roster.is_valid(&person(n).did());
    assert_ne!(in_it(3), in_it(4));
    let (held, (refused, invitation)) = if in_it(3) { (one, (4, other)) } else { (other, (3, one)) };
    let refused = person(refused).did();
    let told = |did: &Did, entries: &[Signed]| roster.rival_of_invitation(did, entries).cloned();
    assert_eq!(told(&refused, std::slice::from_ref(&invitation)), Some(held.clone()));
    // Those who were never invited, and those who are, learn nothing.
    assert_eq!(told(&person(5).did(), &[invitation.clone(), held.clone()]), None);
    assert_eq!(told(&refused, std::slice::from_ref(&held)), None);
    let valid = if in_it(3) { person(3).did() } else { person(4).did() };
    assert_eq!(told(&valid, &[held, invitation]), None);
}
