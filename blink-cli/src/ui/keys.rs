//! Keys: what each does on each page.

use std::time::Instant;

use blink_api::{DeviceDirection, Did, TrackKind};
use blink_engine::CallDirection;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::action::Action;
use super::prompt::{Answer, Prompt, Question};
use super::state::{Focus, Page, State};
use crate::contacts::{Contact, safety_words};
use crate::target::{self, Target};

/// Step of a volume, and its maximum, in percent.
const VOLUME: (i32, i32) = (10, 400);

impl State {
    /// Handles a key.
    pub(super) fn on_key(&mut self, key: KeyEvent, now: Instant) -> Vec<Action> {
        if key.kind == KeyEventKind::Release {
            return Vec::new();
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('z') => return vec![Action::Suspend],
                KeyCode::Char('l') => return vec![Action::Redraw],
                KeyCode::Char('c') if self.prompt.is_none() => return self.quit(),
                _ => {}
            }
        }
        if let Some(mut prompt) = self.prompt.take() {
            return match prompt.handle(key) {
                Answer::Open => {
                    self.prompt = Some(prompt);
                    Vec::new()
                }
                Answer::Cancelled => Vec::new(),
                Answer::Given(text) => self.answered(prompt.question, &text),
            };
        }
        if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
            return Vec::new();
        }
        if let (Some(alert), KeyCode::Char(c)) = (self.alert, key.code)
            && (matches!(c, 'y' | 'n') || c == 'k' && self.is_in_call())
        {
            let call = alert.ringing.call;
            // A key that was meant for another call has no effect, and neither has a second one.
            if now < alert.answerable_from || self.handled == Some(call) {
                return Vec::new();
            }
            self.handled = Some(call);
            return vec![match c {
                'y' => Action::Answer(call),
                'k' => Action::HoldAndAnswer(call),
                _ => Action::Reject(call),
            }];
        }
        self.page_key(key.code).unwrap_or_else(|| match self.page {
            Page::Main if self.call.is_some() => self.call_key(key.code),
            Page::Main => self.home_key(key.code),
            Page::Devices => self.device_key(key.code),
            Page::Streams => self.stream_key(key.code),
            Page::Settings => scroll(&mut self.selected.setting, self.settings.len(), key.code),
            Page::Messages => scroll(&mut self.selected.message, self.notices.len(), key.code),
            Page::Invite => self.invite_key(key.code),
            Page::Help => Vec::new(),
        })
    }

    /// Handles pasted text: it goes to the prompt, or starts a call prompt.
    pub(super) fn on_paste(&mut self, text: &str) {
        if self.prompt.is_none() {
            let question = if self.call.is_some() { Question::Add } else { Question::Call };
            self.prompt = Some(Prompt::new(question, ""));
        }
        if let Some(prompt) = &mut self.prompt {
            prompt.paste(text);
        }
    }

    /// Keys of every page; `None` for those that the page decides on.
    fn page_key(&mut self, code: KeyCode) -> Option<Vec<Action>> {
        let (page, action) = match code {
            KeyCode::Esc => (Page::Main, None),
            KeyCode::Char('?') | KeyCode::F(1) if self.page == Page::Help => (Page::Main, None),
            KeyCode::Char('?') | KeyCode::F(1) => (Page::Help, None),
            KeyCode::Char('d') => (Page::Devices, Some(Action::ListDevices)),
            KeyCode::Char('s') => (Page::Settings, None),
            KeyCode::Char('i') => {
                self.selected.invite = 0;
                (Page::Invite, Some(Action::MakeInvite))
            }
            KeyCode::Char('l') => {
                self.selected.message = self.notices.len().saturating_sub(1);
                (Page::Messages, None)
            }
            KeyCode::Char('w') if self.call.is_some() => (Page::Streams, None),
            KeyCode::Char('q') => return Some(self.quit()),
            KeyCode::Char('k') if self.call.is_some() || !self.held.is_empty() => return Some(self.swap()),
            KeyCode::Char(c @ ('m' | 'e' | 'r' | 'h')) if self.call.is_some() => return Some(self.media_key(c)),
            _ => return None,
        };
        self.page = page;
        Some(action.into_iter().collect())
    }

    /// Returns to the call that has been on hold for the longest time; holds the current one where
    /// there is none.
    fn swap(&mut self) -> Vec<Action> {
        match self.held.first() {
            Some(held) => vec![Action::Resume(held.call)],
            None => vec![Action::Hold],
        }
    }

    /// Keys that work on every page during a call.
    fn media_key(&mut self, key: char) -> Vec<Action> {
        vec![match key {
            'm' => {
                self.muted = !self.muted;
                Action::Mute(self.muted)
            }
            'e' => {
                self.deafened = !self.deafened;
                Action::Deafen(self.deafened)
            }
            'r' if self.recording => Action::StopRecording,
            'r' => Action::Record(self.contacts.iter().map(|contact| (contact.did, contact.name.clone())).collect()),
            _ => Action::Leave,
        }]
    }

    fn call_key(&mut self, code: KeyCode) -> Vec<Action> {
        let people = self.call.as_ref().map_or(0, |call| call.people.len());
        match code {
            KeyCode::Char('+' | '=') | KeyCode::Right => self.change_volume(1),
            KeyCode::Char('-') | KeyCode::Left => self.change_volume(-1),
            KeyCode::Char('a') => self.ask(Question::Add),
            KeyCode::Char('v') => match self.selected_person().map(|person| person.did) {
                Some(did) => self.compare_words(did),
                None => Vec::new(),
            },
            KeyCode::Char('o') => self.ask(Question::OfferStream),
            KeyCode::Char('t') => self.ask(Question::Message),
            code => scroll(&mut self.selected.person, people, code),
        }
    }

    fn home_key(&mut self, code: KeyCode) -> Vec<Action> {
        match code {
            KeyCode::Tab | KeyCode::BackTab | KeyCode::Left | KeyCode::Right => {
                self.focus = match self.focus {
                    Focus::Contacts => Focus::Calls,
                    Focus::Calls => Focus::Contacts,
                };
                if self.focus == Focus::Calls {
                    self.missed = 0;
                }
                Vec::new()
            }
            KeyCode::Char('c') => self.ask(Question::Call),
            KeyCode::Char('a') => self.ask(Question::AddContact),
            KeyCode::Char('x') | KeyCode::Delete if self.focus == Focus::Contacts && !self.contacts.is_empty() => {
                self.ask(Question::RemoveContact)
            }
            KeyCode::Char('v') if self.focus == Focus::Contacts => {
                match self.contacts.get(self.selected.contact).map(|contact| contact.did) {
                    Some(did) => self.compare_words(did),
                    None => Vec::new(),
                }
            }
            KeyCode::Char('j') if !self.open.is_empty() => vec![Action::Answer(self.open[0].call)],
            KeyCode::Enter => self.call_selected(),
            code => match self.focus {
                Focus::Contacts => scroll(&mut self.selected.contact, self.contacts.len(), code),
                Focus::Calls => scroll(&mut self.selected.past_call, self.history.len(), code),
            },
        }
    }

    fn call_selected(&mut self) -> Vec<Action> {
        let own = self.own.endpoint.did;
        let dids: Vec<_> = match self.focus {
            Focus::Contacts => {
                self.contacts.get(self.selected.contact).map(|contact| contact.did).into_iter().collect()
            }
            Focus::Calls => match self.history.get(self.selected.past_call) {
                Some(entry) if entry.direction == CallDirection::Incoming => vec![entry.from],
                Some(entry) => entry.members.iter().copied().filter(|did| *did != own).collect(),
                None => Vec::new(),
            },
        };
        let targets: Vec<_> = dids.into_iter().map(|did| self.target_of(did)).collect();
        if targets.is_empty() { Vec::new() } else { vec![Action::Call(targets)] }
    }

    fn device_key(&mut self, code: KeyCode) -> Vec<Action> {
        let rows = self.device_rows();
        let Some(row) = rows.get(self.selected.device).filter(|_| code == KeyCode::Enter) else {
            return scroll(&mut self.selected.device, rows.len(), code);
        };
        // The part in capitals is to be replaced: `wav:PATH`, `tone:HZ`.
        match row.name.rsplit_once(':') {
            Some((name, parameter)) if !parameter.is_empty() && parameter.chars().all(|c| c.is_ascii_uppercase()) => {
                self.prompt = Some(Prompt::new(Question::Device(row.direction), &format!("{name}:")));
                Vec::new()
            }
            _ => vec![Action::Choose(row.direction, row.name.clone())],
        }
    }

    fn stream_key(&mut self, code: KeyCode) -> Vec<Action> {
        let rows = self.stream_rows();
        match (code, rows.get(self.selected.stream)) {
            (KeyCode::Char('o'), _) => self.ask(Question::OfferStream),
            (KeyCode::Enter, Some(row)) => vec![match (row.from, row.watched) {
                (None, _) => Action::RevokeStream(row.stream.stream),
                (Some(from), None) => Action::Watch(from, row.stream.stream),
                (Some(from), Some(_)) => Action::Unwatch(from, row.stream.stream),
            }],
            (code, _) => scroll(&mut self.selected.stream, rows.len(), code),
        }
    }

    fn change_volume(&mut self, steps: i32) -> Vec<Action> {
        let Some(endpoint) = self.selected_person().and_then(|person| person.endpoint) else { return Vec::new() };
        let percent = (self.volume(&endpoint) * 100.0).round() as i32;
        let percent = (percent + steps * VOLUME.0).clamp(0, VOLUME.1);
        let volume = percent as f32 / 100.0;
        self.volumes.insert(endpoint, volume);
        vec![Action::Volume(endpoint, volume)]
    }

    fn ask(&mut self, question: Question) -> Vec<Action> {
        self.prompt = Some(Prompt::new(question, ""));
        Vec::new()
    }

    fn quit(&mut self) -> Vec<Action> {
        if self.call.is_some() || !self.held.is_empty() { self.ask(Question::Quit) } else { vec![Action::Quit] }
    }

    fn answered(&mut self, question: Question, text: &str) -> Vec<Action> {
        if text.is_empty() {
            return Vec::new();
        }
        match question {
            Question::Call | Question::Add => match self.resolve(text) {
                Ok(target) if question == Question::Add => vec![Action::Add(target)],
                Ok(target) => vec![Action::Call(vec![target])],
                Err(error) => self.refuse(error),
            },
            Question::AddContact => match text.rsplit_once(char::is_whitespace) {
                Some((name, text)) => match target::invite(&[text.to_owned()], self.wall) {
                    Ok(invite) => vec![Action::AddContact(name.trim().to_owned(), invite)],
                    Err(failure) => self.refuse(failure.reason().to_owned()),
                },
                None => self.refuse("type a name, a space, and an invite, a DID or DID@ADDRESS".to_owned()),
            },
            Question::RemoveContact if text.eq_ignore_ascii_case("yes") => {
                let contact = self.contacts.get(self.selected.contact);
                contact.map(|contact| Action::RemoveContact(contact.name.clone())).into_iter().collect()
            }
            Question::Quit if text.eq_ignore_ascii_case("yes") => vec![Action::Quit],
            Question::Verify if text.eq_ignore_ascii_case("yes") => {
                let compared = self.compared.take();
                let contact = self.contacts.iter().find(|contact| Some(contact.did) == compared);
                contact.map(|contact| Action::Verify(contact.name.clone())).into_iter().collect()
            }
            Question::RemoveContact | Question::Quit | Question::Verify => Vec::new(),
            Question::OfferStream => {
                let kind = if text.starts_with("clip:") { TrackKind::Video } else { TrackKind::Audio };
                vec![Action::OfferStream(kind, text.to_owned())]
            }
            Question::Message => vec![Action::Message(text.to_owned())],
            Question::Device(direction) => vec![Action::Choose(direction, text.to_owned())],
        }
    }

    fn refuse(&mut self, why: String) -> Vec<Action> {
        self.notice(why);
        Vec::new()
    }

    /// Shows the safety words of a person, and asks whether they are the same, where the answer can
    /// be kept.
    fn compare_words(&mut self, did: Did) -> Vec<Action> {
        let words = safety_words(&self.own.endpoint.did, &did).join(" ");
        self.notice(format!("safety words with {}: {words}", self.names.of(&did)));
        self.compared = Some(did);
        if self.contacts.iter().any(|contact| contact.did == did) {
            return self.ask(Question::Verify);
        }
        self.notice("the other side sees the same words after v; add a contact to keep that they were compared");
        Vec::new()
    }

    /// Copies the invite, or scrolls.
    fn invite_key(&mut self, code: KeyCode) -> Vec<Action> {
        match (code, self.invite.first()) {
            (KeyCode::Char('c'), Some(invite)) => {
                let copied = Action::Copy(invite.clone());
                self.notice(
                    "the invite was sent to the terminal's clipboard; if it is not there, select it with the mouse",
                );
                vec![copied]
            }
            (code, _) => scroll(&mut self.selected.invite, usize::from(u16::MAX), code),
        }
    }

    /// A person to call, with the hints of its contact.
    fn target_of(&self, did: Did) -> Target {
        match self.contacts.iter().find(|contact| contact.did == did) {
            Some(Contact { addresses, nodes, servers, .. }) => {
                Target { did, addresses: addresses.clone(), nodes: nodes.clone(), servers: servers.clone() }
            }
            None => Target { did, addresses: Vec::new(), nodes: Vec::new(), servers: Vec::new() },
        }
    }

    /// The person that a text names.
    fn resolve(&self, text: &str) -> Result<Target, String> {
        let parsed = target::parse(&[text.to_owned()], &self.book, self.wall);
        parsed.map_err(|failure| failure.reason().to_owned())?.pop().ok_or_else(|| "no one is named".to_owned())
    }
}

/// Moves a selection within a list.
fn scroll(selected: &mut usize, length: usize, code: KeyCode) -> Vec<Action> {
    let last = length.saturating_sub(1);
    *selected = match code {
        KeyCode::Up => selected.saturating_sub(1),
        KeyCode::Down => (*selected + 1).min(last),
        KeyCode::PageUp => selected.saturating_sub(10),
        KeyCode::PageDown => (*selected + 10).min(last),
        KeyCode::Home => 0,
        KeyCode::End => last,
        _ => *selected,
    };
    Vec::new()
}

/// Name of a direction for users.
pub(super) fn direction_name(direction: DeviceDirection) -> &'static str {
    match direction {
        DeviceDirection::Source => "microphone",
        DeviceDirection::Sink => "speaker",
    }
}
