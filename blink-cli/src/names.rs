//! Names of people for texts.

use std::collections::BTreeMap;

use blink_api::Did;
use blink_engine::{Event, Snapshot};

/// Names that people gave themselves, and that are remembered.
const CLAIMED: usize = 256;

/// Display names of DIDs: those of contacts, and those that participants give themselves, which are
/// never shown without the DID.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    given: BTreeMap<Did, String>,
    claimed: BTreeMap<Did, String>,
}

impl Names {
    /// Assigns the name of a contact.
    pub(crate) fn add(&mut self, did: Did, name: &str) {
        self.given.insert(did, name.to_owned());
    }

    /// Notes the name that a participant gives itself.
    pub(crate) fn claim(&mut self, did: Did, name: &str) {
        if self.claimed.len() >= CLAIMED && !self.claimed.contains_key(&did) {
            self.claimed.pop_first();
        }
        self.claimed.insert(did, name.to_owned());
    }

    /// Notes a name that an event tells.
    pub(crate) fn on_event(&mut self, event: &Event) {
        if let Event::ParticipantNamed { participant, name, .. } = event {
            self.claim(participant.did, name);
        }
    }

    /// Notes the names in a snapshot.
    pub(crate) fn on_snapshot(&mut self, snapshot: &Snapshot) {
        for person in snapshot.calls.iter().flat_map(|call| &call.participants) {
            if let Some(name) = &person.name {
                self.claim(person.did, name);
            }
        }
    }

    /// Takes the names that participants gave themselves from before the contacts were read again.
    pub(crate) fn with_claims_of(self, before: &Self) -> Self {
        Self { claimed: before.claimed.clone(), ..self }
    }

    /// Name of a contact; else the shortened DID, after the name that the person gives itself.
    pub(crate) fn of(&self, did: &Did) -> String {
        if let Some(name) = self.given.get(did) {
            return name.clone();
        }
        let text = did.to_string();
        let key = text.trim_start_matches("did:key:");
        let short = format!("{}…{}", &key[..8], &key[key.len() - 6..]);
        match self.claimed.get(did) {
            Some(name) => format!("\u{201c}{name}\u{201d} {short}"),
            None => short,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contacts_name_wins_and_a_claimed_one_stands_beside_the_did() {
        let did: Did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp".parse().unwrap();
        let mut names = Names::default();
        assert_eq!(names.of(&did), "z6MkiTBz…mDooWp");
        names.claim(did, "Ada");
        assert_eq!(names.of(&did), "\u{201c}Ada\u{201d} z6MkiTBz…mDooWp");
        let mut contacts = Names::default();
        contacts.add(did, "Bob");
        assert_eq!(contacts.with_claims_of(&names).of(&did), "Bob");
        assert_eq!(Names::default().with_claims_of(&names).of(&did), names.of(&did));
    }

    #[test]
    fn remembered_names_are_bounded() {
        let mut names = Names::default();
        for n in 0..10_000_u32 {
            let mut key = [7; 32];
            key[..4].copy_from_slice(&n.to_be_bytes());
            names.claim(Did::from_public_key(key), "x");
        }
        assert_eq!(names.claimed.len(), CLAIMED);
    }
}
