//! Microphone and speaker of a call: opens, uses and closes them, as the
//! [`DeviceManager`](blink_media::DeviceManager) decides.

use blink_api::{AudioSink, AudioSource, CallId, DeviceDirection, Error, ErrorKind, MediaHost, OpenRequest, Result};

use super::driver_loop::{Driver, OPENING_TIMEOUT, now};
use super::opened_devices::{OpenedDevice, candidates};
use super::openings::{Opened, PendingCall};
use blink_media::{DeviceAction, DeviceEvent, HostDevice, MediaCommand, OpenId, TICK};
use blink_proto::call::Event;

/// The name in the configuration that stands for no device.
const NONE: &str = "none";

impl Driver {
    /// Opens the media and devices of the call that the user is in from now on; closes them for
    /// `None`.
    pub(super) async fn set_active_call(&mut self, call: Option<CallId>) {
        self.want_devices(NONE, NONE);
        self.drive_devices().await;
        self.devices.forget_disturbances();
        self.active = call;
        if call.is_none() {
            self.streams.clear();
            self.media.close().await;
            return self.leave_recording().await;
        }
        // The media of another call, which ends, is recorded up to here.
        self.leave_recording().await;
        self.media.open(self.machine.clock_epoch()).await;
        let (microphone, speaker) = (self.parts.settings.microphone.clone(), self.parts.settings.speaker.clone());
        if speaker == NONE {
            self.media.send_command(MediaCommand::RemoveSpeaker).await;
        }
        if self.parts.processors.is_empty() {
            self.want_devices(&microphone, &speaker);
        } else {
            // A microphone must not be sent without the configured processors.
            self.want_devices(NONE, &speaker);
            self.build_processors();
        }
    }

    /// Closes all media for a shutdown; returns when no device is open.
    pub(super) async fn close_media(&mut self) {
        self.set_active_call(None).await;
        let ended = async { while self.openings.next().await.is_some() {} };
        if tokio::time::timeout(OPENING_TIMEOUT, ended).await.is_err() {
            tracing::warn!("a device takes long to open; it is closed when it has");
        }
    }

    fn want_devices(&mut self, microphone: &str, speaker: &str) {
        let now = now(&self.parts).mono;
        self.devices.manager.set_wanted(now, DeviceDirection::Source, microphone);
        self.devices.manager.set_wanted(now, DeviceDirection::Sink, speaker);
    }

    /// Carries out the actions of the device manager.
    pub(super) async fn drive_devices(&mut self) {
        while let Some(action) = self.devices.manager.poll() {
            match action {
                DeviceAction::Open { id, direction, device } => self.open_device(id, direction, device),
                DeviceAction::Use { direction, id } => self.use_device(direction, id).await,
                DeviceAction::Close(id) => drop(self.devices.take(id)),
                DeviceAction::Report(event) => self.handle_device_event(event).await,
            }
        }
    }

    fn open_device(&mut self, id: OpenId, direction: DeviceDirection, device: HostDevice) {
        let now = now(&self.parts).mono;
        let Some(host) = self.devices.begin(id, &device) else {
            let error = Error::new(ErrorKind::NotFound, "there is no such media host");
            return self.devices.manager.handle_open_failed(now, id, error);
        };
        let request = self.open_request();
        match direction {
            DeviceDirection::Source => {
                match self.media.take_prepared() {
                    Some((host, microphone)) if host == device.host => {
                        return self.handle_microphone(id, Ok(microphone));
                    }
                    // Another host opened it: the manager tries that one next.
                    Some(prepared) => {
                        self.media.keep_prepared(prepared);
                        let error = Error::new(ErrorKind::NotFound, "another media host has this microphone");
                        return self.handle_microphone(id, Err(error));
                    }
                    None => {}
                }
                self.openings.spawn_device_open(async move {
                    Opened::Microphone(id, host.open_audio_source(&device.name, request).await)
                });
            }
            DeviceDirection::Sink => self.openings.spawn_device_open(async move {
                Opened::Speaker(id, host.open_audio_sink(&device.name, request).await)
            }),
        }
    }

    pub(super) fn handle_microphone(&mut self, id: OpenId, result: Result<Box<dyn AudioSource>>) {
        let result = result.and_then(|microphone| {
            self.check_format(microphone.format())?;
            Ok(OpenedDevice::Microphone(microphone))
        });
        self.handle_device_opened(id, result);
    }

    pub(super) fn handle_speaker(&mut self, id: OpenId, result: Result<Box<dyn AudioSink>>) {
        let result = result.and_then(|speaker| {
            self.check_format(speaker.format())?;
            Ok(OpenedDevice::Speaker(speaker))
        });
        self.handle_device_opened(id, result);
    }

