//! Situations that no scenario value describes yet, so that nothing looks complete that is not.

/// A situation that waits for a part of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Its number in the list of scenarios.
    pub number: u8,
    /// Its name.
    pub name: &'static str,
    /// What it waits for.
    pub for_what: &'static str,
}

/// All that wait.
pub const WAITING: &[Waiting] = &[
    Waiting { number: 44, name: "device-lost", for_what: "microphones and speakers" },
    Waiting { number: 51, name: "loss-and-jitter", for_what: "speech in the lab" },
    Waiting { number: 52, name: "burst-after-a-stall", for_what: "speech in the lab" },
    Waiting { number: 53, name: "long-round-trip", for_what: "events of quality" },
    Waiting { number: 58, name: "record-stop-record", for_what: "recorders" },
    Waiting { number: 59, name: "aligned-recordings", for_what: "recorders" },
    Waiting { number: 60, name: "killed-while-recording", for_what: "recorders" },
    Waiting { number: 61, name: "disk-full-while-recording", for_what: "recorders" },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios;

    #[test]
    fn what_waits_has_no_scenario_and_every_number_is_one_or_the_other() {
        let there: Vec<u8> = scenarios::all().iter().map(|scenario| scenario.number).collect();
        for number in 1..=62 {
            let waits = WAITING.iter().any(|waiting| waiting.number == number);
            assert_ne!(waits, there.contains(&number), "scenario {number}");
        }
    }
}
