//! What a lab's engines are made of, and what it takes to run a scenario.

use std::time::Duration;

use blink_api::Registry;

use crate::impaired::Impairments;

/// Where nothing is lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where offers (every 4 s at last), descriptions, and the flights of DTLS (1 s, doubling) get
/// lost: as long as an engine tries to connect.
const PATIENCE_WITH_LOSS: Duration = Duration::from_secs(30);

/// The backends that participants use, and how time passes for them.
///
/// Participants take turns: the first, third, … use the first transport and the first signaling
/// backend, the second, fourth, … the second. All are made from one registry, so that backends
/// inside one process meet.
#[derive(Clone)]
pub struct Stage {
    /// Where backends come from.
    pub registry: Registry,
    /// Names of the two transports.
    pub transports: [String; 2],
    /// Names of the two signaling backends.
    pub signalings: [String; 2],
    /// The registered codec to use; `None` for the lab's own, which transports take for Opus.
    pub codec: Option<String>,
    /// Settings of every participant, each `KEY=VALUE` as on a command line.
    pub settings: Vec<String>,
    /// How time passes.
    pub timing: Timing,
    /// What the network is like, on which paths and signaling are cut then, so that backends notice
    /// and recover themselves; for real sockets. `None`: nothing is done to the network, and cuts
    /// are made between engines and backends.
    pub impaired: Option<Impaired>,
    /// Nothing else runs in the process: what the process has may be counted.
    pub alone: bool,
}

/// A network that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impaired {
    /// What happens to packets.
    pub packets: Impairments,
    /// What happens to deliveries of signaling.
    pub deliveries: Impairments,
    /// Seed of all chance.
    pub seed: u64,
}

impl Impaired {
    /// A network that does nothing but be cut.
    pub const CUTS_ONLY: Self = Self { packets: Impairments::NONE, deliveries: Impairments::NONE, seed: 0 };
}

/// How time passes in a lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// As tokio's clock says. On a paused clock a minute takes milliseconds; for backends that need
    /// neither sockets nor threads.
    Virtual,
    /// As it passes for everybody.
    Real,
}

impl Stage {
    /// Everybody on the same transport and signaling backend.
    pub fn new(registry: Registry, transport: &str, signaling: &str, timing: Timing) -> Self {
        let both = |name: &str| [name.to_owned(), name.to_owned()];
        let (transports, signalings) = (both(transport), both(signaling));
        Self {
            registry,
            transports,
            signalings,
            codec: None,
            settings: Vec::new(),
            timing,
            impaired: None,
            alone: false,
        }
    }

    /// How long an event may take where nothing else is said.
    pub(crate) fn patience(&self) -> Duration {
        let loses = |network: Impaired| network.packets.loss > 0.0 || network.deliveries.loss > 0.0;
        if self.impaired.is_some_and(loses) { PATIENCE_WITH_LOSS } else { PATIENCE }
    }

    /// How the combination is written in the names of tests:
    /// `transport~transport::signaling~signaling`.
    pub fn name(&self) -> String {
        let [[a, b], [c, d]] = [&self.transports, &self.signalings];
        format!("{a}~{b}::{c}~{d}")
    }
}

/// What a scenario needs beside participants. What a stage cannot give must be left out by whoever
/// runs it, and named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// A second device of one person.
    pub second_device: bool,
    /// Engines that stop without a word and start again from their data directory.
    pub restart: bool,
    /// Paths, signaling or both that are cut and healed.
    pub blackout: bool,
    /// A device whose address changes.
    pub address_change: bool,
    /// Messages that are held back, lost, repeated or made up.
    pub letters: bool,
    /// A codec that the other side does not know.
    pub strange_codec: bool,
}

impl Needs {
    /// Nothing beside participants.
    pub const NOTHING: Self = Self {
        second_device: false,
        restart: false,
        blackout: false,
        address_change: false,
        letters: false,
        strange_codec: false,
    };
}
