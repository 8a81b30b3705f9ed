//! Metrics of one session's media: what was counted since the sample before.

use std::sync::Arc;
use std::time::Duration;

use blink_api::{Endpoint, Session, SessionStats};
use blink_media::AudioStatistics;
use blink_proto::call::SessionId;
use tokio::time::Instant;

use super::media::MediaHandle;
use crate::metric_list::{AUDIO_PACKETS, BYTES, CONCEALED, JITTER_BUFFER, PACKETS, PACKETS_LOST, ROUND_TRIP};

/// Interval of samples.
const INTERVAL: Duration = Duration::from_secs(1);

/// A session with the counts that were recorded of it.
pub(super) struct SessionMetrics {
    session: Arc<dyn Session>,
    media: MediaHandle,
    id: SessionId,
    remote: Endpoint,
    next: Instant,
    recorded_session: SessionStats,
    recorded_audio: AudioStatistics,
}

impl SessionMetrics {
    pub(super) fn new(session: Arc<dyn Session>, media: MediaHandle, id: SessionId, remote: Endpoint) -> Self {
        Self {
            session,
            media,
            id,
            remote,
            next: Instant::now() + INTERVAL,
            recorded_session: SessionStats::default(),
            recorded_audio: AudioStatistics::default(),
        }
    }

    /// Waits for the next sample. Cancel safe.
    pub(super) async fn due(&self) {
        tokio::time::sleep_until(self.next).await;
    }

    /// Records what was counted since the last sample. A session without statistics is ignored: it
    /// reports its failure elsewhere.
    pub(super) async fn sample(&mut self) {
        self.next = Instant::now() + INTERVAL;
        if let Ok(stats) = self.session.stats().await {
            self.record_session(stats);
        }
        let media = self.media.statistics(self.remote, self.id).await;
        self.record_audio(media.audio);
    }

    fn record_session(&mut self, stats: SessionStats) {
        let before = std::mem::replace(&mut self.recorded_session, stats);
        let count = |name: &'static str, direction: &'static str, before: u64, now: u64| {
            metrics::counter!(name, "direction" => direction).increment(now.saturating_sub(before));
        };
        count(PACKETS, "sent", before.packets_sent, stats.packets_sent);
        count(PACKETS, "received", before.packets_received, stats.packets_received);
        count(BYTES, "sent", before.bytes_sent, stats.bytes_sent);
        count(BYTES, "received", before.bytes_received, stats.bytes_received);
        metrics::counter!(PACKETS_LOST).increment(stats.packets_lost.saturating_sub(before.packets_lost));
        if let Some(round_trip) = stats.round_trip {
            metrics::histogram!(ROUND_TRIP).record(round_trip);
        }
    }

    fn record_audio(&mut self, audio: AudioStatistics) {
        let before = std::mem::replace(&mut self.recorded_audio, audio);
        let count = |result: &'static str, before: u64, now: u64| {
            metrics::counter!(AUDIO_PACKETS, "result" => result).increment(now.saturating_sub(before));
        };
        count("decoded", before.packets_decoded, audio.packets_decoded);
        count("late", before.packets_late, audio.packets_late);
        count("discarded", before.packets_discarded, audio.packets_discarded);
        let concealed = |audio: &AudioStatistics| audio.duration_of(audio.concealed_samples).as_millis() as u64;
        metrics::counter!(CONCEALED).increment(concealed(&audio).saturating_sub(concealed(&before)));
        if !audio.jitter_buffer_delay.is_zero() {
            metrics::histogram!(JITTER_BUFFER).record(audio.jitter_buffer_delay);
        }
    }
}
