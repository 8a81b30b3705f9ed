//! Call targets: a contact's name, an invite, `DID` or `DID@ADDRESS`.

use std::time::SystemTime;

use blink_api::{Did, Error, ErrorKind, IceServer};

use crate::contacts::Contacts;
use crate::failure::Failure;
use crate::invite::Invite;
use crate::terminal_text::escape;

/// Forms of a target, for messages.
const EXPECTED: &str = "expected a contact's name, an invite (blink:…), a DID (did:key:z…) or DID@ADDRESS";

/// A callee and the hints that reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// DID of the callee.
    pub(crate) did: Did,
    /// Alternative addresses; without any, the node must be discovered otherwise.
    pub(crate) addresses: Vec<String>,
    /// Addresses of nodes through which the callee is found.
    pub(crate) nodes: Vec<String>,
    /// STUN and TURN servers of the callee.
    pub(crate) servers: Vec<IceServer>,
}

/// Parses targets and merges those with the same DID, in order of first appearance.
///
/// # Errors
/// An input failure that names the target and what was expected.
pub(crate) fn parse(targets: &[String], contacts: &Contacts, now: SystemTime) -> Result<Vec<Target>, Failure> {
    let mut people: Vec<Target> = Vec::new();
    let mut previous = None;
    for target in targets {
        let invite = one(target, previous, contacts, now)?;
        previous = Some(target.as_str());
        let did = invite
            .did
            .ok_or_else(|| Failure::input("this invite is to a node and no person: use it with `blink node add`"))?;
        let position = people.iter().position(|person| person.did == did).unwrap_or_else(|| {
            people.push(Target { did, addresses: Vec::new(), nodes: Vec::new(), servers: Vec::new() });
            people.len() - 1
        });
        let person = &mut people[position];
        person.addresses.extend(invite.addresses);
        person.nodes.extend(invite.nodes);
        person.servers.extend(invite.servers);
    }
    Ok(people)
}

/// Parses the invite, DID or DID@ADDRESS of one person; several addresses may be given.
///
/// # Errors
/// As [`parse`]; also for several people.
pub(crate) fn invite(texts: &[String], now: SystemTime) -> Result<Invite, Failure> {
    let mut people = parse(texts, &Contacts::default(), now)?;
    match people.len() {
        1 => {
            let Target { did, addresses, nodes, servers } = people.remove(0);
            Ok(Invite { did: Some(did), addresses, nodes, servers, expires: None }.bounded())
        }
        0 => Err(Failure::input("expected an invite (blink:…), a DID (did:key:z…) or DID@ADDRESS after the name")),
        _ => Err(Failure::input("these are several people: a contact is one")),
    }
}

fn one(target: &str, previous: Option<&str>, contacts: &Contacts, now: SystemTime) -> Result<Invite, Failure> {
    if Invite::is_meant(target) {
        return Invite::parse(target, now).map_err(|error| Failure::input(error.to_string()));
    }
    if target.starts_with('/') {
        return Err(Failure::input(match previous {
            Some(did) if did.starts_with("did:") && !did.contains('@') => {
                format!("an address belongs to its DID, with an @ between them: write {did}@{target}")
            }
            _ => format!("`{target}` is an address without a DID: write DID@{target}"),
        }));
    }
    if target.contains('@') || target.starts_with("did:") {
        return with_address(target);
    }
    if let Some(contact) = contacts.named(target) {
        return Ok(contact.invite());
    }
    // A key without its prefix is a frequent mistake.
    if let Ok(did) = format!("did:key:{target}").parse::<Did>() {
        return Err(Failure::input(format!("`{target}` is the key of a DID: write {did}")));
    }
    let error = contacts.unknown(target);
    let near = error.context().iter().find(|(key, _)| *key == "similar").map(|(_, near)| format!(", similar: {near}"));
    Err(Failure::input(format!("no contact is called `{}`{}; {EXPECTED}", escape(target), near.unwrap_or_default())))
}

