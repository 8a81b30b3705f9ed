//! Metrics of a call between two engines in this program, in the text format of Prometheus.
//!
//! A service would serve the text over HTTP; `metrics-exporter-prometheus` can do that, too.
//!
//! ```sh
//! cargo run -p blink-examples --bin show_metrics
//! ```

mod exchange;

use std::time::Duration;

use blink_api::{Configuration, Error, ErrorKind, Registry, Result};
use blink_engine::{Blink, METRICS};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use {
    blink_media_cpal_opus as _, blink_media_synthetic as _, blink_signaling_memory as _, blink_transport_memory as _,
};

#[tokio::main]
async fn main() -> Result<()> {
    // Before the first engine. Histograms get the buckets that the engine proposes.
    let unusable = |source| Error::new(ErrorKind::Invalid, "no recorder of metrics").source(source);
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS.iter().filter(|metric| !metric.buckets.is_empty()) {
        let name = Matcher::Full(metric.name.to_owned());
        builder = builder.set_buckets_for_metric(name, metric.buckets).map_err(unusable)?;
    }
    let recorder = builder.install_recorder().map_err(unusable)?;
    blink_engine::describe_metrics();

    let configuration =
        ["transport=memory", "signaling=memory", "media_host=synthetic", "microphone=speech", "speaker=null"]
            .iter()
            .fold(Configuration::builder(&Registry::discovered()?), |it, setting| it.set_argument("example", setting))
            .build()?;
    let people = [Blink::start(&configuration).await?, Blink::start(&configuration).await?];
    exchange::call(&people).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let during = recorder.render();
    people[0].leave_call().await?;
    for person in people {
        person.shutdown().await;
    }
    println!("# during the call\n{during}\n# afterwards\n{}", recorder.render());
    Ok(())
}
