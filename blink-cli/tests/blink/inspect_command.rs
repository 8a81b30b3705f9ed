//! Tests of the commands that only read.

use serde_json::{Value, json};

use crate::program::run;

#[test]
fn backends_are_listed_with_their_capabilities() {
    let directory = tempfile::tempdir().unwrap();
    let ended = run(directory.path(), &["backends", "--json"]);
    assert_eq!(ended.status, 0, "{ended:?}");
    let backends = ended.objects();
    let names = |kind: &str| -> Vec<String> {
        let of_kind = backends.as_array().unwrap().iter().filter(|backend| backend["kind"] == kind);
        of_kind.map(|backend| backend["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("transport"), ["memory", "str0m", "webrtc-rs"]);
    assert_eq!(names("signaling"), ["ipfs", "libp2p", "memory"]);
    assert_eq!(names("codec"), ["opus", "pcma", "pcmu"]);
    assert_eq!(names("media_host"), ["cpal", "synthetic"]);
    assert_eq!(names("processor"), ["nnnoiseless", "sonora"]);
    assert_eq!(names("recorder"), ["mp4", "rtp-log", "wav"]);
    for backend in backends.as_array().unwrap() {
        assert!(!backend["summary"].as_str().unwrap().is_empty());
        assert!(!backend["capabilities"].as_object().unwrap().is_empty());
    }
    let plain = run(directory.path(), &["backends"]);
    assert!(plain.lines.iter().any(|line| line.contains("webrtc-rs")), "{plain:?}");
}

#[test]
fn every_configuration_value_has_a_source() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("blink.toml"), "microphone = \"speech\"\n[call]\nring_time = \"20s\"\n")
        .unwrap();
    let ended = run(
        directory.path(),
        &["config", "--json", "--ephemeral", "--set", "transport=webrtc-rs", "--set", "call.ring_time=9s"],
    );
    assert_eq!(ended.status, 0, "{ended:?}");
    let values = ended.objects();
    let value = |key: &str| -> Value {
        let found = values.as_array().unwrap().iter().find(|value| value["key"] == key);
        found.unwrap_or_else(|| panic!("there is no {key}")).clone()
    };
    let expected = |key: &str, value: Value, source: &str| json!({ "key": key, "value": value, "source": source });
    assert_eq!(value("transport"), expected("transport", json!("webrtc-rs"), "--set transport"));
    assert_eq!(value("microphone"), expected("microphone", json!("speech"), "blink.toml"));
    assert_eq!(value("call.ring_time"), expected("call.ring_time", json!("9s"), "--set call.ring_time"));
    assert_eq!(value("signaling"), expected("signaling", json!("libp2p"), "default"));
    assert_eq!(value("data_dir"), expected("data_dir", Value::Null, "--ephemeral"));
}

#[test]
fn the_guide_explains_every_key() {
    let guide = include_str!("../../../docs/integrators.md");
    let directory = tempfile::tempdir().unwrap();
    let values = run(directory.path(), &["config", "--json"]).objects();
    for value in values.as_array().unwrap() {
        let key = value["key"].as_str().unwrap();
        // Timers are documented in a separate table.
        let named = key.strip_prefix("call.timers.").unwrap_or(key);
        assert!(guide.contains(&format!("`{named}`")), "`{key}` is not explained");
    }
}

#[test]
fn configurations_in_signaling_readmes_are_valid() {
    let directory = tempfile::tempdir().unwrap();
    for (name, document) in [
        ("ipfs", include_str!("../../../signaling/ipfs/README.md")),
        ("libp2p", include_str!("../../../signaling/libp2p/README.md")),
    ] {
        let (_, rest) = document.split_once("```toml\n").expect("the document has such a block");
        let (block, _) = rest.split_once("```").expect("a block ends");
        std::fs::write(directory.path().join("blink.toml"), block).unwrap();
        let ended = run(directory.path(), &["config", "--json"]);
        assert_eq!(ended.status, 0, "{ended:?}");
        let expected = json!({ "key": "signaling", "value": name, "source": "blink.toml" });
        assert!(ended.objects().as_array().unwrap().contains(&expected), "{ended:?}");
    }
}

#[test]
fn an_identity_is_stored_only_with_a_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let id = |arguments: &[&str]| {
        let ended = run(directory.path(), &[&["id", "--json"], arguments].concat());
        assert_eq!((ended.status, ended.lines.len()), (0, 1), "{ended:?}");
        ended.last()
    };
    let (first, second) = (id(&["--ephemeral"]), id(&["--ephemeral"]));
    assert_eq!(first["kept"], false);
    assert!(first["did"].as_str().unwrap().starts_with("did:key:z6Mk"));
    assert_ne!(first["did"], second["did"]);
    let keep = ["--set", "data_dir=kept"];
    let (first, second) = (id(&keep), id(&keep));
    assert_eq!(first["kept"], true);
    assert_eq!((&first["did"], &first["device"]), (&second["did"], &second["device"]));
}

#[test]
fn history_is_initially_empty_and_requires_a_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = run(directory.path(), &["history", "--ephemeral"]);
    assert_eq!(nowhere.status, 2, "{nowhere:?}");
    assert!(nowhere.errors.contains("data_dir"), "{nowhere:?}");
    let empty = run(directory.path(), &["history", "--json", "--set", "data_dir=kept"]);
    assert_eq!((empty.status, empty.objects()), (0, json!([])), "{empty:?}");
    assert!(!directory.path().join("kept").exists(), "reading creates nothing");
    run(directory.path(), &["id", "--set", "data_dir=kept"]);
    let kept = run(directory.path(), &["history", "--set", "data_dir=kept"]);
    assert_eq!((kept.status, &kept.lines[..]), (0, &["no calls".to_owned()][..]), "{kept:?}");
}

#[test]
fn a_damaged_data_directory_is_repaired_and_keeps_its_identity() {
    let directory = tempfile::tempdir().unwrap();
    let keep = ["--json", "--set", "data_dir=kept"];
    let id = |arguments: &[&str]| run(directory.path(), &[&["id"], arguments].concat());
    let did = id(&keep).last()["did"].clone();
    let repair = |directory: &std::path::Path| run(directory, &[&["history", "--repair"][..], &keep].concat());
    assert_eq!(repair(directory.path()).objects(), json!([]), "it is intact");
    let file = directory.path().join("kept/blink.redb");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[..64].fill(0x55);
    std::fs::write(&file, &bytes).unwrap();
    let refused = id(&keep);
    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(refused.errors.contains("blink history --repair") && refused.errors.contains("kept"), "{refused:?}");
    let repaired = repair(directory.path());
    assert_eq!(repaired.status, 0, "{repaired:?}");
    let told: serde_json::Value = serde_json::from_str(&repaired.lines[0]).unwrap();
    assert_eq!((&told["identity"], &told["verified"]), (&did, &json!(true)), "{told}");
    assert_eq!(
        std::fs::read(told["damaged"].as_str().map(|path| directory.path().join(path)).unwrap()).unwrap(),
        bytes
    );
    assert_eq!(id(&keep).last()["did"], did);
}
