//! Keys, pasted text and resizes, read on a thread of their own.

use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyEvent, poll, read};
use tokio::sync::mpsc;

/// Input of the terminal.
#[derive(Debug)]
pub(super) enum Input {
    Key(KeyEvent),
    Paste(String),
    /// The size has changed.
    Resized,
}

/// Interval at which the thread looks whether it is still wanted.
const POLL: Duration = Duration::from_millis(200);

/// Starts to read, until the receiver is dropped: what is typed afterwards is for the shell. The
/// channel closes when the terminal cannot be read any more.
///
/// While 64 inputs wait, further ones wait in the terminal.
pub(super) fn start() -> mpsc::Receiver<Input> {
    let (sender, inputs) = mpsc::channel(64);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            let event = match poll(POLL) {
                Ok(true) => read(),
                Ok(false) => continue,
                Err(error) => Err(error),
            };
            let Ok(event) = event else { break };
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