    fn handle_device_opened(&mut self, id: OpenId, result: Result<OpenedDevice>) {
        let now = now(&self.parts).mono;
        match result {
            Ok(device) => {
                self.devices.end(id, Some(device));
                self.devices.manager.handle_opened(now, id);
            }
            Err(error) => {
                self.devices.end(id, None);
                self.devices.manager.handle_open_failed(now, id, error);
            }
        }
    }

    /// Checks the format: a device may have been opened for an earlier call with another one.
    fn check_format(&self, format: blink_api::AudioFormat) -> Result<()> {
        if format == self.media.audio().format() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "the device has another format than the call"))
    }

    async fn use_device(&mut self, direction: DeviceDirection, id: Option<OpenId>) {
        let device = id.and_then(|id| Some((id, self.devices.take(id)?)));
        let command = match (direction, device) {
            (_, Some((id, (OpenedDevice::Microphone(microphone), _)))) => MediaCommand::SetMicrophone(id, microphone),
            (_, Some((id, (OpenedDevice::Speaker(sink), hardware_clock)))) => {
                MediaCommand::SetSpeaker { sink, hardware_clock, id }
            }
            (DeviceDirection::Source, None) => MediaCommand::RemoveMicrophone,
            (DeviceDirection::Sink, None) => MediaCommand::RemoveSpeaker,
        };
        self.media.send_command(command).await;
    }

    async fn handle_device_event(&mut self, event: DeviceEvent) {
        let Some(call) = self.active else { return };
        match event {
            DeviceEvent::Lost { direction, device, chosen, .. } => {
                self.devices.set_disturbed(direction, true);
                let name = if chosen { self.setting(direction) } else { self.devices.full_name(&device) };
                self.emit(Event::DeviceLost { name });
            }
            DeviceEvent::Changed { direction, device: Some(device), fallback } => {
                let was_disturbed = self.devices.set_disturbed(direction, fallback);
                let name = if fallback { self.devices.full_name(&device) } else { self.setting(direction) };
                tracing::info!(?direction, name, fallback, "another device is in use");
                // The first device of a call is the expected one.
                if fallback || was_disturbed {
                    self.emit(Event::DeviceChanged { direction, name, fallback });
                }
            }
            DeviceEvent::Changed { device: None, .. } => {}
            // What is in use, such as a stand-in, stays in use: neither is it lost nor does silence
            // take its place.
            DeviceEvent::Unavailable { direction, error } if self.devices.manager.in_use(direction).is_some() => {
                tracing::warn!(%error, ?direction, "the configured device cannot be opened");
            }
            DeviceEvent::Unavailable { direction: direction @ DeviceDirection::Source, error } => {
                self.devices.set_disturbed(direction, true);
                self.emit(Event::NoMicrophone { call, error: error.to_string() });
            }
            DeviceEvent::Unavailable { direction: direction @ DeviceDirection::Sink, error } => {
                tracing::error!(%error, "the speaker cannot be opened");
                if !self.devices.set_disturbed(direction, true) {
                    self.emit(Event::DeviceLost { name: self.setting(direction) });
                    self.media.send_command(MediaCommand::RemoveSpeaker).await;
                }
            }
        }
    }

    /// The configured device.
    fn setting(&self, direction: DeviceDirection) -> String {
        let settings = &self.parts.settings;
        if direction == DeviceDirection::Source { settings.microphone.clone() } else { settings.speaker.clone() }
    }

    /// Handles the failure of a device, which another one may have replaced by now.
    pub(super) fn handle_device_lost(&mut self, id: OpenId, error: Error) {
        let now = now(&self.parts).mono;
        self.devices.manager.handle_lost(now, id, Some(error));
    }

    /// Opens the microphone that a call must not begin without.
    pub(super) fn open_required_microphone(&mut self, pending: PendingCall) {
        let hosts = self.parts.media_hosts.clone();
        let name = self.parts.settings.microphone.clone();
        let request = OpenRequest::new(pending.audio.format(), TICK);
        self.openings.spawn_device_open(async move {
            let mut result = Err(Error::new(ErrorKind::NotFound, "no media host has this microphone"));
            let with_sources = |(_, host, _): &(usize, &dyn MediaHost, &str)| host.capabilities().audio_sources;
            for (tried, (index, host, name)) in candidates(&hosts, &name).filter(with_sources).enumerate() {
                match host.open_audio_source(name, request).await {
                    Ok(source) => {
                        result = Ok((index, source));
                        break;
                    }
                    // The error of the preferred host is reported.
                    Err(error) if tried == 0 => result = Err(error),
                    Err(_) => {}
                }
            }
            Opened::RequiredMicrophone(result, pending)
        });
    }

    fn open_request(&self) -> OpenRequest {
        OpenRequest::new(self.media.audio().format(), TICK)
    }
}
