//! The roster: the people who may take part. A signed root and signed entries, from which every
//! device computes the same result. See `docs/protocol.md`, section "Roster".

mod admission;

use std::collections::BTreeSet;

use blink_api::{CallId, Did, Error, ErrorKind};

use crate::secure::{Identity, Refusal, Statement, sha256, verify};
use crate::wire::{Entry, EntryBody, MAX_ENTRIES, Root, Signed, cbor};
use admission::{Admission, Candidates, MAX_BRANCH, admit};

const ROOT_CONTEXT: &[u8] = b"blink/1 root\0";
const ENTRY_CONTEXT: &[u8] = b"blink/1 entry\0";
/// Maximum number of people in a root.
pub(super) const MAX_ROOT_MEMBERS: usize = 16;
/// Invitations that one person can make.
const SLOTS: u8 = 4;
/// Bytes of entries that fit in an envelope next to a record.
const MAX_ENTRY_BYTES: usize = 10_000;
/// Bytes of the CBOR heads of a [`Signed`]: array, bytes, signature.
const SIGNED_HEADS: usize = 6;

/// Signature check of entries.
pub(super) type Check<'a> = &'a mut dyn FnMut(&Statement<'_>) -> Result<(), Refusal>;

/// A call's root and entries.
#[derive(Clone)]
pub(super) struct Roster {
    call: CallId,
    root: Root,
    signed_root: Signed,
    entries: Candidates,
    valid: Vec<Did>,
}

impl Roster {
    /// Signs a new root, whose hash is the call's id.
    pub(super) fn create(root: Root, creator: &Identity) -> Self {
        let bytes = cbor::encode(&root);
        let signature = creator.sign(ROOT_CONTEXT, &bytes);
        let call = call_id(&bytes);
        let valid = root.members.clone();
        Self { call, root, signed_root: Signed { bytes, signature }, entries: Candidates::new(), valid }
    }

    /// Verifies a root and merges entries: id, secret and signatures match, the members are sorted.
    ///
    /// # Errors
    /// [`Refusal::Inconsistent`], that of the signature, and as [`merge`](Roster::merge).
    pub(super) fn verified(
        call: CallId,
        signed: &Signed,
        secret: &[u8; 32],
        entries: &[Signed],
    ) -> Result<Self, Refusal> {
        let mut roster = Self::unverified(call, signed, secret, entries)?;
        let root = roster.root_statement();
        verify(root.did, root.context, root.bytes, root.signature)?;
        roster.merge(entries, Some(secret))?;
        Ok(roster)
    }

    /// As [`verified`](Roster::verified), without the entries and without checking signatures,
    /// which are expensive. Not trusted before [`root_statement`](Roster::root_statement) was
    /// verified.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] and [`Refusal::Inconsistent`].
    pub(super) fn unverified(
        call: CallId,
        signed: &Signed,
        secret: &[u8; 32],
        entries: &[Signed],
    ) -> Result<Self, Refusal> {
        let root: Root = cbor::decode(&signed.bytes).map_err(|_| Refusal::Malformed)?;
        let members = &root.members;
        let secret_hash = sha256(&[secret]);
        // The secret is that of the root, or one that an entry names; the entry's signature is
        // checked later, and without it the secret is ignored.
        let named = |signed: &Signed| matches!(Entry::read(signed), Some(entry) if entry.body.names(&secret_hash));
        let sound = call_id(&signed.bytes) == call
            && (secret_hash == root.secret_hash || entries.iter().take(MAX_ENTRIES).any(named))
            && (2..=MAX_ROOT_MEMBERS).contains(&members.len())
            && members.is_sorted_by(|one, other| one < other)
            && members.contains(&root.creator.did);
        if !sound {
            return Err(Refusal::Inconsistent);
        }
        let valid = root.members.clone();
        Ok(Self { call, root, signed_root: signed.clone(), entries: Candidates::new(), valid })
    }

    /// Statement that the root's creator must have signed.
    pub(super) fn root_statement(&self) -> Statement<'_> {
        let Signed { bytes, signature } = &self.signed_root;
        Statement { did: &self.root.creator.did, context: ROOT_CONTEXT, bytes, signature }
    }

    /// Whether a person is in the root, or is named by unverified entries.
    pub(super) fn could_name(&self, did: &Did, entries: &[Signed]) -> bool {
        let adds = |entry: Entry| entry.did == *did && matches!(entry.body, EntryBody::Add { .. });
        let named = |signed: &Signed| Entry::read(signed).is_some_and(adds);
        self.root.members.contains(did) || entries.iter().take(MAX_ENTRIES).any(named)
    }

    /// Restores a saved roster, with the same checks as one that came with an offer.
    ///
    /// # Errors
    /// As [`verified`](Roster::verified).
    pub(super) fn restore(root: &Signed, secret: &[u8; 32], entries: &[Signed]) -> Result<Self, Refusal> {
        Self::verified(call_id(&root.bytes), root, secret, entries)
    }

    /// Id of the call.
    pub(super) fn call(&self) -> CallId {
        self.call
    }

    /// The root.
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// The root, as signed.
    pub(super) fn signed_root(&self) -> &Signed {
        &self.signed_root
    }

    /// All entries, sorted.
    pub(super) fn entries(&self) -> Vec<Signed> {
        self.entries.values().cloned().collect()
    }

    /// Merges entries of another device; true if the roster changed. Which entries are held is a
    /// function of all known ones ([`admit`]). An entry that names a new secret is only accepted
    /// together with it, so that no device has one without the other.
    ///
    /// # Errors
    /// For the first entry of another call, out of range, or that would be held and has a wrong
    /// signature; nothing is merged then.
    pub(super) fn merge(&mut self, entries: &[Signed], secret: Option<&[u8; 32]>) -> Result<bool, Refusal> {
        self.merge_checked(entries, secret, &mut |it| verify(it.did, it.context, it.bytes, it.signature))
    }

    /// As [`merge`](Roster::merge), with a given signature check.
    ///
    /// # Errors
    /// As [`merge`](Roster::merge), and those of `check`.
    pub(super) fn merge_checked(
        &mut self,
        entries: &[Signed],
        secret: Option<&[u8; 32]>,
        check: Check<'_>,
    ) -> Result<bool, Refusal> {
        let secret_hash = secret.map(|secret| sha256(&[secret]));
        let mut candidates = Candidates::new();
        for signed in entries.iter().take(MAX_ENTRIES) {
            let entry = Entry::read(signed).ok_or(Refusal::BadContent)?;
            self.check_range(&entry)?;
            let unknown_secret = matches!(entry.body, EntryBody::Rotate { .. })
                && secret_hash.is_none_or(|secret_hash| !entry.body.names(&secret_hash));
            if !unknown_secret && !self.entries.contains_key(&entry) {
                candidates.entry(entry).or_insert_with(|| signed.clone());
            }
        }
        if candidates.is_empty() {
            return Ok(false);
        }
        candidates.extend(self.entries.clone());
        let admission = admit(&self.root, &candidates);
        // Only the signatures of entries that would be held matter: checks are expensive.
        for entry in admission.held.iter().filter(|entry| !self.entries.contains_key(entry)) {
            check(&entry_statement(&signer(entry, &self.root), &candidates[entry]))?;
        }
        Ok(self.replace(candidates, admission))
    }

    /// Holds the admitted entries; true if they differ from those before.
    fn replace(&mut self, mut candidates: Candidates, admission: Admission) -> bool {
        candidates.retain(|entry, _| admission.held.contains(entry));
        let changed = !candidates.keys().eq(self.entries.keys());
        self.entries = candidates;
        self.valid = admission.valid;
        changed
    }

    fn check_range(&self, entry: &Entry) -> Result<(), Refusal> {
        let sound = match &entry.body {
            EntryBody::Add { slot, .. } => *slot < SLOTS,
            EntryBody::Remove { keep } => keep.len() <= MAX_BRANCH && keep.is_sorted_by(|one, other| one < other),
            EntryBody::Reject { .. } => true,
            EntryBody::Rotate { .. } => entry.did == self.root.creator.did,
        };
        if sound && entry.call == self.call { Ok(()) } else { Err(Refusal::Inconsistent) }
    }

    /// Signs and adds a rejection by this person.
    pub(super) fn reject(&mut self, identity: &Identity) -> Signed {
        let did = identity.did();
        let earlier = self.entries.keys().filter(|entry| entry.did == did).filter_map(|entry| match entry.body {
            EntryBody::Reject { n } => Some(n),
            _ => None,
        });
        let body = EntryBody::Reject { n: earlier.max().map_or(0, |n| n.saturating_add(1)) };
        self.sign(Entry { call: self.call, did, body }, identity)
    }

    /// Signs and adds an invitation by this person.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) for a person who is already invited, was removed or rejected,
    /// where this person has no invitation left or is too far from the root, or the call is full.
    pub(super) fn add(&mut self, did: Did, identity: &Identity) -> Result<(), Error> {
        let refused = |why: &'static str| Err(Error::new(ErrorKind::State, why).with("did", did));
        let by = identity.did();
        if self.is_valid(&did) {
            return refused("already invited to this call");
        }
        if self.rejected().contains(&did) {
            return refused("has rejected this call");
        }
        if self.removal_of(&did).is_some() {
            return refused("was removed from this call");
        }
        let taken = |slot: &u8| self.entries.keys().any(|entry| entry.body == EntryBody::Add { by, slot: *slot });
        let Some(slot) = (0..SLOTS).find(|slot| !taken(slot)) else {
            return refused("this person has already invited four people");
        };
        let before = self.clone();
        self.sign(Entry { call: self.call, did, body: EntryBody::Add { by, slot } }, identity);
        if !self.is_valid(&did) {
            *self = before;
            return refused("the call is full, or this person may not invite");
        }
        Ok(())
    }

    /// Signs and adds the final removal of a person. Only the creator can remove. People whom that
    /// person invited stay.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) for an identity other than the creator's, or for a person who is
    /// not in the call.
    pub(super) fn remove(&mut self, did: Did, identity: &Identity) -> Result<(), Error> {
        let refused = |why: &'static str| Err(Error::new(ErrorKind::State, why).with("did", did));
        if identity.did() != self.root.creator.did || did == identity.did() {
            return refused("only the creator of a call can remove others from it");
        }
        if !self.is_valid(&did) {
            return refused("not in this call");
        }
        let before = self.clone();
        let keep = admit(&self.root, &self.entries).invited_through(&did);
        self.sign(Entry { call: self.call, did, body: EntryBody::Remove { keep } }, identity);
        if self.is_too_large() {
            // Being able to remove matters more than keeping those whom the removed person invited.
            *self = before.clone();
            self.sign(Entry { call: self.call, did, body: EntryBody::Remove { keep: Vec::new() } }, identity);
        }
        if self.is_valid(&did) || self.removal_of(&did).is_none() {
            *self = before;
            return refused("could not be removed");
        }
        Ok(())
    }

    /// Signs and adds a new secret. Only the creator can rotate it.
    pub(super) fn rotate(&mut self, secret: &[u8; 32], identity: &Identity) {
        let n = self.rotation().map_or(0, |(n, _)| n).saturating_add(1);
        let body = EntryBody::Rotate { n, secret_hash: sha256(&[secret]) };
        self.sign(Entry { call: self.call, did: identity.did(), body }, identity);
    }

    /// Number of rotations and hash of the newest secret; `None` while it is that of the root.
    pub(super) fn rotation(&self) -> Option<(u32, [u8; 32])> {
        self.entries.keys().find_map(|entry| match entry.body {
            EntryBody::Rotate { n, secret_hash } => Some((n, secret_hash)),
            _ => None,
        })
    }

    /// Whether this is the newest secret.
    pub(super) fn fits(&self, secret: &[u8; 32]) -> bool {
        sha256(&[secret]) == self.rotation().map_or(self.root.secret_hash, |(_, secret_hash)| secret_hash)
    }

    /// Entries for a removed person: all except the hash of the new secret.
    pub(super) fn entries_for_removed(&self) -> Vec<Signed> {
        let shown = |entry: &Entry| !matches!(entry.body, EntryBody::Rotate { .. });
        self.entries.iter().filter(|(entry, _)| shown(entry)).map(|(_, signed)| signed.clone()).collect()
    }

    fn sign(&mut self, entry: Entry, identity: &Identity) -> Signed {
        let bytes = cbor::encode(&entry);
        let signed = Signed { signature: identity.sign(ENTRY_CONTEXT, &bytes), bytes };
        let mut candidates = self.entries.clone();
        candidates.insert(entry, signed.clone());
        let admission = admit(&self.root, &candidates);
        self.replace(candidates, admission);
        signed
    }

    /// Whether the entries do not fit in an envelope next to a record.
    fn is_too_large(&self) -> bool {
        let bytes = |signed: &Signed| signed.bytes.len() + signed.signature.len() + SIGNED_HEADS;
        self.entries.values().map(bytes).sum::<usize>() > MAX_ENTRY_BYTES
    }

    /// Entry that removed a person, if any.
    pub(super) fn removal_of(&self, did: &Did) -> Option<&Signed> {
        let is = |entry: &Entry| entry.did == *did && matches!(entry.body, EntryBody::Remove { .. });
        self.entries.iter().find(|(entry, _)| is(entry)).map(|(_, signed)| signed)
    }

    /// Invitation that is held in place of the one by which a person believes to be invited: both
    /// have one signer and slot. `entries` are those that the person holds.
    pub(super) fn rival_of_invitation(&self, did: &Did, entries: &[Signed]) -> Option<&Signed> {
        let place = |entry: &Entry| match &entry.body {
            EntryBody::Add { by, slot } => Some((*by, *slot)),
            _ => None,
        };
        let invitations = entries.iter().take(MAX_ENTRIES).filter_map(Entry::read).filter(|entry| entry.did == *did);
        let places: Vec<_> = invitations.filter_map(|entry| place(&entry)).collect();
        let is_rival = |entry: &Entry| entry.did != *did && place(entry).is_some_and(|place| places.contains(&place));
        self.entries.iter().find(|(entry, _)| is_rival(entry)).map(|(_, signed)| signed)
    }

    /// Whether a person may take part.
    pub(super) fn is_valid(&self, did: &Did) -> bool {
        self.valid.contains(did)
    }

    /// Everyone who may take part: people of the root, then added people, in the same order on all
    /// devices.
    pub(super) fn valid(&self) -> &[Did] {
        &self.valid
    }

    /// People who rejected.
    pub(super) fn rejected(&self) -> BTreeSet<Did> {
        let rejections = self.entries.keys().filter(|entry| matches!(entry.body, EntryBody::Reject { .. }));
        rejections.map(|entry| entry.did).collect()
    }

    /// Whether it has, or once had, more than two people. A removal is evidence of an invitation
    /// that is no longer held.
    pub(super) fn is_group(&self) -> bool {
        let invited = |entry: &Entry| match entry.body {
            EntryBody::Add { .. } => true,
            EntryBody::Remove { .. } => !self.root.members.contains(&entry.did),
            EntryBody::Reject { .. } | EntryBody::Rotate { .. } => false,
        };
        self.root.members.len() > 2 || self.entries.keys().any(invited)
    }

    /// SHA-256 of the sorted entries, truncated to 16 bytes.
    pub(super) fn digest(&self) -> [u8; 16] {
        let parts: Vec<&[u8]> = self.entries.values().map(|signed| &signed.bytes[..]).collect();
        *sha256(&parts).first_chunk().expect("a SHA-256 hash has 32 bytes")
    }
}

/// Statement that an entry's signer must have signed.
fn entry_statement<'a>(did: &'a Did, Signed { bytes, signature }: &'a Signed) -> Statement<'a> {
    Statement { did, context: ENTRY_CONTEXT, bytes, signature }
}

/// Person whose signature an entry needs.
fn signer(entry: &Entry, root: &Root) -> Did {
    match entry.body {
        EntryBody::Add { by, .. } => by,
        EntryBody::Remove { .. } | EntryBody::Rotate { .. } => root.creator.did,
        EntryBody::Reject { .. } => entry.did,
    }
}

fn call_id(root: &[u8]) -> CallId {
    CallId::from_bytes(*sha256(&[b"blink/1 call\0", root]).first_chunk().expect("a SHA-256 hash has 32 bytes"))
}

#[cfg(test)]
mod reading;
#[cfg(test)]
mod tests;
