//! Properties of a lab's participants.

use blink_engine::Identity;

use super::participant::Participant;

/// Properties of a participant. Default: a microphone, a loudspeaker and default settings.
#[derive(Clone)]
pub struct Profile {
    pub(crate) name: String,
    pub(crate) identity: Option<Identity>,
    pub(crate) settings: Vec<String>,
    pub(crate) has_microphone: bool,
    pub(crate) keeps_data: bool,
    pub(crate) strange_codec: bool,
}

impl Profile {
    /// A participant with this name.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            identity: None,
            settings: Vec::new(),
            has_microphone: true,
            keeps_data: false,
            strange_codec: false,
        }
    }

    /// Another device of a participant's user.
    pub fn device_of(name: &str, person: &Participant) -> Self {
        Self { identity: Some(person.person.identity.clone()), ..Self::new(name) }
    }

    /// Adds a setting, `KEY=VALUE` as on a command line.
    pub fn setting(mut self, setting: &str) -> Self {
        self.settings.push(setting.to_owned());
        self
    }

    /// Removes the microphone.
    pub fn without_microphone(mut self) -> Self {
        self.has_microphone = false;
        self
    }

    /// Stores identity, device and boot counter in a directory, so that a killed engine can restart
    /// as the same device.
    pub fn keeping_data(mut self) -> Self {
        self.keeps_data = true;
        self
    }

    /// Replaces the codec by one that the other participants do not have.
    pub fn with_strange_codec(mut self) -> Self {
        self.strange_codec = true;
        self
    }
}
