//! Network impairments: loss, delay, jitter, duplication, reordering and a bottleneck.
//!
//! [`Impairments`] are the value, for one direction of a network. [`LinkModel`] decides for
//! each packet when it arrives, if it does. [`Link`] carries packets by such decisions on virtual
//! time.
//!
//! | impairment | unit | model |
//! |---|---|---|
//! | `loss` | share, 0 to 1 | independent, or in bursts (Gilbert-Elliott) |
//! | `burst` | packets | mean length of a loss burst |
//! | `delay` | time | least one-way delay |
//! | `jitter` | time | uniform between zero and this, on top of `delay` |
//! | `in_order` | | a delayed packet delays those behind it, as in one queue |
//! | `duplicate` | share, 0 to 1 | independent, of the packets that are not lost |
//! | `reorder` | packets | each n-th overtakes the one before it, as netem's `gap` |
//! | `rate` | bits per second | a bottleneck with a queue in bytes that drops at its tail |
//!
//! The order is that of a path: a packet is lost or not, duplicated, queued before the bottleneck,
//! and delayed behind it.

mod link;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use link::{Link, LinkModel};

/// Impairments of one direction of a network.
///
/// ```
/// use std::time::{Duration, Instant};
/// use blink_sim::impairment::{Impairments, Link};
///
/// let impairments = Impairments { loss: 0.1, burst: Some(3.0), ..Impairments::delayed(Duration::from_millis(40)) };
/// let mut link = Link::new(impairments, 7);
/// let now = Instant::now();
/// for number in 0..100 {
///     link.send(now, 160, number);
/// }
/// assert_eq!(link.next_arrival(), Some(now + Duration::from_millis(40)));
/// let arrived = std::iter::from_fn(|| link.receive(now + Duration::from_millis(40))).count();
/// assert!(arrived < 100);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impairments {
    /// Share of packets that are lost, 0 to 1.
    pub loss: f64,
    /// Mean number of packets that are lost in a row, at least 1. `None`: each packet is lost
    /// independently of the others.
    ///
    /// Bursts are those of the Gilbert-Elliott model (E. N. Gilbert, "Capacity of a Burst-Noise
    /// Channel", 1960, and E. O. Elliott, 1963) in its two-parameter form: everything is lost in
    /// the bad state and nothing in the good one. The chances to change between the states follow
    /// from `loss` and `burst`.
    pub burst: Option<f64>,
    /// Least one-way delay.
    pub delay: Duration,
    /// Greatest additional delay. Each packet is delayed by between zero and this, uniformly
    /// distributed and independently of the others, so that packets may overtake each other.
    pub jitter: Duration,
    /// Packets arrive in the order in which they were sent, but for those that `reorder` chooses.
    pub in_order: bool,
    /// Share of the packets that arrive twice, 0 to 1. The copy has a delay of its own.
    pub duplicate: f64,
    /// Each packet with this number in sequence overtakes the one before it. `None` and 0: none
    /// does.
    pub reorder: Option<u32>,
    /// Bottleneck. `None`: any rate passes.
    pub rate: Option<Rate>,
}

/// Bottleneck with a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Capacity in bits per second. 0: nothing passes.
    pub bits_per_second: u64,
    /// Bytes that wait for the bottleneck at most. A packet that does not fit is dropped.
    pub queue: usize,
}

impl Impairments {
    /// Every packet arrives at once.
    pub const NONE: Self = Self {
        loss: 0.0,
        burst: None,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        in_order: false,
        duplicate: 0.0,
        reorder: None,
        rate: None,
    };

    /// Every packet takes this long.
    pub const fn delayed(delay: Duration) -> Self {
        Self { delay, ..Self::NONE }
    }
}

impl Default for Impairments {
    fn default() -> Self {
        Self::NONE
    }
}
