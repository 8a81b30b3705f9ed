//! Names from others change nothing but their own place on the screen.

use std::time::Instant;

use blink_api::DeviceDirection;
use blink_engine::{CallState, Event, ParticipantStatus};

use super::super::state::{Page, State};
use super::screens::{COLOURED, terminal, text};
use super::{call_id, devices, did, endpoint, in_call, person, stream, view, with_contacts};
use crate::terminal_text::is_plain;
use crate::terminal_text::tests::HOSTILE;

/// Attacks, and a harmless name of the same place.
fn names() -> Vec<String> {
    let pile = format!("a{}", "\u{301}\u{327}".repeat(5_000));
    vec!["Bob".to_owned(), HOSTILE.to_owned(), "x".repeat(10_000), HOSTILE.repeat(500), "東".repeat(10_000), pile]
}

/// State with a name in every place where others' text is shown.
fn everywhere(name: &str, page: Page, now: Instant) -> State {
    let mut state = in_call(now);
    state.contacts[0].name = name.to_owned();
    state.names.add(did(1), name);
    let mut call = state.call.clone().unwrap();
    call.people[0].streams = vec![stream(name)];
    call.people[0].streams[0].codec = name.to_owned();
    let ringing = view(1, CallState::Ringing, vec![person(1, ParticipantStatus::Invited)]);
    state.take(vec![call, ringing], now, (true, true, true));
    state.renew_alert(now);
    state.devices = devices();
    state.devices[0].name = name.to_owned();
    state.devices[0].summary = name.to_owned();
    state.microphone = name.to_owned();
    state.settings[1].value = name.into();
    state.settings[1].source = name.to_owned();
    state.invite = vec![name.to_owned()];
    state.on_event(&Event::StreamOffered { call: call_id(9), participant: endpoint(1), stream: stream(name) });
    state.on_event(&Event::DeviceLost { name: name.to_owned() });
    state.page = page;
    state
}

/// A screen as rows, where hostile text cannot have moved anything: the borders.
fn borders(screen: &str) -> Vec<Vec<(usize, char)>> {
    let rows = screen.lines().map(|row| {
        let mut column = 0;
        let mut marks = Vec::new();
        for c in row.chars() {
            if "│┌┐└┘".contains(c) {
                marks.push((column, c));
            }
            column += crate::terminal_text::width_of(c.encode_utf8(&mut [0; 4]));
        }
        marks
    });
    rows.collect()
}

#[test]
fn a_hostile_name_changes_nothing_but_its_own_text() {
    let now = Instant::now();
    let pages = [Page::Main, Page::Devices, Page::Settings, Page::Streams, Page::Messages];
    for page in pages {
        for size in [(80, 24), (120, 40)] {
            let harmless = text(&terminal(&everywhere("Bob", page, now), COLOURED, size, now));
            for name in names() {
                let state = everywhere(&name, page, now);
                let screen = text(&terminal(&state, COLOURED, size, now));
                assert!(screen.chars().all(|c| c == '\n' || is_plain(c)), "{page:?} {screen:?}");
                assert_eq!(borders(&screen), borders(&harmless), "{page:?}\n{screen}");
                assert!(
                    screen.contains("and accepts, k holds it, n rejects")
                        && screen.contains("MUTED DEAFENED RECORDING"),
                    "{screen}"
                );
                assert_eq!(screen.lines().last(), harmless.lines().last());
                let title = crate::terminal_text::fitted(&state.title(), 80);
                assert!(title.chars().all(is_plain) && title.starts_with("Blink: "), "{title}");
            }
        }
    }
}

#[test]
fn hostile_names_without_a_call_leave_the_lists_in_place() {
    let now = Instant::now();
    let home = |name: &str| {
        let mut state = with_contacts();
        state.contacts[0].name = name.to_owned();
        state.names.add(did(1), name);
        text(&terminal(&state, COLOURED, (80, 24), now))
    };
    for name in names() {
        let screen = home(&name);
        assert!(screen.chars().all(|c| c == '\n' || is_plain(c)), "{screen:?}");
        assert_eq!(borders(&screen), borders(&home("Bob")), "{screen}");
        assert!(screen.contains("online       verified"), "{screen}");
    }
}

#[test]
fn pasted_escapes_are_typed_as_text() {
    let now = Instant::now();
    let mut state = with_contacts();
    state.on_paste(HOSTILE);
    let screen = text(&terminal(&state, COLOURED, (80, 24), now));
    assert!(screen.chars().all(|c| c == '\n' || is_plain(c)), "{screen:?}");
    assert_eq!(state.device_rows().iter().filter(|row| row.direction == DeviceDirection::Sink).count(), 2);
    assert_eq!(state.names.of(&did(1)), "Bob");
}
