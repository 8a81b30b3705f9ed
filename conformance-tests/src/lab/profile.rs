//! Who takes part in a lab.

use blink_engine::Identity;

use super::participant::Participant;

/// A participant in the making: somebody with a microphone, a loudspeaker and default settings,
/// unless said otherwise.
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
    /// Somebody of this name.
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

    /// Another device of somebody.
    pub fn device_of(name: &str, person: &Participant) -> Self {
        Self { identity: Some(person.person.identity.clone()), ..Self::new(name) }
    }

    /// With a setting, `KEY=VALUE` as on a command line.
    pub fn setting(mut self, setting: &str) -> Self {
        self.settings.push(setting.to_owned());
        self
    }

    /// Without a microphone.
    pub fn without_microphone(mut self) -> Self {
        self.has_microphone = false;
        self
    }

    /// Keeps identity, device and boot in a directory, so that it can be killed and come back as
    /// the same device.
    pub fn keeping_data(mut self) -> Self {
        self.keeps_data = true;
        self
    }

    /// With a codec that the others do not have.
    pub fn with_strange_codec(mut self) -> Self {
        self.strange_codec = true;
        self
    }
}
