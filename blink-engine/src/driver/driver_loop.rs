//! The loop: one input after the other into the machine, and all outputs of it carried out.

mod commands;
mod deliveries;
mod media_events;
mod shutdown;
mod stream_commands;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use blink_api::{CallId, Did, Error, ErrorKind, FailureReason, IceServer, Result, SignalingEvent};
use rand_chacha::ChaCha8Rng;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::alarm::Alarm;
use super::audio_taps::AudioTaps;
use super::command::Command;
use super::device_watch;
use super::level_channel::level_channel;
use super::media::Media;
use super::network_event::network_event;
use super::opened_devices::Devices;
use super::openings::{Opened, Openings};
use super::parts::{Parts, RandomUse};
use super::publisher::{Publisher, announce};
use super::recordings::Recordings;
use super::report::Report;
use super::session::{SessionEnd, SessionHandle};
use super::store_writer::StoreWriter;
use super::streams::Streams;
use super::subscriptions::Subscriptions;
use super::telemetry::Telemetry;
use crate::event_sender::EventSender;
use crate::handle::Handles;
use crate::levels::Levels;
use crate::store::Store;
use blink_media::{MediaCommand, MediaEvent, PathId};
use blink_proto::call::{Change, Event, Input, Machine, Now, Output, SessionId, SessionInput};
use blink_proto::secure::{EnvelopeCodec, Refusal};
use blink_proto::wire::ChannelMessage;

/// How long a shutdown repeats its farewell, so that one lost message does not leave others
/// waiting.
const FAREWELL: Duration = Duration::from_millis(250);
/// How long a session may take for its statistics.
const STATISTICS: Duration = Duration::from_millis(500);
/// How long a shutdown waits for sessions to close.
const CLOSING: Duration = Duration::from_secs(1);
/// How long a shutdown waits for devices that are being opened.
pub(super) const OPENING_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) struct Driver {
    pub(super) parts: Parts,
    pub(super) machine: Machine,
    envelopes: EnvelopeCodec,
    sessions: BTreeMap<SessionId, SessionHandle>,
    subscriptions: Subscriptions,
    publisher: Publisher,
    pub(super) media: Media,
    /// The call that this device is in.
    pub(super) active: Option<CallId>,
    pub(super) devices: Devices,
    /// Held so that devices are watched and levels published.
    _watches: JoinSet<()>,
    pub(super) openings: Openings,
    pub(super) streams: Streams,
    pub(super) recordings: Recordings,
    pub(super) audio_taps: AudioTaps,
    /// Servers for paths to a person, beside those of the configuration.
    ice_servers: BTreeMap<Did, Vec<IceServer>>,
    random: ChaCha8Rng,
    store_writer: StoreWriter,
    /// Why the engine stopped by itself, if it did.
    stopped: Arc<OnceLock<Error>>,
    events: EventSender,
    telemetry: Telemetry,
    handles: Handles,
    pub(super) reports: mpsc::Sender<Report>,
    incoming: mpsc::Receiver<Report>,
    /// Sessions that are being closed.
    closing: Vec<oneshot::Receiver<()>>,
}

impl Driver {
    /// Subscribes to the own inbox, and announces where it is reached.
    pub(crate) async fn start(
        parts: Parts,
        machine: Machine,
        envelopes: EnvelopeCodec,
        store: Option<Store>,
        events: EventSender,
        stopped: Arc<OnceLock<Error>>,
        levels: watch::Sender<Levels>,
    ) -> Result<Self> {
        let (reports, incoming) = mpsc::channel(1_024);
        let mut subscriptions = Subscriptions::new(parts.signaling.clone(), reports.clone());
        subscriptions.subscribe(machine.inbox()).await?;
        announce(&*parts.signaling, &machine.inbox()).await;
        let (level_writer, level_publisher) = level_channel();
        let mut watches = device_watch::start(&parts.media_hosts, &reports);
        watches.spawn(level_publisher.run(levels));
        Ok(Self {
            publisher: Publisher::start(parts.signaling.clone()),
            media: Media::start(&parts, machine.own(), reports.clone(), level_writer),
            active: None,
            devices: Devices::new(&parts.media_hosts),
            _watches: watches,
            openings: Openings::default(),
            streams: Streams::default(),
            recordings: Recordings::new(&parts),
            audio_taps: AudioTaps::default(),
            ice_servers: BTreeMap::new(),
            random: parts.random(RandomUse::Streams),
            store_writer: StoreWriter::start(store, &events),
            stopped,
            parts,
            machine,
            envelopes,
            sessions: BTreeMap::new(),
            subscriptions,
            events,
            telemetry: Telemetry::default(),
            handles: Handles::default(),
            reports,
            incoming,
            closing: Vec::new(),
        })
    }

