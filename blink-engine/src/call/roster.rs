//! Who may take part: a signed root and signed entries, of which everybody computes the same answer.

use std::collections::{BTreeMap, BTreeSet};

use blink_api::{CallId, Did, Error, ErrorKind};

use crate::secure::{Identity, Refusal, sha256, verify};
use crate::wire::{Entry, EntryBody, MAX_ENTRIES, Root, Signed, cbor};

const ROOT_CONTEXT: &[u8] = b"blink/1 root\0";
const ENTRY_CONTEXT: &[u8] = b"blink/1 entry\0";
/// Most people in a root.
pub(super) const MAX_ROOT_MEMBERS: usize = 16;
/// Most valid people in a call.
const MAX_VALID: usize = 32;
/// How far an invitation may be from the root.
const MAX_DEPTH: u8 = 3;
/// Invitations of one person.
const SLOTS: u8 = 4;

/// A call's root and entries.
#[derive(Clone)]
pub(super) struct Roster {
    call: CallId,
    root: Root,
    signed_root: Signed,
    entries: BTreeMap<Entry, Signed>,
    valid: Vec<Did>,
}

impl Roster {
    /// Signs a new root and gives the call its id.
    pub(super) fn create(root: Root, creator: &Identity) -> Self {
        let bytes = cbor::encode(&root);
        let signature = creator.sign(ROOT_CONTEXT, &bytes);
        let call = call_id(&bytes);
        let valid = root.members.clone();
        Self { call, root, signed_root: Signed { bytes, signature }, entries: BTreeMap::new(), valid }
    }

    /// Checks a root that came with an offer: id, secret and signature belong together, the members are in order.
    ///
    /// # Errors
    /// [`Refusal::Inconsistent`] or that of the signature.
    pub(super) fn verified(call: CallId, signed: &Signed, secret: &[u8; 32]) -> Result<Self, Refusal> {
        let root: Root = cbor::decode(&signed.bytes).map_err(|_| Refusal::Malformed)?;
        let members = &root.members;
        let sound = call_id(&signed.bytes) == call
            && sha256(&[secret]) == root.secret_hash
            && (2..=MAX_ROOT_MEMBERS).contains(&members.len())
            && members.is_sorted_by(|one, other| one < other)
            && members.contains(&root.creator.did);
        if !sound {
            return Err(Refusal::Inconsistent);
        }
        verify(&root.creator.did, ROOT_CONTEXT, &signed.bytes, &signed.signature)?;
        let valid = root.members.clone();
        Ok(Self { call, root, signed_root: signed.clone(), entries: BTreeMap::new(), valid })
    }

    /// A roster that was kept: the same checks as of one that came with an offer.
    ///
    /// # Errors
    /// As [`verified`](Roster::verified) and [`merge`](Roster::merge).
    pub(super) fn kept(root: &Signed, secret: &[u8; 32], entries: &[Signed]) -> Result<Self, Refusal> {
        let mut roster = Self::verified(call_id(&root.bytes), root, secret)?;
        roster.merge(entries)?;
        Ok(roster)
    }

    /// The call's id.
    pub(super) fn call(&self) -> CallId {
        self.call
    }

    /// How it began.
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// How it began, as signed.
    pub(super) fn signed_root(&self) -> &Signed {
        &self.signed_root
    }

    /// All entries, sorted.
    pub(super) fn entries(&self) -> Vec<Signed> {
        self.entries.values().cloned().collect()
    }

    /// Takes in entries of somebody else; true where any was new. What nobody on the roster signed, and what finds no room, is left out.
    ///
    /// # Errors
    /// For the first entry of another call or with a wrong signature; nothing is taken in then.
    pub(super) fn merge(&mut self, entries: &[Signed]) -> Result<bool, Refusal> {
        let mut read = Vec::new();
        for signed in entries.iter().take(MAX_ENTRIES) {
            let entry = Entry::read(signed).ok_or(Refusal::BadContent)?;
            if !self.entries.contains_key(&entry) {
                self.check(&entry, signed)?;
                read.push((entry, signed));
            }
        }
        // An entry may follow in the list that makes the signer of an earlier one known: go on until nothing new is taken.
        let mut changed = false;
        while read.iter().fold(false, |taken, (entry, signed)| self.take(entry, signed) || taken) {
            changed = true;
        }
        if changed {
            self.valid = self.compute_valid();
        }
        Ok(changed)
    }

