//! Effects of keys and of the engine's inputs.

use std::time::{Duration, Instant};

use blink_api::{DeviceDirection, TrackKind};
use blink_engine::{CallState, EndReason, Event, ParticipantStatus};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::super::action::{Action, Outcome};
use super::super::prompt::Question;
use super::super::state::{Focus, Page};
use super::{call_id, devices, did, endpoint, fresh, in_call, person, press, stream, type_text, view, with_contacts};
use crate::contacts::safety_words;
use crate::invite::Invite;
use crate::target::Target;

const NOT_RINGING: (bool, bool, bool) = (false, false, false);

fn ringing(n: u8, from: u8) -> super::CallView {
    view(n, CallState::Ringing, vec![person(from, ParticipantStatus::Invited)])
}

#[test]
fn a_ringing_call_sounds_the_bell_once_and_is_answered_or_rejected_by_key() {
    let now = Instant::now();
    for (key, expected) in [('y', [Action::Answer(call_id(1))]), ('n', [Action::Reject(call_id(1))])] {
        let mut state = with_contacts();
        assert!(press(&mut state, KeyCode::Char(key), now).is_empty(), "nothing rings");
        state.take(vec![ringing(1, 1)], now, NOT_RINGING);
        assert_eq!(state.renew_alert(now), [Action::Bell]);
        state.take(vec![ringing(1, 1)], now, NOT_RINGING);
        assert!(state.renew_alert(now).is_empty());
        assert!(state.rings_aloud() && state.title() == "Blink: Bob calls");
        assert_eq!(press(&mut state, KeyCode::Char(key), now), expected);
        assert!(press(&mut state, KeyCode::Char(key), now).is_empty() && !state.rings_aloud());
        // The engine refuses, for want of a microphone.
        state.on_outcome(Outcome::Failed("no microphone".to_owned()));
        assert_eq!(press(&mut state, KeyCode::Char(key), now), expected);
        state.take(Vec::new(), now, NOT_RINGING);
        state.renew_alert(now);
        assert!(!state.rings_aloud() && state.title() == "Blink: 1 missed");
    }
}

#[test]
fn a_key_that_was_meant_for_another_call_answers_none() {
    let now = Instant::now();
    let mut state = fresh();
    state.take(vec![ringing(1, 1), ringing(2, 2)], now, NOT_RINGING);
    state.renew_alert(now);
    // The first one is cancelled just before the key.
    state.take(vec![ringing(2, 2)], now, NOT_RINGING);
    assert_eq!(state.renew_alert(now), [Action::Bell]);
    assert!(press(&mut state, KeyCode::Char('y'), now + Duration::from_millis(100)).is_empty());
    assert_eq!(press(&mut state, KeyCode::Char('y'), now + Duration::from_secs(1)), [Action::Answer(call_id(2))]);
}

#[test]
fn a_message_is_typed_in_a_call_and_received_ones_are_shown_each_with_its_sender() {
    let now = Instant::now();
    let mut state = with_contacts();
    assert!(press(&mut state, KeyCode::Char('t'), now).is_empty() && state.prompt.is_none(), "without a call");
    let mut state = in_call(now);
    press(&mut state, KeyCode::Char('t'), now);
    assert_eq!(state.prompt.as_ref().map(|prompt| prompt.question), Some(Question::Message));
    type_text(&mut state, "hello y n", now);
    assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::Message("hello y n".to_owned())]);
    press(&mut state, KeyCode::Char('t'), now);
    assert!(press(&mut state, KeyCode::Enter, now).is_empty(), "an empty one is not sent");
    let (call, participant) = (call_id(1), endpoint(0));
    let name = "Eve".to_owned();
    state.on_event(&Event::ParticipantNamed { call, participant, name });
    for _ in 0..2 {
        state.on_event(&Event::MessageReceived { call, participant, message: b"hi".to_vec() });
    }
    let shown: Vec<_> = state.notices.iter().rev().take(2).collect();
    assert!(shown.iter().all(|text| text.starts_with("message from \u{201c}Eve\u{201d} z6Mk")), "{shown:?}");
    assert!(shown.iter().all(|text| text.ends_with(": hi")), "{shown:?}");
}

#[test]
fn what_is_typed_into_a_prompt_answers_no_call() {
    let now = Instant::now();
    let mut state = with_contacts();
    press(&mut state, KeyCode::Char('c'), now);
    state.take(vec![ringing(1, 1)], now, NOT_RINGING);
    state.renew_alert(now);
    assert!(type_text(&mut state, "yn", now).is_empty());
    assert_eq!(state.prompt.as_ref().unwrap().text(), "yn");
    press(&mut state, KeyCode::Esc, now);
    assert_eq!(press(&mut state, KeyCode::Char('y'), now), [Action::Answer(call_id(1))]);
}

