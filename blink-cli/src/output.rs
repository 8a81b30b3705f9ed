//! Output of the program: results and events on stdout, as text or JSON; progress and errors on
//! stderr.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::args::Global;
use crate::failure::Failure;
use crate::terminal_text::Line;

/// Frame duration of the progress spinner.
const FRAME: Duration = Duration::from_millis(120);

/// Writer of all output.
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    progress: ProgressBar,
    started: Instant,
}

impl Output {
    /// Creates the writer from the options. Progress is shown on a terminal only, and not between
    /// log lines.
    pub(crate) fn new(global: &Global) -> Self {
        let watched = !global.json && !global.quiet && global.verbose == 0 && std::io::stderr().is_terminal();
        Self {
            json: global.json,
            quiet: global.quiet,
            progress: if watched { spinner() } else { ProgressBar::hidden() },
            started: Instant::now(),
        }
    }

    /// Whether JSON is printed.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a line of the result, as text.
    pub(crate) fn result(&self, text: &str) {
        if !self.json {
            self.print(&Line::new(text));
        }
    }

    /// Prints a table of the result, as text. Its cells must be escaped with
    /// [`escape`](crate::terminal_text::escape).
    pub(crate) fn table(&self, text: &str) {
        text.lines().for_each(|line| self.result(line));
    }

    /// Prints an event, as text.
    pub(crate) fn event(&self, text: &str) {
        if !self.json && !self.quiet {
            self.print(&Line::new(text));
        }
    }

    /// Prints a line of the result, as JSON.
    pub(crate) fn json_result(&self, value: &impl Serialize) {
        if self.json {
            self.print(&Line::json(value));
        }
    }

    /// Prints an event, as JSON.
    pub(crate) fn json_event(&self, value: &impl Serialize) {
        if self.json && !self.quiet {
            self.print(&Line::json(value));
        }
    }

    /// Shows the current step on the progress line.
    pub(crate) fn waiting(&self, what: impl Into<String>) {
        let what = Line::new(&what.into());
        if self.progress.message() != what.as_str() {
            self.progress.set_message(what.as_str().to_owned());
            self.progress.reset_elapsed();
            self.progress.enable_steady_tick(FRAME);
        }
    }

    /// Clears the progress line.
    pub(crate) fn waited(&self) {
        self.progress.finish_and_clear();
    }

    /// Prints a failure: a line on stderr, and a JSON line with `--json`.
    pub(crate) fn failure(&self, failure: &Failure) {
        self.waited();
        // The exit status still reports the failure if stderr is closed.
        writeln!(std::io::stderr(), "blink: {}", Line::new(failure.reason()).as_str()).ok();
        if self.json && failure.is_unreported() {
            failure_as_json(failure.reason());
        }
    }

    /// Time since the program started.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn print(&self, line: &Line) {
        // The progress bar draws nothing before its first message.
        if self.progress.message().is_empty() { print(line) } else { self.progress.suspend(|| print(line)) }
    }
}

/// Reports panics as bugs, as escaped lines on stderr: their texts may contain control characters.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture().to_string();
        // The exit status still reports the failure if stderr is closed.
        writeln!(std::io::stderr(), "blink: bug: {}", Line::new(&panic.to_string()).as_str()).ok();
        for line in backtrace.lines().filter(|line| line.starts_with(' ')) {
            writeln!(std::io::stderr(), "{}", Line::new(line).as_str()).ok();
        }
    }));
}

/// Prints the final JSON line of a failed command.
pub(crate) fn failure_as_json(reason: &str) {
    #[derive(Serialize)]
    struct Failed<'a> {
        ok: bool,
        error: &'a str,
    }
    print(&Line::json(&Failed { ok: false, error: reason }));
}

fn print(line: &Line) {
    let mut stdout = std::io::stdout().lock();
    // Ignore a closed reader, such as `head`; a call continues without it.
    writeln!(stdout, "{}", line.as_str()).and_then(|()| stdout.flush()).ok();
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("the template is valid");
    ProgressBar::new_spinner().with_style(style)
}
