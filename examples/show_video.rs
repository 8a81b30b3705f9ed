//! Video between two engines in one program: Alice offers a clip, Bob requests it and counts the
//! frames.
//!
//! ```sh
//! cargo run -p blink-examples --bin show_video
//! ```

use blink_api::{Configuration, Error, ErrorKind, Registry, Result, TrackKind};
use blink_engine::{Blink, CallConfig, Event, EventItem, Events, RequestedStream, StreamConfig};
use {blink_media_cpal_opus as _, blink_media_synthetic as _, blink_signaling_memory as _, blink_transport_str0m as _};

#[tokio::main]
async fn main() -> Result<()> {
    let configuration = Configuration::builder(&Registry::discovered()?)
        .default_value("signaling", "memory")
        .default_value("media_host", "synthetic")
        .default_value("microphone", "none")
        .default_value("speaker", "none")
        .environment()
        .build()?;
    let (alice, bob) = (Blink::start(&configuration).await?, Blink::start(&configuration).await?);
    let mut events = bob.events();

    alice.offer_call(&[bob.did()], CallConfig::default()).await?;
    let Event::IncomingCall { call, .. } =
        until(&mut events, |event| matches!(event, Event::IncomingCall { .. })).await?
    else {
        return Err(Error::new(ErrorKind::Unexpected, "another event than the one waited for"));
    };
    bob.answer_call(call).await?;
    until(&mut events, |event| matches!(event, Event::ParticipantJoined { .. })).await?;

    let config = StreamConfig { kind: TrackKind::Video, source: "clip:vp8".to_owned(), name: "a clip".to_owned() };
    let stream = alice.offer_stream(config).await?;
    until(&mut events, |event| matches!(event, Event::StreamOffered { stream: of, .. } if of.stream == stream)).await?;
    if let RequestedStream::Video(mut frames) = bob.request_stream(alice.endpoint(), stream).await? {
        for number in 1..=30 {
            // `None` would mean that the stream has ended.
            let Some(received) = frames.next().await else { break };
            println!("frame {number}: {} bytes, key frame: {}", received.frame.data.len(), received.frame.key);
        }
    }
    bob.close_stream(alice.endpoint(), stream).await?;

    alice.shutdown().await;
    bob.shutdown().await;
    Ok(())
}

async fn until(events: &mut Events, is: impl Fn(&Event) -> bool) -> Result<Event> {
    while let Some(item) = events.next().await {
        match item {
            EventItem::Event(event) if is(&event) => return Ok(event),
            _ => {}
        }
    }
    Err(Error::new(ErrorKind::Closed, "the engine stopped"))
}
