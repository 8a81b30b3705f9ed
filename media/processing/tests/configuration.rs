//! Verifies that processors are chosen and configured in one file.

use std::sync::Arc;

use blink_api::{AudioProcessorFactory, Configuration, Context, Registry, SystemClock};
use blink_media_processing as _;

const CHAIN: &str = r#"
processor = ["sonora", "nnnoiseless"]

[processors.sonora]
gain_control = false
noise_suppression_level = "very-high"
"#;

#[tokio::test]
async fn a_chain_and_the_settings_of_its_processors_stand_in_one_file() {
    let registry = Registry::discovered().unwrap();
    let configuration = Configuration::builder(&registry).toml("blink.toml", CHAIN).build().unwrap();
    assert_eq!(configuration.settings().processors, ["sonora", "nnnoiseless"]);
    let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
    let entry = registry.entry::<dyn AudioProcessorFactory>("sonora").unwrap();
    let sonora = entry.create(&configuration, &context).await.unwrap();
    assert!(sonora.capabilities().echo_cancellation && !sonora.capabilities().gain_control);
}

#[test]
fn an_unknown_processor_and_a_value_out_of_range_are_refused_at_start() {
    let registry = Registry::discovered().unwrap();
    let build = |toml: &str| Configuration::builder(&registry).toml("blink.toml", toml).build().err().unwrap();
    let unknown = build(r#"processor = ["speex"]"#);
    assert!(unknown.to_string().contains("nnnoiseless, sonora"), "{unknown}");
    let range = build("processor = [\"sonora\"]\n[processors.sonora]\nmax_gain_db = 80.0");
    assert!(range.to_string().contains("max_gain_db") && range.to_string().contains("blink.toml"), "{range}");
}
