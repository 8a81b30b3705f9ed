//! Reports of the device manager, as events for the user.

use blink_api::DeviceDirection;

use super::driver_loop::Driver;
use blink_media::{DeviceEvent, MediaCommand};
use blink_proto::call::{DeviceChangeReason, Event};

impl Driver {
    pub(super) async fn handle_device_event(&mut self, event: DeviceEvent) {
        if self.active.is_none() {
            return;
        }
        match event {
            DeviceEvent::Lost { direction, device, chosen, .. } => {
                self.devices.set_disturbed(direction, true);
                let name = if chosen { self.setting(direction) } else { self.devices.full_name(&device) };
                self.emit(Event::DeviceLost { name });
            }
            DeviceEvent::Changed { direction, device: Some(device), fallback } => {
                let name = if fallback { self.devices.full_name(&device) } else { self.setting(direction) };
                let was_disturbed = self.devices.set_disturbed(direction, fallback);
                let is_chosen = !fallback && self.settle_choice(direction);
                tracing::info!(?direction, name, fallback, "another device is in use");
                let reason = match (is_chosen, fallback, was_disturbed) {
                    (true, ..) => DeviceChangeReason::Chosen,
                    (false, true, _) => DeviceChangeReason::FellBack,
                    (false, false, true) => DeviceChangeReason::Returned,
                    // The first device of a call is the expected one.
                    (false, false, false) => return drop(self.devices.set_name(direction, Some(name))),
                };
                self.report_change(direction, Some(name), reason);
            }
            DeviceEvent::Changed { direction, device: None, .. } => {
                self.devices.set_disturbed(direction, false);
                if self.settle_choice(direction) {
                    self.report_change(direction, None, DeviceChangeReason::Chosen);
                }
            }
            DeviceEvent::Unavailable { direction, error } => {
                if let Some(error) = self.revoke_choice(direction, error) {
                    self.handle_unavailable(direction, error).await;
                }
            }
        }
    }

    /// The configured device cannot be opened.
    async fn handle_unavailable(&mut self, direction: DeviceDirection, error: blink_api::Error) {
        let Some(call) = self.active else { return };
        // What is in use, such as a stand-in, stays in use: neither is it lost nor does silence
        // take its place.
        if self.devices.manager.in_use(direction).is_some() {
            return tracing::warn!(%error, ?direction, "the configured device cannot be opened");
        }
        let was_disturbed = self.devices.set_disturbed(direction, true);
        if direction == DeviceDirection::Source {
            return self.emit(Event::NoMicrophone { call, error: error.to_string() });
        }
        tracing::info!(%error, "the speaker cannot be opened");
        if !was_disturbed {
            self.emit(Event::DeviceLost { name: self.setting(direction) });
            self.media.send_command(MediaCommand::RemoveSpeaker).await;
        }
    }

    fn report_change(&mut self, direction: DeviceDirection, to: Option<String>, reason: DeviceChangeReason) {
        let from = self.devices.set_name(direction, to.clone());
        self.emit(Event::DeviceChanged { direction, from, to, reason });
    }

    /// The configured device.
    pub(super) fn setting(&self, direction: DeviceDirection) -> String {
        let settings = &self.parts.settings;
        if direction == DeviceDirection::Source { settings.microphone.clone() } else { settings.speaker.clone() }
    }
}