#[test]
fn a_call_in_a_call_rings_without_a_tone() {
    let now = Instant::now();
    let mut state = in_call(now);
    let current = state.call.clone().unwrap();
    state.take(vec![current, ringing(1, 1)], now, NOT_RINGING);
    assert_eq!(state.renew_alert(now), [Action::Bell]);
    assert!(!state.rings_aloud());
}

#[test]
fn people_are_called_by_contact_past_call_name_and_address() {
    let now = Instant::now();
    let mut state = with_contacts();
    let address = "/ip4/192.0.2.1/tcp/4001".to_owned();
    let none = || (Vec::new(), Vec::new());
    let target = |n| {
        let (nodes, servers) = none();
        Target { did: did(n), addresses: vec![address.clone()], nodes, servers }
    };
    assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::Call(vec![target(1)])]);
    press(&mut state, KeyCode::Down, now);
    assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::Call(vec![target(2)])]);
    press(&mut state, KeyCode::Tab, now);
    assert_eq!((state.focus, state.missed), (Focus::Calls, 0));
    assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::Call(vec![target(2)])]);
    press(&mut state, KeyCode::End, now);
    assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::Call(vec![target(1), target(2)])]);
    press(&mut state, KeyCode::Char('c'), now);
    type_text(&mut state, "bob", now);
    assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::Call(vec![target(1)])]);
    state.on_paste(&format!("{}@memory:1\n", did(2)));
    let (nodes, servers) = none();
    let pasted = Target { did: did(2), addresses: vec!["memory:1".to_owned()], nodes, servers };
    assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::Call(vec![pasted])]);
    press(&mut state, KeyCode::Char('c'), now);
    type_text(&mut state, "dave", now);
    assert!(press(&mut state, KeyCode::Enter, now).is_empty());
    assert!(state.notices.back().unwrap().contains("dave"), "{:?}", state.notices);
}

#[test]
fn keys_of_a_call_mute_deafen_record_and_hang_up_on_every_page() {
    let now = Instant::now();
    let mut state = in_call(now);
    for page in [Page::Main, Page::Devices, Page::Messages] {
        state.page = page;
        (state.muted, state.deafened, state.recording) = (true, false, false);
        assert_eq!(press(&mut state, KeyCode::Char('m'), now), [Action::Mute(false)]);
        assert_eq!(press(&mut state, KeyCode::Char('m'), now), [Action::Mute(true)]);
        assert_eq!(press(&mut state, KeyCode::Char('e'), now), [Action::Deafen(true)]);
        let names = vec![(did(1), "Bob".to_owned()), (did(2), "Carol".to_owned())];
        assert_eq!(press(&mut state, KeyCode::Char('r'), now), [Action::Record(names)]);
        state.recording = true;
        assert_eq!(press(&mut state, KeyCode::Char('r'), now), [Action::StopRecording]);
        assert_eq!(press(&mut state, KeyCode::Char('h'), now), [Action::Leave]);
    }
}

#[test]
fn volume_is_that_of_the_selected_participant_within_0_and_400_percent() {
    let now = Instant::now();
    let mut state = in_call(now);
    assert_eq!(press(&mut state, KeyCode::Char('+'), now), [Action::Volume(endpoint(1), 1.1)]);
    press(&mut state, KeyCode::Down, now);
    assert_eq!(press(&mut state, KeyCode::Char('-'), now), [Action::Volume(endpoint(2), 1.4)]);
    for _ in 0..50 {
        press(&mut state, KeyCode::Char('+'), now);
    }
    assert_eq!(state.volume(&endpoint(2)), 4.0);
    for _ in 0..50 {
        press(&mut state, KeyCode::Char('-'), now);
    }
    assert_eq!((state.volume(&endpoint(2)), state.volume(&endpoint(1))), (0.0, 1.1));
}

#[test]
fn devices_are_chosen_and_patterns_ask_for_their_parameter() {
    let now = Instant::now();
    let mut state = fresh();
    assert_eq!(press(&mut state, KeyCode::Char('d'), now), [Action::ListDevices]);
    state.on_outcome(Outcome::Devices(devices()));
    let names: Vec<_> = state.device_rows().into_iter().map(|row| row.name).collect();
    let expected = ["default", "none", "cpal/USB Headset", "synthetic/wav:PATH", "default", "none", "cpal/Speakers"];
    assert_eq!(names, expected);
    (state.selected.device, state.page) = (2, Page::Devices);
    let headset = "cpal/USB Headset".to_owned();
    assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::Choose(DeviceDirection::Source, headset.clone())]);
    state.on_outcome(Outcome::Chosen(DeviceDirection::Source, headset));
    assert!(state.device_rows()[2].chosen);
    press(&mut state, KeyCode::Down, now);
    assert!(press(&mut state, KeyCode::Enter, now).is_empty());
    type_text(&mut state, "a.wav", now);
    let file = "synthetic/wav:a.wav".to_owned();
    assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::Choose(DeviceDirection::Source, file)]);
}

