//! Screens at two sizes, compared with stored ones. `BLINK_UPDATE_SCREENS=1` writes them anew.

use std::path::PathBuf;
use std::time::Instant;

use blink_engine::{CallState, ParticipantStatus};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyCode;
use ratatui::style::Color;

use super::super::draw::{Moment, draw};
use super::super::state::{Page, State};
use super::super::theme::Theme;
use super::{UNIX_MS, devices, did, fresh, in_call, person, press, view, with_contacts};
use crate::invite::Invite;

pub(super) const COLOURED: Theme = Theme { colour: true, unicode: true };
const SIZES: [(u16, u16); 2] = [(80, 24), (120, 40)];

/// The screen of a state.
pub(super) fn terminal(
    state: &State,
    theme: Theme,
    (columns, rows): (u16, u16),
    now: Instant,
) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(frame, state, theme, Moment { now, unix_ms: UNIX_MS })).unwrap();
    terminal
}

/// Its text, without spaces at the ends of lines.
pub(super) fn text(terminal: &Terminal<TestBackend>) -> String {
    let buffer = terminal.backend().buffer();
    let width = usize::from(buffer.area.width);
    let rows = buffer.content.chunks(width).map(|row| {
        let mut text = String::new();
        let mut skip = 0;
        for cell in row {
            if skip == 0 {
                text.push_str(cell.symbol());
                skip = crate::terminal_text::width_of(cell.symbol()).saturating_sub(1);
            } else {
                skip -= 1;
            }
        }
        text.trim_end().to_owned() + "\n"
    });
    rows.collect()
}

fn compare(name: &str, state: &State, theme: Theme, now: Instant) {
    for (columns, rows) in SIZES {
        let screen = text(&terminal(state, theme, (columns, rows), now));
        let path = format!("src/ui/tests/snapshots/{name}-{columns}x{rows}.txt");
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
        if std::env::var_os("BLINK_UPDATE_SCREENS").is_some() {
            std::fs::write(&path, &screen).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(screen == stored, "{} differs from\n{screen}", path.display());
    }
}

#[test]
fn without_contacts() {
    compare("fresh", &fresh(), COLOURED, Instant::now());
}

#[test]
fn contacts_and_past_calls() {
    compare("home", &with_contacts(), COLOURED, Instant::now());
}

#[test]
fn an_incoming_call() {
    let now = Instant::now();
    let mut state = with_contacts();
    state.take(vec![view(1, CallState::Ringing, vec![person(1, ParticipantStatus::Invited)])], now, Default::default());
    state.renew_alert(now);
    compare("incoming", &state, COLOURED, now);
}

#[test]
fn a_call_of_three() {
    let now = Instant::now();
    let mut state = in_call(now);
    state.notice("Bob offers VP8 `screen`");
    compare("call", &state, COLOURED, now);
    compare("call-ascii", &state, Theme { colour: false, unicode: false }, now);
}

#[test]
fn pages() {
    let now = Instant::now();
    let mut state = in_call(now);
    state.devices = devices();
    let addresses = vec!["/ip4/192.0.2.1/tcp/4001".to_owned()];
    let invite = Invite { did: Some(did(0)), addresses: addresses.clone(), ..Invite::default() };
    state.invite = vec![invite.to_string(), format!("{}@{}", did(0), addresses[0])];
    state.notice("connected to Bob");
    let pages = [
        ("devices", Page::Devices),
        ("settings", Page::Settings),
        ("streams", Page::Streams),
        ("invite", Page::Invite),
        ("messages", Page::Messages),
        ("help", Page::Help),
    ];
    for (name, page) in pages {
        state.page = page;
        compare(name, &state, COLOURED, now);
    }
}

#[test]
fn a_prompt() {
    let now = Instant::now();
    let mut state = with_contacts();
    press(&mut state, KeyCode::Char('c'), now);
    state.on_paste("bob");
    compare("prompt", &state, COLOURED, now);
}

#[test]
fn without_colour_no_cell_is_coloured_and_the_text_is_the_same() {
    let now = Instant::now();
    let state = in_call(now);
    let plain = terminal(&state, Theme { colour: false, unicode: true }, SIZES[0], now);
    let is_plain = |cell: &ratatui::buffer::Cell| cell.fg == Color::Reset && cell.bg == Color::Reset;
    assert!(plain.backend().buffer().content.iter().all(is_plain));
    let coloured = terminal(&state, COLOURED, SIZES[0], now);
    assert!(!coloured.backend().buffer().content.iter().all(is_plain));
    assert_eq!(text(&plain), text(&coloured));
}

#[test]
fn every_size_is_drawn() {
    let now = Instant::now();
    let mut state = in_call(now);
    state.devices = devices();
    let pages = [Page::Main, Page::Devices, Page::Settings, Page::Streams, Page::Invite, Page::Messages, Page::Help];
    for page in pages {
        state.page = page;
        for size in [(1, 1), (2, 3), (10, 5), (20, 10), (40, 12), (79, 23), (300, 100)] {
            terminal(&state, COLOURED, size, now);
        }
    }
}

#[test]
fn the_selected_row_stays_visible() {
    let now = Instant::now();
    let mut state = in_call(now);
    (0..100).for_each(|n| state.notice(format!("message {n} of 100")));
    state.page = Page::Messages;
    for (selected, visible) in [(0, "message 0 of"), (50, "message 50 of"), (99, "message 99 of")] {
        state.selected.message = selected;
        assert!(text(&terminal(&state, COLOURED, (80, 24), now)).contains(visible), "{selected}");
    }
}
