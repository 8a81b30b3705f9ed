//! Which backends meet.

use std::fmt;

/// Two transports and two signaling backends, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pairing {
    /// Of the first participant, the third, …; and of the second, the fourth, …
    pub transports: [String; 2],
    /// The same.
    pub signalings: [String; 2],
}

impl Pairing {
    /// Every ordered pair of the transports with every ordered pair of the signaling backends. What
    /// is named twice counts once.
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

/// `transport~transport::signaling~signaling`, as tests are called.
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
    fn every_ordered_pair_meets_every_other() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all = Pairing::all(&names(&["x", "y", "x"]), &names(&["m"]));
        let all: Vec<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(all, ["x~x::m~m", "x~y::m~m", "y~x::m~m", "y~y::m~m"]);
        assert_eq!(Pairing::all(&names(&["x", "y"]), &names(&["m", "n"])).len(), 16);
        assert!(Pairing::all(&[], &names(&["m"])).is_empty());
    }
}
