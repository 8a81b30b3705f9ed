//! Metrics and spans of a call.

mod people;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blink_engine::{CallConfig, Event, METRICS, MetricKind};
use metrics_exporter_prometheus::PrometheusBuilder;
use people::TestNetwork;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// A call of two for some seconds, after which one leaves and both shut down.
async fn call_of_two(network: &TestNetwork, during: impl FnOnce()) -> Vec<String> {
    let mut alice = network.person(1, "tone:440").await;
    let mut bob = network.person(2, "tone:1000").await;
    let call = alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    for person in [&mut alice, &mut bob] {
        person.until("media", |event| matches!(event, Event::MediaStarted { .. })).await;
    }
    tokio::time::sleep(Duration::from_secs(7)).await;
    during();
    alice.blink.leave_call().await.unwrap();
    bob.until("ended", |event| matches!(event, Event::CallEnded { .. })).await;
    let names = vec![call.id().to_string(), alice.blink.did().to_string(), bob.blink.did().to_string()];
    alice.blink.shutdown().await;
    bob.blink.shutdown().await;
    names
}

fn value(text: &str, metric: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {metric} in\n{text}")).parse().unwrap()
}

/// Gauges follow the call, counters count both engines, and nothing is recorded that `METRICS` does
/// not have.
#[tokio::test(start_paused = true)]
async fn metrics_count_a_call_of_two() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let network = TestNetwork::new();
    let mut during = String::new();
    let names = call_of_two(&network, || during = handle.render()).await;
    assert_eq!(value(&during, "blink_calls"), 2.0);
    assert_eq!(value(&during, r#"blink_participants{state="connected"}"#), 2.0);
    let sampled = value(&during, r#"blink_packets_total{direction="received"}"#);
    assert!((500.0..=720.0).contains(&sampled), "two directions of 7 s with 50 packets a second: {sampled}");

    let after = handle.render();
    let is = |metric: &str, expected: f64| assert_eq!(value(&after, metric), expected, "{metric}");
    is("blink_calls", 0.0);
    is(r#"blink_participants{state="connected"}"#, 0.0);
    is(r#"blink_participants{state="connecting"}"#, 0.0);
    is("blink_calls_offered_total", 1.0);
    is("blink_calls_incoming_total", 1.0);
    is("blink_calls_joined_total", 2.0);
    is(r#"blink_calls_ended_total{reason="left"}"#, 1.0);
    is(r#"blink_calls_ended_total{reason="remote_left"}"#, 1.0);
    is("blink_call_setup_seconds_count", 2.0);
    is("blink_participant_connecting_seconds_count", 2.0);
    is("blink_packets_lost_total", 0.0);
    // The last sample is taken at the end of the session.
    let packets = value(&after, r#"blink_packets_total{direction="received"}"#);
    assert!(packets > 650.0, "two directions of 7 s: {packets}");
    assert!(value(&after, r#"blink_bytes_total{direction="received"}"#) > 10.0 * packets);
    assert!(value(&after, r#"blink_audio_packets_total{result="decoded"}"#) > 550.0);
    assert!(value(&after, r#"blink_signaling_publishes_total{result="published"}"#) > 2.0);
    assert!(value(&after, r#"blink_signaling_deliveries_total{result="accepted"}"#) > 2.0);

    let kinds: BTreeSet<_> = after.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(kinds.len() >= 14, "{kinds:?}");
    for kind in kinds {
        let (name, kind) = kind.split_once(' ').unwrap();
        let known =
            METRICS.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name} is not in METRICS"));
        let expected = match known.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            // Without buckets of its own a histogram is rendered as a summary.
            _ => "summary",
        };
        assert_eq!(kind, expected, "{name}");
        let labels = after.lines().filter(|line| line.starts_with(&format!("{name}{{")) && kind != "summary");
        for line in labels {
            let label = line.split(['{', '=']).nth(1).unwrap();
            assert!(known.labels.contains(&label), "{line}");
        }
    }
    for name in names {
        let key = name.trim_start_matches("did:key:");
        assert!(!after.contains(key) && !after.contains(&key[..8]), "{name} is in\n{after}");
    }
}

/// Spans as `name{fields}`, each with its parents.
#[derive(Clone, Default)]
struct SeenSpans(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let separator = if self.0.is_empty() { "" } else { " " };
        write!(self.0, "{separator}{}={value:?}", field.name()).unwrap();
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SeenSpans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields(String::new());
        attributes.record(&mut fields);
        let parents = context.span_scope(id).into_iter().flatten().skip(1).map(|span| span.name().to_owned());
        let parents: Vec<_> = parents.collect();
        let text = format!("{}{{{}}} in {}", attributes.metadata().name(), fields.0, parents.join(" in "));
        self.0.lock().unwrap().push(text);
    }
}

#[tokio::test(start_paused = true)]
async fn each_call_and_participant_has_a_span_with_short_names() {
    let spans = SeenSpans::default();
    let _subscribed = tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone()));
    let network = TestNetwork::new();
    let names = call_of_two(&network, || {}).await;
    let spans = spans.0.lock().unwrap().clone();
    let call = format!("call{{call={}}} in engine", &names[0][..8]);
    assert!(spans.iter().filter(|span| **span == call).count() >= 2, "no {call} of both engines in {spans:#?}");
    for name in &names[1..] {
        let key = name.trim_start_matches("did:key:");
        let begin = format!("participant{{participant={}…{}#", &key[..8], &key[key.len() - 6..]);
        let is_it = |span: &&String| span.starts_with(&begin) && span.ends_with(" in call in engine");
        assert_eq!(spans.iter().filter(is_it).count(), 1, "no {begin} in {spans:#?}");
        assert!(!spans.iter().any(|span| span.starts_with("participant") && span.contains(key)), "{spans:#?}");
    }
}
