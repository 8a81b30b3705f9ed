//! Metrics of one session's media: what was counted since the sample before. They are sampled in a
//! task of their own, so that neither a session nor a media worker that is slow to answer delays
//! what the session has to do.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use blink_api::{Endpoint, Session, SessionStats};
use blink_media::AudioStatistics;
use blink_proto::call::SessionId;
use metrics::IntoF64;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::media::MediaHandle;
use crate::metric_list::{AUDIO_PACKETS, BYTES, CALLS, CONCEALED, JITTER_BUFFER, PACKETS, PACKETS_LOST, ROUND_TRIP};

/// Interval of samples.
const INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for the last sample, while the session is being closed.
const LAST_SAMPLE: Duration = Duration::from_millis(500);

/// The task that samples a session. Dropping it ends the task after a last sample.
pub(super) struct SessionMetrics {
    task: JoinHandle<()>,
    /// Closed to end the task.
    end: oneshot::Sender<()>,
}

impl SessionMetrics {
    pub(super) fn start(session: Arc<dyn Session>, media: MediaHandle, id: SessionId, remote: Endpoint) -> Self {
        let (end, ended) = oneshot::channel();
        let (recorded_session, recorded_audio) = (SessionStats::default(), AudioStatistics::default());
        let sampler = Sampler { session, media, id, remote, recorded_session, recorded_audio };
        Self { task: tokio::spawn(sampler.run(ended)), end }
    }

    /// Takes the last sample, as long as the session and its path are there. One that does not come
    /// in time is given up.
    pub(super) async fn finish(mut self) {
        drop(self.end);
        if timeout(LAST_SAMPLE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// A session with the counts that were recorded of it.
struct Sampler {
    session: Arc<dyn Session>,
    media: MediaHandle,
    id: SessionId,
    remote: Endpoint,
    recorded_session: SessionStats,
    recorded_audio: AudioStatistics,
}

impl Sampler {
    async fn run(mut self, mut ended: oneshot::Receiver<()>) {
        let mut is_over = false;
        while !is_over {
            let next = Instant::now() + INTERVAL;
            tokio::select! {
                () = sleep_until(next) => {}
                // An error tells that the other half is closed, which is the end.
                _ = &mut ended => is_over = true,
            }
            if is_recorded() {
                self.sample().await;
            }
        }
    }

    /// Records what was counted since the last sample. A session without statistics is ignored: it
    /// reports its failure elsewhere.
    async fn sample(&mut self) {
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

/// Whether anyone takes metrics. The facade does not say; but it converts a value only for a
/// recorder that takes it. What is added is nothing.
fn is_recorded() -> bool {
    struct Nothing<'a>(&'a Cell<bool>);

    impl IntoF64 for Nothing<'_> {
        fn into_f64(self) -> f64 {
            self.0.set(true);
            0.0
        }
    }

    let is_taken = Cell::new(false);
    metrics::gauge!(CALLS).increment(Nothing(&is_taken));
    is_taken.get()
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn a_recorder_is_noticed_while_it_is_installed() {
        assert!(!is_recorded());
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            metrics::gauge!(CALLS).set(3.0);
            assert!(is_recorded());
        });
        assert!(handle.render().contains("blink_calls 3"), "{}", handle.render());
        assert!(!is_recorded());
    }
}
