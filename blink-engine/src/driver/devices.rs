//! Microphone and speaker of a call: opens, uses and closes them, as the
//! [`DeviceManager`](blink_media::DeviceManager) decides.

use blink_api::{AudioSink, AudioSource, CallId, DeviceDirection, Error, ErrorKind, MediaHost, OpenRequest, Result};

use super::device_disposal::{CLOSING, close_devices};
use super::driver_loop::{Driver, OPENING_TIMEOUT, now};
use super::opened_devices::{OpenedDevice, candidates};
use super::openings::{Opened, PendingCall};
use super::report::Report;
use blink_media::{DeviceAction, HostDevice, MediaCommand, OpenId, RetiredDevice, TICK};

/// The name in the configuration that stands for no device.
pub(super) const NONE: &str = "none";

impl Driver {
    /// Opens the media and devices of the call that the user is in from now on; closes them for
    /// `None`.
    pub(super) async fn set_active_call(&mut self, call: Option<CallId>) {
        self.remove_devices().await;
        self.active = call;
        if call.is_none() {
            self.streams.clear();
            let devices = self.media.close().await;
            self.close_devices_before_others(devices).await;
            return self.leave_recording().await;
        }
        // The media of another call, which ends, is recorded up to here.
        self.leave_recording().await;
        let devices = self.media.open(self.machine.clock_epoch()).await;
        self.close_devices_before_others(devices).await;
        self.want_configured_devices().await;
    }

    /// Closes the devices, streams and recording of the current call, and keeps its sessions and
    /// their media.
    pub(super) async fn hold_call(&mut self, call: CallId) {
        self.remove_devices().await;
        self.leave_recording().await;
        self.end_all_streams().await;
        self.audio_taps.end(|_| true);
        self.active = None;
        let devices = self.media.hold(call).await;
        self.close_devices_before_others(devices).await;
    }

    /// Opens the devices of a call that was held.
    pub(super) async fn resume_call(&mut self, call: CallId) {
        self.active = Some(call);
        self.media.resume(call).await;
        self.want_configured_devices().await;
    }

    /// Takes microphone and speaker from the current call.
    async fn remove_devices(&mut self) {
        self.settle_choices();
        self.want_devices(NONE, NONE);
        self.drive_devices().await;
        self.devices.forget_call();
    }

    /// Opens microphone and speaker for the current call.
    async fn want_configured_devices(&mut self) {
        let (microphone, speaker) = (self.parts.settings.microphone.clone(), self.parts.settings.speaker.clone());
        if speaker == NONE {
            self.media.send_command(MediaCommand::RemoveSpeaker).await;
        }
        if self.parts.processors.is_empty() {
            self.want_devices(&microphone, &speaker);
        } else {
            // A microphone must not be sent without the configured processors.
            self.want_devices(NONE, &speaker);
            self.devices.awaits_processors = true;
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

    /// Closes the devices of a call, and those that it retired before: a device may serve one call
    /// at a time only, and the next one is about to open its own.
    async fn close_devices_before_others(&mut self, mut devices: Vec<RetiredDevice>) {
        let mut others = Vec::new();
        while let Some(report) = self.next_report() {
            match report {
                Report::Retired(device) => devices.push(device),
                other => others.push(other),
            }
        }
        self.close_devices_of_call(devices).await;
        for report in others {
            self.handle_report(report).await;
        }
    }

    /// Closes the devices of a call that is over. Files are complete when this returns.
    pub(super) async fn close_devices_of_call(&mut self, devices: Vec<RetiredDevice>) {
        // An error means that a thread ended before its device was closed: it panicked.
        if tokio::time::timeout(CLOSING, close_devices(&self.parts.workers, devices)).await.is_err() {
            tracing::warn!("a device of the call does not close; the call ends without waiting for it");
        }
    }

    /// Closes a device that is not in use.
    pub(super) fn dispose(&self, device: RetiredDevice) {
        drop(close_devices(&self.parts.workers, [device]));
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
                DeviceAction::Close(id) => {
                    if let Some((device, _)) = self.devices.take(id) {
                        self.dispose(device.into());
                    }
                }
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
                self.openings.spawn_device_open(&self.parts.workers, async move {
                    Opened::Microphone(id, host.open_audio_source(&device.name, request).await)
                });
            }
            DeviceDirection::Sink => self.openings.spawn_device_open(&self.parts.workers, async move {
                Opened::Speaker(id, host.open_audio_sink(&device.name, request).await)
            }),
        }
    }

    pub(super) fn handle_microphone(&mut self, id: OpenId, result: Result<Box<dyn AudioSource>>) {
        self.handle_device_opened(id, result.map(OpenedDevice::Microphone));
    }

    pub(super) fn handle_speaker(&mut self, id: OpenId, result: Result<Box<dyn AudioSink>>) {
        self.handle_device_opened(id, result.map(OpenedDevice::Speaker));
    }

    fn handle_device_opened(&mut self, id: OpenId, result: Result<OpenedDevice>) {
        let now = now(&self.parts).mono;
        let result = result.and_then(|device| match self.check_format(device.format()) {
            Ok(()) => Ok(device),
            Err(error) => {
                self.dispose(device.into());
                Err(error)
            }
        });
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
            (_, Some((id, (OpenedDevice::Microphone(source), hardware_clock)))) => {
                MediaCommand::SetMicrophone { source, hardware_clock, id }
            }
            (_, Some((id, (OpenedDevice::Speaker(sink), hardware_clock)))) => {
                MediaCommand::SetSpeaker { sink, hardware_clock, id }
            }
            (DeviceDirection::Source, None) => MediaCommand::RemoveMicrophone,
            (DeviceDirection::Sink, None) => MediaCommand::RemoveSpeaker,
        };
        self.media.send_command(command).await;
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
        self.openings.spawn_device_open(&self.parts.workers, async move {
            let mut result = Err(Error::new(ErrorKind::NotFound, "no media host has this microphone"));
            let with_sources = |(_, host, _): &(usize, &dyn MediaHost, &str)| host.capabilities().audio_sources;
            for (tried, (index, host, name)) in candidates(&hosts, &name).filter(with_sources).enumerate() {
                match host.open_audio_source(name, request).await {
                    Ok(source) => {
                        result = Ok((index, source));
                        break;
                    }
                    // The error of the preferred host is reported, unless that has no such device
                    // and another one knows more.
                    Err(error) if tried == 0 || is_not_found(&result) => result = Err(error),
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

fn is_not_found<T>(result: &Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}
