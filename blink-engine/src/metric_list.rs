//! Names of the metrics that an engine records through the facade [`metrics`].
//!
//! Several engines of a process record the same metrics: counters and gauges are sums over all of
//! them. Labels have few values, and never an identity, an address or a call.

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// Value that only rises.
    Counter,
    /// Value that rises and falls.
    Gauge,
    /// Distribution of values.
    Histogram,
}

/// A metric of the engine.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// Name, with the unit as its last part as Prometheus recommends.
    pub name: &'static str,
    /// Kind.
    pub kind: MetricKind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// Description of one sentence.
    pub help: &'static str,
    /// Upper bounds of a histogram's buckets, in its unit; empty for other kinds.
    pub buckets: &'static [f64],
}

pub(crate) const CALLS_OFFERED: &str = "blink_calls_offered_total";
pub(crate) const CALLS_INCOMING: &str = "blink_calls_incoming_total";
pub(crate) const CALLS_JOINED: &str = "blink_calls_joined_total";
pub(crate) const CALLS_MISSED: &str = "blink_calls_missed_total";
pub(crate) const CALLS_ENDED: &str = "blink_calls_ended_total";
pub(crate) const CALLS: &str = "blink_calls";
pub(crate) const PARTICIPANTS: &str = "blink_participants";
pub(crate) const SETUP: &str = "blink_call_setup_seconds";
pub(crate) const CONNECTING: &str = "blink_participant_connecting_seconds";
pub(crate) const RECONNECTS: &str = "blink_reconnects_total";
pub(crate) const QUALITY: &str = "blink_quality_degraded_total";
pub(crate) const PACKETS: &str = "blink_packets_total";
pub(crate) const PACKETS_LOST: &str = "blink_packets_lost_total";
pub(crate) const BYTES: &str = "blink_bytes_total";
pub(crate) const AUDIO_PACKETS: &str = "blink_audio_packets_total";
pub(crate) const CONCEALED: &str = "blink_audio_concealed_milliseconds_total";
pub(crate) const JITTER_BUFFER: &str = "blink_jitter_buffer_delay_seconds";
pub(crate) const ROUND_TRIP: &str = "blink_round_trip_seconds";
pub(crate) const PUBLISHES: &str = "blink_signaling_publishes_total";
pub(crate) const DELIVERIES: &str = "blink_signaling_deliveries_total";

const SETUP_BUCKETS: &[f64] = &[0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
const DELAY_BUCKETS: &[f64] = &[0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0];

/// All metrics of the engine.
pub const METRICS: &[Metric] = &[
    counter(CALLS_OFFERED, &[], "Calls offered by this device."),
    counter(CALLS_INCOMING, &[], "Calls that rang."),
    counter(CALLS_JOINED, &[], "Calls that this device joined, each time that it joined."),
    counter(CALLS_MISSED, &[], "Calls that were not answered in time."),
    counter(CALLS_ENDED, &["reason"], "Calls that ended for this device, by the reason of `CallEnded`."),
    gauge(CALLS, &[], "Calls that this device is in."),
    gauge(
        PARTICIPANTS,
        &["state"],
        "Participants with a media path: connecting, connected, reconnecting, unreachable.",
    ),
    histogram(SETUP, SETUP_BUCKETS, "From joining a call until the first audio of a participant was decoded."),
    histogram(CONNECTING, SETUP_BUCKETS, "From opening a session until its path was up and verified."),
    counter(RECONNECTS, &[], "Paths on which no packet arrived for some seconds."),
    counter(QUALITY, &["reason"], "Events `QualityDegraded`, by reason."),
    counter(PACKETS, &["direction"], "RTP packets: sent, received."),
    counter(PACKETS_LOST, &[], "RTP packets lost on the way to this device."),
    counter(BYTES, &["direction"], "Bytes of RTP payload: sent, received."),
    counter(AUDIO_PACKETS, &["result"], "Audio packets received: decoded, late, discarded."),
    counter(CONCEALED, &[], "Audio that was missing when it was due, and concealed."),
    histogram(JITTER_BUFFER, DELAY_BUCKETS, "Delay of the jitter buffer, sampled every second for each participant."),
    histogram(ROUND_TRIP, DELAY_BUCKETS, "Round trip of the media path, sampled every second for each participant."),
    counter(PUBLISHES, &["result"], "Signaling messages: published, no_subscribers, failed, dropped."),
    counter(DELIVERIES, &["result"], "Signaling messages received: accepted, ignored, refused."),
];

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help, buckets: &[] }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, help, buckets: &[] }
}

const fn histogram(name: &'static str, buckets: &'static [f64], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram, labels: &[], help, buckets }
}

/// Describes [`METRICS`] to the recorder of the process, which has to be installed before.
pub fn describe_metrics() {
    for metric in METRICS {
        match metric.kind {
            MetricKind::Counter => metrics::describe_counter!(metric.name, metric.help),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            MetricKind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}
