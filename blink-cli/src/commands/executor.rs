//! Execution of commands by an engine.

use std::path::PathBuf;
use std::time::SystemTime;

use blink_api::{CallId, Configuration, Did, EffectiveValue, Endpoint, Error, ErrorKind, Result, StreamId, TrackKind};
use blink_engine::{Blink, CallConfig, CallSnapshot, CallState, RecordingRequest, StreamConfig};

use super::{Command, Reply, State, dial};
use crate::contacts::Contacts;
use crate::event_text::Names;
use crate::target::{self, Target};
use crate::terminal_text::escape;

/// Recorder of `record` where none is configured.
const RECORDER: &str = "mp4";

/// Executes commands by an engine, with the contacts of a data directory.
#[derive(Clone)]
pub(crate) struct Executor {
    blink: Blink,
    data_dir: Option<PathBuf>,
    /// Directory of recordings.
    recordings: PathBuf,
    recorders: Vec<String>,
    settings: Vec<EffectiveValue>,
    contacts: Contacts,
}

impl Executor {
    /// Creates an executor, reads the contacts, and makes them known to the engine.
    ///
    /// # Errors
    /// Those of the contacts and the engine.
    pub(crate) async fn new(blink: &Blink, data_dir: Option<PathBuf>, recordings: PathBuf) -> Result<Self> {
        let mut executor = Self {
            blink: blink.clone(),
            data_dir,
            recordings,
            recorders: vec![RECORDER.to_owned()],
            settings: Vec::new(),
            contacts: Contacts::default(),
        };
        executor.reload_contacts().await?;
        Ok(executor)
    }

    /// Sets the recorders of `record` without names.
    pub(crate) fn with_recorders(mut self, names: &[String]) -> Self {
        if !names.is_empty() {
            self.recorders = names.to_vec();
        }
        self
    }

    /// Sets the values of all configuration keys.
    pub(crate) fn with_settings(mut self, configuration: &Configuration) -> Self {
        self.settings = configuration.effective();
        self
    }

    /// Unmutes and undeafens this device: both end with the call in which they were chosen.
    ///
    /// # Errors
    /// Those of the engine.
    pub(crate) async fn end_of_call(&self) -> Result<()> {
        self.blink.set_muted(false).await?;
        self.blink.set_deafened(false).await
    }

    /// The contacts, as last read.
    pub(crate) fn contacts(&self) -> &Contacts {
        &self.contacts
    }

    /// Names of the contacts, for texts.
    pub(crate) fn names(&self) -> Names {
        let mut names = Names::default();
        self.contacts.iter().for_each(|contact| names.add(contact.did, &contact.name));
        names
    }

