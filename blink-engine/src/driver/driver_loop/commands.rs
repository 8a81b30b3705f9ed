//! Commands of the user, carried out and answered.

use blink_api::{AudioSource, CallId, Did, Result};
use tokio::sync::oneshot;

use super::super::session::{PathFigures, SessionHandle};
use super::super::{CallAudio, Command};
use super::{Driver, STATISTICS, now};
use crate::blink::CallConfig;
use crate::handle::Call;
use crate::statistics::ParticipantStatistics;

impl Driver {
    pub(super) async fn handle_command(&mut self, command: Command) {
        let now = now(&self.parts);
        // A reply that nobody waits for is no failure: the command was carried out all the same.
        match command {
            Command::Offer { people, config, reply } => match self.check_offer(&people, &config) {
                Err(error) => drop(reply.send(Err(error))),
                Ok(audio) => self.take_part(Command::Offer { people, config, reply }, audio).await,
            },
            Command::Answer { call, reply } => match self.machine.check_answer(call) {
                Err(error) => drop(reply.send(Err(error))),
                Ok(()) => self.take_part(Command::Answer { call, reply }, self.parts.audio.clone()).await,
            },
            Command::Handle { call, reply } => {
                let known = self.machine.check_known(call);
                reply.send(known.map(|()| self.handle_of(call))).ok();
            }
            Command::Reject { call, reply } => drop(reply.send(self.machine.reject(now, call))),
            Command::Add { did, reply } => drop(reply.send(self.machine.add(now, did))),
            Command::Remove { did, reply } => drop(reply.send(self.machine.remove(now, did))),
            Command::Leave { reply } => {
                let result = self.machine.leave(now);
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
            Command::SetRecording { recording, reply } => drop(reply.send(self.machine.set_recording(now, recording))),
            Command::OfferStream { config, reply } => self.open_stream(config, reply),
            Command::RevokeStream { stream, reply } => drop(reply.send(self.revoke_stream(stream))),
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
            Command::History { reply } => drop(reply.send(self.machine.history())),
            Command::ClearHistory { reply } => {
                self.machine.clear_history();
                reply.send(()).ok();
            }
            Command::Presence { did, reply } => drop(reply.send(self.machine.presence(now, &did))),
            Command::Snapshot { reply } => drop(reply.send(self.machine.snapshot())),
            Command::SecurityCounters { reply } => drop(reply.send(*self.opener.counters())),
            Command::Statistics { reply } => self.collect_statistics(reply),
            Command::Shutdown { .. } => unreachable!("the loop takes it"),
        }
    }

    fn check_offer(&self, people: &[Did], config: &CallConfig) -> Result<CallAudio> {
        self.machine.check_offer(people, &config.conversation)?;
        CallAudio::new(&self.parts.codecs, &self.parts.settings.call.audio, &config.audio)
    }

    /// A call is to be offered or answered; with a microphone first where there must be one.
    async fn take_part(&mut self, command: Command, audio: CallAudio) {
        if self.media.requires_microphone() {
            self.media.prepare_microphone(command, audio);
        } else {
            self.join(command, audio, None).await;
        }
    }

    pub(super) async fn join(&mut self, command: Command, audio: CallAudio, microphone: Option<Box<dyn AudioSource>>) {
        let now = now(&self.parts);
        let before = self.media.prepare(audio, microphone);
        let (result, reply) = match command {
            Command::Offer { people, config, reply } => (self.machine.offer(now, &people, &config.conversation), reply),
            Command::Answer { call, reply } => (self.machine.answer(now, call), reply),
            _ => return,
        };
        // Before anything of it is told: a call may be replaced by what it is told first.
        let result = result.map(|id| self.handle_of(id));
        self.carry_out().await;
        // Where nothing came of it, the microphone closes again, and the call that goes on sounds
        // as before.
        self.media.settle(result.is_err().then_some(before));
        reply.send(result).ok();
    }

    /// A handle that knows every id of the call, and begins with the next event.
    fn handle_of(&mut self, call: CallId) -> Call {
        self.handles.add(self.machine.ids_of(call), self.events.next_number())
    }

    /// Asks sessions and playout, and answers when all have: the driver does not wait.
    fn collect_statistics(&self, reply: oneshot::Sender<Vec<ParticipantStatistics>>) {
        let media = self.media.handle();
        let ask = |session: &SessionHandle| (session.remote, self.machine.clock_of(&session.remote), session.stats());
        let asked: Vec<_> = self.sessions.values().map(ask).collect();
        tokio::spawn(async move {
            let mut all = Vec::new();
            for (participant, clock, stats) in asked {
                // A session that ended meanwhile has no figures, and one that is still being opened
                // has none yet.
                if let Ok(Ok(PathFigures { session, codec, sending })) = tokio::time::timeout(STATISTICS, stats).await {
                    let audio = media.statistics(participant).await;
                    all.push(ParticipantStatistics { participant, session, audio, clock, codec, sending });
                }
            }
            reply.send(all).ok();
        });
    }
}
