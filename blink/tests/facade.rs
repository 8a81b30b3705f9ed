//! The crate as a program uses it.

use blink::prelude::*;
// Backends of crates that the program names itself.
use {blink_signaling_memory as _, blink_transport_memory as _, blink_transport_webrtc_rs as _};

#[test]
fn the_first_backend_of_each_kind_is_the_default() {
    let configuration = blink::builder().build().unwrap();
    let value = |key: &str| {
        let all = configuration.effective();
        all.into_iter().find(|value| value.key == key).map(|value| (value.value, value.source)).unwrap()
    };
    // Further backends are there, and change nothing.
    assert_eq!(value("transport"), ("str0m".into(), "default".to_owned()));
    assert_eq!(value("signaling"), ("libp2p".into(), "default".to_owned()));
    assert_eq!(value("codec").0[0], "opus");
    let configuration = blink::builder().transport("memory").signaling("memory").microphone("speech").build().unwrap();
    let all = configuration.effective();
    let microphone = all.iter().find(|value| value.key == "microphone").unwrap();
    assert_eq!((microphone.value.as_str(), &*microphone.source), (Some("speech"), "the program"));
}

#[test]
fn wrong_values_are_refused_with_their_source() {
    let error = blink::builder().set("call.ring_tiem", "20s").build().unwrap_err().to_string();
    assert!(error.contains("ring_tiem") && error.contains("the program"), "{error}");
    let error = blink::builder().transport("carrier-pigeon").build().unwrap_err().to_string();
    assert!(error.contains("carrier-pigeon") && error.contains("str0m"), "{error}");
}

#[cfg(not(feature = "ipfs"))]
#[test]
fn a_backend_whose_feature_is_off_is_named_with_it() {
    let error = blink::builder().signaling("ipfs").build().unwrap_err().to_string();
    assert!(error.contains("no signaling `ipfs`") && error.contains("`ipfs` of the crate `blink`"), "{error}");
}

#[test]
fn an_optional_file_may_be_missing_and_must_be_right() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("blink.toml");
    blink::builder().optional_file(&path).build().unwrap();
    assert!(blink::builder().file(&path).build().is_err());
    std::fs::write(&path, "transport = \"memory\"\n").unwrap();
    let configuration = blink::builder().optional_file(&path).build().unwrap();
    assert!(configuration.effective().iter().any(|value| value.key == "transport" && value.value == "memory"));
    std::fs::write(&path, "transport = 3\n").unwrap();
    assert!(blink::builder().optional_file(&path).build().is_err());
}

fn person(microphone: &str) -> blink::Builder {
    let builder = blink::builder().transport("memory").signaling("memory").codecs(&["opus"]);
    builder.media_hosts(&["synthetic"]).microphone(microphone).speaker("null")
}

/// A microphone that cannot be is an error at start, not a silent call.
#[tokio::test]
async fn a_missing_microphone_is_an_error_at_start() {
    let text = |error: Error| error.to_string();
    let error = text(person("usb").start().await.unwrap_err());
    assert!(error.contains("microphone `usb`") && error.contains("set in=the program"), "{error}");
    let error = text(person("wav:/no/such/file.wav").start().await.unwrap_err());
    assert!(error.contains("/no/such/file.wav") && error.contains("key=microphone"), "{error}");
    let error = text(person("speech").speaker("usb").start().await.unwrap_err());
    assert!(error.contains("speaker `usb`"), "{error}");
    person("none").start().await.unwrap().shutdown().await;
}

/// Two persons in one program: the backends inside a process are shared by a registry.
#[tokio::test]
async fn two_persons_of_one_registry_call_each_other() {
    let registry = blink::Registry::discovered().unwrap();
    let person = |microphone: &str| {
        let builder = blink::Builder::new(&registry).transport("memory").signaling("memory");
        builder.media_hosts(&["synthetic"]).microphone(microphone).speaker("null").start()
    };
    let (alice, bob) = (person("tone:440").await.unwrap(), person("speech").await.unwrap());
    let (mut heard_by_alice, mut heard_by_bob) = (alice.events(), bob.events());
    alice.offer_call(&[bob.did()], CallConfig::default()).await.unwrap();
    let answer = async {
        while let Some(EventItem::Event(event)) = heard_by_bob.next().await {
            match event {
                Event::IncomingCall { call, .. } => drop(bob.answer_call(call).await.unwrap()),
                Event::MediaStarted { .. } => return,
                _ => {}
            }
        }
        panic!("bob hears nothing")
    };
    let listen = async {
        while let Some(EventItem::Event(event)) = heard_by_alice.next().await {
            if matches!(event, Event::MediaStarted { .. }) {
                return;
            }
        }
        panic!("alice hears nothing")
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), async { tokio::join!(answer, listen) }).await.unwrap();
    alice.shutdown().await;
    bob.shutdown().await;
}
