//! Tests of the state and of the screens, without a terminal and without an engine.

mod behaviour;
mod hostile;
mod panics;
mod picture;
mod screens;

use std::time::{Duration, Instant};

use blink_api::{AudioLevel, CallId, DeviceDirection, DeviceId, Did, Endpoint, StreamId, TrackKind};
use blink_engine::{
    CallDirection, CallOutcome, CallState, Device, HistoryEntry, ParticipantState, ParticipantStatus, Presence,
    StreamInfo,
};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::action::Action;
use super::state::{CallView, Own, PersonView, State};
use crate::contacts::Contacts;
use crate::invite::Invite;

/// Unix time of all tests: 2023-11-14 22:13:20 UTC.
const UNIX_MS: u64 = 1_700_000_000_000;

fn did(n: u8) -> Did {
    // Public keys of RFC 8032 §7.1 and of fixed seeds: any valid ones.
    const DIDS: [&str; 3] = [
        "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
        "did:key:z6MknGc3ocHs3zdPiJbnaaqDi58NGb4pk1Sp9WxWufuXSdxf",
        "did:key:z6MkvqoYXQfDDJRv8L4wKzxYeuKyVZBfi9Qo6Ro8MiLH3kDQ",
    ];
    DIDS[usize::from(n)].parse().unwrap()
}

fn endpoint(n: u8) -> Endpoint {
    Endpoint { did: did(n), device: DeviceId::from_random([n; 16]) }
}

fn call_id(n: u8) -> CallId {
    CallId::from_bytes([n; 16])
}

/// State of a program that was started just now.
fn fresh() -> State {
    let setting = |key: &str, value: serde_json::Value, source: &str| blink_api::EffectiveValue {
        key: key.to_owned(),
        value,
        source: source.to_owned(),
    };
    let settings = vec![
        setting("call.ring_time", "60s".into(), "default"),
        setting("microphone", "cpal/USB Headset".into(), "blink.toml"),
        setting("transport", "str0m".into(), "BLINK_TRANSPORT"),
    ];
    let mut state = State::new(Own { endpoint: endpoint(0), is_kept: true }, settings, ("default", "default"));
    state.nodes = 2;
    state
}

/// State with two contacts and three past calls.
fn with_contacts() -> State {
    let mut state = fresh();
    let mut contacts = Contacts::default();
    for (name, n) in [("Bob", 1), ("Carol", 2)] {
        let addresses = vec!["/ip4/192.0.2.1/tcp/4001".to_owned()];
        contacts.add(name, Invite { did: Some(did(n)), addresses, ..Invite::default() }).unwrap();
    }
    contacts.set_verified("Bob", true).unwrap();
    state.set_contacts(contacts);
    state.presence.insert(did(1), Presence::Online);
    let entry = |n: u8, direction, from, outcome, ago: u64| {
        let mut entry =
            HistoryEntry::new(call_id(n), direction, did(from), vec![did(0), did(1), did(2)], UNIX_MS - ago);
        entry.outcome = outcome;
        (entry.answered_ms, entry.ended_ms) = (Some(UNIX_MS - ago + 5_000), Some(UNIX_MS - ago + 88_000));
        entry
    };
    state.history = vec![
        entry(1, CallDirection::Incoming, 2, CallOutcome::Missed, 120_000),
        entry(2, CallDirection::Incoming, 1, CallOutcome::Answered, 7_200_000),
        entry(3, CallDirection::Outgoing, 0, CallOutcome::Unanswered, 260_000_000),
    ];
    state.missed = 1;
    state
}

fn person(n: u8, status: ParticipantStatus) -> PersonView {
    PersonView {
        did: did(n),
        endpoint: Some(endpoint(n)),
        status,
        state: ParticipantState::default(),
        speaking: false,
        streams: Vec::new(),
    }
}

fn view(n: u8, state: CallState, people: Vec<PersonView>) -> CallView {
    CallView { call: call_id(n), state, from: people[0].did, people, since: None }
}

fn stream(name: &str) -> StreamInfo {
    StreamInfo {
        stream: StreamId::from_random([7; 16]),
        kind: TrackKind::Video,
        codec: "VP8".to_owned(),
        name: name.to_owned(),
    }
}

/// State in a call with Bob, who is heard, and Carol, whose path is lost. 83 s later is `now`.
fn in_call(now: Instant) -> State {
    let mut state = with_contacts();
    let mut bob = person(1, ParticipantStatus::Connected);
    (bob.state.recording, bob.speaking, bob.streams) = (true, true, vec![stream("screen")]);
    let carol = person(2, ParticipantStatus::Reconnecting);
    let begun = now.checked_sub(Duration::from_secs(83)).unwrap_or(now);
    state.take(vec![view(9, CallState::Active, vec![bob, carol])], begun, (true, false, false));
    state.levels.insert(endpoint(0), AudioLevel::new(40, false));
    state.levels.insert(endpoint(1), AudioLevel::new(20, true));
    let path = super::state::PathView {
        kind: Some(blink_api::MediaPath::Direct),
        round_trip: Some(Duration::from_millis(23)),
        loss: 0.0123,
    };
    state.paths.insert(endpoint(1), path);
    state.quality.insert(endpoint(1), vec![blink_api::QualityReason::Loss { measured: 0.125, threshold: 0.05 }]);
    state.volumes.insert(endpoint(2), 1.5);
    state
}

fn devices() -> Vec<Device> {
    let device = |name: &str, summary: &str, direction| Device::new("cpal", name, summary, direction, TrackKind::Audio);
    let mut headset = device("USB Headset", "hw:1", DeviceDirection::Source);
    headset.in_use = true;
    let pattern = Device::new("synthetic", "wav:PATH", "a WAV file", DeviceDirection::Source, TrackKind::Audio);
    let camera = Device::new("v4l", "video0", "a camera", DeviceDirection::Source, TrackKind::Video);
    vec![headset, pattern, camera, device("Speakers", "hw:0", DeviceDirection::Sink)]
}

fn press(state: &mut State, code: KeyCode, now: Instant) -> Vec<Action> {
    state.on_key(KeyEvent::new(code, KeyModifiers::NONE), now)
}

/// Presses the keys of a text, and returns the actions of the last one.
fn type_text(state: &mut State, text: &str, now: Instant) -> Vec<Action> {
    text.chars().map(|c| press(state, KeyCode::Char(c), now)).last().unwrap_or_default()
}
