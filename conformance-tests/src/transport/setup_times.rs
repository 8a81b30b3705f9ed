//! Duration of a set-up.

use std::time::Duration;

/// Times of a connection's set-up, measured from the call of `create_offer`.
#[derive(Debug, Clone, Copy)]
pub struct SetupTimes {
    /// Time until the answer was applied.
    pub negotiated: Duration,
    /// Time until the offerer was connected.
    pub offerer: Duration,
    /// Time until the answerer was connected.
    pub answerer: Duration,
    /// Time until the first packet arrived. The offerer sends one as soon as it is connected, and
    /// every two milliseconds from then on.
    pub first_packet: Duration,
}
