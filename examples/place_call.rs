//! Calls somebody, says recorded speech, and keeps what is heard in `heard.wav`.
//!
//! ```sh
//! cargo run -p blink-examples --bin place_call -- DID ADDRESS
//! ```

use blink_api::{Configuration, Error, ErrorKind, Registry, Result};
use blink_engine::{Blink, CallConfig, Event, StreamItem};
use {blink_media_cpal_opus as _, blink_media_synthetic as _, blink_signaling_libp2p as _, blink_transport_str0m as _};

#[tokio::main]
async fn main() -> Result<()> {
    let usage = || Error::new(ErrorKind::Invalid, "usage: place_call DID ADDRESS");
    let (did, address) = std::env::args().nth(1).zip(std::env::args().nth(2)).ok_or_else(usage)?;

    let configuration = Configuration::builder(&Registry::discovered()?)
        .default_value("microphone", "speech")
        .default_value("speaker", "wav:heard.wav")
        .environment()
        .build()?;
    let blink = Blink::start(&configuration).await?;
    let mut events = blink.events();
    blink.connect(&address).await?;
    let call = blink.offer_call(&[did.parse()?], CallConfig::default()).await?;
    loop {
        let item = tokio::select! {
            item = events.next() => item,
            _ = tokio::signal::ctrl_c() => break,
        };
        println!("{item:?}");
        match item {
            Some(StreamItem::Event(Event::CallEnded { call: ended, .. })) if ended == call => break,
            Some(_) => {}
            None => break,
        }
    }
    blink.shutdown().await;
    Ok(())
}
