//! Calls a person and records the call with WAV files and an MP4 file.

use blink_api::{Configuration, Registry};
use blink_engine::{Blink, CallConfig, Event, EventItem, RecordingRequest};
use {
    blink_media_cpal_opus as _, blink_media_synthetic as _, blink_recorders as _, blink_signaling_libp2p as _,
    blink_transport_str0m as _,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let person = std::env::args().nth(1).ok_or("usage: record_call DID")?.parse()?;
    let registry = Registry::discovered()?;
    let configuration = Configuration::builder(&registry)
        .set("example", "recorder", vec!["wav", "mp4"])
        .set("example", "microphone", "speech")
        .set("example", "speaker", "none")
        .build()?;
    let blink = Blink::start(&configuration).await?;
    let mut events = blink.events();
    blink.offer_call(&[person], CallConfig::default()).await?;
    while let Some(item) = events.next().await {
        match item {
            EventItem::Event(Event::CallJoined { .. }) => {
                // Names are for files and tracks; without one they have the device's id.
                let request = RecordingRequest::new("recordings").name(blink.did(), "me").name(person, "you");
                blink.start_recording(request).await?;
            }
            EventItem::Event(Event::RecordingFailed { recorder, error, .. }) => eprintln!("{recorder}: {error}"),
            // The end of the call completes the files, as `stop_recording` does.
            EventItem::Event(Event::RecordingStopped { report, .. }) => {
                for file in report.recorders.iter().flat_map(|recorder| &recorder.summary.files) {
                    println!("{}", file.display());
                }
                break;
            }
            _ => {}
        }
    }
    blink.shutdown().await;
    Ok(())
}
