//! What those who listen tell of their networks, and what one encoder makes of it.

use web_time::{Duration, Instant};

/// So old, what somebody told counts no more.
const STALE: Duration = Duration::from_secs(5);
/// How much of the estimate a worse report is, and a better one.
const WORSE: f32 = 0.5;
const BETTER: f32 = 0.2;

/// One listener's network.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Network {
    /// The share of packets that were lost, 0.0 to 1.0.
    pub loss: f32,
    /// How many were lost in a row, on average; 1.0 where none were.
    pub burst: f32,
    /// Most bits per second that sound may take; `None` for as many as it likes.
    pub bitrate: Option<u32>,
}

/// The networks of all who listen to one encoder.
#[derive(Debug, Clone)]
pub struct Listeners<K> {
    networks: Vec<(K, Instant, Network)>,
}

impl<K> Default for Listeners<K> {
    fn default() -> Self {
        Self { networks: Vec::new() }
    }
}

impl<K: Copy + PartialEq> Listeners<K> {
    /// Somebody tells of a network. Single reports move the estimate of loss only so far: a second
    /// has few packets.
    pub fn tell(&mut self, listener: K, now: Instant, told: Network) {
        let told = Network { loss: told.loss.clamp(0.0, 1.0), burst: told.burst.clamp(1.0, 100.0), ..told };
        match self.networks.iter_mut().find(|(known, ..)| *known == listener) {
            Some((_, at, network)) if now < *at + STALE => {
                let towards = |from: f32, to: f32| from + (to - from) * if to > from { WORSE } else { BETTER };
                *at = now;
                network.loss = towards(network.loss, told.loss);
                // A second without a loss tells nothing of how long the losses are.
                if told.loss > 0.0 {
                    network.burst = towards(network.burst, told.burst);
                }
                network.bitrate = told.bitrate;
            }
            Some(known) => *known = (listener, now, told),
            None => self.networks.push((listener, now, told)),
        }
    }

    /// Somebody listens no more.
    pub fn remove(&mut self, listener: K) {
        self.networks.retain(|(known, ..)| *known != listener);
    }

    /// What the encoder is to prepare for: of everything the worst that anybody told of late.
    /// `None` where nobody did.
    pub fn worst(&self, now: Instant) -> Option<Network> {
        let fresh = self.networks.iter().filter(|(_, at, _)| now < *at + STALE).map(|(_, _, network)| *network);
        fresh.reduce(|worst, network| Network {
            loss: worst.loss.max(network.loss),
            burst: worst.burst.max(network.burst),
            bitrate: worst.bitrate.into_iter().chain(network.bitrate).min(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(loss: f32, burst: f32, bitrate: Option<u32>) -> Network {
        Network { loss, burst, bitrate }
    }

    #[test]
    fn the_worst_of_those_who_listen_counts() {
        let (mut listeners, now) = (Listeners::default(), Instant::now());
        assert_eq!(listeners.worst(now), None);
        listeners.tell(1, now, network(0.1, 1.0, None));
        listeners.tell(2, now, network(0.02, 3.0, Some(20_000)));
        listeners.tell(3, now, network(0.0, 1.0, Some(60_000)));
        assert_eq!(listeners.worst(now), Some(network(0.1, 3.0, Some(20_000))));
        listeners.remove(2);
        assert_eq!(listeners.worst(now), Some(network(0.1, 1.0, Some(60_000))));
    }

    #[test]
    fn what_is_stale_counts_no_more() {
        let (mut listeners, start) = (Listeners::default(), Instant::now());
        listeners.tell(1, start, network(0.3, 2.0, Some(8_000)));
        listeners.tell(2, start + Duration::from_secs(3), network(0.1, 1.0, None));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(listeners.worst(at(4)), Some(network(0.3, 2.0, Some(8_000))));
        assert_eq!(listeners.worst(at(6)), Some(network(0.1, 1.0, None)));
        assert_eq!(listeners.worst(at(9)), None);
        listeners.tell(1, at(20), network(0.05, 1.0, None));
        assert_eq!(
            listeners.worst(at(20)),
            Some(network(0.05, 1.0, None)),
            "what was told before the silence is forgotten"
        );
    }

    #[test]
    fn a_worse_report_counts_for_more_than_a_better_one_and_nonsense_is_brought_into_range() {
        let (mut listeners, mut now) = (Listeners::default(), Instant::now());
        let worst = |listeners: &Listeners<u8>, now| listeners.worst(now).unwrap();
        listeners.tell(1, now, network(0.0, 1.0, None));
        for expected in [0.1, 0.15, 0.175] {
            now += Duration::from_secs(1);
            listeners.tell(1, now, network(0.2, 4.0, None));
            assert!((worst(&listeners, now).loss - expected).abs() < 1e-6);
        }
        let burst = worst(&listeners, now).burst;
        listeners.tell(1, now, network(0.0, 1.0, None));
        let better = worst(&listeners, now);
        assert!((better.loss - 0.14).abs() < 1e-6);
        assert_eq!(better.burst, burst, "a second without losses tells nothing of their length");
        listeners.tell(2, now, network(7.0, f32::INFINITY, None));
        assert_eq!((worst(&listeners, now).loss, worst(&listeners, now).burst), (1.0, 100.0));
    }
}
