//! Conformance tests of every registered codec.

use blink_api::{AudioCodec, Configuration, Context, Registry, SystemClock};
use blink_conformance::codec;
use blink_media_cpal_opus as _;
use std::sync::Arc;

#[tokio::test]
async fn every_registered_codec_fulfils_the_contract() {
    let registry = Registry::discovered().unwrap();
    let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
    let mut verified = Vec::new();
    for entry in registry.entries::<dyn AudioCodec>() {
        let configuration = Configuration::builder(&registry).build().unwrap();
        let made = entry.create(&configuration, &context).await.unwrap();
        assert_eq!(made.capabilities(), entry.capabilities, "{} declares the same duplicate", entry.name);
        codec::verify(&*made);
        verified.push(entry.name);
    }
    assert!(verified.contains(&"opus"), "{verified:?}");
}
