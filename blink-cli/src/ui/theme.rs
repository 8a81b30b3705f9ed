//! Styles and symbols: with and without colour, with and without Unicode.

use blink_api::AudioLevel;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

/// Appearance. What a colour says, a word says, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Theme {
    /// Whether colours are used.
    pub(super) colour: bool,
    /// Whether characters beyond ASCII draw lines and marks.
    pub(super) unicode: bool,
}

/// Borders of ASCII characters.
const ASCII: border::Set<'_> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

impl Theme {
    /// Appearance by the environment: `NO_COLOR` (no-color.org), `TERM=dumb`, and the locale.
    pub(super) fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| set(name));
        let is_utf8 = |locale: String| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        };
        Self {
            colour: set("NO_COLOR").is_none() && set("TERM").is_none_or(|terminal| terminal != "dumb"),
            unicode: locale.is_none_or(is_utf8),
        }
    }

    /// Borders of boxes.
    pub(super) fn border(self) -> border::Set<'static> {
        if self.unicode { border::PLAIN } else { ASCII }
    }

    /// Mark of the selected row.
    pub(super) fn mark(self) -> &'static str {
        if self.unicode { "›" } else { ">" }
    }

    /// Style of the selected row.
    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Style of headings and keys.
    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Style of what matters less.
    pub(super) fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Style of what is well.
    pub(super) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    /// Style of what needs attention.
    pub(super) fn warning(self) -> Style {
        self.coloured(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }
}

/// Bar of a level with `columns` columns and brackets: −60 dBov and below is empty, −10 dBov and
/// above is full.
pub(super) fn meter(level: Option<AudioLevel>, columns: usize) -> String {
    let Some(level) = level else { return format!("[{:columns$}]", "") };
    let loudness = 60_usize.saturating_sub(level.minus_dbov().into());
    let filled = (loudness * columns / 50).min(columns);
    format!("[{:.<columns$}]", "#".repeat(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_on_colour_and_characters() {
        let theme = |pairs: &[(&str, &str)]| {
            Theme::from_environment(|name| {
                pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(theme(&[]), Theme { colour: true, unicode: true });
        assert_eq!(theme(&[("NO_COLOR", "")]), Theme { colour: true, unicode: true });
        assert_eq!(theme(&[("NO_COLOR", "1"), ("LANG", "C")]), Theme { colour: false, unicode: false });
        assert_eq!(theme(&[("LANG", "C"), ("LC_ALL", "de_DE.UTF-8")]), Theme { colour: true, unicode: true });
        assert!(!theme(&[("TERM", "dumb")]).colour);
    }

    #[test]
    fn meters_are_empty_at_silence_and_full_when_loud() {
        let of = |level| meter(Some(AudioLevel::new(level, false)), 10);
        assert_eq!(
            [127, 60, 35, 10, 0].map(of),
            ["[..........]", "[..........]", "[#####.....]", "[##########]", "[##########]"]
        );
        assert_eq!(meter(None, 3), "[   ]");
    }
}
