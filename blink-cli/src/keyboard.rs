//! Lines of standard input, read on a thread of their own.

use std::io::{self, BufRead, IsTerminal, Read};

use tokio::sync::mpsc;

/// Maximum length of a line in bytes; the rest is skipped.
const LONGEST: u64 = 65_536;

/// Standard input, line by line.
pub(crate) struct Keyboard {
    lines: mpsc::Receiver<String>,
    open: bool,
    /// Whether a person types: Ctrl-D says that nothing more follows.
    is_terminal: bool,
}

impl Keyboard {
    /// Starts to read, unless this is a background process of a terminal, which reading would stop.
    ///
    /// The reading thread may block forever; the program ends without it.
    pub(crate) fn new() -> Self {
        let open = !is_background();
        let (sender, lines) = mpsc::channel(16);
        if open {
            std::thread::spawn(move || {
                let mut input = std::io::stdin().lock();
                while let Some(line) = next_line(&mut input) {
                    if sender.blocking_send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Self { lines, open, is_terminal: io::stdin().is_terminal() }
    }

    /// Waits for the next line; `None` once where the user of a terminal ends the input. Waits
    /// forever once another input has ended, such as `/dev/null`.
    pub(crate) async fn line(&mut self) -> Option<String> {
        match self.next().await {
            None if !self.is_terminal => std::future::pending().await,
            line => line,
        }
    }

    /// Waits for the next line; `None` once when the input ends, and forever afterwards.
    pub(crate) async fn next(&mut self) -> Option<String> {
        if !self.open {
            return std::future::pending().await;
        }
        let line = self.lines.recv().await;
        self.open = line.is_some();
        line
    }

    /// Whether a person types.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether the input is still open.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }
}

/// Whether stdin is a terminal whose foreground process is another one (POSIX: SIGTTIN).
#[cfg(unix)]
fn is_background() -> bool {
    let foreground = rustix::termios::tcgetpgrp(io::stdin());
    foreground.is_ok_and(|group| group != rustix::process::getpgrp())
}

#[cfg(not(unix))]
fn is_background() -> bool {
    false
}

/// Reads the next line, whatever its bytes; `None` at the end, and after a permanent error.
fn next_line(input: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    // `read_until` retries after a signal.
    if input.by_ref().take(LONGEST).read_until(b'\n', &mut line).ok()? == 0 {
        return None;
    }
    if line.last() != Some(&b'\n') {
        skip_line(input).ok()?;
    }
    Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
}

/// Skips the rest of a line.
fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let available = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            available => available?,
        };
        let end = available.iter().position(|byte| *byte == b'\n');
        let (used, is_end) = end.map_or((available.len(), available.is_empty()), |at| (at + 1, true));
        input.consume(used);
        if is_end {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_and_overlong_lines_do_not_stop_the_reader() {
        let mut bytes = b"y\r\n\xff\xfe\n\n".to_vec();
        bytes.extend(vec![b'x'; 100_000]);
        bytes.extend(b"\nn\nj");
        let mut input = io::BufReader::with_capacity(7, &bytes[..]);
        let lines: Vec<_> = std::iter::from_fn(|| next_line(&mut input)).collect();
        assert_eq!(lines[..3], ["y", "\u{fffd}\u{fffd}", ""]);
        assert_eq!(lines[3].len() as u64, LONGEST);
        assert_eq!(lines[4..], ["n", "j"]);
    }
}
