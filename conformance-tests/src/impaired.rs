//! Bad networks without privileges: decorators that delay, lose, repeat, reorder, slow down and cut
//! what goes through real backends.
//!
//! [`ImpairedTransport`] puts a relay in user space between two devices: what one tells the other
//! of its addresses, in descriptions and candidates, is replaced by addresses of an
//! [`ImpairedNetwork`] before it is sent, so that all packets of the two pass there. The stacks
//! below notice and mend what happens themselves, as on a bad network. [`ImpairedSignaling`] does
//! the same to the deliveries of a signaling backend. Everything random comes from seeds.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # async fn test(mine: Arc<dyn blink_api::Transport>, theirs: Arc<dyn blink_api::Transport>) {
//! use std::time::Duration;
//! use blink_conformance::impaired::{Cut, ImpairedNetwork, ImpairedTransport, Impairment, Loss};
//!
//! let network = ImpairedNetwork::new(Impairment {
//!     delay: Duration::from_millis(40),
//!     jitter: Duration::from_millis(10),
//!     loss: Loss::Bursts { every: 50.0, length: 3.0 },
//!     ..Impairment::NONE
//! });
//! let (mine, theirs) = (ImpairedTransport::new(mine, &network), ImpairedTransport::new(theirs, &network));
//! blink_conformance::transport::negotiates_and_carries(&mine, &theirs).await;
//! mine.cut(Cut::Both);
//! # }
//! ```

mod network;
mod signaling;
mod telling;
mod transport;

use std::time::Duration;

use str0m_netem::{Bitrate, DataSize, GilbertElliot, NetemConfig, Probability, RandomLoss};

pub use network::{Carried, ImpairedNetwork};
pub use signaling::{ImpairedSignaling, SignalingImpairment};
pub use transport::ImpairedTransport;

/// What happens to packets, in each direction between two addresses apart: [`str0m_netem`]'s model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impairment {
    /// How long every packet takes.
    pub delay: Duration,
    /// Up to so much longer or shorter, at random. A packet does not overtake the one before it, as
    /// in a queue.
    pub jitter: Duration,
    /// Which packets never arrive.
    pub loss: Loss,
    /// The fraction of packets that arrive twice, from 0 to 1.
    pub duplicated: f32,
    /// Every so-manieth packet overtakes the one before it; `None`: none does.
    pub reordered: Option<u32>,
    /// What the network carries; `None`: everything.
    pub rate: Option<Rate>,
    /// Where chance comes from: the same seed and the same packets give the same losses and delays.
    pub seed: u64,
}

/// How packets get lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// None does.
    None,
    /// This fraction, each on its own, from 0 to 1.
    Random(f32),
    /// All packets of bursts (the Gilbert-Elliott model): both lengths are means, in packets.
    Bursts {
        /// Packets from one burst to the next.
        every: f32,
        /// Packets lost in a burst.
        length: f32,
    },
}

/// A bottleneck with a queue; what does not fit into the queue is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bits per second.
    pub bits_per_second: u64,
    /// The queue's size in bytes, including what is under way.
    pub queue: usize,
}

/// Which packets of a device, or deliveries, do not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cut {
    /// All pass.
    #[default]
    None,
    /// What it sends does not.
    Outgoing,
    /// What is sent to it does not.
    Incoming,
    /// Nothing passes.
    Both,
}

impl Impairment {
    /// Everything passes at once.
    pub const NONE: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: Loss::None,
        duplicated: 0.0,
        reordered: None,
        rate: None,
        seed: 0,
    };

    fn netem(&self, flow: u64) -> NetemConfig {
        let mut config = NetemConfig::new()
            .latency(self.delay)
            .jitter(self.jitter)
            .duplicate(Probability(self.duplicated.clamp(0.0, 1.0)))
            .seed(self.seed.wrapping_add(flow));
        config = match self.loss {
            Loss::None => config,
            Loss::Random(fraction) => config.loss(RandomLoss::new(Probability(fraction.clamp(0.0, 1.0)))),
            Loss::Bursts { every, length } => {
                config.loss(GilbertElliot::new().good_duration(every).bad_duration(length))
            }
        };
        if let Some(every) = self.reordered {
            config = config.reorder_gap(every);
        }
        if let Some(rate) = self.rate {
            config = config.link(Bitrate::from(rate.bits_per_second), DataSize::bytes(rate.queue as i64));
        }
        config
    }
}

impl Cut {
    fn stops_outgoing(self) -> bool {
        matches!(self, Self::Outgoing | Self::Both)
    }

