//! Metrics of the engine for Prometheus, at the address of `metrics.listen`.

use std::time::Duration;

use blink_api::Configuration;
use blink_engine::METRICS;
use blink_node::MetricsEndpoint;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

use crate::failure::Failure;

/// Interval at which recorded values of histograms are put into buckets, so that they do not pile
/// up where no one asks for them.
const UPKEEP: Duration = Duration::from_secs(5);

/// Serves metrics as long as the program runs, if the configuration names an address.
///
/// # Errors
/// That of [`MetricsEndpoint::start`], with the key.
pub(crate) async fn start(configuration: &Configuration) -> Result<(), Failure> {
    let Some(address) = configuration.settings().metrics.listen else { return Ok(()) };
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS.iter().filter(|metric| !metric.buckets.is_empty()) {
        let name = Matcher::Full(metric.name.to_owned());
        builder = builder.set_buckets_for_metric(name, metric.buckets).expect("there are buckets");
    }
    let recorder = builder
        .install_recorder()
        .map_err(|error| Failure::call(format!("metrics are recorded elsewhere in this process: {error}")))?;
    blink_engine::describe_metrics();
    let renderer = recorder.clone();
    let endpoint = MetricsEndpoint::start(address, move || renderer.render())
        .await
        .map_err(|error| configuration.locate(error.with("key", "metrics.listen")))?;
    tracing::info!(address = %endpoint.address(), "metrics are served");
    tokio::spawn(async move {
        let _endpoint = endpoint;
        loop {
            tokio::time::sleep(UPKEEP).await;
            recorder.run_upkeep();
        }
    });
    Ok(())
}
