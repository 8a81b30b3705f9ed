//! The terminal: raw mode, alternate screen, title, bell; restored however the program ends.

use std::io::{self, Write};

use data_encoding::BASE64;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, SetTitle, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};

use super::draw::{Moment, draw};
use super::state::State;
use super::theme::Theme;
use crate::screen_output::{self, CapturedErrors, StandardOutput};
use crate::terminal_text::fitted;

/// Longest title in columns.
const TITLE: usize = 80;
/// Saves and restores the title (XTWINOPS 22 and 23); unknown to some terminals, which ignore it.
const SAVE_TITLE: &str = "\x1b[22;0t";
const RESTORE_TITLE: &str = "\x1b[23;0t";

/// A terminal in full-screen mode. Dropping it restores the terminal, also where a panic unwinds.
pub(super) struct FullScreen {
    terminal: Terminal<CrosstermBackend<StandardOutput>>,
    title: String,
    errors: Option<CapturedErrors>,
}

impl FullScreen {
    /// Enters full-screen mode.
    ///
    /// # Errors
    /// That of the terminal, which is restored.
    pub(super) fn enter() -> io::Result<Self> {
        let terminal = Terminal::new(CrosstermBackend::new(StandardOutput::default()))?;
        let mut screen = Self { terminal, title: String::new(), errors: None };
        screen.begin()?;
        // Libraries of devices write to stderr, which would be drawn over the screen.
        screen.errors = CapturedErrors::begin();
        Ok(screen)
    }

    /// Draws the state.
    ///
    /// # Errors
    /// That of the terminal, such as one that was closed.
    pub(super) fn draw(&mut self, state: &State, theme: Theme, at: Moment) -> io::Result<()> {
        let title = fitted(&state.title(), TITLE);
        if title != self.title {
            execute!(self.terminal.backend_mut(), SetTitle(&title))?;
            self.title = title;
        }
        self.terminal.draw(|frame| draw(frame, state, theme, at)).map(drop)
    }

    /// Sounds the bell.
    ///
    /// # Errors
    /// That of the terminal.
    pub(super) fn bell(&mut self) -> io::Result<()> {
        let output = self.terminal.backend_mut();
        output.write_all(b"\x07")?;
        output.flush()
    }

    /// Copies a text to the clipboard of the user's terminal (OSC 52 of xterm), also over ssh. A
    /// terminal that does not know or does not allow it ignores it.
    ///
    /// # Errors
    /// That of the terminal.
    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        let output = self.terminal.backend_mut();
        write!(output, "\x1b]52;c;{}\x07", BASE64.encode(text.as_bytes()))?;
        output.flush()
    }

    /// Has the next drawing write every cell.
    ///
    /// # Errors
    /// That of the terminal.
    pub(super) fn redraw(&mut self) -> io::Result<()> {
        execute!(self.terminal.backend_mut(), Clear(ClearType::All))?;
        // Not `Terminal::clear`: it asks the terminal for the cursor, and the answer is an input.
        self.terminal = Terminal::new(CrosstermBackend::new(StandardOutput::default()))?;
        Ok(())
    }

    /// Whether the terminal still exists.
    pub(super) fn is_open(&self) -> bool {
        screen_output::is_terminal_open()
    }

    /// Restores the terminal, stops this process group as Ctrl-Z does, and enters full-screen mode
    /// again when it continues.
    ///
    /// # Errors
    /// That of the terminal.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        restore(self.terminal.backend_mut())?;
        // Returns when the process continues; at once where no shell could continue it.
        #[cfg(unix)]
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)?;
        self.resume()
    }

    /// Enters full-screen mode again: a shell has reset the terminal.
    ///
    /// # Errors
    /// That of the terminal.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        self.begin()?;
        self.redraw()
    }

    fn begin(&mut self) -> io::Result<()> {
        // After a shell has reset the terminal, it is raw only as far as is remembered here.
        disable_raw_mode()?;
        enable_raw_mode()?;
        self.title.clear();
        let output = self.terminal.backend_mut();
        output.write_all(SAVE_TITLE.as_bytes())?;
        execute!(output, EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        // The terminal may be closed.
        restore(self.terminal.backend_mut()).ok();
        if let Some(errors) = self.errors.take() {
            errors.end();
        }
    }
}

fn restore(output: &mut impl Write) -> io::Result<()> {
    // In any case: without it, the shell would not show what is typed.
    let raw = disable_raw_mode();
    output.write_all(RESTORE_TITLE.as_bytes())?;
    execute!(output, DisableBracketedPaste, LeaveAlternateScreen, cursor::Show)?;
    raw
}
