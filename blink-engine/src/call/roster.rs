//! Who may take part: a signed root and signed entries, of which everybody computes the same answer.

use std::collections::{BTreeMap, BTreeSet};

use blink_api::{CallId, Did, Error, ErrorKind};

use crate::secure::{Identity, Refusal, sha256, verify};
use crate::wire::{Entry, EntryBody, Root, Signed, cbor};

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
/// Entries kept; the 32 valid people can make no more that count: 4 adds, a removal and a rejection each.
const MAX_ENTRIES: usize = MAX_VALID * 6;

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

    /// Takes in entries of somebody else; true where any was new.
    ///
    /// # Errors
    /// For the first entry of another call or with a wrong signature; those before it stay.
    pub(super) fn merge(&mut self, entries: &[Signed]) -> Result<bool, Refusal> {
        let mut changed = false;
        for signed in entries {
            let entry = Entry::read(signed).ok_or(Refusal::Malformed)?;
            if self.entries.contains_key(&entry) {
                continue;
            }
            self.check(&entry, signed)?;
            if self.entries.len() >= MAX_ENTRIES {
                return Err(Refusal::NotAuthorized);
            }
            self.entries.insert(entry, signed.clone());
            changed = true;
        }
        if changed {
            self.valid = self.compute_valid();
        }
        Ok(changed)
    }

    fn check(&self, entry: &Entry, signed: &Signed) -> Result<(), Refusal> {
        let signer = match entry.body {
            EntryBody::Add { by, slot } if slot < SLOTS => by,
            EntryBody::Remove { keep } if keep <= SLOTS => self.root.creator.did,
            EntryBody::Reject { .. } => entry.did,
            _ => return Err(Refusal::Inconsistent),
        };
        if entry.call != self.call {
            return Err(Refusal::Inconsistent);
        }
        verify(&signer, ENTRY_CONTEXT, &signed.bytes, &signed.signature)
    }

    /// Signs and takes in an own rejection.
    pub(super) fn reject(&mut self, identity: &Identity) -> Signed {
        let did = identity.did();
        let mine = self.entries.keys().filter(|entry| entry.did == did);
        let n = mine.filter(|entry| matches!(entry.body, EntryBody::Reject { .. })).count();
        let body = EntryBody::Reject { n: u8::try_from(n).unwrap_or(u8::MAX) };
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
            return Err(Error::new(ErrorKind::State, "only whoever began a call removes others from it").with("did", did));
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
        let removed: BTreeMap<Did, u8> =
            self.entries.keys().filter_map(removal).fold(BTreeMap::new(), |mut all, (did, keep)| {
                all.entry(did).and_modify(|least: &mut u8| *least = keep.min(*least)).or_insert(keep);
                all
            });
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

    /// Of two invitations in the same slot the one with the smaller hash counts.
    fn invitations(&self) -> BTreeMap<(Did, u8), Did> {
        let mut best: BTreeMap<(Did, u8), ([u8; 32], Did)> = BTreeMap::new();
        for (entry, signed) in &self.entries {
            if let EntryBody::Add { by, slot } = entry.body {
                let candidate = (sha256(&[&signed.bytes]), entry.did);
                best.entry((by, slot)).and_modify(|held| *held = candidate.min(*held)).or_insert(candidate);
            }
        }
        best.into_iter().map(|(slot, (_, did))| (slot, did)).collect()
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
