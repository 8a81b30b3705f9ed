//! The user chooses a microphone or speaker, in a call and before one.

use blink_api::{DeviceDirection, Error, ErrorKind, Result};

use super::device_requests::{NamedChoice, PendingChoice};
use super::devices::NONE;
use super::driver_loop::{Driver, now};
use super::openings::Opened;
use blink_media::MediaCommand;

impl Driver {
    /// Looks the name up; [`choose_device`](Self::choose_device) goes on.
    pub(super) fn check_device(&mut self, choice: NamedChoice) {
        let hosts = self.parts.media_hosts.clone();
        self.openings.spawn_device_open(&self.parts.workers, async move {
            let result = super::device_names::check_name(&hosts, choice.direction, &choice.name).await;
            Opened::Name(result, choice)
        });
    }

    /// Uses the device from now on. In a call, the answer waits until it is in use; one that cannot
    /// be opened leaves everything as it was.
    pub(super) async fn choose_device(&mut self, result: Result<()>, choice: NamedChoice) {
        let NamedChoice { direction, number, name, reply } = choice;
        let result = result.and_then(|()| match self.devices.follow_choice(direction, number) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::State, "another device was chosen before this one was found")),
        });
        if let Err(error) = result {
            // A reply that no one waits for is no failure, here as below.
            return drop(reply.send(Err(error)));
        }
        let mut before = self.set_setting(direction, name.clone());
        if let Some(pending) = self.take_choice(direction) {
            before = pending.before;
            let error = Error::new(ErrorKind::State, "another device was chosen before this one was open");
            pending.reply.send(Err(error)).ok();
        }
        let waits_for_processors = direction == DeviceDirection::Source && self.devices.awaits_processors;
        if self.active.is_none() || waits_for_processors {
            return drop(reply.send(Ok(())));
        }
        let had_none = self.devices.manager.in_use(direction).is_none();
        self.devices.choices.push(PendingChoice { direction, before, reply });
        self.devices.manager.set_wanted(now(&self.parts).mono, direction, &name);
        if name == NONE && direction == DeviceDirection::Sink && had_none {
            // Audio that waits for a speaker is discarded.
            self.media.send_command(MediaCommand::RemoveSpeaker).await;
        }
        self.drive_devices().await;
        // Without a change of the device there is no event that settles it.
        if self.devices.manager.is_settled(direction) {
            self.settle_choice(direction);
        }
    }

    /// The chosen device is in use. Returns whether a choice waited for that.
    pub(super) fn settle_choice(&mut self, direction: DeviceDirection) -> bool {
        let choice = self.take_choice(direction);
        choice.map(|choice| choice.reply.send(Ok(()))).is_some()
    }

    /// The call is over: what was chosen is used in the next one.
    pub(super) fn settle_choices(&mut self) {
        self.devices.choices.drain(..).for_each(|choice| drop(choice.reply.send(Ok(()))));
    }

    /// The chosen device cannot be opened: the one before is wanted again. Returns the error where
    /// no choice waited for the device.
    pub(super) fn revoke_choice(&mut self, direction: DeviceDirection, error: Error) -> Option<Error> {
        let Some(choice) = self.take_choice(direction) else { return Some(error) };
        self.set_setting(direction, choice.before.clone());
        self.devices.manager.set_wanted(now(&self.parts).mono, direction, &choice.before);
        choice.reply.send(Err(error)).ok();
        None
    }

    fn take_choice(&mut self, direction: DeviceDirection) -> Option<PendingChoice> {
        let choices = &mut self.devices.choices;
        let at = choices.iter().position(|choice| choice.direction == direction)?;
        Some(choices.swap_remove(at))
    }

    /// Replaces the configured device. Returns the one before.
    fn set_setting(&mut self, direction: DeviceDirection, name: String) -> String {
        let settings = &mut self.parts.settings;
        let setting = match direction {
            DeviceDirection::Source => &mut settings.microphone,
            DeviceDirection::Sink => &mut settings.speaker,
        };
        std::mem::replace(setting, name)
    }
}
