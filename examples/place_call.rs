//! Calls a DID, sends recorded speech, and records the received audio to `heard.wav`.
//!
//! ```sh
//! cargo run -p blink-examples --bin place_call -- DID ADDRESS
//! ```

use blink::prelude::*;

#[tokio::main]
async fn main() -> Result<()> {
    let usage = || Error::new(ErrorKind::Invalid, "usage: place_call DID ADDRESS");
    let (did, address) = std::env::args().nth(1).zip(std::env::args().nth(2)).ok_or_else(usage)?;

    let blink = blink::builder().microphone("speech").speaker("wav:heard.wav").environment().start().await?;
    let events = blink.events();
    blink.connect(&address).await?;
    let call = blink.offer_call(&[did.parse()?], CallConfig::default()).await?;
    // What happens in this call, up to its end.
    let mut events = events.of(&call);
    loop {
        tokio::select! {
            item = events.next() => match item {
                Some(item) => println!("{item:?}"),
                None => break,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    blink.shutdown().await;
    Ok(())
}
