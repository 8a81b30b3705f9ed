//! Group of three in one program, each with a configuration of its own: two WebRTC stacks, two
//! codecs, two durations of packets. Each prints how it hears the others.
//!
//! ```sh
//! cargo run -p blink-examples --bin group
//! ```

mod exchange;

use std::time::Duration;

use blink_api::{Configuration, Registry, Result};
use blink_engine::Blink;
use {
    blink_media_cpal_opus as _, blink_media_g711 as _, blink_media_synthetic as _, blink_signaling_memory as _,
    blink_transport_str0m as _, blink_transport_webrtc_rs as _,
};

/// Names with the settings in which they differ.
const PEOPLE: [(&str, &[&str]); 3] = [
    ("Alice", &["transport=str0m", "codec=[\"opus\", \"pcmu\"]"]),
    ("Bob", &["transport=webrtc-rs", "codec=[\"opus\", \"pcmu\"]", "call.audio.frame=40ms"]),
    // Sends G.711, and is sent it.
    ("Carol", &["transport=str0m", "codec=pcmu"]),
];

#[tokio::main]
async fn main() -> Result<()> {
    // In-process signaling belongs to the registry: all engines share one.
    let registry = Registry::discovered()?;
    let mut people = Vec::new();
    for (_, settings) in PEOPLE {
        let common = ["signaling=memory", "media_host=synthetic", "microphone=speech", "speaker=null"];
        let common = common.iter().chain(&["ice.interfaces=[\"127.0.0.1\"]"]);
        let all = common.chain(settings);
        let builder = all.fold(Configuration::builder(&registry), |it, setting| it.set_argument("example", setting));
        people.push(Blink::start(&builder.build()?).await?);
    }
    exchange::call(&people).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (person, (name, _)) in people.iter().zip(PEOPLE) {
        for other in person.statistics().await? {
            let index = people.iter().position(|it| it.endpoint() == other.participant);
            let other_name = index.map_or("unknown", |index| PEOPLE[index].0);
            println!("{name} sends {other_name} {}, decoded {} packets", other.codec, other.audio.packets_decoded);
        }
    }
    for person in people {
        person.shutdown().await;
    }
    Ok(())
}
