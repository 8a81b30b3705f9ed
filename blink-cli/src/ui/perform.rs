//! Carries out actions on the engine, beside the screen.

use std::path::PathBuf;
use std::time::Duration;

use blink_api::{Configuration, DeviceDirection, Did, Error, ErrorKind};
use blink_engine::{Blink, CallConfig, RecordingRequest, RequestedStream, StreamConfig};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::action::{Action, Outcome};
use super::keys::direction_name;
use crate::commands::use_servers;
use crate::contacts::Contacts;
use crate::failure::one_line;
use crate::inviting;
use crate::target::Target;

/// Actions that wait in a lane; beyond, they are refused.
const QUEUE: usize = 64;
/// Interval between two counts of a watched stream.
const COUNT: Duration = Duration::from_millis(500);

/// Lanes of actions. Actions of one lane are carried out in order; a device that opens slowly or a
/// file that is completed delays no hang-up.
pub(super) struct Performer {
    lanes: [mpsc::Sender<Action>; 4],
    tasks: Vec<JoinHandle<()>>,
    outcomes: mpsc::Sender<Outcome>,
}

/// Engine and directories of actions.
#[derive(Clone)]
pub(super) struct Workshop {
    pub(super) blink: Blink,
    pub(super) configuration: Configuration,
    /// Directory of recordings.
    pub(super) recordings: PathBuf,
    /// Results for the screen.
    pub(super) outcomes: mpsc::Sender<Outcome>,
}

impl Performer {
    /// Starts the lanes.
    pub(super) fn start(workshop: &Workshop) -> Self {
        let mut tasks = Vec::new();
        let lanes = std::array::from_fn(|_| {
            let (sender, mut actions) = mpsc::channel(QUEUE);
            let workshop = workshop.clone();
            tasks.push(tokio::spawn(async move {
                while let Some(action) = actions.recv().await {
                    let outcome = match workshop.perform(action).await {
                        Ok(outcome) => outcome,
                        Err(error) => Outcome::Failed(one_line(&error.to_string())),
                    };
                    if workshop.outcomes.send(outcome).await.is_err() {
                        break;
                    }
                }
            }));
            sender
        });
        Self { lanes, tasks, outcomes: workshop.outcomes.clone() }
    }

    /// Queues an action.
    pub(super) fn queue(&self, action: Action) {
        let lane = match action {
            Action::Choose(..) | Action::ListDevices => 1,
            Action::Record(_) | Action::StopRecording => 2,
            Action::ReadPresence(_)
            | Action::ReadHistory
            | Action::MakeInvite
            | Action::ReadContacts
            | Action::AddContact(..)
            | Action::RemoveContact(_)
            | Action::Verify(_) => 3,
            _ => 0,
        };
        if self.lanes[lane].try_send(action).is_err() {
            // A full queue of outcomes means that the screen is behind: it misses this one.
            self.outcomes.try_send(Outcome::Failed("too much to do at once: not done".to_owned())).ok();
        }
    }

