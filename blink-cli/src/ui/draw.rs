//! The screen as a function of the state.

mod call_page;
mod home_page;
mod pages;

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

use super::prompt::Prompt;
use super::state::{Page, State};
use super::theme::Theme;
use crate::terminal_text::{fitted, width_of};

/// Rows of the newest notices.
const NOTICES: u16 = 3;

/// Time of a drawing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    /// The same as Unix time in milliseconds.
    pub(super) unix_ms: u64,
}

/// Draws the whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, theme: Theme, at: Moment) {
    let keys = key_lines(state, theme, frame.area().width.into());
    let rows = [
        Constraint::Length(1),
        Constraint::Length(if state.alert.is_some() { 3 } else { 0 }),
        Constraint::Min(3),
        Constraint::Length(if frame.area().height > 12 { NOTICES } else { 1 }),
        Constraint::Length(u16::try_from(keys.len()).unwrap_or(1)),
    ];
    let [header, alert, body, notices, bottom] = Layout::vertical(rows).areas(frame.area());
    draw_header(frame, header, state, theme);
    draw_alert(frame, alert, state, theme);
    match state.page {
        Page::Main if state.call.is_some() => call_page::draw(frame, body, state, theme, at),
        Page::Main => home_page::draw(frame, body, state, theme, at),
        page => pages::draw(frame, body, state, theme, page),
    }
    let newest = state.notices.iter().rev().take(notices.height.into()).rev();
    let newest: Vec<_> = newest.map(|notice| row(notice, notices.width)).collect();
    frame.render_widget(Paragraph::new(newest).style(theme.faint()), notices);
    match &state.prompt {
        Some(prompt) => draw_prompt(frame, bottom, prompt, theme),
        None => frame.render_widget(Paragraph::new(keys), bottom),
    }
}

fn draw_header(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let own = state.names.of(&state.own.endpoint.did);
    let kept = if state.own.is_kept { "" } else { " (this run only)" };
    let nodes = if state.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", state.nodes) };
    let mut right = vec![nodes];
    if state.missed > 0 {
        right.insert(0, format!("{} missed", state.missed));
    }
    let flags = [(state.muted, "MUTED"), (state.deafened, "DEAFENED"), (state.recording, "RECORDING")];
    let flags: Vec<_> = flags.iter().filter(|(is, _)| *is).map(|(_, flag)| *flag).collect();
    let (left, right) = (format!("Blink  {own}{kept}"), right.join("  "));
    let flags = if flags.is_empty() { String::new() } else { format!("{}  ", flags.join(" ")) };
    let room = usize::from(area.width).saturating_sub(width_of(&right) + width_of(&flags));
    let line = Line::from(vec![
        Span::styled(padded(&left, room), theme.strong()),
        Span::styled(flags, theme.warning()),
        Span::raw(right),
    ]);
    frame.render_widget(Paragraph::new(line), area);
}

fn draw_alert(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let Some(alert) = state.alert else { return };
    let (block, inside) = boxed("Incoming call", area, theme);
    let group = if alert.ringing.people > 2 { format!(", a group of {}", alert.ringing.people) } else { String::new() };
    let more = if state.ringing.len() > 1 { format!(" (and {} more)", state.ringing.len() - 1) } else { String::new() };
    let keys = match (&state.prompt, &state.call) {
        (Some(_), _) => "Esc, then y accepts, n rejects",
        (None, Some(_)) if state.is_in_call() => "y leaves this call and accepts, k holds it, n rejects",
        (None, Some(_)) => "y accepts and leaves this call, n rejects",
        (None, None) => "y accepts, n rejects",
    };
    let room = usize::from(inside.width).saturating_sub(width_of(keys) + width_of(&group) + width_of(&more) + 9);
    let name = fitted(&state.names.of(&alert.ringing.from), room);
    let line = Line::from(format!("{name} calls{group}{more}: {keys}")).style(theme.warning());
    frame.render_widget(block, area);
    frame.render_widget(Paragraph::new(line), inside);
}

fn draw_prompt(frame: &mut Frame<'_>, area: Rect, prompt: &Prompt, theme: Theme) {
    let width = usize::from(area.width);
    let question = format!("{} ", prompt.question.text());
    // In a narrow terminal the answer has a row of its own.
    let answer_row = u16::from(width_of(&question) + 20 > width && area.height > 1);
    let used = if answer_row == 0 { width_of(&question) } else { 0 };
    let room = width.saturating_sub(used + 2);
    let (before, after) = prompt.around_cursor();
    let before = ending(&before, room);
    let after = fitted(&after, room.saturating_sub(width_of(&before)));
    let cursor = used + width_of(&before);
    let answer = Span::raw(format!("{before}{after}"));
    let question = Span::styled(fitted(&question, width), theme.strong());
    let lines = if answer_row == 0 {
        vec![Line::from(vec![question, answer])]
    } else {
        vec![Line::from(question), Line::from(answer)]
    };
    frame.render_widget(Paragraph::new(lines), area);
    let column = u16::try_from(cursor).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
    frame.set_cursor_position((area.x + column, area.y + answer_row.min(area.height.saturating_sub(1))));
}

