//! Conformance tests of the media hosts.

use std::sync::Arc;

use blink_api::{Configuration, Context, MediaHost, Registry, SystemClock};
use blink_conformance::media::{self, Names};
use blink_media_synthetic as _;

#[tokio::test]
async fn synthetic_sources_and_sinks_fulfil_the_contract() {
    let registry = Registry::discovered().unwrap();
    let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
    let configuration = Configuration::builder(&registry).build().unwrap();
    let host = registry.entry::<dyn MediaHost>("synthetic").unwrap().create(&configuration, &context).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = format!("wav:{}", directory.path().join("heard.wav").display());
    for (source, sink, video) in
        [("tone:440", "null", "clip:vp8"), ("speech", file.as_str(), "clip:h264"), ("silence", "null", "clip:vp8")]
    {
        media::verify(&*host, Names { source: Some(source), sink: Some(sink), video: Some(video) }).await;
    }
}