    /// Ends the lanes. Actions that were begun are not completed.
    pub(super) fn end(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Workshop {
    async fn perform(&self, action: Action) -> Result<Outcome, Error> {
        let blink = &self.blink;
        match action {
            Action::Call(targets) => {
                use_servers(blink, &targets).await?;
                targets.iter().for_each(|target| self.connect(target));
                let dids: Vec<Did> = targets.iter().map(|target| target.did).collect();
                blink.offer_call(&dids, CallConfig::default()).await?;
            }
            Action::Add(target) => {
                use_servers(blink, std::slice::from_ref(&target)).await?;
                self.connect(&target);
                blink.add_participant(target.did).await?;
            }
            Action::Answer(call) => drop(blink.answer_call(call).await?),
            Action::HoldAndAnswer(call) => {
                blink.hold_call().await?;
                blink.answer_call(call).await?;
            }
            Action::Hold => drop(blink.hold_call().await?),
            Action::Resume(call) => blink.resume_call(call).await?,
            Action::Reject(call) => {
                blink.reject_call(call).await?;
                return Ok(Outcome::History(blink.call_history().await?));
            }
            Action::Leave => blink.leave_call().await?,
            Action::Mute(muted) => blink.set_muted(muted).await?,
            Action::Deafen(deafened) => blink.set_deafened(deafened).await?,
            Action::Volume(endpoint, volume) => blink.set_volume(endpoint, volume).await?,
            Action::Message(text) => drop(blink.send_message_to_all(text).await?),
            Action::Choose(direction, name) => return self.choose(direction, name).await,
            Action::Record(names) => self.record(names).await?,
            // The event names the files.
            Action::StopRecording => drop(blink.stop_recording().await?),
            Action::OfferStream(kind, source) => {
                let name = source.chars().take(16).collect();
                blink.offer_stream(StreamConfig { kind, source, name }).await?;
            }
            Action::RevokeStream(stream) => blink.revoke_stream(stream).await?,
            Action::Watch(from, stream) => self.watch(from, stream).await?,
            Action::Unwatch(from, stream) => {
                blink.close_stream(from, stream).await?;
                return Ok(Outcome::Watched(from, stream, None));
            }
            Action::ListDevices => return Ok(Outcome::Devices(blink.devices().await?)),
            Action::ReadHistory => return Ok(Outcome::History(blink.call_history().await?)),
            Action::ReadPresence(people) => {
                let mut presence = Vec::new();
                for did in people {
                    presence.push((did, blink.presence(did).await?));
                }
                return Ok(Outcome::Presence(presence));
            }
            Action::MakeInvite => return self.invite().await,
            Action::AddContact(name, invite) => {
                return self.change_contacts(move |contacts| contacts.add(&name, invite).map(drop)).await;
            }
            Action::RemoveContact(name) => {
                return self.change_contacts(move |contacts| contacts.remove(&name).map(drop)).await;
            }
            Action::Verify(name) => {
                return self.change_contacts(move |contacts| contacts.set_verified(&name, true)).await;
            }
            Action::ReadContacts => return self.contacts().await,
            // The screen's own.
            Action::Snapshot | Action::Copy(_) | Action::Bell | Action::Redraw | Action::Suspend | Action::Quit => {}
        }
        Ok(Outcome::Done)
    }

    /// Connects to the addresses of a person beside the call, which is offered until it is heard.
    fn connect(&self, target: &Target) {
        for address in target.addresses.iter().chain(&target.nodes) {
            let (blink, outcomes, address) = (self.blink.clone(), self.outcomes.clone(), address.clone());
            tokio::spawn(async move {
                if let Err(error) = blink.connect(&address).await {
                    // The screen has ended, or is behind.
                    outcomes.try_send(Outcome::Failed(one_line(&error.to_string()))).ok();
                }
            });
        }
    }

    async fn choose(&self, direction: DeviceDirection, name: String) -> Result<Outcome, Error> {
        match direction {
            DeviceDirection::Source => self.blink.set_microphone(name.clone()).await,
            DeviceDirection::Sink => self.blink.set_speaker(name.clone()).await,
        }
        .map_err(|error| error.with("device", direction_name(direction)))?;
        Ok(Outcome::Chosen(direction, name))
    }

    async fn record(&self, names: Vec<(Did, String)>) -> Result<(), Error> {
        let request = RecordingRequest::new(&self.recordings);
        let request = names.into_iter().fold(request, |request, (did, name)| request.name(did, name));
        // The event names the directory.
        self.blink.start_recording(request).await.map(drop)
    }

    /// Requests a stream, and counts its frames until it ends. There is no decoder for them yet.
    async fn watch(&self, from: blink_api::Endpoint, stream: blink_api::StreamId) -> Result<(), Error> {
        let requested = self.blink.request_stream(from, stream).await?;
        let outcomes = self.outcomes.clone();
        // Audio is played.
        outcomes.send(Outcome::Watched(from, stream, Some((0, 0)))).await.ok();
        let RequestedStream::Video(mut frames) = requested else { return Ok(()) };
        tokio::spawn(async move {
            let (mut count, mut bytes, mut ticks) = (0, 0, tokio::time::interval(COUNT));
            loop {
                let is_sent = tokio::select! {
                    frame = frames.next() => match frame {
                        Some(frame) => {
                            (count, bytes) = (count + 1, bytes + frame.frame.data.len() as u64);
                            Ok(())
                        }
                        None => break,
                    },
                    _ = ticks.tick() => outcomes.send(Outcome::Watched(from, stream, Some((count, bytes)))).await,
                };
                if is_sent.is_err() {
                    return;
                }
            }
            // The screen has ended.
            outcomes.send(Outcome::Watched(from, stream, None)).await.ok();
        });
        Ok(())
    }

    /// Lines that others call this device by: the invite, and every address.
    async fn invite(&self) -> Result<Outcome, Error> {
        let did = self.blink.did();
        let addresses = self.blink.addresses().await?;
        let mut lines = vec![inviting::with_addresses(did, addresses.clone(), &self.configuration).to_string()];
        lines.extend(addresses.iter().map(|address| format!("{did}@{address}")));
        Ok(Outcome::Invite(lines))
    }

    /// Changes the stored contacts.
    async fn change_contacts(
        &self,
        change: impl FnOnce(&mut Contacts) -> Result<(), Error> + Send + 'static,
    ) -> Result<Outcome, Error> {
        let Some(data_dir) = self.configuration.settings().data_dir.clone() else {
            let why = "contacts are stored in `data_dir`, which this run does not have";
            return Err(Error::new(ErrorKind::Unsupported, why));
        };
        blocking(move || Contacts::update(&data_dir, change)).await?;
        self.contacts().await
    }

    /// Reads the contacts: they are the people that `call.from = "known"` lets ring.
    async fn contacts(&self) -> Result<Outcome, Error> {
        let contacts = match self.configuration.settings().data_dir.clone() {
            Some(data_dir) => blocking(move || Contacts::load(&data_dir)).await?,
            None => Contacts::default(),
        };
        let known: Vec<_> = contacts.iter().map(|contact| contact.did).collect();
        self.blink.set_known_people(known).await?;
        Ok(Outcome::Contacts(contacts))
    }
}

/// Does work that waits for a disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::new(ErrorKind::Closed, error.to_string())))
}
