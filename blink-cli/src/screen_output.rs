//! Terminal of the full-screen program: where it draws, and errors that must not be drawn over it.

use std::io::{self, IsTerminal, Write};

use crate::terminal_text::Line;

/// Standard output of the full-screen program, which draws escaped text only.
///
/// After an error, which means that the terminal is gone, it takes everything and writes nothing:
/// what restores a terminal on drop would otherwise report the same on a stderr that is gone, too.
#[derive(Default)]
pub(crate) struct StandardOutput {
    is_gone: bool,
}

impl StandardOutput {
    fn attempt<T>(&mut self, ignored: T, write: impl FnOnce(&mut io::Stdout) -> io::Result<T>) -> io::Result<T> {
        if self.is_gone {
            return Ok(ignored);
        }
        let result = write(&mut io::stdout());
        self.is_gone = result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        result
    }
}

impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(bytes.len(), |stdout| stdout.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt((), io::Stdout::flush)
    }
}

/// Whether input and output are a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Whether errors go to a terminal.
pub(crate) fn shows_errors() -> bool {
    io::stderr().is_terminal()
}

/// Sounds the bell of the terminal, if there is one.
pub(crate) fn bell() {
    let mut stdout = io::stdout().lock();
    if stdout.is_terminal() {
        // Without a bell the text still tells of the call.
        stdout.write_all(b"\x07").and_then(|()| stdout.flush()).ok();
    }
}

/// Whether the terminal of standard output still exists.
pub(crate) fn is_terminal_open() -> bool {
    #[cfg(unix)]
    let is_open = rustix::termios::tcgetwinsize(io::stdout()).is_ok();
    #[cfg(not(unix))]
    let is_open = true;
    is_open
}

/// Text that is written to stderr while a full screen is shown: kept, and printed afterwards.
pub(crate) struct CapturedErrors {
    #[cfg(unix)]
    stderr: std::os::fd::OwnedFd,
    #[cfg(unix)]
    file: std::fs::File,
}

/// Maximum number of bytes of captured errors that are printed.
#[cfg(unix)]
const CAPTURED: u64 = 16 * 1_024;

impl CapturedErrors {
    /// Begins to capture, if stderr is a terminal.
    #[cfg(unix)]
    pub(crate) fn begin() -> Option<Self> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let file = tempfile::tempfile().ok()?;
        let stderr = rustix::io::dup(io::stderr()).ok()?;
        rustix::stdio::dup2_stderr(&file).ok()?;
        Some(Self { stderr, file })
    }

    /// Captures nothing.
    #[cfg(not(unix))]
    pub(crate) fn begin() -> Option<Self> {
        None
    }

    /// Ends, and prints the last captured lines.
    pub(crate) fn end(self) {
        #[cfg(unix)]
        {
            use std::io::{Read, Seek, SeekFrom};
            let Self { stderr, mut file } = self;
            if let Err(error) = rustix::stdio::dup2_stderr(&stderr) {
                tracing::warn!(%error, "stderr cannot be restored");
            }
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            let start = length.saturating_sub(CAPTURED);
            let mut bytes = Vec::new();
            if file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_end(&mut bytes)).is_ok() {
                for line in String::from_utf8_lossy(&bytes).lines() {
                    // There is no other place to report a failing stderr.
                    writeln!(io::stderr(), "{}", Line::new(line).as_str()).ok();
                }
            }
        }
    }
}