    /// Executes a command. Contacts are those of the last `reload-contacts`.
    ///
    /// # Errors
    /// Those of the engine; [`Invalid`](ErrorKind::Invalid) and [`NotFound`](ErrorKind::NotFound)
    /// for names that mean nothing.
    pub(crate) async fn run(&mut self, command: &Command) -> Result<Reply> {
        let blink = self.blink.clone();
        match command {
            Command::Call { people } => return self.call(people).await,
            Command::Answer { call } => {
                blink.answer_call(self.ringing(*call).await?).await?;
            }
            Command::Reject { call } => blink.reject_call(self.ringing(*call).await?).await?,
            Command::Join { call: None } => return Ok(Reply::Ongoing { calls: blink.ongoing_calls().await? }),
            Command::Join { call: Some(call) } => {
                blink.answer_call(call.parse::<CallId>()?).await?;
            }
            Command::Leave { call } => self.leave(*call).await?,
            Command::Hold {} => drop(blink.hold_call().await?),
            Command::Resume { call } => {
                let held = blink.held_calls().await?;
                let Some(call) = named_call(call.as_deref(), &held)? else { return Ok(Reply::Held { calls: held }) };
                blink.resume_call(call).await?;
            }
            Command::Mute {} => blink.set_muted(true).await?,
            Command::Unmute {} => blink.set_muted(false).await?,
            Command::Deafen {} => blink.set_deafened(true).await?,
            Command::Undeafen {} => blink.set_deafened(false).await?,
            Command::Volume { volume, .. } if !(0.0..=4.0).contains(volume) => {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    "a volume is 0 to 4 or 0% to 400%, and 1 or 100% is unchanged",
                )
                .with("volume", volume));
            }
            Command::Volume { who, volume } => blink.set_volume(self.participant(who).await?, *volume).await?,
            Command::Message { message, who } => {
                let message = match who {
                    Some(who) => blink.send_message(self.participant(who).await?, message.as_str()).await?,
                    None => blink.send_message_to_all(message.as_str()).await?,
                };
                return Ok(Reply::Sent { message });
            }
            Command::Add { people } => self.add(people).await?,
            Command::Remove { who } => blink.remove_participant(self.did(who)?).await?,
            Command::Devices {} => return Ok(Reply::Devices { devices: blink.devices().await? }),
            Command::Microphone { name } => {
                blink.set_microphone(name.as_str()).await?;
                return Ok(Reply::DeviceChosen { device: "microphone", name: name.clone() });
            }
            Command::Speaker { name } => {
                blink.set_speaker(name.as_str()).await?;
                return Ok(Reply::DeviceChosen { device: "speaker", name: name.clone() });
            }
            Command::Record { recorders, directory } => return self.record(recorders, directory.as_ref()).await,
            Command::StopRecording {} => drop(blink.stop_recording().await?),
            Command::OfferStream { source, name } => {
                let name = name.as_ref().unwrap_or(source).clone();
                let config = StreamConfig { kind: TrackKind::Video, source: source.clone(), name };
                return Ok(Reply::Offering { stream: blink.offer_stream(config).await? });
            }
            Command::RevokeStream { stream } => blink.revoke_stream(self.stream(stream.as_deref()).await?).await?,
            Command::Settings {} => return Ok(Reply::Settings { settings: self.settings.clone() }),
            Command::State {} => return Ok(Reply::State(Box::new(self.state().await?))),
            Command::Statistics {} => return Ok(Reply::Statistics { participants: blink.statistics().await? }),
            Command::History {} => return Ok(Reply::History { calls: blink.call_history().await? }),
            Command::ReloadContacts {} => self.reload_contacts().await?,
            Command::Help {} => return Ok(Reply::help()),
        }
        Ok(Reply::Done)
    }

    /// State of this device.
    ///
    /// # Errors
    /// Those of the engine.
    pub(crate) async fn state(&self) -> Result<State> {
        let (endpoint, snapshot) = (self.blink.endpoint(), self.blink.snapshot().await?);
        Ok(State {
            did: endpoint.did,
            device: endpoint.device,
            addresses: self.blink.addresses().await?,
            muted: snapshot.muted,
            deafened: snapshot.deafened,
            recording: snapshot.recording,
            streams: snapshot.streams,
            calls: snapshot.calls,
        })
    }

    async fn reload_contacts(&mut self) -> Result<()> {
        if let Some(data_dir) = &self.data_dir {
            self.contacts = Contacts::load(data_dir)?;
        }
        for contact in self.contacts.iter().filter(|contact| !contact.servers.is_empty()) {
            self.blink.set_ice_servers(contact.did, contact.servers.clone()).await?;
        }
        self.blink.set_known_people(self.contacts.iter().map(|contact| contact.did)).await
    }

    fn targets(&self, people: &[String]) -> Result<Vec<Target>> {
        target::parse(people, &self.contacts, SystemTime::now())
            .map_err(|failure| Error::new(ErrorKind::Invalid, failure.reason().to_owned()))
    }

    async fn call(&self, people: &[String]) -> Result<Reply> {
        let targets = self.targets(people)?;
        let unreachable = dial(&self.blink, &targets).await?.into_iter().map(|failed| failed.did).collect();
        let people: Vec<_> = targets.iter().map(|target| target.did).collect();
        let call = self.blink.offer_call(&people, CallConfig::default()).await?.id();
        Ok(Reply::Calling { call, people, unreachable })
    }

    async fn add(&self, people: &[String]) -> Result<()> {
        let targets = self.targets(people)?;
        dial(&self.blink, &targets).await?;
        for target in targets {
            self.blink.add_participant(target.did).await?;
        }
        Ok(())
    }

    /// Leaves a call; without one the current call, else the only one on hold.
    ///
    /// # Errors
    /// Those of the engine.
    pub(crate) async fn leave(&self, call: Option<CallId>) -> Result<()> {
        if let Some(call) = call {
            return self.blink.leave_held_call(call).await;
        }
        if self.blink.current_call().await?.is_some() {
            return self.blink.leave_call().await;
        }
        match &self.blink.held_calls().await?[..] {
            // Refused, as there is none.
            [] => self.blink.leave_call().await,
            [held] => self.blink.leave_held_call(held.call).await,
            _ => Err(Error::new(ErrorKind::State, "several calls are on hold: resume one, then leave it")),
        }
    }

    /// The call that rings, or this one.
    async fn ringing(&self, call: Option<CallId>) -> Result<CallId> {
        if let Some(call) = call {
            return Ok(call);
        }
        let snapshot = self.blink.snapshot().await?;
        let mut ringing = snapshot.calls.iter().filter(|call| call.state == CallState::Ringing);
        let state = |why: &'static str| Error::new(ErrorKind::State, why);
        match (ringing.next(), ringing.next()) {
            (Some(call), None) => Ok(call.call),
            (None, _) => Err(state("no call rings")),
            _ => Err(state("several calls ring: name one by its id, which state shows")),
        }
    }

    fn did(&self, who: &str) -> Result<Did> {
        if who.starts_with("did:") { who.parse() } else { Ok(self.contacts.require(who)?.did) }
    }

    async fn current(&self) -> Result<CallSnapshot> {
        self.blink.current_call().await?.ok_or_else(|| Error::new(ErrorKind::State, "this device is in no call"))
    }

    async fn participant(&self, who: &str) -> Result<Endpoint> {
        let did = self.did(who)?;
        let call = self.current().await?;
        let person = call.participants.iter().find(|person| person.did == did);
        person
            .and_then(|person| person.endpoint)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "this person is not in the call").with("who", escape(who)))
    }

    async fn record(&self, recorders: &[String], directory: Option<&PathBuf>) -> Result<Reply> {
        let directory = directory.unwrap_or(&self.recordings);
        let recorders = if recorders.is_empty() { &self.recorders } else { recorders };
        let mut request = RecordingRequest::new(directory).recorders(recorders.iter().cloned());
        for contact in self.contacts.iter() {
            request = request.name(contact.did, contact.name.clone());
        }
        Ok(Reply::Recording { recording: self.blink.start_recording(request).await? })
    }

    async fn stream(&self, stream: Option<&str>) -> Result<StreamId> {
        if let Some(stream) = stream {
            return serde_json::from_value(stream.into()).map_err(|_| {
                Error::new(ErrorKind::Invalid, "a stream is named by its id, which state shows")
                    .with("stream", escape(stream))
            });
        }
        let offered = self.blink.snapshot().await?.streams;
        match &offered[..] {
            [one] => Ok(one.stream),
            [] => Err(Error::new(ErrorKind::State, "no stream is offered")),
            _ => {
                Err(Error::new(ErrorKind::State, "several streams are offered: name one by its id, which state shows"))
            }
        }
    }
}

/// The call that a number in a list or an id names, or the only one. `None` where the list is to be
/// shown: several are on hold and none is named.
fn named_call(named: Option<&str>, held: &[CallSnapshot]) -> Result<Option<CallId>> {
    let state = |why: &'static str| Error::new(ErrorKind::State, why);
    match (named, held) {
        (_, []) => Err(state("no call is on hold")),
        (None, [one]) => Ok(Some(one.call)),
        (None, _) => Ok(None),
        (Some(named), held) => match named.parse::<usize>() {
            // An id has 32 digits, which is no number of a list.
            Ok(number) if named.len() < 8 => {
                let call = number.checked_sub(1).and_then(|index| held.get(index));
                let none = || state("no call on hold has that number: resume lists them");
                call.map(|call| Some(call.call)).ok_or_else(none)
            }
            _ => named.parse().map(Some),
        },
    }
}
