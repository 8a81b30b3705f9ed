//! Commands of the user, carried out and answered.

use blink_api::{AudioCodec, CallId, CodecName, Did, Error, ErrorKind, IceConfig, Result};
use std::sync::Arc;
use tokio::sync::oneshot;

use super::super::command::Command;
use super::super::device_requests::NamedChoice;
use super::super::openings::{CallAction, PendingCall, PreparedMicrophone};
use super::super::session::SessionHandle;
use super::{Driver, STATISTICS, now};
use crate::call_config::{AudioConfig, CallConfig};
use crate::handle::Call;
use crate::statistics::{ParticipantStatistics, SendingStatistics};
use blink_media::{CallAudio, PathStatistics};
use blink_proto::call::SessionId;

impl Driver {
    pub(super) async fn handle_command(&mut self, command: Command) {
        let now = now(&self.parts);
        // A reply that no one waits for is no failure: the command was carried out all the same.
        match command {
            Command::Offer { people, config, reply } => match self.check_offer(&people, &config) {
                Err(error) => drop(reply.send(Err(error))),
                Ok(audio) => {
                    let action = CallAction::Offer { people, conversation: config.conversation };
                    self.begin_call(PendingCall { action, audio, reply }).await;
                }
            },
            Command::Answer { call, reply } => match self.machine.check_answer(call) {
                Err(error) => drop(reply.send(Err(error))),
                Ok(()) => {
                    let (action, audio) = (CallAction::Answer(call), self.parts.audio.clone());
                    self.begin_call(PendingCall { action, audio, reply }).await;
                }
            },
            Command::Handle { call, reply } => {
                let known = self.machine.check_known(call);
                reply.send(known.map(|()| self.handle_of(call))).ok();
            }
            Command::Reject { call, reason, reply } => {
                drop(reply.send(self.machine.reject_because(now, call, reason)));
            }
            Command::Add { did, reply } => drop(reply.send(self.machine.add(now, did))),
            Command::Remove { did, reply } => drop(reply.send(self.machine.remove(now, did))),
            Command::Leave { call, reply } => {
                let result = match call {
                    Some(call) => self.machine.leave_call(now, call),
                    None => self.machine.leave(now),
                };
                self.carry_out().await;
                reply.send(result).ok();
            }
            Command::Hold { reply } => {
                let result = self.machine.hold(now);
                self.carry_out().await;
                let call = result.map(|id| self.handle_of(id));
                reply.send(call).ok();
            }
            Command::Resume { call, reply } => {
                let result = self.machine.resume(now, call);
                self.carry_out().await;
                reply.send(result).ok();
            }
            Command::SetMuted { muted, reply } => {
                self.media.set_muted(muted).await;
                self.machine.set_muted(now, muted);
                reply.send(()).ok();
            }
            Command::SetDeafened { deafened, reply } => {
                self.media.set_deafened(deafened).await;
                self.machine.set_deafened(now, deafened);
                reply.send(()).ok();
            }
            Command::SetVolume { participant, volume, reply } => {
                self.media.set_volume(participant, volume).await;
                reply.send(()).ok();
            }
            Command::SendMessage { to, message, reply } => {
                drop(reply.send(self.machine.send_message(now, to, &message)));
            }
            Command::AudioFrames { track, reply } => {
                let frames = self.open_audio_frames(track).await;
                reply.send(frames).ok();
            }
            Command::SetRecording { recording, reply } => drop(reply.send(self.set_recording(recording))),
            Command::StartRecording { request, reply } => self.start_recording(request, reply),
            Command::StopRecording { reply } => self.stop_recording(reply).await,
            Command::Devices { reply } => self.list_devices(reply),
            Command::ChooseDevice { direction, name, reply } => {
                let number = self.devices.number_choice();
                self.check_device(NamedChoice { direction, number, name, reply });
            }
            Command::OfferStream { config, reply } => self.open_stream(config, reply),
            Command::RevokeStream { stream, reply } => drop(reply.send(self.revoke_stream(stream).await)),
            Command::RequestStream { participant, stream, reply } => {
                reply.send(self.request_stream(participant, stream)).ok();
            }
            Command::CloseStream { participant, stream, reply } => {
                reply.send(self.machine.close_stream(now, participant, stream)).ok();
            }
            Command::SetKnown { known, reply } => {
                self.machine.set_known(known);
                reply.send(()).ok();
            }
            Command::SetIceServers { did, servers, reply } => {
                self.ice_servers.insert(did, servers);
                reply.send(()).ok();
            }
            Command::History { reply } => drop(reply.send(self.machine.history())),
            Command::ClearHistory { reply } => {
                self.machine.clear_history();
                reply.send(()).ok();
            }
            Command::Presence { did, reply } => drop(reply.send(self.machine.presence(now, &did))),
            Command::Snapshot { reply } => drop(reply.send(self.machine.snapshot())),
            Command::SecurityCounters { reply } => drop(reply.send(*self.envelopes.counters())),
            Command::Statistics { reply } => self.collect_statistics(reply),
            Command::Shutdown { .. } => unreachable!("the loop takes it"),
        }
    }

