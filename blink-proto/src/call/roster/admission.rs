//! Admission of roster entries: which entries are held, and who is valid by them, as a pure
//! function of the root and all known entries.
//!
//! Limits are counted after validity and per branch: an entry without effect uses no room, all
//! invitations that descend from one root member share the room of their branch, and a removal
//! always has room. So no member can fill the roster for others.

use std::collections::{BTreeMap, BTreeSet};

use blink_api::Did;

use crate::secure::sha256;
use crate::wire::{Entry, EntryBody, MAX_ENTRIES, Root, Signed};

/// Maximum number of valid people in a call.
const MAX_VALID: usize = 32;
/// Longest chain of invitations from the root.
const MAX_DEPTH: u8 = 3;
/// Invitations held that descend from one root member.
pub(super) const MAX_BRANCH: usize = 12;
/// Invitations held in total.
const MAX_ADDS: usize = 28;
/// Removals and rejections held: at most one for each person of the root or invited.
const MAX_SETTLED: usize = super::MAX_ROOT_MEMBERS + MAX_ADDS;
// All held entries fit in one message; one of them names the newest secret.
const _: () = assert!(MAX_ADDS + MAX_SETTLED < MAX_ENTRIES);

/// Entries by their content.
pub(super) type Candidates = BTreeMap<Entry, Signed>;

/// Result of [`admit`].
pub(super) struct Admission {
    pub(super) held: BTreeSet<Entry>,
    /// Valid people, in the same order on all devices.
    pub(super) valid: Vec<Did>,
    positions: BTreeMap<Did, Position>,
}

impl Admission {
    /// Valid people whom a person invited, directly or through others, ascending.
    pub(super) fn invited_through(&self, did: &Did) -> Vec<Did> {
        let descends = |other: &&Did| *other != did && lineage(&self.positions, other).any(|by| by == *did);
        let mut through: Vec<_> = self.valid.iter().filter(descends).copied().collect();
        through.sort();
        through
    }
}

/// Position of a person in the tree of invitations.
#[derive(Clone, Copy)]
struct Position {
    depth: u8,
    /// Root member from which it descends.
    branch: Did,
    /// Inviting person; `None` in the root.
    by: Option<Did>,
}

/// Decides which entries are held, independent of the order in which they arrived.
pub(super) fn admit(root: &Root, candidates: &Candidates) -> Admission {
    let removals = removals(candidates);
    let mut invitations = invitations(candidates);
    let (mut tree, mut adds) = grow(root, &removals, &invitations);
    while adds.len() > MAX_ADDS {
        // Invitations are in turns of the branches: those beyond the limit are the last of theirs,
        // so that no remaining one descends from them.
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
    Admission { held, valid, positions: tree }
}

/// Grows the tree of invitations level by level. Returns each person's position, and the held
/// invitations in turns: the first of each branch, then the second of each, and so on.
fn grow<'c>(
    root: &Root,
    removals: &BTreeMap<Did, &Entry>,
    invitations: &BTreeMap<(Did, u8), Vec<&'c Entry>>,
) -> (BTreeMap<Did, Position>, Vec<&'c Entry>) {
    let in_root = |did: &Did| (*did, Position { depth: 0, branch: *did, by: None });
    let mut positions: BTreeMap<Did, Position> = root.members.iter().map(in_root).collect();
    let mut branches: BTreeMap<Did, usize> = BTreeMap::new();
    let mut adds: Vec<((usize, Did), &Entry)> = Vec::new();
    for depth in 1..=MAX_DEPTH {
        for ((by, _), rivals) in invitations {
            let Some(position) = positions.get(by).copied().filter(|position| position.depth == depth - 1) else {
                continue;
            };
            // Below a removed person, only the people stay whom the removal names: invitations made
            // later have no effect.
            let stays = |did: &Did| lineage(&positions, by).all(|above| kept(removals.get(&above), did));
            let Some(entry) = rivals.iter().find(|entry| stays(&entry.did)) else { continue };
            let held = branches.entry(position.branch).or_default();
            if *held < MAX_BRANCH {
                adds.push(((*held, position.branch), entry));
                *held += 1;
                positions.entry(entry.did).or_insert(Position { depth, branch: position.branch, by: Some(*by) });
            }
        }
    }
    adds.sort_by_key(|(turn, _)| *turn);
    (positions, adds.into_iter().map(|(_, entry)| entry).collect())
}

/// A person and everyone above it up to the root.
fn lineage(positions: &BTreeMap<Did, Position>, did: &Did) -> impl Iterator<Item = Did> {
    std::iter::successors(Some(*did), |did| positions.get(did).and_then(|position| position.by))
}

fn kept(removal: Option<&&Entry>, did: &Did) -> bool {
    removal.is_none_or(|entry| matches!(&entry.body, EntryBody::Remove { keep } if keep.contains(did)))
}

/// Removal of each person. Of two, the one that keeps fewer people, then the one with the smaller
/// hash.
fn removals(candidates: &Candidates) -> BTreeMap<Did, &Entry> {
    let strictness = |entry: &Entry| match &entry.body {
        EntryBody::Remove { keep } => Some((keep.len(), hash(&candidates[entry]))),
        _ => None,
    };
    strictest(candidates, strictness)
}

/// Rejection of each valid person. Of two, the newer.
fn rejections<'c>(candidates: &'c Candidates, valid: &[Did]) -> impl ExactSizeIterator<Item = &'c Entry> {
    let age = |entry: &Entry| match entry.body {
        EntryBody::Reject { n } if valid.contains(&entry.did) => Some(u8::MAX - n),
        _ => None,
    };
    strictest(candidates, age).into_values()
}

/// Rotation with the greatest number, then the one with the smaller hash.
fn rotation(candidates: &Candidates) -> Option<&Entry> {
    let age = |entry: &Entry| match entry.body {
        EntryBody::Rotate { n, .. } => Some((u32::MAX - n, hash(&candidates[entry]))),
        _ => None,
    };
    strictest(candidates, age).into_values().next()
}

/// Entry with the smallest rank about each person. Entries without a rank are skipped.
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

/// Invitations by signer and slot. Rivals in one slot are sorted by hash: the first valid one is
/// held.
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
