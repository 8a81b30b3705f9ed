//! Which codec sound is sent with, in what frames and how many channels: whole engines on the
//! memory backends.

mod people;

use std::collections::BTreeMap;
use std::time::Duration;

use blink_api::{Configuration, ErrorKind, Registry};
use blink_engine::{AudioConfig, CallConfig, EndReason, Event};
use blink_media_g711 as _;
use blink_transport_memory::Hub;
use people::{Person, Town};

fn media(event: &Event) -> bool {
    matches!(event, Event::MediaStarted { .. })
}

/// The codecs that somebody sends with, and how many packets were decoded of each participant.
async fn sent_and_heard(person: &Person) -> BTreeMap<String, (String, u64)> {
    let statistics = person.blink.statistics().await.unwrap();
    statistics
        .into_iter()
        .map(|one| (one.participant.did.to_string(), (one.codec, one.audio.packets_decoded)))
        .collect()
}

/// Of three people, two have Opus and all have PCMU: those two use Opus, and send PCMU to the
/// third.
#[tokio::test(start_paused = true)]
async fn each_pair_uses_the_most_preferred_codec_that_both_have() {
    let town = Town::new();
    let mut alice = town.person_with(1, "tone:440", &["codec=[opus,pcmu]"]).await;
    let mut bob = town.person_with(2, "tone:700", &["codec=pcmu"]).await;
    let mut carol = town.person_with(3, "tone:1000", &["codec=[opus,pcma,pcmu]"]).await;
    alice.blink.offer_call(&[bob.blink.did(), carol.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    carol.answers().await;
    for person in [&mut alice, &mut bob, &mut carol] {
        person.until("the first is heard", media).await;
        person.until("the second is heard", media).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let [a, b, c] = [&alice, &bob, &carol].map(|person| person.blink.did().to_string());
    for (person, expected) in [
        (&alice, [(&b, "PCMU"), (&c, "opus")]),
        (&bob, [(&a, "PCMU"), (&c, "PCMU")]),
        (&carol, [(&a, "opus"), (&b, "PCMU")]),
    ] {
        let all = sent_and_heard(person).await;
        for (other, codec) in expected {
            let (sent, decoded) = &all[other];
            assert_eq!(sent, codec);
            assert!(*decoded > 100, "{decoded} packets were decoded");
        }
        assert!(
            person.told.iter().filter(|event| media(event)).nth(2).is_none(),
            "each starts once: {:?}",
            person.told
        );
    }
}

/// Where packets are lost, those after them carry copies, and what was lost is played from these.
#[tokio::test(start_paused = true)]
async fn lost_sound_comes_with_the_packets_after_it() {
    let town = Town::new();
    let mut alice = town.person_with(1, "tone:440", &["codec=opus"]).await;
    let mut bob = town.person_with(2, "tone:700", &["codec=opus"]).await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    for person in [&mut alice, &mut bob] {
        person.until("the other is heard", media).await;
    }
    let recovered = async |person: &Person| {
        let statistics = person.blink.statistics().await.unwrap();
        (statistics[0].audio.red_recovered, statistics[0].audio.packets_lost)
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    for person in [&alice, &bob] {
        assert_eq!(recovered(person).await.0, 0, "nothing was lost so far");
    }
    town.registry().shared().of::<Hub>().lose(0.15, 7);
    tokio::time::sleep(Duration::from_secs(20)).await;
    for person in [&alice, &bob] {
        let (recovered, lost) = recovered(person).await;
        assert!(lost > 80, "a share of 0.15 of 1,000 packets is lost, and not {lost}");
        assert!(recovered > lost / 2, "of {lost} packets, {recovered} came with later ones");
    }
}

/// Two people without a codec in common have no path: the call ends on both sides, and says that it
/// failed.
#[tokio::test(start_paused = true)]
async fn without_a_common_codec_the_call_fails_on_both_sides() {
    let town = Town::new();
    let mut alice = town.person_with(1, "tone:440", &["codec=opus"]).await;
    let mut bob = town.person_with(2, "tone:700", &["codec=[pcmu,pcma]"]).await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    for person in [&mut alice, &mut bob] {
        let failed = |event: &Event| matches!(event, Event::CallEnded { reason: EndReason::Failed, .. });
        person.until("the call failed", failed).await;
    }
}

/// Every length of frames, one channel and two, both codecs: what one says the other hears.
#[tokio::test(start_paused = true)]
async fn a_call_sounds_as_it_was_offered() {
    for (frame_ms, channels, codec) in
        [(10, 1, "opus"), (40, 1, "opus"), (60, 2, "opus"), (20, 2, "PCMA"), (10, 1, "PCMA")]
    {
        let town = Town::new();
        let settings = ["codec=[opus,pcma]"];
        let mut alice = town.person_with(1, "tone:440", &settings).await;
        let mut bob = town.person_with(2, "tone:1000", &settings).await;
        let audio = AudioConfig {
            codecs: vec![codec.to_owned()],
            frame: Some(Duration::from_millis(frame_ms)),
            channels: Some(channels),
            bitrate: Some(24_000),
        };
        alice.blink.offer_call(&[bob.blink.did()], CallConfig { audio, ..CallConfig::default() }).await.unwrap();
        bob.answers().await;
        alice.until("media", media).await;
        bob.until("media", media).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let statistics = bob.blink.statistics().await.unwrap().remove(0);
        assert_eq!(statistics.codec, codec, "what the other offered is all that both have");
        let (decoded, concealed) = (statistics.audio.packets_decoded, statistics.audio.concealed_samples);
        let expected = 2_000 / frame_ms;
        assert!(decoded > expected / 2 && decoded < expected * 2, "{decoded} packets of {frame_ms} ms in 2 s");
        assert_eq!(concealed, 0);
        alice.blink.shutdown().await;
        bob.blink.shutdown().await;
        let heard = blink_media_synthetic::read_wav(&alice.heard).unwrap();
        assert_eq!(heard.format.channels, channels, "{codec}");
        let power = heard.samples.iter().map(|sample| sample * sample).sum::<f32>() / heard.samples.len() as f32;
        assert!(power > 1e-4, "{frame_ms} ms, {channels} channels, {codec}: {power}");
    }
}

/// Settings that cannot be sent are refused before a call is offered, in words that name what is
/// wrong.
#[tokio::test(start_paused = true)]
async fn sound_that_cannot_be_sent_is_refused() {
    let town = Town::new();
    let alice = town.person_with(1, "tone:440", &["codec=[opus,pcmu]"]).await;
    let bob = town.person_with(2, "tone:440", &["codec=opus"]).await;
    let audio = AudioConfig::default;
    for (audio, kind, named) in [
        (AudioConfig { frame: Some(Duration::from_millis(30)), ..audio() }, ErrorKind::Invalid, "frame"),
        (AudioConfig { channels: Some(3), ..audio() }, ErrorKind::Invalid, "channels"),
        (AudioConfig { bitrate: Some(1), ..audio() }, ErrorKind::Invalid, "bitrate"),
        (AudioConfig { codecs: vec!["G722".to_owned()], ..audio() }, ErrorKind::NotFound, "G722"),
    ] {
        let config = CallConfig { audio, ..CallConfig::default() };
        let error = alice.blink.offer_call(&[bob.blink.did()], config).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
    assert!(alice.blink.current_call().await.unwrap().is_none());
}

/// The configuration takes one codec or a list of them, and refuses what is not there, what is
/// there twice, and sound out of range.
#[test]
fn the_configuration_names_one_codec_or_several() {
    let registry = Registry::discovered().unwrap();
    let build = |settings: &[&str]| {
        settings
            .iter()
            .fold(Configuration::builder(&registry), |builder, one| builder.set_argument("test", one))
            .build()
    };
    assert_eq!(build(&["codec=pcmu"]).unwrap().settings().codec, ["pcmu"]);
    let several = build(&["codec=[opus, pcma]"]).unwrap();
    let chosen: Vec<_> =
        several.chosen_all::<dyn blink_api::AudioCodec>().unwrap().iter().map(|entry| entry.name).collect();
    assert_eq!(chosen, ["opus", "pcma"]);
    assert_eq!(several.chosen::<dyn blink_api::AudioCodec>().unwrap().name, "opus");
    for (settings, named) in [
        (&["codec=[opus,speex]"][..], "speex"),
        (&["codec=[opus,opus]"], "twice"),
        (&["codec=3"], "codec"),
        (&["codec=opus", "call.audio.frame=30ms"], "frame"),
        (&["codec=opus", "call.audio.channels=0"], "channels"),
        (&["codec=opus", "call.audio.bitrate=5999"], "bitrate"),
    ] {
        let error = build(settings).err().unwrap().to_string();
        assert!(error.contains(named) && !error.contains('\n'), "{error}");
    }
}
