//! Limits of the circuit relay.

use std::num::NonZeroU32;
use std::time::Duration;

use libp2p::relay;

/// Duration of a circuit. Circuits carry signaling for as long as a call takes; clients renew them.
const CIRCUIT_DURATION: Duration = Duration::from_secs(2 * 3600);
/// Bytes of a circuit in both directions: signaling of a long call in a large group. Media uses
/// TURN.
const CIRCUIT_BYTES: u64 = 32 << 20;
/// Duration of a reservation; clients renew it after three quarters.
const RESERVATION_DURATION: Duration = Duration::from_secs(3600);

/// Limits for a node with up to `max_connections`.
pub(super) fn config(max_connections: usize) -> relay::Config {
    let limits = relay::Config {
        max_reservations: max_connections / 2,
        // Checked with `>` by libp2p, so that one more is granted.
        max_reservations_per_peer: 3,
        reservation_duration: RESERVATION_DURATION,
        reservation_rate_limiters: Vec::new(),
        max_circuits: max_connections,
        max_circuits_per_peer: 32,
        max_circuit_duration: CIRCUIT_DURATION,
        max_circuit_bytes: CIRCUIT_BYTES,
        circuit_src_rate_limiters: Vec::new(),
    };
    let rate = |limit| NonZeroU32::new(limit).expect("the limits are positive");
    let interval = Duration::from_secs(60);
    // All clients dial a node that restarts at once, and a household shares an address.
    limits
        .reservation_rate_per_peer(rate(10), interval)
        .reservation_rate_per_ip(rate(120), interval)
        .circuit_src_per_peer(rate(60), interval)
        .circuit_src_per_ip(rate(240), interval)
}
