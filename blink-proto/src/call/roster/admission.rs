//! Which entries of a call are held, and who is valid by them: a pure function of the root and all
//! entries that are known.
//!
//! Limits are per maker and counted after validity: an entry that means nothing takes no room, all
//! that descends from one root member shares a room of its own, and a removal always has room.

use std::collections::{BTreeMap, BTreeSet};

use blink_api::Did;

use crate::secure::sha256;
use crate::wire::{Entry, EntryBody, MAX_ENTRIES, Root, Signed};

/// Most valid people in a call.
const MAX_VALID: usize = 32;
/// Longest chain of invitations from the root.
const MAX_DEPTH: u8 = 3;
/// Invitations held that descend from one root member.
pub(super) const MAX_BRANCH: usize = 12;
/// Invitations held in all.
const MAX_ADDS: usize = 28;
/// Removals and rejections held. Each person of the root or invited needs at most one of them.
const MAX_SETTLED: usize = super::MAX_ROOT_MEMBERS + MAX_ADDS;
// All that are held travel in one message; one of them names the newest secret.
const _: () = assert!(MAX_ADDS + MAX_SETTLED < MAX_ENTRIES);

/// Entries by what they say.
pub(super) type Candidates = BTreeMap<Entry, Signed>;

/// The outcome of [`admit`].
pub(super) struct Admission {
    pub(super) held: BTreeSet<Entry>,
    /// Valid people, in an order all devices agree on.
    pub(super) valid: Vec<Did>,
    places: BTreeMap<Did, Place>,
}

impl Admission {
    /// Valid people who were invited by a person, directly or through others, ascending.
    pub(super) fn invited_through(&self, did: &Did) -> Vec<Did> {
        let descends = |other: &&Did| *other != did && lineage(&self.places, other).any(|by| by == *did);
        let mut through: Vec<_> = self.valid.iter().filter(descends).copied().collect();
        through.sort();
        through
    }
}

/// A person's place in the tree of invitations.
#[derive(Clone, Copy)]
struct Place {
    depth: u8,
    /// The root member it descends from.
    branch: Did,
    /// `None` in the root.
    by: Option<Did>,
}

/// Decides which of some entries are held. The order in which they came does not matter.
pub(super) fn admit(root: &Root, candidates: &Candidates) -> Admission {
    let removals = removals(candidates);
    let mut invitations = invitations(candidates);
    let (mut tree, mut adds) = grow(root, &removals, &invitations);
    while adds.len() > MAX_ADDS {
        // Those that are left out end a branch: nothing that stays descends from them.
        adds.truncate(MAX_ADDS);
        let stays: BTreeSet<&Entry> = adds.iter().copied().collect();
        invitations.values_mut().for_each(|rivals| rivals.retain(|entry| stays.contains(entry)));
        (tree, adds) = grow(root, &removals, &invitations);
    }
    let mut valid = root.members.clone();
    for entry in &adds {
        if !valid.contains(&entry.did) {
            valid.push(entry.did);
        }
    }
    valid.retain(|did| !removals.contains_key(did));
    valid.truncate(MAX_VALID);

    let (needed, mut spare): (Vec<&Entry>, Vec<&Entry>) =
        removals.values().partition(|entry| tree.contains_key(&entry.did));
    let rejections = rejections(candidates, &valid);
    let room = MAX_SETTLED.saturating_sub(needed.len() + rejections.len());
    spare.sort_by_cached_key(|entry| hash(&candidates[*entry]));
    spare.truncate(room);
    let settled = needed.into_iter().chain(rejections).chain(spare);
    let held = adds.into_iter().chain(settled).chain(rotation(candidates)).cloned().collect();
    Admission { held, valid, places: tree }
}

