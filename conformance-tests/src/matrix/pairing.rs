//! Ordered pairings of backends.

use std::fmt;

/// An ordered pair of transports and one of signaling backends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pairing {
    /// Transports of the participants with even and odd numbers.
    pub transports: [String; 2],
    /// Signaling backends of the participants with even and odd numbers.
    pub signalings: [String; 2],
}

impl Pairing {
    /// Combines every ordered pair of the transports with every ordered pair of the signaling
    /// backends. Repeated names count once.
    pub fn all(transports: &[String], signalings: &[String]) -> Vec<Self> {
        let signalings = ordered_pairs(signalings);
        let with = |transports: [String; 2]| {
            signalings
                .iter()
                .map(move |signalings| Self { transports: transports.clone(), signalings: signalings.clone() })
        };
        ordered_pairs(transports).into_iter().flat_map(with).collect()
    }
}

/// Formats the pairing as in test names: `transport~transport::signaling~signaling`.
impl fmt::Display for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([a, b], [c, d]) = (&self.transports, &self.signalings);
        write!(f, "{a}~{b}::{c}~{d}")
    }
}

fn ordered_pairs(names: &[String]) -> Vec<[String; 2]> {
    let mut once: Vec<&String> = Vec::new();
    names.iter().for_each(|name| {
        if !once.contains(&name) {
            once.push(name);
        }
    });
    once.iter().flat_map(|one| once.iter().map(|other| [(*one).clone(), (*other).clone()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ordered_pair_is_combined_with_every_other() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all = Pairing::all(&names(&["x", "y", "x"]), &names(&["m"]));
        let all: Vec<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(all, ["x~x::m~m", "x~y::m~m", "y~x::m~m", "y~y::m~m"]);
        assert_eq!(Pairing::all(&names(&["x", "y"]), &names(&["m", "n"])).len(), 16);
        assert!(Pairing::all(&[], &names(&["m"])).is_empty());
    }
}
