//! Contacts and past calls.

use blink_engine::{CallDirection, CallOutcome, HistoryEntry, ParticipantStatus, Presence};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::widgets::Paragraph;

use super::super::state::{Focus, State};
use super::super::theme::Theme;
use super::{Moment, Row, draw_list, padded, row};

/// Draws contacts and past calls, side by side where there is room.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme, at: Moment) {
    let (held, open) = (u16::from(!state.held.is_empty()), u16::from(!state.open.is_empty()));
    let [area, above, below] =
        Layout::vertical([Constraint::Min(3), Constraint::Length(held), Constraint::Length(open)]).areas(area);
    if let Some(text) = held_words(state) {
        frame.render_widget(Paragraph::new(row(&text, above.width)).style(theme.warning()), above);
    }
    if let Some(call) = state.open.first() {
        let present = call.people.iter().filter(|person| person.status == ParticipantStatus::Joined);
        let present: Vec<_> = present.map(|person| state.names.of(&person.did)).collect();
        let text = format!("j rejoins the call of {} ({} in it)", state.names.of(&call.from), present.join(", "));
        frame.render_widget(Paragraph::new(row(&text, below.width)).style(theme.warning()), below);
    }
    let halves = [Constraint::Percentage(50), Constraint::Percentage(50)];
    let [left, right] =
        if area.width >= 60 { Layout::horizontal(halves).areas(area) } else { Layout::vertical(halves).areas(area) };
    let selected = (state.focus == Focus::Contacts && !state.contacts.is_empty()).then_some(state.selected.contact);
    draw_list(frame, left, "Contacts", (contacts(state, theme, left.width), selected), theme);
    let selected = (state.focus == Focus::Calls && !state.history.is_empty()).then_some(state.selected.past_call);
    let rows = if state.history.is_empty() {
        vec![Row::new("no calls yet".to_owned())]
    } else {
        state.history.iter().map(|entry| past_call(entry, state, theme, (right.width, at.unix_ms))).collect()
    };
    draw_list(frame, right, "Calls", (rows, selected), theme);
}

/// The call that `k` returns to, if any is on hold.
pub(super) fn held_words(state: &State) -> Option<String> {
    let held = state.held.first()?;
    let names: Vec<_> = held.people.iter().map(|person| state.names.of(&person.did)).collect();
    let more = state.held.len() - 1;
    let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    Some(format!("on hold{more}: k returns to the call with {}", names.join(", ")))
}

fn contacts(state: &State, theme: Theme, width: u16) -> Vec<Row> {
    if state.contacts.is_empty() {
        let empty = ["none yet", "a adds one by an invite", "i shows your own invite", "c calls a person"];
        return empty.map(|text| Row::new(text.to_owned())).into();
    }
    let name = usize::from(width).saturating_sub(26).clamp(8, 40);
    let rows = state.contacts.iter().map(|contact| {
        let presence = state.presence.get(&contact.did).copied().unwrap_or(Presence::Unknown);
        let verified = if contact.verified { "verified" } else { "" };
        let line = format!("{} {:12} {verified}", padded(&contact.name, name), presence.to_string());
        let style = if presence == Presence::Unknown { ratatui::style::Style::new() } else { theme.good() };
        Row { lines: vec![line], style }
    });
    rows.collect()
}

fn past_call(entry: &HistoryEntry, state: &State, theme: Theme, (width, now_ms): (u16, u64)) -> Row {
    let own = state.own.endpoint.did;
    let (arrow, others) = match entry.direction {
        CallDirection::Incoming => ("from", vec![entry.from]),
        CallDirection::Outgoing => ("to", entry.members.iter().copied().filter(|did| *did != own).collect()),
    };
    let others: Vec<_> = others.iter().map(|did| state.names.of(did)).collect();
    let name = usize::from(width).saturating_sub(27).clamp(8, 60);
    let ago = ago(now_ms.saturating_sub(entry.started_ms));
    let lasted = entry.answered_ms.zip(entry.ended_ms).map(|(from, to)| to.saturating_sub(from));
    let outcome = match (entry.outcome, lasted) {
        (CallOutcome::Answered, Some(lasted)) => crate::history::duration(lasted),
        (outcome, _) => outcome.to_string(),
    };
    let style = if entry.outcome == CallOutcome::Missed { theme.warning() } else { ratatui::style::Style::new() };
    Row { lines: vec![format!("{ago:>4} {arrow:4} {} {outcome}", padded(&others.join(", "), name))], style }
}

/// Age in one unit and at most four characters.
fn ago(ms: u64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        0 => "now".to_owned(),
        1..=59 => format!("{minutes}min"),
        60..=1_439 => format!("{}h", minutes / 60),
        _ => format!("{}d", (minutes / 1_440).min(999)),
    }
}

#[cfg(test)]
mod tests {
    use super::ago;

    #[test]
    fn ages_have_one_unit() {
        let texts = [0, 59_999, 60_000, 3_599_999, 3_600_000, 86_400_000, u64::MAX].map(ago);
        assert_eq!(texts, ["now", "now", "1min", "59min", "1h", "1d", "999d"]);
    }
}