    /// Keeps an entry of somebody who is or was on the roster, one for each slot, removal and rejection, which bounds them; true where it was taken.
    fn take(&mut self, entry: &Entry, signed: &Signed) -> bool {
        if self.entries.contains_key(entry) || !self.is_known(&signer(entry, &self.root)) {
            return false;
        }
        let rival = self.entries.iter().find(|(held, _)| rivals(held, entry));
        match rival.map(|(held, held_signed)| (*held, precedence(held, held_signed))) {
            Some((_, held)) if held <= precedence(entry, signed) => return false,
            Some((held, _)) => drop(self.entries.remove(&held)),
            None if self.entries.len() >= MAX_ENTRIES => return false,
            None => {}
        }
        self.entries.insert(*entry, signed.clone());
        true
    }

    /// In the root, or invited by anybody at any time.
    fn is_known(&self, did: &Did) -> bool {
        let added = |entry: &Entry| entry.did == *did && matches!(entry.body, EntryBody::Add { .. });
        self.root.members.contains(did) || self.entries.keys().any(added)
    }

    fn check(&self, entry: &Entry, signed: &Signed) -> Result<(), Refusal> {
        let sound = match entry.body {
            EntryBody::Add { slot, .. } => slot < SLOTS,
            EntryBody::Remove { keep } => keep <= SLOTS,
            EntryBody::Reject { .. } => true,
        };
        if !sound {
            return Err(Refusal::Inconsistent);
        }
        if entry.call != self.call {
            return Err(Refusal::Inconsistent);
        }
        verify(&signer(entry, &self.root), ENTRY_CONTEXT, &signed.bytes, &signed.signature)
    }

    /// Signs and takes in an own rejection.
    pub(super) fn reject(&mut self, identity: &Identity) -> Signed {
        let did = identity.did();
        let earlier = self.entries.keys().filter(|entry| entry.did == did).filter_map(|entry| match entry.body {
            EntryBody::Reject { n } => Some(n),
            _ => None,
        });
        let body = EntryBody::Reject { n: earlier.max().map_or(0, |n| n.saturating_add(1)) };
        self.entries.retain(|entry, _| entry.did != did || !matches!(entry.body, EntryBody::Reject { .. }));
        self.sign(Entry { call: self.call, did, body }, identity)
    }

    /// Signs and takes in an invitation of somebody by this person.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) for somebody who takes part already, was removed or rejected, where this person has no invitation left or is too
    /// far from the root, or the call is full.
    pub(super) fn add(&mut self, did: Did, identity: &Identity) -> Result<(), Error> {
        let refused = |why: &'static str| Err(Error::new(ErrorKind::State, why).with("did", did));
        let by = identity.did();
        if self.is_valid(&did) {
            return refused("already invited to this call");
        }
        if self.rejected().contains(&did) {
            return refused("has rejected this call");
        }
        if self.entries.keys().filter_map(removal).any(|(removed, _)| removed == did) {
            return refused("was removed from this call");
        }
        if self.entries.len() >= MAX_ENTRIES {
            return refused("the call's roster has changed too often");
        }
        let taken = |slot: &u8| self.entries.keys().any(|entry| entry.body == EntryBody::Add { by, slot: *slot });
        let Some(slot) = (0..SLOTS).find(|slot| !taken(slot)) else {
            return refused("this person has invited four people already");
        };
        let before = self.clone();
        self.sign(Entry { call: self.call, did, body: EntryBody::Add { by, slot } }, identity);
        if !self.is_valid(&did) {
            *self = before;
            return refused("the call is full, or this person may not invite");
        }
        Ok(())
    }

    /// Signs and takes in the removal of somebody, for good; only the creator's counts.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) for somebody else than the creator or who does not take part.
    pub(super) fn remove(&mut self, did: Did, identity: &Identity) -> Result<(), Error> {
        if identity.did() != self.root.creator.did || did == identity.did() {
            return Err(
                Error::new(ErrorKind::State, "only whoever began a call removes others from it").with("did", did)
            );
        }
        if !self.is_valid(&did) {
            return Err(Error::new(ErrorKind::State, "not in this call").with("did", did));
        }
        self.sign(Entry { call: self.call, did, body: EntryBody::Remove { keep: SLOTS } }, identity);
        Ok(())
    }

    fn sign(&mut self, entry: Entry, identity: &Identity) -> Signed {
        let bytes = cbor::encode(&entry);
        let signed = Signed { signature: identity.sign(ENTRY_CONTEXT, &bytes), bytes };
        self.entries.insert(entry, signed.clone());
        self.valid = self.compute_valid();
        signed
    }

