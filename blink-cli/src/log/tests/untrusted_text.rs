//! Untrusted text in the log: readable, and without effect on the terminal.

use blink_api::LogSettings;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;

use super::super::lines;
use super::Log;
use crate::terminal_text::is_plain;
use crate::terminal_text::tests::HOSTILE;

#[test]
fn fields_messages_and_spans_do_not_act_on_the_terminal() {
    for colours in [false, true] {
        let log = Log::default();
        let written = log.clone();
        let layer = lines(EnvFilter::new("trace"), LogSettings::default(), colours, move || written.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("session", name = HOSTILE, other = tracing::field::Empty);
            span.record("other", tracing::field::display(HOSTILE));
            let _in_it = span.enter();
            let error = blink_api::Error::new(blink_api::ErrorKind::Io, "of a file").with("path", HOSTILE);
            tracing::warn!(%error, text = HOSTILE, debug = ?HOSTILE, cause = &error as &dyn std::error::Error, "said {HOSTILE}");
        });
        let lines = log.lines();
        let [line] = &lines[..] else { panic!("{lines:#?}") };
        assert_eq!(line.matches("Zm9v").count(), 7, "all of it is there: {line:?}");
        // Colours are `ESC [ numbers m` around names, and never from values.
        let plain = without_colours(line);
        assert!(plain.chars().all(is_plain), "{plain:?}");
        assert_eq!(plain.len() != line.len(), colours, "{line:?}");
        assert!(plain.contains("session{name=") && plain.contains(" text="), "{plain}");
    }
}

fn without_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (numbers, rest) = part.split_once('m').expect("a colour ends with m");
        assert!(
            numbers.strip_prefix('[').is_some_and(|it| it.chars().all(|c| c.is_ascii_digit() || c == ';')),
            "{part:?}"
        );
        plain.push_str(rest);
    }
    plain
}
