//! Keys, pasted text and resizes, read on a thread of their own.

use ratatui::crossterm::event::{Event, KeyEvent, read};
use tokio::sync::mpsc;

/// Input of the terminal.
#[derive(Debug)]
pub(super) enum Input {
    Key(KeyEvent),
    Paste(String),
    /// The size has changed.
    Resized,
}

/// Starts to read. The channel closes when the terminal cannot be read any more.
///
/// The thread may block forever; the program ends without it. While 64 inputs wait, further ones
/// wait in the terminal.
pub(super) fn start() -> mpsc::Receiver<Input> {
    let (sender, inputs) = mpsc::channel(64);
    std::thread::spawn(move || {
        while let Ok(event) = read() {
            let input = match event {
                Event::Key(key) => Input::Key(key),
                Event::Paste(text) => Input::Paste(text),
                Event::Resize(..) => Input::Resized,
                Event::FocusGained | Event::FocusLost | Event::Mouse(_) => continue,
            };
            if sender.blocking_send(input).is_err() {
                break;
            }
        }
    });
    inputs
}