#[test]
fn streams_are_offered_watched_and_revoked() {
    let now = Instant::now();
    let mut state = in_call(now);
    state.streams = vec![stream("mine")];
    press(&mut state, KeyCode::Char('w'), now);
    let id = stream("").stream;
    assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::Watch(endpoint(1), id)]);
    state.on_outcome(Outcome::Watched(endpoint(1), id, Some((1, 1))));
    assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::Unwatch(endpoint(1), id)]);
    press(&mut state, KeyCode::Down, now);
    assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::RevokeStream(id)]);
    for (source, kind) in [("clip:vp8", TrackKind::Video), ("speech", TrackKind::Audio)] {
        press(&mut state, KeyCode::Char('o'), now);
        type_text(&mut state, source, now);
        assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::OfferStream(kind, source.to_owned())]);
    }
}

#[test]
fn quitting_asks_in_a_call_only() {
    let now = Instant::now();
    assert_eq!(press(&mut fresh(), KeyCode::Char('q'), now), [Action::Quit]);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(fresh().on_key(control_c, now), [Action::Quit]);
    let mut state = in_call(now);
    assert!(state.on_key(control_c, now).is_empty());
    assert_eq!(state.prompt.as_ref().unwrap().question, Question::Quit);
    assert!(state.on_key(control_c, now).is_empty() && state.prompt.is_none());
    press(&mut state, KeyCode::Char('q'), now);
    type_text(&mut state, "yes", now);
    assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::Quit]);
}

#[test]
fn keys_that_leave_pages_are_the_same_on_all() {
    let now = Instant::now();
    let pages = [Page::Devices, Page::Settings, Page::Streams, Page::Invite, Page::Messages, Page::Help];
    for page in pages {
        let mut state = with_contacts();
        state.page = page;
        assert_eq!(press(&mut state, KeyCode::Char('q'), now), [Action::Quit], "{page:?}");
        press(&mut state, KeyCode::Char('?'), now);
        assert_eq!(state.page, if page == Page::Help { Page::Main } else { Page::Help });
        press(&mut state, KeyCode::Esc, now);
        assert_eq!(state.page, Page::Main);
    }
}

#[test]
fn the_invite_is_copied_by_key() {
    let now = Instant::now();
    let mut state = fresh();
    assert_eq!(press(&mut state, KeyCode::Char('i'), now), [Action::MakeInvite]);
    assert!(press(&mut state, KeyCode::Char('c'), now).is_empty(), "there is none yet");
    state.on_outcome(Outcome::Invite(vec!["blink:abc".to_owned(), "did:key:z@memory:1".to_owned()]));
    assert_eq!(press(&mut state, KeyCode::Char('c'), now), [Action::Copy("blink:abc".to_owned())]);
    press(&mut state, KeyCode::PageDown, now);
    assert_eq!(state.selected.invite, 10);
}

#[test]
fn safety_words_are_compared_during_a_call() {
    let now = Instant::now();
    let mut state = in_call(now);
    press(&mut state, KeyCode::Down, now);
    press(&mut state, KeyCode::Char('v'), now);
    let words = safety_words(&did(0), &did(2)).join(" ");
    assert_eq!(*state.notices.back().unwrap(), format!("safety words with Carol: {words}"));
    type_text(&mut state, "yes", now);
    assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::Verify("Carol".to_owned())]);
    // The words of a person who is no contact are shown all the same.
    state.set_contacts(crate::contacts::Contacts::default());
    press(&mut state, KeyCode::Char('v'), now);
    assert!(state.prompt.is_none() && state.notices.iter().rev().nth(1).unwrap().contains(&words));
}