/// Lines of keys, which wrap between two keys.
fn key_lines(state: &State, theme: Theme, width: usize) -> Vec<Line<'static>> {
    if state.prompt.is_some() {
        return vec![Line::default(), Line::default()];
    }
    let (mut lines, mut line, mut used) = (Vec::new(), Vec::new(), 0);
    for (key, label) in keys(state) {
        let length = width_of(key) + width_of(label) + 3;
        if used + length > width + 2 && used > 0 {
            lines.push(Line::from(std::mem::take(&mut line)));
            used = 0;
        }
        line.extend([Span::styled(*key, theme.strong()), Span::raw(" "), Span::raw(*label), Span::raw("  ")]);
        used += length;
    }
    lines.push(Line::from(line));
    lines
}

/// Keys of the page with their effects.
fn keys(state: &State) -> &'static [(&'static str, &'static str)] {
    match state.page {
        Page::Main if state.call.is_some() => &[
            ("m", "mute"),
            ("e", "deafen"),
            ("r", "record"),
            ("+/-", "volume"),
            ("a", "add"),
            ("o", "offer stream"),
            ("w", "streams"),
            ("v", "verify"),
            ("d", "devices"),
            ("k", "hold"),
            ("h", "hang up"),
            ("l", "messages"),
            ("?", "help"),
            ("q", "quit"),
        ],
        Page::Main => &[
            ("Enter", "call"),
            ("c", "call…"),
            ("a", "add contact"),
            ("x", "remove"),
            ("v", "verify"),
            ("Tab", "calls"),
            ("j", "rejoin"),
            ("i", "invite"),
            ("d", "devices"),
            ("s", "settings"),
            ("l", "messages"),
            ("?", "help"),
            ("q", "quit"),
        ],
        Page::Devices => &[("↑↓", "move"), ("Enter", "choose"), ("Esc", "back"), ("?", "help"), ("q", "quit")],
        Page::Streams => &[
            ("↑↓", "move"),
            ("Enter", "watch, stop watching, or revoke your own"),
            ("o", "offer stream"),
            ("Esc", "back"),
            ("?", "help"),
            ("q", "quit"),
        ],
        Page::Settings | Page::Messages => &[("↑↓ PgUp PgDn", "move"), ("Esc", "back"), ("?", "help"), ("q", "quit")],
        Page::Invite => &[("c", "copy"), ("↑↓ PgUp PgDn", "scroll"), ("Esc", "back"), ("?", "help"), ("q", "quit")],
        Page::Help => &[("Esc", "back"), ("q", "quit")],
    }
}

/// A box with a title, and the area inside.
fn boxed(title: &str, area: Rect, theme: Theme) -> (Block<'static>, Rect) {
    let title = fitted(title, usize::from(area.width).saturating_sub(4));
    let block = Block::bordered().border_set(theme.border()).title(format!(" {title} "));
    let inside = block.inner(area);
    (block, inside)
}

/// A row of untrusted text.
fn row(text: &str, width: u16) -> Line<'static> {
    Line::from(fitted(text, width.into()))
}

/// Text of exactly a number of columns.
fn padded(text: &str, columns: usize) -> String {
    let mut text = fitted(text, columns);
    text.extend(std::iter::repeat_n(' ', columns.saturating_sub(width_of(&text))));
    text
}

/// The end of a text, which fits the columns.
fn ending(text: &str, columns: usize) -> String {
    let mut start = text.len();
    let mut used = 0;
    for (at, c) in text.char_indices().rev() {
        used += width_of(&fitted(c.encode_utf8(&mut [0; 4]), 16));
        if used > columns {
            break;
        }
        start = at;
    }
    fitted(&text[start..], columns)
}

/// Lines of a list in a box, scrolled so that the selected row is visible.
fn draw_list(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    (rows, selected): (Vec<Row>, Option<usize>),
    theme: Theme,
) {
    let (block, inside) = boxed(title, area, theme);
    frame.render_widget(block, area);
    let width = usize::from(inside.width);
    let (mut lines, mut shown) = (Vec::new(), 0..0);
    for (index, row) in rows.into_iter().enumerate() {
        let is_selected = selected == Some(index);
        let from = lines.len();
        for (part, text) in row.lines.iter().enumerate() {
            let mark = if is_selected && part == 0 { theme.mark() } else { " " };
            let line = Line::from(padded(&format!("{mark} {text}"), width));
            lines.push(line.style(if is_selected { theme.selected() } else { row.style }));
        }
        if is_selected {
            shown = from..lines.len();
        }
    }
    let height = usize::from(inside.height);
    let first = shown.end.saturating_sub(height).min(shown.start);
    let visible: Vec<_> = lines.into_iter().skip(first).take(height).collect();
    frame.render_widget(Paragraph::new(visible), inside);
}

/// A row of a list: one or more lines, cut at the width of the box.
struct Row {
    lines: Vec<String>,
    style: ratatui::style::Style,
}

impl Row {
    fn new(line: String) -> Self {
        Self { lines: vec![line], style: ratatui::style::Style::new() }
    }
}
