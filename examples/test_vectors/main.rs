//! Prints the test vectors of `docs/protocol.md` as JSON: fixed keys and numbers in, the bytes of
//! every message out.
//!
//! ```sh
//! cargo run -p blink-examples --bin test_vectors > docs/vectors.json
//! ```

mod bodies;
mod edges;
mod envelopes;
mod names;
mod refusals;
mod scene;

use blink_proto::secure::Refusal;
use scene::Scene;
use serde_json::{Value, json};

fn main() -> Result<(), Refusal> {
    println!("{:#}", vectors()?);
    Ok(())
}

fn vectors() -> Result<Value, Refusal> {
    let scene = Scene::new();
    Ok(json!({
        "protocol": "blink/1",
        "people": names::people(&scene),
        "root": names::root(&scene),
        "call": names::call(&scene),
        "nonce": names::nonce(&scene),
        "call_keys": names::call_keys(&scene),
        "link": names::link(&scene),
        "entries": names::entries(&scene),
        "digest": names::digest(&scene),
        "bodies": bodies::bodies(&scene),
        "channel_messages": bodies::channel_messages(&scene),
        "contents": envelopes::contents(&scene),
        "envelopes": envelopes::envelopes(&scene)?,
        "refused": refusals::refused(&scene)?,
        "encodings": edges::encodings(),
        "content_forms": edges::content_forms(&scene),
        "keys": edges::keys(&scene),
        "signatures": edges::signatures(&scene),
        "arrays": edges::arrays(&scene),
        "longer_arrays": edges::longer_arrays(),
        "entries_of_a_message": edges::entries_of_a_message(&scene),
        "descriptions": edges::descriptions(&scene),
        "sctp_init": edges::sctp_init(),
    }))
}

/// Bytes as lower-case hex.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_vectors_of_the_documentation_are_those_of_the_code() {
        let written: serde_json::Value = serde_json::from_str(include_str!("../../docs/vectors.json")).unwrap();
        assert_eq!(super::vectors().unwrap(), written);
    }
}