    fn stops_incoming(self) -> bool {
        matches!(self, Self::Incoming | Self::Both)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Instant;

    use str0m_netem::{Input, Netem, Output};

    use super::*;

    const PACE: Duration = Duration::from_millis(20);

    /// Sends so many packets of a size at a pace and says when each that arrived did, in order,
    /// counted from the first one's departure.
    fn through(impairment: Impairment, count: u32, size: usize, pace: Duration) -> Vec<(u32, Duration)> {
        let mut netem = Netem::new(impairment.netem(0));
        let (began, mut arrived) = (Instant::now(), Vec::new());
        let mut take = |netem: &mut Netem<Vec<u8>>, now: Instant| {
            while let Some(output) = netem.poll_output() {
                if let Output::Packet(packet) = output {
                    let number = packet.first_chunk().map(|number| u32::from_be_bytes(*number)).expect("a number");
                    arrived.push((number, now - began));
                }
            }
        };
        for number in 0..count {
            let departs = began + pace * number;
            while netem.poll_timeout() < departs {
                let now = netem.poll_timeout();
                netem.handle_input(Input::Timeout(now));
                take(&mut netem, now);
            }
            let mut packet = vec![0; size];
            packet[..4].copy_from_slice(&number.to_be_bytes());
            netem.handle_input(Input::Packet(departs, packet));
            take(&mut netem, departs);
        }
        while !netem.is_empty() {
            let now = netem.poll_timeout();
            netem.handle_input(Input::Timeout(now));
            take(&mut netem, now);
        }
        arrived
    }

    fn numbers(arrived: &[(u32, Duration)]) -> Vec<u32> {
        arrived.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn without_an_impairment_everything_arrives_at_once_and_in_order() {
        let arrived = through(Impairment::NONE, 100, 100, PACE);
        assert!(arrived.iter().enumerate().all(|(n, (number, at))| n as u32 == *number && *at == PACE * *number));
        assert_eq!(arrived.len(), 100);
    }

    #[test]
    fn delays_lie_in_the_range_that_is_asked_for_and_fill_it() {
        let (delay, jitter) = (Duration::from_millis(60), Duration::from_millis(9));
        let arrived = through(Impairment { delay, jitter, seed: 7, ..Impairment::NONE }, 2_000, 100, PACE);
        let delays: Vec<Duration> = arrived.iter().map(|(number, at)| *at - PACE * *number).collect();
        assert!(delays.iter().all(|taken| (delay - jitter..=delay + jitter).contains(taken)), "{delays:?}");
        assert!(
            delays.iter().any(|taken| *taken < delay - jitter / 2)
                && delays.iter().any(|taken| *taken > delay + jitter / 2)
        );
        assert_eq!(numbers(&arrived), (0..2_000).collect::<Vec<_>>(), "a queue keeps the order");
    }

    #[test]
    fn random_loss_takes_the_fraction_that_is_asked_for() {
        let arrived = through(Impairment { loss: Loss::Random(0.1), seed: 3, ..Impairment::NONE }, 20_000, 100, PACE);
        let lost = 20_000 - arrived.len();
        assert!((1_800..2_200).contains(&lost), "{lost} of 20,000 were lost");
    }

    #[test]
    fn bursts_have_the_length_and_the_distance_that_are_asked_for() {
        let loss = Loss::Bursts { every: 60.0, length: 4.0 };
        let arrived = numbers(&through(Impairment { loss, seed: 5, ..Impairment::NONE }, 50_000, 100, PACE));
        let bursts: Vec<u32> = arrived.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|lost| *lost > 0).collect();
        let lost: u32 = bursts.iter().sum();
        let (length, every) = (f64::from(lost) / bursts.len() as f64, 50_000.0 / bursts.len() as f64);
        assert!((3.4..4.6).contains(&length), "bursts are {length} packets long");
        assert!((54.0..74.0).contains(&every), "bursts come every {every} packets");
    }

    #[test]
    fn packets_are_repeated_and_overtake_as_often_as_is_asked_for() {
        let impairment = Impairment { duplicated: 0.2, seed: 11, ..Impairment::NONE };
        let mut times: HashMap<u32, usize> = HashMap::new();
        through(impairment, 10_000, 100, PACE).iter().for_each(|(number, _)| *times.entry(*number).or_default() += 1);
        let twice = times.values().filter(|times| **times == 2).count();
        assert!(times.len() == 10_000 && (1_850..2_150).contains(&twice), "{twice} of 10,000 came twice");

        let late = Impairment { delay: Duration::from_millis(60), reordered: Some(5), ..Impairment::NONE };
        let arrived = numbers(&through(late, 1_000, 100, PACE));
        let overtaken = arrived.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!((180..=200).contains(&overtaken), "{overtaken} of 1,000 were overtaken");
        assert_eq!(arrived.len(), 1_000);
    }

    #[test]
    fn no_more_passes_than_the_rate_allows_and_a_full_queue_loses() {
        let rate = Some(Rate { bits_per_second: 400_000, queue: 25_000 });
        // 1,000 bytes every 10 ms are 800 kbit/s: twice as much as fits.
        let arrived = through(Impairment { rate, ..Impairment::NONE }, 1_000, 1_000, Duration::from_millis(10));
        for window in arrived.windows(51) {
            let (from, to) = (window[0].1, window[50].1);
            assert!(to - from >= Duration::from_millis(990), "50,000 bytes took {:?}", to - from);
        }
        assert!((490..=530).contains(&arrived.len()), "{} of 1,000 passed", arrived.len());
    }

    #[test]
    fn the_same_seed_gives_the_same_network_and_another_one_another() {
        let rough = |seed| Impairment {
            delay: PACE,
            jitter: PACE / 4,
            loss: Loss::Random(0.2),
            duplicated: 0.1,
            seed,
            ..Impairment::NONE
        };
        let run = |seed| through(rough(seed), 500, 100, PACE);
        assert_eq!(run(1), run(1));
        assert_ne!(numbers(&run(1)), numbers(&run(2)));
    }
}
