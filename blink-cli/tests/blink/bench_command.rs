//! Tests of `blink bench`.

use serde_json::Value;

use crate::program::run;

/// Simulates a call over one network with bursty losses.
fn audio(options: &[&str]) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let network = ["bench", "audio", "--json", "--loss", "17", "--burst", "3", "--jitter", "0", "--seeds", "1"];
    let ended = run(directory.path(), &[&network, options].concat());
    assert_eq!(ended.status, 0, "{ended:?}");
    ended.last()["results"][0].take()
}

#[test]
fn audio_bench_uses_the_configuration() {
    let heard =
        |result: &Value| [&result["pesq_wb"], &result["delay_ms_median"]].map(|figure| figure.as_f64().unwrap());
    let usual = audio(&[]);
    let configured = audio(&["--set", "quality.prefer=quality"]);
    assert_ne!(heard(&configured), heard(&usual));
    assert_eq!(heard(&configured), heard(&audio(&["--quality"])));
    let narrow = audio(&["--set", "codecs.opus.bitrate=16000"]);
    let bitrate = |result: &Value| result["bitrate"].as_f64().unwrap();
    assert!(bitrate(&narrow) < 0.7 * bitrate(&usual), "{} of {}", bitrate(&narrow), bitrate(&usual));
}