    /// What removed somebody, if anything did.
    pub(super) fn removal_of(&self, did: &Did) -> Option<&Signed> {
        let is = |entry: &Entry| entry.did == *did && matches!(entry.body, EntryBody::Remove { .. });
        self.entries.iter().find(|(entry, _)| is(entry)).map(|(_, signed)| signed)
    }

    /// Whether somebody may take part.
    pub(super) fn is_valid(&self, did: &Did) -> bool {
        self.valid.contains(did)
    }

    /// Everybody who may take part: those of the root, then those added, in an order all agree on.
    pub(super) fn valid(&self) -> &[Did] {
        &self.valid
    }

    /// Who has rejected.
    pub(super) fn rejected(&self) -> BTreeSet<Did> {
        let rejections = self.entries.keys().filter(|entry| matches!(entry.body, EntryBody::Reject { .. }));
        rejections.map(|entry| entry.did).collect()
    }

    /// More than two people by the root, or by an invitation that ever counted.
    pub(super) fn is_group(&self) -> bool {
        self.root.members.len() > 2 || self.entries.keys().any(|entry| matches!(entry.body, EntryBody::Add { .. }))
    }

    /// SHA-256 of the sorted entries, shortened.
    pub(super) fn digest(&self) -> [u8; 16] {
        let parts: Vec<&[u8]> = self.entries.values().map(|signed| &signed.bytes[..]).collect();
        *sha256(&parts).first_chunk().expect("a SHA-256 hash has 32 bytes")
    }

    /// A pure function of root and entries: people by (depth, inviter, slot), the removed left out, the first 32.
    fn compute_valid(&self) -> Vec<Did> {
        let removed: BTreeMap<Did, u8> = self.entries.keys().filter_map(removal).collect();
        let invitations = self.invitations();
        let mut depths: BTreeMap<Did, u8> = self.root.members.iter().map(|did| (*did, 0)).collect();
        let mut valid: Vec<Did> = self.root.members.clone();
        for depth in 1..=MAX_DEPTH {
            for (&(by, slot), &did) in &invitations {
                let counts = depths.get(&by) == Some(&(depth - 1)) && removed.get(&by).is_none_or(|keep| slot < *keep);
                if counts && !depths.contains_key(&did) {
                    depths.insert(did, depth);
                    valid.push(did);
                }
            }
        }
        valid.retain(|did| !removed.contains_key(did));
        valid.truncate(MAX_VALID);
        valid
    }

    /// Who is invited by whom, in which slot.
    fn invitations(&self) -> BTreeMap<(Did, u8), Did> {
        let invitation = |entry: &Entry| match entry.body {
            EntryBody::Add { by, slot } => Some(((by, slot), entry.did)),
            _ => None,
        };
        self.entries.keys().filter_map(invitation).collect()
    }
}

/// Who must have signed an entry.
fn signer(entry: &Entry, root: &Root) -> Did {
    match entry.body {
        EntryBody::Add { by, .. } => by,
        EntryBody::Remove { .. } => root.creator.did,
        EntryBody::Reject { .. } => entry.did,
    }
}

/// Two entries of which only one counts.
fn rivals(one: &Entry, other: &Entry) -> bool {
    match (one.body, other.body) {
        (EntryBody::Add { by, slot }, EntryBody::Add { by: other_by, slot: other_slot }) => {
            (by, slot) == (other_by, other_slot)
        }
        (EntryBody::Remove { .. }, EntryBody::Remove { .. }) | (EntryBody::Reject { .. }, EntryBody::Reject { .. }) => {
            one.did == other.did
        }
        _ => false,
    }
}

/// Of two rivals the one with the smaller precedence counts, for everybody: the smaller hash, the stricter removal, the newer rejection.
fn precedence(entry: &Entry, signed: &Signed) -> (u8, [u8; 32]) {
    let hash = sha256(&[&signed.bytes]);
    match entry.body {
        EntryBody::Add { .. } => (0, hash),
        EntryBody::Remove { keep } => (keep, hash),
        EntryBody::Reject { n } => (u8::MAX - n, hash),
    }
}

fn removal(entry: &Entry) -> Option<(Did, u8)> {
    match entry.body {
        EntryBody::Remove { keep } => Some((entry.did, keep)),
        _ => None,
    }
}

fn call_id(root: &[u8]) -> CallId {
    CallId::from_bytes(*sha256(&[b"blink/1 call\0", root]).first_chunk().expect("a SHA-256 hash has 32 bytes"))
}

#[cfg(test)]
mod reading;
#[cfg(test)]
mod tests;
