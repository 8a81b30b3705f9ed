//! Pages beside the call: devices, settings, streams, invite, messages, help.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::super::keys::direction_name;
use super::super::state::{Page, State};
use super::super::theme::Theme;
use super::{Row, boxed, draw_list, padded};
use crate::terminal_text::{escape, width_of};

/// Help, as it is on the screen.
const HELP: &[&str] = &[
    "Everywhere",
    "  y n        accept or reject the call that rings",
    "  d s i l ?  devices, settings, invite, messages, this help; Esc goes back",
    "  q Ctrl-C   quit        Ctrl-Z  suspend        Ctrl-L  draw again",
    "Without a call",
    "  Enter      call the selected contact, or the people of the selected call",
    "  c          call by name, invite, DID or DID@ADDRESS (paste works, too)",
    "  a x v      add a contact, remove it, verify it by safety words",
    "  Tab        move between contacts and calls        j  rejoin a group call",
    "In a call",
    "  m e r h    mute, deafen, record, hang up (on every page)",
    "  + -        volume of the selected participant        t  send a message",
    "  v          safety words of the selected participant, to compare by voice",
    "  a          add a person        o  offer a stream        w  streams",
    "  k          hold the call, or return to the one on hold; accept one that rings",
];

/// Draws a page.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme, page: Page) {
    let inside = usize::from(area.width).saturating_sub(2);
    match page {
        Page::Devices => {
            let selected = Some(state.selected.device);
            draw_list(frame, area, "Devices", (devices(state, theme, inside), selected), theme);
        }
        Page::Settings => {
            let selected = Some(state.selected.setting);
            draw_list(frame, area, "Settings: key, value, source", (settings(state, inside), selected), theme);
        }
        Page::Streams => {
            let rows = streams(state, inside);
            let selected = (!state.stream_rows().is_empty()).then_some(state.selected.stream);
            draw_list(frame, area, "Streams", (rows, selected), theme);
        }
        Page::Messages => {
            let rows = state.notices.iter().map(|notice| Row::new(notice.clone())).collect();
            draw_list(frame, area, "Messages", (rows, Some(state.selected.message)), theme);
        }
        Page::Invite => draw_invite(frame, area, state, theme),
        Page::Help | Page::Main => {
            let (block, inside) = boxed("Keys", area, theme);
            frame.render_widget(block, area);
            frame.render_widget(Paragraph::new(HELP.iter().map(|text| Line::from(*text)).collect::<Vec<_>>()), inside);
        }
    }
}

fn devices(state: &State, theme: Theme, width: usize) -> Vec<Row> {
    let rows = state.device_rows();
    let name = rows.iter().map(|row| width_of(&row.name)).max().unwrap_or(0).min(width / 2);
    let rows = rows.iter().map(|row| {
        let marks = [(row.chosen, "chosen"), (row.in_use, "in use")];
        let marks: Vec<_> = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
        let direction = direction_name(row.direction);
        let line = format!("{direction:10} {} {:14} {}", padded(&row.name, name), marks.join(", "), row.summary);
        Row { lines: vec![line], style: if marks.is_empty() { Style::new() } else { theme.good() } }
    });
    rows.collect()
}

fn settings(state: &State, width: usize) -> Vec<Row> {
    let keys = state.settings.iter().map(|setting| width_of(&setting.key)).max().unwrap_or(0).min(width / 2);
    let values = width.saturating_sub(keys + 20).clamp(8, 40);
    let rows = state.settings.iter().map(|setting| {
        let value = padded(&setting.value.to_string(), values);
        Row::new(format!("{} {value} {}", padded(&setting.key, keys), setting.source))
    });
    rows.collect()
}

fn streams(state: &State, width: usize) -> Vec<Row> {
    let rows = state.stream_rows();
    if rows.is_empty() {
        return vec![Row::new("none is offered: o offers one of yours".to_owned())];
    }
    let name = width.saturating_sub(50).clamp(8, 30);
    let rows = rows.iter().map(|row| {
        let from = row.from.map_or("you".to_owned(), |from| state.names.of(&from.did));
        let state = match (row.from, row.watched) {
            (None, _) => "offered".to_owned(),
            (Some(_), None) => "not watched".to_owned(),
            (Some(_), Some((frames, bytes))) => format!("{frames} frames, {} KiB", bytes / 1_024),
        };
        let stream = &row.stream;
        Row::new(format!("{} {} {} {state}", padded(&from, name), padded(&stream.codec, 6), padded(&stream.name, 18)))
    });
    rows.collect()
}

/// Draws the invite, its QR code and every address, without a border at the sides, so that they can
/// be selected with the mouse.
fn draw_invite(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let width = usize::from(area.width).max(1);
    // Broken at the width: an invite is read with line breaks, too.
    let wrapped = |text: &String| {
        let characters: Vec<char> = escape(text).chars().collect();
        characters.chunks(width).map(|part| Line::from(part.iter().collect::<String>())).collect::<Vec<_>>()
    };
    let mut lines = vec![Line::from("Others call you with this invite:").style(theme.strong())];
    let Some((invite, addresses)) = state.invite.split_first() else {
        lines.push(Line::from("it is made as soon as the node has an address"));
        return frame.render_widget(Paragraph::new(lines), area);
    };
    lines.extend(wrapped(invite));
    lines.push(Line::default());
    if theme.unicode
        && let Some(code) = crate::qr::code(&invite.to_uppercase()).filter(|code| fits(code, width))
    {
        lines.extend(code.into_iter().map(Line::from));
    }
    lines.push(Line::from("or at one of these addresses:").style(theme.strong()));
    lines.extend(addresses.iter().flat_map(wrapped));
    let most = lines.len().saturating_sub(usize::from(area.height));
    let first = u16::try_from(state.selected.invite.min(most)).unwrap_or(u16::MAX);
    frame.render_widget(Paragraph::new(lines).scroll((first, 0)), area);
}

fn fits(code: &[String], width: usize) -> bool {
    code.iter().all(|line| line.chars().count() <= width)
}