#[test]
fn events_are_told_and_the_end_of_a_call_clears_its_state() {
    let now = Instant::now();
    let mut state = in_call(now);
    let since = state.call.as_ref().unwrap().since;
    let current = state.call.clone().unwrap();
    state.take(vec![current], now + Duration::from_secs(5), NOT_RINGING);
    assert_eq!(state.call.as_ref().unwrap().since, since, "the time of the call goes on");
    let ended = Event::CallEnded { call: call_id(9), reason: EndReason::RemoteLeft, failure: None };
    assert_eq!(state.on_event(&ended), [Action::ReadHistory]);
    (state.muted, state.deafened) = (true, true);
    let again = [Action::ReadHistory, Action::Mute(false), Action::Deafen(false)];
    assert_eq!(state.on_event(&ended), again, "the next call begins unmuted");
    assert_eq!(state.notices.back().unwrap(), "the call ended: the remote side left");
    state.take(Vec::new(), now, NOT_RINGING);
    assert!(state.call.is_none() && state.levels.is_empty() && state.quality.is_empty() && state.paths.is_empty());
    let missed = Event::MissedCall { call: call_id(3), from: did(1), device: None };
    assert_eq!(state.on_event(&missed), [Action::ReadHistory]);
    assert_eq!((state.missed, state.title().as_str()), (2, "Blink: 2 missed"));
}

#[test]
fn contacts_are_added_and_removed_after_a_question() {
    let now = Instant::now();
    let mut state = with_contacts();
    press(&mut state, KeyCode::Char('a'), now);
    type_text(&mut state, "Dave of work ", now);
    state.on_paste(&did(2).to_string());
    let invite = Invite { did: Some(did(2)), ..Invite::default() };
    let added = Action::AddContact("Dave of work".to_owned(), invite);
    assert_eq!(press(&mut state, KeyCode::Enter, now), [added]);
    for (answer, actions) in [("no", vec![]), ("yes", vec![Action::RemoveContact("Bob".to_owned())])] {
        press(&mut state, KeyCode::Char('x'), now);
        type_text(&mut state, answer, now);
        assert_eq!(press(&mut state, KeyCode::Enter, now), actions);
    }
    press(&mut state, KeyCode::Down, now);
    press(&mut state, KeyCode::Char('v'), now);
    let words = safety_words(&did(0), &did(2)).join(" ");
    assert_eq!(*state.notices.back().unwrap(), format!("safety words with Carol: {words}"));
    type_text(&mut state, "yes", now);
    assert_eq!(press(&mut state, KeyCode::Enter, now), [Action::Verify("Carol".to_owned())]);
}

#[test]
fn a_key_holds_the_call_swaps_two_and_accepts_a_third() {
    let now = Instant::now();
    let mut state = in_call(now);
    let first = state.call.clone().unwrap();
    for page in [Page::Main, Page::Devices] {
        state.page = page;
        assert_eq!(press(&mut state, KeyCode::Char('k'), now), [Action::Hold]);
    }
    // A call rings: `k` keeps the current one.
    state.take(vec![first.clone(), ringing(1, 1)], now, NOT_RINGING);
    state.renew_alert(now);
    assert_eq!(press(&mut state, KeyCode::Char('k'), now), [Action::HoldAndAnswer(call_id(1))]);
    let held = super::CallView { state: CallState::Held, since: None, ..first.clone() };
    let second = view(1, CallState::Active, vec![person(1, ParticipantStatus::Connected)]);
    let later = now + Duration::from_secs(60);
    state.take(vec![second, held.clone()], later, NOT_RINGING);
    state.renew_alert(later);
    assert_eq!(state.call.as_ref().map(|call| (call.call, call.since)), Some((call_id(1), Some(later))));
    assert_eq!(press(&mut state, KeyCode::Char('k'), later), [Action::Resume(first.call)]);
    // The held one ends, and mutes nothing of the other.
    state.muted = true;
    let event = Event::CallEnded { call: first.call, reason: EndReason::RemoteLeft, failure: None };
    assert_eq!(state.on_event(&event), [Action::ReadHistory]);
    // Both on hold: `k` returns to the first one, whose time goes on.
    let other = view(1, CallState::Held, vec![person(1, ParticipantStatus::Connected)]);
    state.take(vec![other, held], later, NOT_RINGING);
    assert_eq!(press(&mut state, KeyCode::Char('k'), later), [Action::Resume(first.call)]);
    assert_eq!(state.title(), "Blink: a call is on hold");
    state.take(vec![first.clone()], later, NOT_RINGING);
    assert_eq!(state.call.as_ref().unwrap().since, first.since);
    state.take(Vec::new(), later, NOT_RINGING);
    assert!(press(&mut state, KeyCode::Char('k'), later).is_empty(), "no call");
}

#[test]
fn who_is_left_alone_in_a_group_is_told_once() {
    let now = Instant::now();
    let mut state = in_call(now);
    let mut call = state.call.clone().unwrap();
    call.people.iter_mut().for_each(|person| person.status = ParticipantStatus::Left);
    for _ in 0..2 {
        state.take(vec![call.clone()], now, NOT_RINGING);
    }
    let told = |text: &&String| text.contains("alone in the call");
    assert_eq!(state.notices.iter().filter(told).count(), 1, "{:?}", state.notices);
    assert!(state.call.is_some());
}
