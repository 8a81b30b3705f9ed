//! A program in a pseudo-terminal whose screen is read.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use vt100::{Callbacks, Parser, Screen};

use crate::program::{ALONE, SOON};

/// Interval at which the screen is read while something is awaited.
const POLL: Duration = Duration::from_millis(10);

/// A running program with its terminal; killed on drop.
pub(crate) struct Terminal {
    master: Option<Box<dyn MasterPty + Send>>,
    writer: Option<Box<dyn Write + Send>>,
    child: Box<dyn Child + Send + Sync>,
    is_closed: Arc<AtomicBool>,
    parser: Arc<Mutex<Parser<Alerts>>>,
}

/// Bells and titles.
#[derive(Default)]
pub(crate) struct Alerts {
    pub(crate) bells: usize,
    pub(crate) titles: Vec<String>,
}

impl Callbacks for Alerts {
    fn audible_bell(&mut self, _: &mut Screen) {
        self.bells += 1;
    }

    fn set_window_title(&mut self, _: &mut Screen, title: &[u8]) {
        self.titles.push(String::from_utf8_lossy(title).into_owned());
    }
}

impl Terminal {
    /// Starts `blink` with its state in `directory/name`, without the user's configuration and
    /// without the devices and networks of this machine.
    pub(crate) fn blink(directory: &Path, name: &str, arguments: &[&str]) -> Self {
        let data_dir = format!("data_dir={name}");
        let ours = ["--set", &data_dir, "--set", "microphone=speech"];
        let all = [arguments, &ALONE, &ours].concat();
        Self::start(directory, env!("CARGO_BIN_EXE_blink"), &all)
    }

    /// Starts a program in 24 rows of 80 columns.
    pub(crate) fn start(directory: &Path, program: &str, arguments: &[&str]) -> Self {
        let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("the system has pseudo-terminals");
        let mut command = CommandBuilder::new(program);
        command.args(arguments);
        command.cwd(directory);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BLINK_") || name == "RUST_LOG" || name == "NO_COLOR" {
                command.env_remove(name);
            }
        }
        for (name, value) in [("TERM", "xterm-256color"), ("LC_ALL", "C.UTF-8"), ("BLINK_MEDIA_HOST", "synthetic")] {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).expect("the program was built");
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().expect("the terminal can be read");
        let writer = pair.master.take_writer().expect("the terminal can be written");
        let parser = Parser::new_with_callbacks(columns(24), columns(80), 0, Alerts::default());
        let parser = Arc::new(Mutex::new(parser));
        let is_closed = Arc::new(AtomicBool::new(false));
        let (shared, closed) = (Arc::clone(&parser), Arc::clone(&is_closed));
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            // Fails once the program has exited.
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                if closed.load(Ordering::Relaxed) {
                    break;
                }
                shared.lock().expect("no test panics with the screen").process(&bytes[..length]);
            }
        });
        Self { master: Some(pair.master), writer: Some(writer), child, is_closed, parser }
    }

    /// Types keys.
    pub(crate) fn keys(&mut self, keys: &str) {
        let writer = self.writer.as_mut().expect("the terminal is open");
        writer.write_all(keys.as_bytes()).and_then(|()| writer.flush()).expect("the terminal takes keys");
    }

    /// Pastes text, as terminals do in bracketed paste mode.
    pub(crate) fn paste(&mut self, text: &str) {
        self.keys(&format!("\x1b[200~{text}\x1b[201~"));
    }

    /// Changes the size.
    pub(crate) fn resize(&mut self, rows: u16, cols: u16) {
        self.parser().screen_mut().set_size(columns(rows), columns(cols));
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        self.master.as_ref().expect("the terminal is open").resize(size).expect("the terminal has a size");
    }

    /// Closes the terminal, as closing its window does; with the next thing that the program draws.
    pub(crate) fn close(&mut self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.writer = None;
        self.master = None;
    }

    /// The terminal's state.
    pub(crate) fn parser(&self) -> MutexGuard<'_, Parser<Alerts>> {
        self.parser.lock().expect("no reader panics with the screen")
    }

    /// Text on the screen.
    pub(crate) fn text(&self) -> String {
        self.parser().screen().contents()
    }

    /// Waits for a screen that fits, and returns its text.
    pub(crate) fn wait(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        self.wait_for_state(what, |parser| fits(&parser.screen().contents()));
        self.text()
    }

    /// Waits for text on the screen.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// Waits for a state of the terminal.
    pub(crate) fn wait_for_state(&self, what: &str, fits: impl Fn(&Parser<Alerts>) -> bool) {
        let deadline = Instant::now() + SOON;
        while !fits(&self.parser()) {
            assert!(Instant::now() < deadline, "no {what} within {SOON:?} on\n{}", self.text());
            std::thread::sleep(POLL);
        }
    }

    /// Process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.process_id().expect("the program runs")
    }

    /// Waits for the exit, and returns the status.
    pub(crate) fn end(&mut self) -> u32 {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().expect("the program can be waited for") {
                return status.exit_code();
            }
            assert!(Instant::now() < deadline, "no end within {SOON:?} on\n{}", self.text());
            std::thread::sleep(POLL);
        }
    }

    /// The invite on the page that `i` shows.
    pub(crate) fn invite(&mut self) -> String {
        self.keys("i");
        let screen = self.wait("invite", |screen| screen.contains("blink:"));
        self.keys("\x1b");
        self.wait("main page", |screen| !screen.contains("blink:"));
        let rows = screen.lines().map(str::trim_end);
        rows.skip_while(|row| !row.starts_with("blink:")).take_while(|row| !row.is_empty()).collect()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has already exited if the test passed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn columns(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("a terminal has columns and rows")
}
