//! Scenarios that are listed but not implemented yet, so that reports show them.

/// A scenario that waits for a part of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Number in the list of scenarios.
    pub number: u8,
    /// Name of the scenario.
    pub name: &'static str,
    /// Part of the engine that it waits for.
    pub for_what: &'static str,
}

/// All scenarios that are not implemented.
pub const WAITING: &[Waiting] = &[];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios;

    #[test]
    fn every_number_is_either_implemented_or_waiting() {
        let there: Vec<u8> = scenarios::all().iter().map(|scenario| scenario.number).collect();
        for number in 1..=62 {
            let waits = WAITING.iter().any(|waiting| waiting.number == number);
            assert_ne!(waits, there.contains(&number), "scenario {number}");
        }
    }
}
