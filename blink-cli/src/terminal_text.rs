//! Escaping of untrusted text for terminals: control and invisible characters have no effect, and
//! line breaks start no new line.
//!
//! Names of streams, codecs, files and devices, error texts and arguments may come from others. A
//! terminal interprets control characters in them (ECMA-48: clipboard, title, cursor), and reorders
//! or hides text with bidirectional or invisible characters (Unicode UAX #9, category Cf). All
//! output is a [`Line`].

use std::fmt::{self, Write};

use serde::Serialize;

/// An escaped line that is safe to print. This module is the only place that creates one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line(String);

impl Line {
    /// Escapes text, including line breaks.
    pub(crate) fn new(text: &str) -> Self {
        Self(escape(text))
    }

    /// Formats a value as JSON (RFC 8259). Escapes do not change the value.
    pub(crate) fn json(value: &impl Serialize) -> Self {
        // Fails for maps with keys that are not text and for paths that are not UTF-8, which no
        // caller passes.
        let text = serde_json::to_string(value).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot serialize the output as JSON");
            "null".to_owned()
        });
        // Outside strings JSON is ASCII, and serde_json leaves no control character in strings.
        let escape = |c: char, out: &mut String| {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(out, "\\u{unit:04x}")?;
            }
            Ok(())
        };
        Self(escaped(&text, escape))
    }

    /// The line, without a line break.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Escapes all characters that a terminal would interpret or hide, for a part of a line or a cell
/// of a table.
pub(crate) fn escape(text: &str) -> String {
    escaped(text, |c, out| match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        c => write!(out, "{}", c.escape_unicode()),
    })
}

fn escaped(text: &str, escape: impl Fn(char, &mut String) -> fmt::Result) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            out.push(c);
        } else {
            escape(c, &mut out).expect("writing to a String does not fail");
        }
    }
    out
}

/// Escapes text and cuts it to a number of columns, with `…` where it was cut. Combining marks
/// beyond two on one character are escaped: a pile of them covers other lines.
pub(crate) fn fitted(text: &str, columns: usize) -> String {
    let (mut out, mut width, mut end, mut marks) = (String::new(), 0, 0, 0);
    let mut encoded = [0; 4];
    for c in text.chars() {
        let is_mark = is_plain(c) && width_of(c.encode_utf8(&mut encoded)) == 0;
        marks = if is_mark { marks + 1 } else { 0 };
        let before = out.len();
        if is_mark && (marks > 2 || before == 0) {
            out.extend(c.escape_unicode());
        } else {
            out.push_str(&escape(c.encode_utf8(&mut encoded)));
        }
        width += width_of(&out[before..]);
        if width > columns {
            out.truncate(end);
            out.push_str(if columns > 0 { "…" } else { "" });
            return out;
        }
        // The text may be cut here, with room for `…`.
        if width < columns {
            end = out.len();
        }
    }
    out
}

/// Width of text in columns of a terminal.
pub(crate) fn width_of(text: &str) -> usize {
    ratatui::text::Span::raw(text).width()
}

/// Whether a character is visible and has no effect on others.
pub(crate) fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(
            u32::from(c),
            // Soft hyphen, combining grapheme joiner, Arabic signs, Hangul fillers, Mongolian
            // separators.
            0x00AD | 0x034F | 0x0600..=0x0605 | 0x061C | 0x06DD | 0x070F | 0x0890..=0x0891 | 0x08E2
            | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x3164 | 0xFFA0
            // Zero width, directional marks, embeddings, overrides and isolates, line and paragraph
            // separators.
            | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F
            // Variation selectors, byte order mark, interlinear annotation, tags.
            | 0xFE00..=0xFE0F | 0xFEFF | 0xFFF0..=0xFFFB | 0xE0000..=0xE0FFF
            // Format controls of scripts and music.
            | 0x110BD | 0x110CD | 0x13430..=0x1345F | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A
        )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Attacks known from names: clipboard (OSC 52), title, colours, cursor, a forged line, an
    /// 8-bit CSI, a right-to-left override, isolates, invisible characters, line and paragraph
    /// separators, tags.
    pub(crate) const HOSTILE: &str = "a\u{1b}]52;c;Zm9v\u{7}b\u{1b}]0;t\u{7}\u{1b}[31m\u{1b}[2A\n   0.000 s  connected\r\u{9b}2J\u{7f}\u{0}\u{8}\
        \u{202e}gnp\u{202c}\u{2066}\u{2069}\u{200b}\u{200d}\u{feff}\u{ad}\u{2028}\u{2029}\u{85}\u{e0041}z";

    #[test]
    fn lines_keep_readable_text_and_escape_the_rest() {
        let line = Line::new(HOSTILE);
        assert!(line.as_str().chars().all(is_plain), "{line:?}");
        assert!(line.as_str().starts_with(r"a\u{1b}]52;c;Zm9v\u{7}b") && line.as_str().contains(r"\n   0.000 s"));
        for text in ["", "z6MkiTBz…mDooWp", "Zoë, Łódź, 東京, עברית, العربية, ไทย, 🎥", r"C:\new\table"]
        {
            assert_eq!(Line::new(text).as_str(), text);
        }
    }

    #[test]
    fn fitted_text_has_at_most_the_columns_and_no_effect() {
        assert_eq!(
            ["Bob", "Roberta", "東京都", "", "é"].map(|text| fitted(text, 5)),
            ["Bob", "Robe…", "東京…", "", "é"]
        );
        assert_eq!(
            (fitted("ab", 0), fitted("ab", 1), fitted("ab", 2)),
            (String::new(), "…".to_owned(), "ab".to_owned())
        );
        let pile = format!("a{}b", "\u{301}".repeat(10_000));
        for text in [HOSTILE, &HOSTILE.repeat(100), &"x".repeat(10_000), &pile, "\u{301}a"] {
            for columns in 0..60 {
                let fitted = fitted(text, columns);
                assert!(fitted.chars().all(is_plain) && width_of(&fitted) <= columns, "{columns} {fitted:?}");
                assert!(fitted.chars().filter(|c| *c == '\u{301}').count() <= 2, "{fitted:?}");
            }
        }
    }

    #[test]
    fn json_escapes_preserve_the_value() {
        let value = serde_json::json!({ HOSTILE: [HOSTILE, "Zoë 🎥"], "n": 1 });
        let line = Line::json(&value);
        assert!(line.as_str().chars().all(is_plain), "{line:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(line.as_str()).unwrap(), value);
    }
}
