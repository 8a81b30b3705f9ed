//! Metrics in the text format of Prometheus.

mod endpoint;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

pub use endpoint::MetricsEndpoint;

/// Value that rises and falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gauge {
    Connections,
    DhtKeys,
    DhtRecords,
    Reservations,
    Circuits,
    TurnAllocations,
    TurnConnections,
}

/// Value that only rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counter {
    ReservationsDenied,
    CircuitsOpened,
    CircuitsDenied,
    RecordsRefused,
    BytesToPeers,
    BytesFromPeers,
    CredentialsRejected,
    NoncesRejected,
    AllocationsRefused,
    PeersForbidden,
    BandwidthExceeded,
}

/// Name and help text of each gauge, in the order of [`Gauge`].
const GAUGES: [(&str, &str); 7] = [
    ("blink_node_connections", "Open libp2p connections."),
    ("blink_node_dht_keys", "Keys with a provider record."),
    ("blink_node_dht_records", "Provider records."),
    ("blink_node_relay_reservations", "Nodes with a reservation at the circuit relay."),
    ("blink_node_relay_circuits", "Open circuits."),
    ("blink_node_turn_allocations", "TURN allocations."),
    ("blink_node_turn_connections", "TCP connections of TURN clients."),
];

/// Name and help text of each counter, in the order of [`Counter`].
const COUNTERS: [(&str, &str); 11] = [
    ("blink_node_relay_reservations_denied_total", "Reservations denied by a limit."),
    ("blink_node_relay_circuits_opened_total", "Circuits opened."),
    ("blink_node_relay_circuits_denied_total", "Circuits denied by a limit or without a reservation."),
    ("blink_node_dht_records_refused_total", "Provider records refused."),
    ("blink_node_turn_bytes_to_peers_total", "Bytes relayed from TURN clients to peers."),
    ("blink_node_turn_bytes_from_peers_total", "Bytes relayed from peers to TURN clients."),
    ("blink_node_turn_credentials_rejected_total", "Requests with wrong, malformed or expired credentials."),
    ("blink_node_turn_nonces_rejected_total", "Requests with an old nonce or one of another client."),
    ("blink_node_turn_allocations_refused_total", "Allocations refused by a quota."),
    ("blink_node_turn_peers_forbidden_total", "Permissions and datagrams refused because of the peer's address."),
    ("blink_node_turn_bandwidth_exceeded_total", "Datagrams dropped by a bandwidth quota."),
];

/// Metrics of a node.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    gauges: [AtomicU64; GAUGES.len()],
    counters: [AtomicU64; COUNTERS.len()],
}

impl Metrics {
    pub(crate) fn set(&self, gauge: Gauge, value: u64) {
        self.gauges[gauge as usize].store(value, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, counter: Counter, value: u64) {
        self.counters[counter as usize].fetch_add(value, Ordering::Relaxed);
    }

    /// Value of a gauge.
    #[cfg(test)]
    pub(crate) fn value(&self, gauge: Gauge) -> u64 {
        self.gauges[gauge as usize].load(Ordering::Relaxed)
    }

    /// All metrics in the text format (version 0.0.4).
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let gauges = GAUGES.iter().zip(&self.gauges).map(|(described, value)| (described, "gauge", value));
        let counters = COUNTERS.iter().zip(&self.counters).map(|(described, value)| (described, "counter", value));
        for ((name, help), kind, value) in gauges.chain(counters) {
            let value = value.load(Ordering::Relaxed);
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
                .expect("writing to a string does not fail");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_help_type_and_value() {
        let metrics = Metrics::default();
        metrics.set(Gauge::TurnConnections, 7);
        metrics.add(Counter::BandwidthExceeded, 2);
        metrics.add(Counter::BandwidthExceeded, 3);
        let text = metrics.text();
        assert!(text.contains("# TYPE blink_node_turn_connections gauge\nblink_node_turn_connections 7\n"), "{text}");
        assert!(text.contains("\nblink_node_turn_bandwidth_exceeded_total 5\n"), "{text}");
        assert_eq!(text.lines().count(), 3 * (GAUGES.len() + COUNTERS.len()));
        assert!(COUNTERS.iter().all(|(name, _)| name.ends_with("_total")));
    }
}
