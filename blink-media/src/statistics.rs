//! What happened to a stream of sound.

use web_time::Duration;

use serde::Serialize;

use super::Network;

/// What happened to one participant's sound since its stream was added. Packets and frames are
/// counted; times are as of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct AudioStatistics {
    /// Packets that came, whatever became of them.
    pub received: u64,
    /// Packets that were decoded and played.
    pub decoded: u64,
    /// Packets that the network lost: sent, by their numbers, and not come when 16 later ones were.
    pub lost: u64,
    /// How many times it lost one or more in a row.
    pub bursts: u64,
    /// Missing frames that the next packet's copy restored
    /// ([`DecoderInput::Fec`](blink_api::DecoderInput::Fec)).
    pub recovered: u64,
    /// Missing frames of which a later packet held a copy (RFC 2198).
    pub red_recovered: u64,
    /// Missing sound that a later packet's description restored
    /// ([`DecoderInput::Dred`](blink_api::DecoderInput::Dred)), in all.
    pub dred_recovered: Duration,
    /// Sound that was missing when it was due and that the decoder made up
    /// ([`DecoderInput::Conceal`](blink_api::DecoderInput::Conceal)), in all. Pauses of the sender
    /// are not in it.
    pub concealed: Duration,
    /// Packets that came while they were being made up, and mended the rest.
    pub mended: u64,
    /// Packets that came in time and were not played: too many at once.
    pub discarded: u64,
    /// Packets that came after their time.
    pub late: u64,
    /// Packets that came before.
    pub duplicated: u64,
    /// Packets that could not be read as packets of the stream's codec.
    pub corrupt: u64,
    /// Packets that were not decoded because nobody would have heard them.
    pub unheard: u64,
    /// Sound that was left out to get back to the target delay, in all.
    pub accelerated: Duration,
    /// Sound that was added to get to the target delay, in all.
    pub decelerated: Duration,
    /// Times that the sender began anew with other sequence numbers or timestamps.
    pub restarts: u64,
    /// Sound that is waiting, from the next frame due to the end of the newest packet.
    pub buffered: Duration,
    /// The time from the arrival of the fastest packets of late to their decoding; zero before the
    /// first.
    pub delay: Duration,
    /// What that delay should be.
    pub target: Duration,
}

impl AudioStatistics {
    /// What the network did since these statistics were those of `earlier`, to be told to the
    /// sender.
    pub fn network_since(&self, earlier: &Self) -> Network {
        let since = |count: fn(&Self) -> u64| count(self).saturating_sub(count(earlier)) as f32;
        let (lost, received) = (since(|all| all.lost), since(|all| all.received));
        let burst = (lost / since(|all| all.bursts).max(1.0)).max(1.0);
        Network { loss: (lost / (lost + received).max(1.0)).min(1.0), burst, bitrate: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_of_the_time_between() {
        let earlier = AudioStatistics { received: 100, lost: 50, bursts: 50, ..AudioStatistics::default() };
        let later = AudioStatistics { received: 183, lost: 67, bursts: 56, ..earlier };
        let told = later.network_since(&earlier);
        assert!((told.loss - 0.17).abs() < 1e-6 && (told.burst - 17.0 / 6.0).abs() < 1e-6, "{told:?}");
        assert_eq!(later.network_since(&later), Network { loss: 0.0, burst: 1.0, bitrate: None });
        assert_eq!(earlier.network_since(&later), Network { loss: 0.0, burst: 1.0, bitrate: None });
    }
}
