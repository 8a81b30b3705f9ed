//! Who may take part: a signed root and signed entries, of which everybody computes the same
//! answer.

mod admission;

use std::collections::BTreeSet;

use blink_api::{CallId, Did, Error, ErrorKind};

use crate::secure::{Identity, Refusal, Statement, sha256, verify};
use crate::wire::{Entry, EntryBody, MAX_ENTRIES, Root, Signed, cbor};
use admission::{Admission, Candidates, MAX_BRANCH, admit};

const ROOT_CONTEXT: &[u8] = b"blink/1 root\0";
const ENTRY_CONTEXT: &[u8] = b"blink/1 entry\0";
/// Most people in a root.
pub(super) const MAX_ROOT_MEMBERS: usize = 16;
/// Invitations of one person.
const SLOTS: u8 = 4;
/// Bytes of all entries that travel in one envelope beside a record.
const MAX_ENTRY_BYTES: usize = 10_000;
/// CBOR heads of a [`Signed`]: array, bytes, signature.
const SIGNED_HEADS: usize = 6;

/// How signatures of entries are checked.
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
    /// Signs a new root and gives the call its id.
    pub(super) fn create(root: Root, creator: &Identity) -> Self {
        let bytes = cbor::encode(&root);
        let signature = creator.sign(ROOT_CONTEXT, &bytes);
        let call = call_id(&bytes);
        let valid = root.members.clone();
        Self { call, root, signed_root: Signed { bytes, signature }, entries: Candidates::new(), valid }
    }

    /// Checks a root that came with an offer, and takes in the entries: id, secret and signatures
    /// belong together, the members are in order.
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

    /// As [`verified`](Roster::verified), but for the signatures, which are dear, and without the
    /// entries. Nothing of it may be believed before [`root_statement`](Roster::root_statement) was
    /// checked.
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
        // Cheap before dear: the secret is that of the root, or one that an entry names. Without
        // that entry nothing of the secret is taken.
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

    /// Whether a person is in the root, or could be on the roster by entries whose signatures are
    /// not checked.
    pub(super) fn could_name(&self, did: &Did, entries: &[Signed]) -> bool {
        let adds = |entry: Entry| entry.did == *did && matches!(entry.body, EntryBody::Add { .. });
        let named = |signed: &Signed| Entry::read(signed).is_some_and(adds);
        self.root.members.contains(did) || entries.iter().take(MAX_ENTRIES).any(named)
    }

    /// A roster that was kept: the same checks as of one that came with an offer.
    ///
    /// # Errors
    /// As [`verified`](Roster::verified).
    pub(super) fn kept(root: &Signed, secret: &[u8; 32], entries: &[Signed]) -> Result<Self, Refusal> {
        Self::verified(call_id(&root.bytes), root, secret, entries)
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

    /// Takes in entries of another device; true where any was new. Which of them are held follows
    /// from all that are known ([`admit`]). One that names a new secret is taken only together with
    /// it, so that no device holds the one without the other.
    ///
    /// # Errors
    /// For the first entry of another call, out of range, or that would be held and has a wrong
    /// signature; nothing is taken in then.
    pub(super) fn merge(&mut self, entries: &[Signed], secret: Option<&[u8; 32]>) -> Result<bool, Refusal> {
        self.merge_checked(entries, secret, &mut |it| verify(it.did, it.context, it.bytes, it.signature))
    }

    /// As [`merge`](Roster::merge), with a given way of checking signatures.
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
        // Only the signatures of entries that would be held matter, and they are dear.
        for entry in admission.held.iter().filter(|entry| !self.entries.contains_key(entry)) {
            check(&entry_statement(&signer(entry, &self.root), &candidates[entry]))?;
        }
        Ok(self.replace(candidates, admission))
    }

    /// Holds what was admitted; true where that is something else than before.
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

    /// Signs and takes in an own rejection.
    pub(super) fn reject(&mut self, identity: &Identity) -> Signed {
        let did = identity.did();
        let earlier = self.entries.keys().filter(|entry| entry.did == did).filter_map(|entry| match entry.body {
            EntryBody::Reject { n } => Some(n),
            _ => None,
        });
        let body = EntryBody::Reject { n: earlier.max().map_or(0, |n| n.saturating_add(1)) };
        self.sign(Entry { call: self.call, did, body }, identity)
    }

    /// Signs and takes in an invitation by this person.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) for a person who takes part already, was removed or rejected,
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

    /// Signs and takes in the removal of a person, for good; only the creator's counts. People
    /// invited by that person stay.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) for a caller other than the creator, or for a person who does
    /// not take part.
    pub(super) fn remove(&mut self, did: Did, identity: &Identity) -> Result<(), Error> {
        let refused = |why: &'static str| Err(Error::new(ErrorKind::State, why).with("did", did));
        if identity.did() != self.root.creator.did || did == identity.did() {
            return refused("only whoever began a call removes others from it");
        }
        if !self.is_valid(&did) {
            return refused("not in this call");
        }
        let before = self.clone();
        let keep = admit(&self.root, &self.entries).invited_through(&did);
        self.sign(Entry { call: self.call, did, body: EntryBody::Remove { keep } }, identity);
        if self.is_too_large() {
            // Removal goes before what was invited through the removed person.
            *self = before.clone();
            self.sign(Entry { call: self.call, did, body: EntryBody::Remove { keep: Vec::new() } }, identity);
        }
        if self.is_valid(&did) || self.removal_of(&did).is_none() {
            *self = before;
            return refused("could not be removed");
        }
        Ok(())
    }

    /// Signs and takes in a new secret; only the creator's counts.
    pub(super) fn rotate(&mut self, secret: &[u8; 32], identity: &Identity) {
        let n = self.rotation().map_or(0, |(n, _)| n).saturating_add(1);
        let body = EntryBody::Rotate { n, secret_hash: sha256(&[secret]) };
        self.sign(Entry { call: self.call, did: identity.did(), body }, identity);
    }

    /// How often the secret was changed, and the hash of the newest; `None` while it is that of the
    /// root.
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

    /// Entries for a person that was removed: all but the hash of the secret.
    pub(super) fn entries_for_removed(&self) -> Vec<Signed> {
        let told = |entry: &Entry| !matches!(entry.body, EntryBody::Rotate { .. });
        self.entries.iter().filter(|(entry, _)| told(entry)).map(|(_, signed)| signed.clone()).collect()
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

    /// Whether the entries find no room in an envelope beside a record.
    fn is_too_large(&self) -> bool {
        let bytes = |signed: &Signed| signed.bytes.len() + signed.signature.len() + SIGNED_HEADS;
        self.entries.values().map(bytes).sum::<usize>() > MAX_ENTRY_BYTES
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

    /// More than two people by the root, or by an invitation that ever counted; of one that is held
    /// no more a removal tells.
    pub(super) fn is_group(&self) -> bool {
        let invited = |entry: &Entry| match entry.body {
            EntryBody::Add { .. } => true,
            EntryBody::Remove { .. } => !self.root.members.contains(&entry.did),
            EntryBody::Reject { .. } | EntryBody::Rotate { .. } => false,
        };
        self.root.members.len() > 2 || self.entries.keys().any(invited)
    }

    /// SHA-256 of the sorted entries, shortened.
    pub(super) fn digest(&self) -> [u8; 16] {
        let parts: Vec<&[u8]> = self.entries.values().map(|signed| &signed.bytes[..]).collect();
        *sha256(&parts).first_chunk().expect("a SHA-256 hash has 32 bytes")
    }
}

/// Statement that an entry's signer must have signed.
fn entry_statement<'a>(did: &'a Did, Signed { bytes, signature }: &'a Signed) -> Statement<'a> {
    Statement { did, context: ENTRY_CONTEXT, bytes, signature }
}

/// The person whose signature an entry needs.
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
