//! Properties of a lab's participants.

use blink_engine::Identity;

use super::participant::Participant;

/// Properties of a participant. Default: a microphone, a loudspeaker and default settings.
#[derive(Debug, Clone)]
pub struct Profile {
    pub(crate) name: String,
    pub(crate) identity: Option<Identity>,
    pub(crate) settings: Vec<String>,
    pub(crate) has_microphone: bool,
    pub(crate) speaks: bool,
    pub(crate) has_data_directory: bool,
    pub(crate) unshared_codec: bool,
}

impl Profile {
    /// A participant with this name.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            identity: None,
            settings: Vec::new(),
            has_microphone: true,
            speaks: false,
            has_data_directory: false,
            unshared_codec: false,
        }
    }

    /// Another device of a participant's user.
    pub fn device_of(name: &str, participant: &Participant) -> Self {
        Self { identity: Some(participant.inner.identity.clone()), ..Self::new(name) }
    }

    /// Adds a setting, `KEY=VALUE` as on a command link.
    pub fn setting(mut self, setting: &str) -> Self {
        self.settings.push(setting.to_owned());
        self
    }

    /// Removes the microphone.
    pub fn without_microphone(mut self) -> Self {
        self.has_microphone = false;
        self
    }

    /// Replaces the microphone's tone by recorded speech, and records what it says and hears.
    pub fn with_speech(mut self) -> Self {
        self.speaks = true;
        self
    }

    /// Stores identity, device and boot counter in a directory, so that a killed engine can restart
    /// as the same device.
    pub fn with_data_directory(mut self) -> Self {
        self.has_data_directory = true;
        self
    }

    /// Replaces the codec by one that the other participants do not have.
    pub fn with_unshared_codec(mut self) -> Self {
        self.unshared_codec = true;
        self
    }
}
