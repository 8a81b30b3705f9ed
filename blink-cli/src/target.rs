//! Call targets: `DID@ADDRESS`.

use blink_api::Did;

use crate::failure::Failure;

/// A callee and the addresses of its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// DID of the callee.
    pub(crate) did: Did,
    /// Alternative addresses; without any, the node must be discovered otherwise.
    pub(crate) addresses: Vec<String>,
}

/// Parses targets and merges those with the same DID, in order of first appearance.
///
/// # Errors
/// An input failure that names the target.
pub(crate) fn parse(targets: &[String]) -> Result<Vec<Target>, Failure> {
    let mut people: Vec<Target> = Vec::new();
    for target in targets {
        let (did, address) = match target.split_once('@') {
            Some((did, address)) => (did, Some(address)),
            None => (target.as_str(), None),
        };
        let unusable = |why: String| Failure::input(format!("`{target}` is not DID@ADDRESS: {why}"));
        let did: Did = did.parse().map_err(|error: blink_api::Error| unusable(error.to_string()))?;
        if address == Some("") {
            return Err(unusable("the address after the @ is missing".to_owned()));
        }
        let position = people.iter().position(|person| person.did == did).unwrap_or_else(|| {
            people.push(Target { did, addresses: Vec::new() });
            people.len() - 1
        });
        people[position].addresses.extend(address.map(str::to_owned));
    }
    Ok(people)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
    const BOB: &str = "did:key:z6MknGc3ocHs3zdPiJbnaaqDi58NGb4pk1Sp9WxWufuXSdxf";

    #[test]
    fn targets_with_the_same_did_are_merged() {
        let targets = [format!("{ALICE}@memory:1"), BOB.to_owned(), format!("{ALICE}@/ip4/127.0.0.1/tcp/1@odd")];
        let people = parse(&targets).unwrap();
        assert_eq!(people.len(), 2);
        assert_eq!(people[0].addresses, ["memory:1", "/ip4/127.0.0.1/tcp/1@odd"]);
        assert_eq!((people[1].did.to_string(), people[1].addresses.len()), (BOB.to_owned(), 0));
    }

    #[test]
    fn invalid_targets_are_named_with_their_error() {
        for target in ["", "bob", "did:web:x@y", &format!("{ALICE}@")] {
            let failure = parse(&[target.to_owned()]).unwrap_err();
            assert_eq!(failure.status(), 2);
            assert!(failure.reason().contains(&format!("`{target}`")), "{}", failure.reason());
        }
    }
}
