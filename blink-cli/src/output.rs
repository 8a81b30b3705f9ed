//! What the program prints: results and events on stdout, for people or as JSON; progress and
//! errors on stderr.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::args::Global;
use crate::failure::Failure;
use crate::shown::Line;

/// How long a picture of the progress stands.
const FRAME: Duration = Duration::from_millis(120);

/// Where everything that is printed goes through.
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    progress: ProgressBar,
    started: Instant,
}

impl Output {
    /// As the options say. Progress is shown to a person who watches, and not between the lines of
    /// a log.
    pub(crate) fn new(global: &Global) -> Self {
        let watched = !global.json && !global.quiet && global.verbose == 0 && std::io::stderr().is_terminal();
        Self {
            json: global.json,
            quiet: global.quiet,
            progress: if watched { spinner() } else { ProgressBar::hidden() },
            started: Instant::now(),
        }
    }

    /// Prints a line of the result, for people.
    pub(crate) fn result(&self, text: &str) {
        if !self.json {
            self.print(&Line::new(text));
        }
    }

    /// Prints a table of the result, for people. Its lines are its own: what is not, such as a
    /// path, is in it as [`shown`](crate::shown::shown).
    pub(crate) fn table(&self, text: &str) {
        text.lines().for_each(|line| self.result(line));
    }

    /// Prints what happens, for people who want to know.
    pub(crate) fn event(&self, text: &str) {
        if !self.json && !self.quiet {
            self.print(&Line::new(text));
        }
    }

    /// Prints a line of the result, for programs.
    pub(crate) fn json_result(&self, value: &impl Serialize) {
        if self.json {
            self.print(&Line::json(value));
        }
    }

    /// Prints what happens, for programs that want to know.
    pub(crate) fn json_event(&self, value: &impl Serialize) {
        if self.json && !self.quiet {
            self.print(&Line::json(value));
        }
    }

    /// Shows what is being waited for.
    pub(crate) fn waiting(&self, what: impl Into<String>) {
        let what = Line::new(&what.into());
        if self.progress.message() != what.as_str() {
            self.progress.set_message(what.as_str().to_owned());
            self.progress.reset_elapsed();
            self.progress.enable_steady_tick(FRAME);
        }
    }

    /// Shows nothing any more.
    pub(crate) fn waited(&self) {
        self.progress.finish_and_clear();
    }

    /// Says why the command did not succeed, in one line of stderr and, if asked for, one of JSON.
    pub(crate) fn failure(&self, failure: &Failure) {
        self.waited();
        // Where stderr is closed, the exit status says it.
        writeln!(std::io::stderr(), "blink: {}", Line::new(failure.reason()).as_str()).ok();
        if self.json && failure.is_unreported() {
            failure_as_json(failure.reason());
        }
    }

    /// Time since the program began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn print(&self, line: &Line) {
        // Before there is a message there is nothing to redraw either.
        if self.progress.message().is_empty() { print(line) } else { self.progress.suspend(|| print(line)) }
    }
}

/// Reports bugs of the program on one escaped line of stderr: the text of a panic may hold
/// anything.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture().to_string();
        // Where stderr is closed, the exit status says it.
        writeln!(std::io::stderr(), "blink: bug: {}", Line::new(&panic.to_string()).as_str()).ok();
        for line in backtrace.lines().filter(|line| line.starts_with(' ')) {
            writeln!(std::io::stderr(), "{}", Line::new(line).as_str()).ok();
        }
    }));
}

/// The last line of stdout of a command that failed, with `--json`.
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
    // A reader that went away, such as `head`, needs no more; a call goes on without it.
    writeln!(stdout, "{}", line.as_str()).and_then(|()| stdout.flush()).ok();
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("the template is valid");
    ProgressBar::new_spinner().with_style(style)
}