    /// Runs until the engine is shut down, or all its handles are dropped. Returns where the caller
    /// of the shutdown waits, to be answered once everything is free.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Option<oneshot::Sender<()>> {
        let mut network = Some(self.parts.signaling.events());
        let mut alarm = Alarm::new();
        // The machine's memory may hold something to send.
        self.carry_out().await;
        loop {
            let deadlines = [self.machine.deadline(), self.devices.manager.deadline()];
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Shutdown { reply }) => {
                        self.shut_down().await;
                        return Some(reply);
                    }
                    Some(command) => self.handle_command(command).await,
                    None => {
                        self.shut_down().await;
                        return None;
                    }
                },
                Some(report) = self.incoming.recv() => self.handle_report(report).await,
                Some(opened) = self.openings.next() => self.handle_opened(opened).await,
                Some(progress) = self.recordings.next() => self.handle_recording(progress).await,
                event = network_event(&mut network) => self.handle_network(event),
                () = alarm.wait(deadlines.into_iter().flatten().min()) => self.handle_timeout(),
            }
            self.carry_out().await;
            if let Some(boot) = self.envelopes.cloned() {
                self.give_way(boot).await;
                return None;
            }
        }
    }

    fn handle_timeout(&mut self) {
        let now = now(&self.parts);
        self.machine.handle_timeout(now);
        self.devices.manager.handle_timeout(now.mono);
    }

    /// Another process acts as this very device: one of the two must stop, and the one that started
    /// first does.
    async fn give_way(&mut self, boot: u64) {
        let error = Error::new(ErrorKind::Busy, "this device runs elsewhere, too: its data directory was copied");
        tracing::error!(%error, "the engine stops");
        // Nothing else sets it.
        self.stopped.set(error).ok();
        self.emit(Event::DeviceCloned);
        // The next start is the later one, and messages of this one are older then.
        self.store_writer.persist(Change::Boot(boot));
        self.shut_down().await;
    }

    /// A report that has arrived already.
    pub(super) fn next_report(&mut self) -> Option<Report> {
        self.incoming.try_recv().ok()
    }

    pub(super) async fn handle_report(&mut self, report: Report) {
        let now = now(&self.parts);
        match report {
            Report::Delivery(topic, delivery) => self.handle_delivery(now, &topic, &delivery),
            Report::Lagged(lost) => tracing::warn!(lost, "signaling came faster than it was read"),
            Report::Session(session, event) => {
                tracing::trace!(?session, event = event.name(), "a session reported an event");
                let is_pong = matches!(event, SessionInput::Channel(ChannelMessage::Pong { .. }));
                self.machine.handle(now, Input::Session { session, event });
                if is_pong {
                    self.pass_on_clock_round(session).await;
                }
            }
            Report::Malformed => self.envelopes.count(Refusal::Malformed),
            Report::Flooded(messages) => {
                tracing::debug!(messages, "a participant sends more on its data channel than is read");
                (0..messages).for_each(|_| self.envelopes.count(Refusal::RateLimited));
            }
            // A stream may outlive the media that it was first offered in.
            Report::Media(epoch, event)
                if self.media.is_current(epoch) || matches!(event, MediaEvent::SourceLost(..)) =>
            {
                self.handle_media_event(event).await;
            }
            Report::Media(epoch, event) => {
                if let Some(call) = self.media.held_call(epoch) {
                    self.handle_held_media(call, event);
                }
            }
            Report::Recorder(notice) => self.handle_recorder_notice(notice).await,
            Report::Devices(host, devices) => self.handle_devices(host, devices),
            Report::DeviceChanged(host, change) => self.handle_device_change(host, change),
            Report::DevicesListed(result) => self.handle_device_list(result),
            Report::FramesDropped(participant, stream) => self.close_unread(participant, stream),
            Report::Retired(device) => self.dispose(device),
        }
    }

    async fn handle_opened(&mut self, opened: Opened) {
        match opened {
            Opened::Processors(epoch, result) => self.handle_processors(epoch, result).await,
            Opened::Microphone(id, result) => self.handle_microphone(id, result),
            Opened::Speaker(id, result) => self.handle_speaker(id, result),
            Opened::Name(result, choice) => self.choose_device(result, choice).await,
            Opened::RequiredMicrophone(result, pending) => match result {
                Ok(microphone) => self.join(pending, Some(microphone)).await,
                // A reply that no one waits for is no failure, here as with every command.
                Err(error) => drop(pending.reply.send(Err(error))),
            },
            Opened::Stream(result, pending) => self.handle_stream_opened(result, pending).await,
        }
    }

    fn handle_network(&mut self, event: Result<SignalingEvent, broadcast::error::RecvError>) {
        match event {
            Ok(SignalingEvent::SubscriberJoined(topic)) => {
                self.machine.handle(now(&self.parts), Input::SubscriberJoined(topic));
            }
            Ok(SignalingEvent::Connected { nodes } | SignalingEvent::Disconnected { nodes }) => {
                self.emit(Event::SignalingChanged { nodes });
            }
            Ok(SignalingEvent::AddressesChanged) => self.emit(Event::AddressesChanged),
            // Lost events are made up for by the machine's timers.
            Ok(_) | Err(_) => {}
        }
    }

    /// Carries out all outputs of the machine and of the device manager.
    async fn carry_out(&mut self) {
        self.carry_out_machine().await;
        self.drive_devices().await;
        self.store_writer.hand_over();
    }

    async fn carry_out_machine(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send { channel, recipients, call, body } => {
                    let unix_ms = self.parts.clock.unix_ms();
                    tracing::trace!(kind = ?body.kind(), "a message goes out");
                    let find = self.machine.inboxes_to_find(&channel);
                    match self.envelopes.seal(&channel, &recipients, call, *body, unix_ms) {
                        Ok((topic, message)) => self.publisher.publish(topic, message, find),
                        Err(refusal) => tracing::warn!(?refusal, "a message cannot be sealed"),
                    }
                }
                Output::Subscribe(topic) => {
                    self.envelopes.join(topic.keys.clone(), topic.key);
                    if let Err(error) = self.subscriptions.subscribe(topic.keys.topic).await {
                        tracing::error!(%error, "a call's topic cannot be read");
                    }
                }
                Output::RetireTopic(topic) => {
                    self.envelopes.retire_topic(&topic);
                    self.subscriptions.unsubscribe(&topic);
                }
                Output::Unsubscribe(call) => self.unsubscribe(call),
                Output::OpenSession { session, call, remote, is_offerer } => {
                    let media = self.media.of_call(call);
                    let span = self.telemetry.on_session(self.parts.clock.now(), call, &remote, session);
                    let reports = self.reports.clone();
                    let ice = self.ice_with(&remote.did);
                    let end = SessionEnd { id: session, call, remote, is_offerer, ice };
                    let handle = SessionHandle::start(end, &self.parts, media, reports, span);
                    self.sessions.insert(session, handle);
                }
                Output::Negotiate { session, step } => self.with_session(session, |handle| handle.negotiate(step)),
                Output::SendChannelMessage { session, message } => {
                    self.with_session(session, |handle| handle.send(message));
                }
                Output::Admit { session } => {
                    let media = self.sessions.get(&session).map(|handle| self.media.of_call(handle.call));
                    if let Some(media) = media {
                        media.send(MediaCommand::Admit(path_of(session))).await;
                    }
                }
                Output::SetStreamFlow { session, stream, direction, active } => {
                    self.change_stream(session, stream, direction, active).await;
                }
                Output::EndStream(track) => {
                    self.streams.remove_requested(track);
                    self.audio_taps.end(|tapped| *tapped == track);
                }
                Output::CloseSession { session } => {
                    if let Some(handle) = self.sessions.remove(&session) {
                        self.closing.retain_mut(|closing| closing.try_recv() == Err(TryRecvError::Empty));
                        self.closing.push(handle.close());
                    }
                }
                Output::SetActiveCall(call) => self.set_active_call(call).await,
                Output::HoldCall(call) => self.hold_call(call).await,
                Output::ResumeCall(call) => self.resume_call(call).await,
                Output::EndHeldCall(call) => {
                    let devices = self.media.close_held(call).await;
                    self.close_devices_of_call(devices).await;
                }
                Output::Persist(change) => self.store_writer.persist(change),
                Output::SetBoot(boot) => self.envelopes.set_boot(boot),
                Output::Emit(event) => self.emit(event),
                Output::CountRefusal(refusal) => self.envelopes.count(refusal),
            }
        }
    }

    fn unsubscribe(&mut self, call: CallId) {
        let topic = self.envelopes.topic(&blink_proto::secure::Channel::Call(call));
        self.envelopes.leave(&call);
        if let Some(topic) = topic {
            self.subscriptions.unsubscribe(&topic);
        }
    }

    fn with_session(&mut self, session: SessionId, work: impl FnOnce(&SessionHandle)) {
        let Some(handle) = self.sessions.get(&session) else { return };
        work(handle);
        if handle.is_stuck() {
            self.machine.handle(
                now(&self.parts),
                Input::Session { session, event: SessionInput::Failed(FailureReason::SessionEnded) },
            );
        }
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.telemetry.on_event(self.parts.clock.now(), &event);
        match event {
            Event::CallReplaced { old, new } => self.handles.replace(old, new),
            // Of the current call: those of a held one have ended.
            Event::ParticipantLeft { call, participant, .. } if self.active == Some(call) => {
                self.audio_taps.end(|track| track.endpoint == participant);
            }
            Event::CallJoined { call } | Event::CallResumed { call } => self.start_automatic_recording(call),
            _ => {}
        }
        self.events.send(event);
    }
}

/// A session as the media knows it.
fn path_of(session: SessionId) -> PathId {
    PathId(session.0)
}

pub(super) fn now(parts: &Parts) -> Now {
    Now { mono: parts.clock.now(), unix_ms: parts.clock.unix_ms() }
}
