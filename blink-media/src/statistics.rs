//! Statistics of a received audio stream, with the names of W3C webrtc-stats where it has them.

use web_time::Duration;

use blink_api::CodecName;
use serde::Serialize;

use super::receiver_reports::PathQuality;

/// Statistics of what is sent on a path.
#[derive(Debug, Clone, PartialEq)]
pub struct PathStatistics {
    /// The codec that the microphone is sent with; `None` before it is.
    pub codec: Option<CodecName>,
    /// The newest report about the microphone's packets.
    pub microphone: PathQuality,
    /// Bits per second that the path is taken to carry, headers included.
    pub bitrate: u64,
    /// Video frames that were dropped because the path had no room for them.
    pub frames_dropped: u64,
}

/// Statistics of one participant's audio since its stream was added.
///
/// Names are those of `RTCInboundRtpStreamStats` in W3C webrtc-stats where it has them. Packets and
/// frames are counted, samples are those of one channel at [`sample_rate`](Self::sample_rate),
/// durations are as of now: `jitter_buffer_delay` and `jitter_buffer_target_delay` are the current
/// ones, not sums over all emitted samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct AudioStatistics {
    /// Samples per second of the counts of samples.
    pub sample_rate: u32,
    /// Packets that arrived, including late, duplicated and corrupt ones.
    pub packets_received: u64,
    /// Packets that were decoded and played.
    pub packets_decoded: u64,
    /// Packets that the network lost: missing when 16 packets with later sequence numbers had come.
    pub packets_lost: u64,
    /// Bursts of one or more lost packets in a row.
    pub loss_bursts: u64,
    /// Missing frames restored from the codec's own copy in the next packet
    /// ([`DecoderInput::Fec`](blink_api::DecoderInput::Fec)).
    pub fec_recovered: u64,
    /// Missing frames restored from a copy in a later packet (RFC 2198).
    pub red_recovered: u64,
    /// Missing samples restored from a later packet's deep redundancy
    /// ([`DecoderInput::Dred`](blink_api::DecoderInput::Dred)).
    pub dred_recovered_samples: u64,
    /// Samples that were missing when due and that the decoder concealed
    /// ([`DecoderInput::Conceal`](blink_api::DecoderInput::Conceal)). Pauses of the sender do not
    /// count.
    pub concealed_samples: u64,
    /// Packets that came during their concealment, repaired the decoder and were played in part.
    pub late_repairs: u64,
    /// Packets that came in time and were dropped: beyond the buffer's capacity or far over the
    /// target delay, or of a codec that the stream does not have.
    pub packets_discarded: u64,
    /// Packets that came after their time.
    pub packets_late: u64,
    /// Packets that came more than once.
    pub packets_duplicated: u64,
    /// Packets that could not be read as packets of the stream's codec.
    pub packets_corrupt: u64,
    /// Packets that were not decoded because the participant's volume is zero or the call is
    /// deafened.
    pub packets_skipped: u64,
    /// Samples removed to get back to the target delay.
    pub removed_samples_for_acceleration: u64,
    /// Samples inserted to get to the target delay.
    pub inserted_samples_for_deceleration: u64,
    /// Restarts of the sender, with other sequence numbers or timestamps.
    pub restarts: u64,
    /// Audio in the jitter buffer, from the next frame due to the end of the newest packet.
    pub buffered: Duration,
    /// Delay from the arrival of the fastest recent packets to their decoding; zero before the
    /// first.
    pub jitter_buffer_delay: Duration,
    /// Delay that the jitter buffer aims at.
    pub jitter_buffer_target_delay: Duration,
}

impl AudioStatistics {
    /// Duration of a number of samples at [`sample_rate`](Self::sample_rate); zero before there is
    /// one.
    pub fn duration_of(&self, samples: u64) -> Duration {
        let nanos = u128::from(samples) * 1_000_000_000;
        let nanos = nanos.checked_div(self.sample_rate.into()).unwrap_or(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Loss and bursts of the network since these statistics were those of `earlier`, for a report
    /// to the sender.
    pub fn path_quality_since(&self, earlier: &Self) -> PathQuality {
        let since = |count: fn(&Self) -> u64| count(self).saturating_sub(count(earlier)) as f32;
        let (lost, received) = (since(|all| all.packets_lost), since(|all| all.packets_received));
        let burst = (lost / since(|all| all.loss_bursts).max(1.0)).max(1.0);
        PathQuality { loss: (lost / (lost + received).max(1.0)).min(1.0), burst, bitrate: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_covers_the_time_since_the_earlier_statistics() {
        let earlier =
            AudioStatistics { packets_received: 100, packets_lost: 50, loss_bursts: 50, ..AudioStatistics::default() };
        let later = AudioStatistics { packets_received: 183, packets_lost: 67, loss_bursts: 56, ..earlier };
        let told = later.path_quality_since(&earlier);
        assert!((told.loss - 0.17).abs() < 1e-6 && (told.burst - 17.0 / 6.0).abs() < 1e-6, "{told:?}");
        assert_eq!(later.path_quality_since(&later), PathQuality { loss: 0.0, burst: 1.0, bitrate: None });
        assert_eq!(earlier.path_quality_since(&later), PathQuality { loss: 0.0, burst: 1.0, bitrate: None });
    }

    #[test]
    fn samples_are_converted_to_durations_at_the_sample_rate() {
        let statistics = AudioStatistics { sample_rate: 48_000, ..AudioStatistics::default() };
        assert_eq!(statistics.duration_of(960), Duration::from_millis(20));
        assert_eq!(statistics.duration_of(u64::MAX), Duration::from_nanos(u64::MAX));
        assert_eq!(AudioStatistics::default().duration_of(960), Duration::ZERO);
    }
}