fn with_address(target: &str) -> Result<Invite, Failure> {
    let (did, address) = match target.split_once('@') {
        Some((did, address)) => (did, Some(address)),
        None => (target, None),
    };
    let unusable = |why: String| Failure::input(format!("`{target}` is not DID@ADDRESS: {why}"));
    let parsed: Result<Did, Error> = did.parse();
    let did = parsed.map_err(|error| {
        // An address in front of the @ is the other way round.
        let swapped = address.is_some_and(|address| address.parse::<Did>().is_ok());
        match address {
            Some(address) if swapped => unusable(format!("write {address}@{did}")),
            _ if error.kind() == ErrorKind::Invalid => unusable(format!("{error}; {EXPECTED}")),
            _ => unusable(error.to_string()),
        }
    })?;
    if address == Some("") {
        return Err(unusable("the address after the @ is missing".to_owned()));
    }
    Ok(Invite { did: Some(did), addresses: address.map(str::to_owned).into_iter().collect(), ..Invite::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
    const BOB: &str = "did:key:z6MknGc3ocHs3zdPiJbnaaqDi58NGb4pk1Sp9WxWufuXSdxf";
    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn contacts() -> Contacts {
        let mut contacts = Contacts::default();
        let invite =
            Invite { did: Some(BOB.parse().unwrap()), addresses: vec!["memory:bob".to_owned()], ..Invite::default() };
        contacts.add("Bob", invite).unwrap();
        contacts
    }

    fn failure(targets: &[&str]) -> String {
        let targets: Vec<_> = targets.iter().map(|target| (*target).to_owned()).collect();
        let failure = parse(&targets, &contacts(), NOW).unwrap_err();
        assert_eq!(failure.status(), 2);
        failure.reason().to_owned()
    }

    #[test]
    fn targets_with_the_same_did_are_merged() {
        let invite =
            Invite { did: Some(ALICE.parse().unwrap()), nodes: vec!["memory:2".to_owned()], ..Invite::default() };
        let odd = format!("{ALICE}@/ip4/127.0.0.1/tcp/1@odd");
        let targets = [format!("{ALICE}@memory:1"), "bob".to_owned(), odd, invite.to_string()];
        let people = parse(&targets, &contacts(), NOW).unwrap();
        assert_eq!(people.len(), 2);
        assert_eq!(people[0].addresses, ["memory:1", "/ip4/127.0.0.1/tcp/1@odd"]);
        assert_eq!(people[0].nodes, ["memory:2"]);
        assert_eq!((people[1].did.to_string(), people[1].addresses.len()), (BOB.to_owned(), 1));
    }

    #[test]
    fn invalid_targets_are_named_with_their_error_and_what_was_expected() {
        for target in ["", "carol", "did:web:x@y", "did:key:zzz", &format!("{ALICE}@")] {
            assert!(failure(&[target]).contains(&format!("`{target}`")), "{}", failure(&[target]));
        }
        assert!(failure(&["carol"]).contains("an invite (blink:…)"));
        assert!(failure(&["bobb"]).contains("similar: Bob"));
        assert!(failure(&["blink:aaaaaaaaaaaaaaaa"]).contains("cut off"));
        assert!(failure(&[&ALICE[8..]]).contains(&format!("write {ALICE}")));
        let node = Invite { nodes: vec!["memory:2".to_owned()], ..Invite::default() }.to_string();
        assert!(failure(&[&node]).contains("no person"));
    }

    #[test]
    fn an_address_apart_from_its_did_is_told_how_to_write_it() {
        let told = failure(&[ALICE, "/ip4/1.2.3.4/tcp/4001"]);
        assert!(told.contains(&format!("write {ALICE}@/ip4/1.2.3.4/tcp/4001")), "{told}");
        assert!(failure(&["/ip4/1.2.3.4/tcp/4001"]).contains("write DID@/ip4/1.2.3.4/tcp/4001"));
        assert!(failure(&[&format!("memory:1@{ALICE}")]).contains(&format!("write {ALICE}@memory:1")));
    }
}
