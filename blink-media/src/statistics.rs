//! Statistics of a received audio stream, with the names of W3C webrtc-stats where it has them.

use web_time::Duration;

use blink_api::{CodecName, StreamId};
use serde::Serialize;

use super::receiver_reports::PathQuality;
use super::video::VideoStatistics;

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
    /// Interarrival jitter of the participant's microphone (RFC 3550 §6.4.1); `None` before its
    /// first packet.
    pub jitter: Option<Duration>,
    /// Received video streams.
    pub video: Vec<ReceivedVideo>,
}

/// Statistics of a received video stream since it began to flow on this path.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReceivedVideo {
    /// The stream.
    pub stream: StreamId,
    /// Its codec.
    pub codec: CodecName,
    /// Interarrival jitter (RFC 3550 §6.4.1); `None` before the first packet.
    pub jitter: Option<Duration>,
    /// Packets and frames.
    #[serde(flatten)]
    pub counts: VideoStatistics,
}

/// Statistics of one participant's audio since it was first received in this call. Counts never go
/// back: a new path, decoder or device continues them.
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

    /// These statistics after those of an earlier stream of the same track: counts are added, and
    /// everything else is as of now. Samples are counted at the higher of the two rates.
    pub fn after(&self, earlier: &Self) -> Self {
        let sample_rate = self.sample_rate.max(earlier.sample_rate);
        let converted = |of: &Self, count: u64| {
            let all = u128::from(count) * u128::from(sample_rate);
            u64::try_from(all.checked_div(of.sample_rate.into()).unwrap_or(0)).unwrap_or(u64::MAX)
        };
        let samples = |count: fn(&Self) -> u64| converted(self, count(self)) + converted(earlier, count(earlier));
        Self {
            sample_rate,
            packets_received: self.packets_received + earlier.packets_received,
            packets_decoded: self.packets_decoded + earlier.packets_decoded,
            packets_lost: self.packets_lost + earlier.packets_lost,
            loss_bursts: self.loss_bursts + earlier.loss_bursts,
            fec_recovered: self.fec_recovered + earlier.fec_recovered,
            red_recovered: self.red_recovered + earlier.red_recovered,
            dred_recovered_samples: samples(|all| all.dred_recovered_samples),
            concealed_samples: samples(|all| all.concealed_samples),
            late_repairs: self.late_repairs + earlier.late_repairs,
            packets_discarded: self.packets_discarded + earlier.packets_discarded,
            packets_late: self.packets_late + earlier.packets_late,
            packets_duplicated: self.packets_duplicated + earlier.packets_duplicated,
            packets_corrupt: self.packets_corrupt + earlier.packets_corrupt,
            packets_skipped: self.packets_skipped + earlier.packets_skipped,
            removed_samples_for_acceleration: samples(|all| all.removed_samples_for_acceleration),
            inserted_samples_for_deceleration: samples(|all| all.inserted_samples_for_deceleration),
            restarts: self.restarts + earlier.restarts,
            buffered: self.buffered,
            jitter_buffer_delay: self.jitter_buffer_delay,
            jitter_buffer_target_delay: self.jitter_buffer_target_delay,
        }
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
    fn counts_continue_after_an_earlier_stream_also_at_another_sample_rate() {
        let earlier = AudioStatistics {
            sample_rate: 8_000,
            packets_lost: 5,
            concealed_samples: 800,
            buffered: Duration::from_secs(1),
            ..AudioStatistics::default()
        };
        let now = AudioStatistics {
            sample_rate: 48_000,
            packets_lost: 2,
            concealed_samples: 480,
            ..AudioStatistics::default()
        };
        let all = now.after(&earlier);
        assert_eq!((all.packets_lost, all.concealed_samples, all.buffered), (7, 5_280, Duration::ZERO));
        let back = AudioStatistics { packets_lost: 0, concealed_samples: 0, ..earlier }.after(&now);
        assert_eq!((back.sample_rate, back.concealed_samples), (48_000, 480), "no count goes back");
        // A stream before its first packet has no rate of its own.
        assert_eq!(now.after(&AudioStatistics::default()), now);
    }

    #[test]
    fn samples_are_converted_to_durations_at_the_sample_rate() {
        let statistics = AudioStatistics { sample_rate: 48_000, ..AudioStatistics::default() };
        assert_eq!(statistics.duration_of(960), Duration::from_millis(20));
        assert_eq!(statistics.duration_of(u64::MAX), Duration::from_nanos(u64::MAX));
        assert_eq!(AudioStatistics::default().duration_of(960), Duration::ZERO);
    }
}