    /// Servers for a path to a person.
    pub(super) fn ice_with(&self, did: &Did) -> IceConfig {
        let mut ice = self.parts.settings.ice.clone();
        let more = self.ice_servers.get(did).into_iter().flatten();
        let new: Vec<_> = more.filter(|server| !ice.servers.contains(server)).cloned().collect();
        ice.servers.extend(new);
        ice
    }

    fn check_offer(&self, people: &[Did], config: &CallConfig) -> Result<CallAudio> {
        self.machine.check_offer(people, &config.conversation)?;
        self.call_audio(&config.audio)
    }

    /// The audio of a call: as configured, except for what the call is offered with.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for values out of range, [`NotFound`](ErrorKind::NotFound)
    /// for a codec that is not configured, and those of a codec that does not support the format,
    /// frame or bitrate.
    fn call_audio(&self, config: &AudioConfig) -> Result<CallAudio> {
        let mut settings = self.parts.settings.call.audio.clone();
        settings.frame = config.frame.unwrap_or(settings.frame);
        settings.channels = config.channels.unwrap_or(settings.channels);
        settings.bitrate = config.bitrate.or(settings.bitrate);
        // Before the codecs, as the more likely mistake.
        settings.check()?;
        let codecs = match &config.codecs[..] {
            [] => self.parts.codecs.clone(),
            names => names.iter().map(|name| find_codec(&self.parts.codecs, name)).collect::<Result<_>>()?,
        };
        CallAudio::new(codecs, settings)
    }

    /// Begins a call; where it must have a microphone, that is opened first.
    async fn begin_call(&mut self, pending: PendingCall) {
        if self.media.requires_microphone() {
            self.open_required_microphone(pending);
        } else {
            self.join(pending, None).await;
        }
    }

    pub(super) async fn join(&mut self, pending: PendingCall, microphone: Option<PreparedMicrophone>) {
        let PendingCall { action, audio, reply } = pending;
        let now = now(&self.parts);
        let before = self.media.prepare(audio, microphone);
        let result = match action {
            CallAction::Offer { people, conversation } => {
                self.telemetry.metrics.on_offer();
                self.machine.offer(now, &people, &conversation)
            }
            CallAction::Answer(call) => {
                self.telemetry.metrics.on_answer(now.mono);
                self.machine.answer(now, call)
            }
        };
        // The handle is made first: carrying out the outputs may replace the call's id.
        let result = result.map(|id| self.handle_of(id));
        self.carry_out().await;
        // Where no call began, the microphone closes again, and the call that goes on keeps its
        // audio.
        self.media.settle(result.is_err().then_some(before));
        reply.send(result).ok();
    }

    /// A handle that knows every id of the call, and begins with the next event.
    fn handle_of(&mut self, call: CallId) -> Call {
        self.handles.add(self.machine.ids_of(call), self.events.next_number())
    }

    /// Collects the statistics of sessions and media in the background: the driver does not wait.
    fn collect_statistics(&self, reply: oneshot::Sender<Vec<ParticipantStatistics>>) {
        let Some(call) = self.active else { return drop(reply.send(Vec::new())) };
        let media = self.media.of_call(call);
        let request = |(id, session): (&SessionId, &SessionHandle)| {
            (*id, session.remote, self.machine.clock_of(&session.remote), session.stats())
        };
        let of_call = self.sessions.iter().filter(|(_, session)| session.call == call);
        let requested: Vec<_> = of_call.map(request).collect();
        tokio::spawn(async move {
            let mut all = Vec::new();
            for (id, participant, clock, stats) in requested {
                // A session that ended meanwhile has no statistics, and one that is still being
                // opened has none yet.
                let Ok(Ok(session)) = tokio::time::timeout(STATISTICS, stats).await else { continue };
                let media = media.statistics(participant, id).await;
                let received = media.path.as_ref().map(|path| (path.jitter, path.video.clone()));
                let (jitter, video) = received.unwrap_or_default();
                let (codec, sending) = media.path.map(sending_statistics).unwrap_or_default();
                let audio = media.audio;
                all.push(ParticipantStatistics { participant, session, audio, jitter, video, clock, codec, sending });
            }
            reply.send(all).ok();
        });
    }
}

/// The codec that a path is sent with, and how that fares.
fn sending_statistics(path: PathStatistics) -> (String, SendingStatistics) {
    let codec = path.codec.map(|codec| codec.to_string()).unwrap_or_default();
    let sending = SendingStatistics {
        loss: path.microphone.loss,
        burst: path.microphone.burst,
        audio_bitrate: path.microphone.bitrate,
        path_bitrate: path.bitrate,
        frames_dropped: path.frames_dropped,
    };
    (codec, sending)
}

fn find_codec(configured: &[Arc<dyn AudioCodec>], name: &str) -> Result<Arc<dyn AudioCodec>> {
    let wanted = CodecName::new(name);
    configured.iter().find(|codec| codec.rtp().name == wanted).cloned().ok_or_else(|| {
        let names: Vec<_> = configured.iter().map(|codec| codec.rtp().name.to_string()).collect();
        Error::new(ErrorKind::NotFound, format!("the codec `{name}` is not configured; there is: {}", names.join(", ")))
    })
}