/// Each person's place, and the invitations that are held, in turns: the first of each branch, then
/// the second of each.
fn grow<'c>(
    root: &Root,
    removals: &BTreeMap<Did, &Entry>,
    invitations: &BTreeMap<(Did, u8), Vec<&'c Entry>>,
) -> (BTreeMap<Did, Place>, Vec<&'c Entry>) {
    let in_root = |did: &Did| (*did, Place { depth: 0, branch: *did, by: None });
    let mut places: BTreeMap<Did, Place> = root.members.iter().map(in_root).collect();
    let mut branches: BTreeMap<Did, usize> = BTreeMap::new();
    let mut adds: Vec<((usize, Did), &Entry)> = Vec::new();
    for depth in 1..=MAX_DEPTH {
        for ((by, _), rivals) in invitations {
            let Some(place) = places.get(by).copied().filter(|place| place.depth == depth - 1) else { continue };
            // A removal leaves of everything below the removed person what it names, and nothing
            // that is said later.
            let stays = |did: &Did| lineage(&places, by).all(|above| kept(removals.get(&above), did));
            let Some(entry) = rivals.iter().find(|entry| stays(&entry.did)) else { continue };
            let held = branches.entry(place.branch).or_default();
            if *held < MAX_BRANCH {
                adds.push(((*held, place.branch), entry));
                *held += 1;
                places.entry(entry.did).or_insert(Place { depth, branch: place.branch, by: Some(*by) });
            }
        }
    }
    adds.sort_by_key(|(turn, _)| *turn);
    (places, adds.into_iter().map(|(_, entry)| entry).collect())
}

/// A person and everybody above it up to the root.
fn lineage(places: &BTreeMap<Did, Place>, did: &Did) -> impl Iterator<Item = Did> {
    std::iter::successors(Some(*did), |did| places.get(did).and_then(|place| place.by))
}

fn kept(removal: Option<&&Entry>, did: &Did) -> bool {
    removal.is_none_or(|entry| matches!(&entry.body, EntryBody::Remove { keep } if keep.contains(did)))
}

/// The removal of each person: of two the one that keeps fewer, then that with the smaller hash.
fn removals(candidates: &Candidates) -> BTreeMap<Did, &Entry> {
    let strictness = |entry: &Entry| match &entry.body {
        EntryBody::Remove { keep } => Some((keep.len(), hash(&candidates[entry]))),
        _ => None,
    };
    strictest(candidates, strictness)
}

/// The rejection of each valid person: of two the newer.
fn rejections<'c>(candidates: &'c Candidates, valid: &[Did]) -> impl ExactSizeIterator<Item = &'c Entry> {
    let age = |entry: &Entry| match entry.body {
        EntryBody::Reject { n } if valid.contains(&entry.did) => Some(u8::MAX - n),
        _ => None,
    };
    strictest(candidates, age).into_values()
}

/// The newest secret: that with the greatest number, then the one with the smaller hash.
fn rotation(candidates: &Candidates) -> Option<&Entry> {
    let age = |entry: &Entry| match entry.body {
        EntryBody::Rotate { n, .. } => Some((u32::MAX - n, hash(&candidates[entry]))),
        _ => None,
    };
    strictest(candidates, age).into_values().next()
}

/// Of the entries about each person that have a rank the one with the smallest.
fn strictest<R: Ord>(candidates: &Candidates, rank: impl Fn(&Entry) -> Option<R>) -> BTreeMap<Did, &Entry> {
    let mut first: BTreeMap<Did, (R, &Entry)> = BTreeMap::new();
    for entry in candidates.keys() {
        let Some(rank) = rank(entry) else { continue };
        if first.get(&entry.did).is_none_or(|(held, _)| rank < *held) {
            first.insert(entry.did, (rank, entry));
        }
    }
    first.into_iter().map(|(did, (_, entry))| (did, entry)).collect()
}

/// Invitations by maker and slot; of several in one slot those with the smaller hash first.
fn invitations(candidates: &Candidates) -> BTreeMap<(Did, u8), Vec<&Entry>> {
    let mut invitations: BTreeMap<(Did, u8), Vec<&Entry>> = BTreeMap::new();
    for entry in candidates.keys() {
        if let EntryBody::Add { by, slot } = entry.body {
            invitations.entry((by, slot)).or_default().push(entry);
        }
    }
    let several = invitations.values_mut().filter(|rivals| rivals.len() > 1);
    several.for_each(|rivals| rivals.sort_by_cached_key(|entry| hash(&candidates[*entry])));
    invitations
}

fn hash(signed: &Signed) -> [u8; 32] {
    sha256(&[&signed.bytes])
}
