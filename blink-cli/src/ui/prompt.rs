//! A line of text that the user types.

use blink_api::DeviceDirection;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Longest text in characters: an invite with several addresses fits.
const LONGEST: usize = 2_000;

/// A question, and the answer typed so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) question: Question,
    text: Vec<char>,
    cursor: usize,
}

/// Subject of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// People to call.
    Call,
    /// People to invite into the call.
    Add,
    /// Name and address of a new contact.
    AddContact,
    /// Whether to remove the selected contact.
    RemoveContact,
    /// Whether the selected contact's safety words are the same on the other side.
    Verify,
    /// Message to all participants.
    Message,
    /// Source of a stream to offer.
    OfferStream,
    /// Name of a device that takes a parameter.
    Device(DeviceDirection),
    /// Whether to leave the call and end the program.
    Quit,
}

/// Result of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The user is still typing.
    Open,
    /// The prompt was closed.
    Cancelled,
    /// The text was confirmed.
    Given(String),
}

impl Question {
    /// Text in front of the answer.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Call => "Call (name, invite, DID or DID@ADDRESS):",
            Self::Add => "Add to the call (name, invite, DID or DID@ADDRESS):",
            Self::AddContact => "Add contact (NAME then invite, DID or DID@ADDRESS):",
            Self::RemoveContact => "Remove the selected contact? Type yes:",
            Self::Verify => "Does the other side see the same words? Type yes:",
            Self::Message => "Message to all:",
            Self::OfferStream => "Offer a stream (clip:vp8, clip:h264, clip:FILE, wav:FILE, speech):",
            Self::Device(DeviceDirection::Source) => "Microphone:",
            Self::Device(_) => "Speaker:",
            Self::Quit => "Leave the call and quit? Type yes:",
        }
    }
}

impl Prompt {
    /// A prompt with a text to begin with.
    pub(super) fn new(question: Question, text: &str) -> Self {
        let text: Vec<_> = text.chars().collect();
        Self { question, cursor: text.len(), text }
    }

    /// The text so far.
    pub(super) fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// The text before and after the cursor.
    pub(super) fn around_cursor(&self) -> (String, String) {
        let (before, after) = self.text.split_at(self.cursor);
        (before.iter().collect(), after.iter().collect())
    }

    /// Inserts pasted text without its control characters.
    pub(super) fn paste(&mut self, text: &str) {
        text.trim().chars().for_each(|c| self.insert(c));
    }

    /// Handles a key.
    pub(super) fn handle(&mut self, key: KeyEvent) -> Answer {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Esc => return Answer::Cancelled,
            KeyCode::Char('c' | 'g') if control => return Answer::Cancelled,
            KeyCode::Enter => return Answer::Given(self.text().trim().to_owned()),
            KeyCode::Char('u') if control => {
                self.text.drain(..self.cursor);
                self.cursor = 0;
            }
            KeyCode::Char('a') if control => self.cursor = 0,
            KeyCode::Char('e') if control => self.cursor = self.text.len(),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            KeyCode::Left => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Right => self.cursor = (self.cursor + 1).min(self.text.len()),
            KeyCode::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.text.remove(self.cursor);
            }
            KeyCode::Delete if self.cursor < self.text.len() => {
                self.text.remove(self.cursor);
            }
            KeyCode::Char(c) if !control => self.insert(c),
            _ => {}
        }
        Answer::Open
    }

    fn insert(&mut self, c: char) {
        if !c.is_control() && self.text.len() < LONGEST {
            self.text.insert(self.cursor, c);
            self.cursor += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(prompt: &mut Prompt, code: KeyCode) -> Answer {
        prompt.handle(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn text_is_edited_at_the_cursor_and_pasted_without_control_characters() {
        let mut prompt = Prompt::new(Question::Call, "bb");
        press(&mut prompt, KeyCode::Left);
        press(&mut prompt, KeyCode::Char('o'));
        press(&mut prompt, KeyCode::Home);
        press(&mut prompt, KeyCode::Delete);
        press(&mut prompt, KeyCode::Char('B'));
        assert_eq!(prompt.around_cursor(), ("B".to_owned(), "ob".to_owned()));
        press(&mut prompt, KeyCode::End);
        prompt.paste("\u{1b}[2J\n\t ");
        assert_eq!(press(&mut prompt, KeyCode::Enter), Answer::Given("Bob[2J".to_owned()));
        prompt.handle(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        assert_eq!(prompt.text(), "");
        assert_eq!(press(&mut prompt, KeyCode::Esc), Answer::Cancelled);
    }

    #[test]
    fn text_is_bounded() {
        let mut prompt = Prompt::new(Question::Call, "");
        prompt.paste(&"x".repeat(100_000));
        assert_eq!(prompt.text().len(), LONGEST);
    }
}
