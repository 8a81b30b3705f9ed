//! Lines that somebody types, read so that nothing waits for them.

use std::io::BufRead;

use tokio::sync::mpsc;

/// Standard input, line by line.
pub(crate) struct Keyboard {
    lines: mpsc::Receiver<String>,
    open: bool,
}

impl Keyboard {
    /// Begins to read, or never does.
    ///
    /// The thread that reads may wait for a line forever; the program ends without it.
    pub(crate) fn new(open: bool) -> Self {
        let (sender, lines) = mpsc::channel(16);
        if open {
            std::thread::spawn(move || {
                let lines = std::io::stdin().lock().lines().map_while(Result::ok);
                for line in lines {
                    if sender.blocking_send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Self { lines, open }
    }

    /// Waits for the next line; for ever once the input has ended.
    pub(crate) async fn line(&mut self) -> String {
        if self.open {
            match self.lines.recv().await {
                Some(line) => return line,
                None => self.open = false,
            }
        }
        std::future::pending().await
    }

    /// Whether somebody may still type.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }
}
