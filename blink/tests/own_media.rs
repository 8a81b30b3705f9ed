//! Own samples, decoded audio and messages through the facade, between two WebRTC stacks over real
//! sockets.

use std::f64::consts::PI;
use std::time::Duration;

use blink::prelude::*;
use blink::{AudioFrames, Endpoint, Events, Microphone, Registry, TrackKey};
use {blink_signaling_memory as _, blink_transport_webrtc_rs as _};

/// Timeout of anything that should happen soon, on a machine that runs other tests.
const SOON: Duration = Duration::from_secs(30);

async fn start(registry: &Registry, transport: &str, microphone: &Microphone) -> Blink {
    let builder = blink::Builder::new(registry).transport(transport).signaling("memory").codecs(&["opus"]);
    let builder = builder.media_hosts(&["synthetic"]).speaker("null").set("ice.interfaces", vec!["127.0.0.1"]);
    builder.engine().unwrap().microphone(microphone).start().await.unwrap()
}

async fn until<T>(events: &mut Events, what: &str, mut is: impl FnMut(Event) -> Option<T>) -> T {
    let wait = async {
        loop {
            if let EventItem::Event(event) = events.next().await.expect("the engine runs")
                && let Some(found) = is(event)
            {
                return found;
            }
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("no {what}"))
}

fn joined(event: Event) -> Option<Endpoint> {
    match event {
        Event::ParticipantJoined { participant, .. } => Some(participant),
        _ => None,
    }
}

fn message(event: Event) -> Option<Vec<u8>> {
    match event {
        Event::MessageReceived { message, .. } => Some(message),
        _ => None,
    }
}

/// A second of a tone.
fn tone(rate: u32, hertz: f64) -> Vec<f32> {
    (0..rate).map(|n| (0.5 * (f64::from(n) * hertz / f64::from(rate) * 2.0 * PI).sin()) as f32).collect()
}

/// Reads until half a second of a tone arrived.
async fn hears(frames: &mut AudioFrames, hertz: f64) {
    let wait = async {
        let mut heard = Vec::new();
        loop {
            let frame = frames.next().await.expect("the track goes on");
            assert_eq!((frame.format.sample_rate, frame.samples.len()), (48_000, 480));
            heard.extend(frame.samples);
            let newest = &heard[heard.len().saturating_sub(24_000)..];
            let (mut re, mut im, mut total) = (0.0, 0.0, 1e-9);
            for (n, sample) in newest.iter().enumerate() {
                let (angle, sample) = (n as f64 * hertz / 48_000.0 * 2.0 * PI, f64::from(*sample));
                re += sample * angle.cos();
                im += sample * angle.sin();
                total += sample * sample;
            }
            if newest.len() == 24_000 && 2.0 * (re * re + im * im) / (24_000.0 * total) > 0.9 && total > 100.0 {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("no tone of {hertz} Hz"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_and_messages_pass_between_two_stacks() {
    let registry = Registry::discovered().unwrap();
    let (says, answers) = (Microphone::samples(24_000, 1).unwrap(), Microphone::samples(44_100, 2).unwrap());
    let alice = start(&registry, "str0m", &says).await;
    let bob = start(&registry, "webrtc-rs", &answers).await;
    let (mut of_alice, mut of_bob) = (alice.events(), bob.events());
    alice.offer_call(&[bob.did()], CallConfig::default()).await.unwrap();
    let ringing = |event| match event {
        Event::IncomingCall { call, .. } => Some(call),
        _ => None,
    };
    let call = until(&mut of_bob, "call", ringing).await;
    bob.answer_call(call).await.unwrap();
    let bobs = until(&mut of_alice, "participant", joined).await;
    let alices = until(&mut of_bob, "participant", joined).await;

    let mut from_bob = alice.audio_frames(TrackKey::microphone(bobs)).await.unwrap();
    let mut from_alice = bob.audio_frames(TrackKey::microphone(alices)).await.unwrap();
    let speak = tokio::spawn(async move {
        let stereo: Vec<_> = tone(44_100, 900.0).into_iter().flat_map(|sample| [sample, sample]).collect();
        let mono = tone(24_000, 700.0);
        // Until the test has heard enough.
        loop {
            let (said, answered) = tokio::join!(says.push(&mono), answers.push(&stereo));
            said.and(answered).unwrap();
        }
    });
    tokio::join!(hears(&mut from_alice, 700.0), hears(&mut from_bob, 900.0));
    let mut ends_of_alice = alice.events();
    speak.abort();

    for n in 0..5 {
        alice.send_message(bobs, format!("question {n}")).await.unwrap();
        bob.send_message_to_all(vec![n; 16_384]).await.unwrap();
    }
    for n in 0..5 {
        assert_eq!(until(&mut of_bob, "question", message).await, format!("question {n}").into_bytes());
        assert_eq!(until(&mut of_alice, "answer", message).await, vec![n; 16_384]);
    }
    let ended = |event| matches!(event, Event::SourceEnded { .. }).then_some(());
    until(&mut ends_of_alice, "end of the microphone", ended).await;
    alice.shutdown().await;
    while from_alice.next().await.is_some() {}
    bob.shutdown().await;
}
