//! Output of the program: results and events on stdout, as text or JSON; progress and errors on
//! stderr.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::broadcast;

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
    /// JSON lines for connections of the control socket.
    lines: broadcast::Sender<Arc<str>>,
    /// First error of stdout.
    failed: Mutex<Option<io::Error>>,
}

/// JSON lines that a slow connection of the control socket may be behind.
const BACKLOG: usize = 1_024;

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
            lines: broadcast::Sender::new(BACKLOG),
            failed: Mutex::new(None),
        }
    }

    /// Whether JSON is printed.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Output that prints nothing, for [`subscribe`](Self::subscribe) only.
    pub(crate) fn silent() -> Self {
        Self {
            json: false,
            quiet: true,
            progress: ProgressBar::hidden(),
            started: Instant::now(),
            lines: broadcast::Sender::new(BACKLOG),
            failed: Mutex::new(None),
        }
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
        self.json_line(value, self.json);
    }

    /// Prints an event, as JSON.
    pub(crate) fn json_event(&self, value: &impl Serialize) {
        self.json_line(value, self.json && !self.quiet);
    }

    /// Whether results go to a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Prints a question, and leaves the cursor behind it.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn question(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        write!(stdout, "{} ", Line::new(text).as_str()).and_then(|()| stdout.flush())
    }

    /// Prints text of this program itself, such as a script: nothing in it comes from others.
    pub(crate) fn verbatim(&self, text: &[u8]) {
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(text).and_then(|()| stdout.flush()) {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    /// All JSON lines from now on, also those that are not printed.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<str>> {
        self.lines.subscribe()
    }

    fn json_line(&self, value: &impl Serialize, is_printed: bool) {
        if !is_printed && self.lines.receiver_count() == 0 {
            return;
        }
        let line = Line::json(value);
        // Without a connection there is no receiver.
        self.lines.send(line.as_str().into()).ok();
        if is_printed {
            self.print(&line);
        }
    }

    /// Waits until the reader of stdout is gone, such as `head`; forever where stdout is no pipe.
    pub(crate) async fn closed(&self) {
        while !is_closed() {
            tokio::time::sleep(CLOSED).await;
        }
    }

    /// The first error of stdout, except that of a reader who is gone.
    ///
    /// # Errors
    /// A failure with the system's error.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match &*self.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::call(format!("cannot write the output: {error}")).reported())
            }
            _ => Ok(()),
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
        let printed =
            if self.progress.message().is_empty() { print(line) } else { self.progress.suspend(|| print(line)) };
        if let Err(error) = printed {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
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
    // The exit status still reports the failure if stdout is closed.
    print(&Line::json(&Failed { ok: false, error: reason })).ok();
}

fn print(line: &Line) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", line.as_str()).and_then(|()| stdout.flush())
}

/// Interval between looks at the reader of stdout.
const CLOSED: Duration = Duration::from_millis(250);

/// Whether stdout is a pipe or socket without a reader: `poll(2)` reports this without being asked.
#[cfg(unix)]
fn is_closed() -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = rustix::event::Timespec::default();
    poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().contains(PollFlags::ERR)
}

#[cfg(not(unix))]
fn is_closed() -> bool {
    false
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("the template is valid");
    ProgressBar::new_spinner().with_style(style)
}
