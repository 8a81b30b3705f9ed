//! Configuration of a lab, and requirements of scenarios.

use std::time::Duration;

use blink_api::Registry;

use crate::impaired::Impairments;
use crate::watchdog::Progress;

/// Timeout of an expected event on a network without loss.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout on a lossy network, equal to the engine's connection timeout: offers are repeated every
/// 4 s at most, and DTLS flights after 1 s, doubling.
const LOSSY_EVENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Backends of the participants, and their clock.
///
/// Participants alternate: those with even numbers use the first transport and signaling backend,
/// those with odd numbers the second. All are created from one registry, so that backends within
/// the process reach each other.
#[derive(Debug, Clone)]
pub struct LabConfig {
    /// Registry of the backends.
    pub registry: Registry,
    /// Names of the two transports.
    pub transports: [String; 2],
    /// Names of the two signaling backends.
    pub signalings: [String; 2],
    /// Name of a registered codec; `None` for the lab's own codec, which uses the name of Opus.
    pub codec: Option<String>,
    /// Settings of every participant, each `KEY=VALUE` as on a command link.
    pub settings: Vec<String>,
    /// Clock of the lab.
    pub timing: Timing,
    /// Impairments of an emulated network, on which paths and signaling are then cut, so that
    /// backends detect the cuts and recover themselves; for backends with real sockets. `None` cuts
    /// between engines and backends instead.
    pub impaired: Option<Impaired>,
    /// Whether nothing else runs in the process, so that its resources can be measured.
    pub exclusive_process: bool,
    /// Methods of backends in progress, for a [`watchdog`](crate::watchdog).
    pub progress: Progress,
}

/// Impairments of an emulated network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impaired {
    /// Impairment of packets.
    pub packets: Impairments,
    /// Impairment of signaling deliveries.
    pub deliveries: Impairments,
    /// Seed of all random decisions.
    pub seed: u64,
}

impl Impaired {
    /// A network without impairments, which can be cut.
    pub const CUTS_ONLY: Self = Self { packets: Impairments::NONE, deliveries: Impairments::NONE, seed: 0 };
}

/// Clock of a lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// Tokio's clock. On a paused clock a minute takes milliseconds; for backends without sockets
    /// and threads.
    Virtual,
    /// The system's clock.
    Real,
}

impl LabConfig {
    /// The same transport and signaling backend for all participants, and defaults otherwise.
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
            exclusive_process: false,
            progress: Progress::default(),
        }
    }

    /// Default timeout of an expected event.
    pub(crate) fn event_timeout(&self) -> Duration {
        let loses = |network: Impaired| network.packets.loss > 0.0 || network.deliveries.loss > 0.0;
        if self.impaired.is_some_and(loses) { LOSSY_EVENT_TIMEOUT } else { EVENT_TIMEOUT }
    }

    /// Name of the combination in test names: `transport~transport::signaling~signaling`.
    pub fn name(&self) -> String {
        let [[a, b], [c, d]] = [&self.transports, &self.signalings];
        format!("{a}~{b}::{c}~{d}")
    }
}

/// Requirements of a scenario beside participants. A runner that cannot meet one must skip the
/// scenario and report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requirements {
    /// A second device of one user.
    pub second_device: bool,
    /// Engines that are killed and restart from their data directory.
    pub restart: bool,
    /// Paths or signaling that are cut and restored.
    pub blackout: bool,
    /// A device that changes its address.
    pub address_change: bool,
    /// Messages that are held, dropped, repeated or injected.
    pub messages: bool,
    /// A codec that the remote side does not support.
    pub unshared_codec: bool,
}

impl Requirements {
    /// No requirements beside participants.
    pub const NONE: Self = Self {
        second_device: false,
        restart: false,
        blackout: false,
        address_change: false,
        messages: false,
        unshared_codec: false,
    };
}
