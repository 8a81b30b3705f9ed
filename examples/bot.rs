//! Bot that answers every call, plays recorded speech, records the call, and hangs up after some
//! seconds.
//!
//! It prints `DID ADDRESS` lines for [`place_call`](place_call.rs). Recordings are WAV files in a
//! directory for each call:
//!
//! ```sh
//! cargo run -p blink-examples --bin bot -- recordings
//! ```

use std::path::Path;
use std::time::Duration;

use blink::prelude::*;
use blink::{EndReason, RecordingRequest};

/// Time from joining a call until the bot leaves it.
const TALK: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "recordings".to_owned());
    let builder = blink::builder().microphone("speech").speaker("none").recorders(&["wav"]);
    let blink = builder.set("call.busy", "reject").environment().start().await?;
    let mut events = blink.events();
    for address in blink.addresses().await? {
        println!("{} {address}", blink.did());
    }
    loop {
        tokio::select! {
            item = events.next() => match item {
                Some(EventItem::Event(event)) => react(&blink, &event, directory.as_ref()).await?,
                // Events were lost: a call that rings is answered at its next event.
                Some(EventItem::Lagged { .. }) => {}
                None => break,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    blink.shutdown().await;
    Ok(())
}

async fn react(blink: &Blink, event: &Event, directory: &Path) -> Result<()> {
    match event {
        Event::IncomingCall { call, from, .. } => {
            println!("answering {from}");
            // The caller may have given up by now.
            if let Err(error) = blink.answer_call(*call).await {
                println!("not answered: {error}");
            }
        }
        Event::CallJoined { call } => {
            blink.start_recording(RecordingRequest::new(directory.join(call.to_string()))).await?;
            let blink = blink.clone();
            tokio::spawn(async move {
                tokio::time::sleep(TALK).await;
                // The call may have ended before.
                blink.leave_call().await.ok();
            });
        }
        Event::CallEnded { reason, .. } if *reason != EndReason::Left => println!("the call ended: {reason}"),
        Event::RecordingStopped { report, .. } => {
            for file in report.recorders.iter().flat_map(|recorder| &recorder.summary.files) {
                println!("recorded {}", file.display());
            }
        }
        _ => {}
    }
    Ok(())
}
