//! The current call.

use std::time::Duration;

use blink_api::{AudioLevel, Endpoint};
use blink_engine::{CallState, ParticipantState, ParticipantStatus};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::widgets::Paragraph;

use super::super::state::{CallView, PathView, PersonView, State};
use super::super::theme::{Theme, meter};
use super::home_page::held_words;
use super::{Moment, Row, draw_list, padded, row};

/// Columns of a meter without its brackets.
const METER: usize = 10;

/// Draws the participants.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme, at: Moment) {
    let Some(call) = &state.call else { return };
    let held = held_words(state);
    let [area, below] =
        Layout::vertical([Constraint::Min(3), Constraint::Length(u16::from(held.is_some()))]).areas(area);
    if let Some(text) = held {
        frame.render_widget(Paragraph::new(row(&text, below.width)).style(theme.warning()), below);
    }
    let name = usize::from(area.width).saturating_sub(64).clamp(8, 40);
    let mut rows = vec![own_row(state, name)];
    rows.extend(call.people.iter().map(|person| person_row(person, state, theme, name)));
    let selected = (!call.people.is_empty()).then_some(state.selected.person + 1);
    draw_list(frame, area, &title(call, state, at), (rows, selected), theme);
}

fn title(call: &CallView, state: &State, at: Moment) -> String {
    let names: Vec<_> = call.people.iter().map(|person| state.names.of(&person.did)).collect();
    let lasted = call.since.map(|since| at.now.saturating_duration_since(since));
    let lasted = crate::history::duration(millis(lasted.unwrap_or_default()));
    match call.state {
        CallState::Calling => format!("Calling {}", names.join(", ")),
        CallState::Joining => format!("Joining {}", names.join(", ")),
        _ => format!("{lasted}  Call with {}", names.join(", ")),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn own_row(state: &State, name: usize) -> Row {
    let own =
        ParticipantState { muted: state.muted, deafened: state.deafened, recording: state.recording, held: false };
    let level = state.levels.get(&state.own.endpoint).copied();
    let mut words = flags(own);
    if level.is_some_and(AudioLevel::is_voice) {
        words.push("speaking");
    }
    let devices = format!("mic {}, speaker {}", state.microphone, state.speaker);
    let words = if words.is_empty() { devices } else { format!("{}  {devices}", words.join(", ")) };
    Row::new(format!("{} {}       {words}", padded("you", name), meter(level, METER)))
}

fn person_row(person: &PersonView, state: &State, theme: Theme, name: usize) -> Row {
    let of = |endpoint: &Endpoint| (state.levels.get(endpoint).copied(), state.volume(endpoint));
    let (level, volume) = person.endpoint.as_ref().map(of).unwrap_or((None, 1.0));
    let mut words = flags(person.state);
    if person.status != ParticipantStatus::Connected {
        words.insert(0, status_word(person.status));
    }
    words.extend(person.speaking.then_some("speaking"));
    let streams = format!("streams: {}", person.streams.len());
    words.extend((!person.streams.is_empty()).then_some(streams.as_str()));
    let line = format!(
        "{} {} {:3} % {}",
        padded(&state.names.of(&person.did), name),
        meter(level, METER),
        (volume * 100.0).round(),
        words.join(", ")
    );
    let mut lines = vec![line];
    let path = person.endpoint.and_then(|endpoint| state.paths.get(&endpoint));
    lines.extend(path.map(|path| format!("   {}", path_words(path))));
    let reasons = person.endpoint.and_then(|endpoint| state.quality.get(&endpoint));
    lines.extend(reasons.into_iter().flatten().map(|reason| format!("   poor: {reason}")));
    let style = match person.status {
        ParticipantStatus::Connected if reasons.is_none() => Style::new(),
        _ => theme.warning(),
    };
    Row { lines, style }
}

fn flags(state: ParticipantState) -> Vec<&'static str> {
    let flags =
        [(state.muted, "muted"), (state.deafened, "deafened"), (state.recording, "recording"), (state.held, "on hold")];
    flags.iter().filter(|(is, _)| *is).map(|(_, flag)| *flag).collect()
}

fn path_words(path: &PathView) -> String {
    let kind = path.kind.map(|kind| format!("{kind}, ")).unwrap_or_default();
    let round_trip = path.round_trip.map_or("-".to_owned(), |time| time.as_millis().to_string());
    format!("{kind}round trip {round_trip} ms, loss {:.1} %", path.loss * 100.0)
}

fn status_word(status: ParticipantStatus) -> &'static str {
    match status {
        ParticipantStatus::Invited => "invited",
        ParticipantStatus::Ringing => "ringing",
        ParticipantStatus::Busy => "busy",
        ParticipantStatus::Rejected => "rejected",
        ParticipantStatus::Unanswered => "not answered",
        ParticipantStatus::Joined => "in the call",
        ParticipantStatus::Connecting => "connecting",
        ParticipantStatus::Connected => "connected",
        ParticipantStatus::Reconnecting => "reconnecting",
        ParticipantStatus::Unreachable => "no path",
        ParticipantStatus::Left => "left",
        _ => "unknown",
    }
}
