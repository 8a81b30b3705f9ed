//! The loop: one input after the other into the machine, and all that it wants done.

mod commands;
mod streams;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use blink_api::{CallId, Error, ErrorKind, Result, SignalingEvent, Verdict};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::keeper::Keeper;
use super::media::Media;
use super::publisher::Publisher;
use super::session::SessionHandle;
use super::streams::Streams;
use super::subscriptions::Subscriptions;
use super::{Command, Parts, Report};
use crate::events::EventSender;
use crate::handle::Handles;
use crate::store::Store;
use blink_proto::call::{Change, Event, Input, Machine, Now, Output, SessionId, SessionInput, Signal};
use blink_proto::secure::{EnvelopeCodec, Refusal};
use blink_proto::wire::Content;

/// How long a shutdown says farewell, so that one lost message does not leave others waiting.
const FAREWELL: Duration = Duration::from_millis(250);

/// How long a session may take to tell its figures.
const STATISTICS: Duration = Duration::from_millis(500);
/// How long a shutdown waits for sessions to close.
const CLOSING: Duration = Duration::from_secs(1);

pub(crate) struct Driver {
    parts: Parts,
    machine: Machine,
    opener: EnvelopeCodec,
    sessions: BTreeMap<SessionId, SessionHandle>,
    subscriptions: Subscriptions,
    publisher: Publisher,
    media: Media,
    streams: Streams,
    keeper: Keeper,
    /// Why the engine stopped by itself, if it did.
    stopped: Arc<OnceLock<Error>>,
    events: EventSender,
    handles: Handles,
    reports: mpsc::Sender<Report>,
    incoming: mpsc::Receiver<Report>,
    /// Sessions that are being closed.
    closing: Vec<oneshot::Receiver<()>>,
}

impl Driver {
    /// Subscribes to the own inbox.
    pub(crate) async fn start(
        parts: Parts,
        machine: Machine,
        opener: EnvelopeCodec,
        store: Option<Store>,
        events: EventSender,
        stopped: Arc<OnceLock<Error>>,
    ) -> Result<Self> {
        let (reports, incoming) = mpsc::channel(1_024);
        let mut subscriptions = Subscriptions::new(parts.signaling.clone(), reports.clone());
        subscriptions.subscribe(machine.inbox()).await?;
        Ok(Self {
            publisher: Publisher::start(parts.signaling.clone()),
            media: Media::start(&parts, reports.clone()),
            streams: Streams::new(parts.clone(), reports.clone()),
            keeper: Keeper::start(store, &events),
            stopped,
            parts,
            machine,
            opener,
            sessions: BTreeMap::new(),
            subscriptions,
            events,
            handles: Handles::default(),
            reports,
            incoming,
            closing: Vec::new(),
        })
    }

    /// Until the engine is shut down, or nobody can give commands any more. Whoever asked for the
    /// shutdown is told by the caller, once everything is free.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Option<oneshot::Sender<()>> {
        let mut network = Some(self.parts.signaling.events());
        // What the machine remembers may be something to say.
        self.carry_out().await;
        loop {
            let deadline = self.machine.deadline();
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
                event = network_event(&mut network) => self.handle_network(event),
                () = sleep_until(deadline) => self.machine.handle_timeout(now(&self.parts)),
            }
            self.carry_out().await;
            if let Some(boot) = self.opener.cloned() {
                self.give_way(boot).await;
                return None;
            }
        }
    }

    /// Somebody else speaks as this very device: one of the two must stop, and whoever started
    /// first does.
    async fn give_way(&mut self, boot: u64) {
        let error = Error::new(ErrorKind::Busy, "this device runs elsewhere, too: its data directory was copied");
        tracing::error!(%error, "the engine stops");
        // Nothing else sets it.
        self.stopped.set(error).ok();
        self.emit(Event::DeviceCloned);
        // The next start is the later one, and what was said now is an old word then.
        self.keeper.keep(Change::Boot(boot));
        self.shut_down().await;
    }

    async fn handle_report(&mut self, report: Report) {
        let now = now(&self.parts);
        match report {
            Report::Delivery(topic, delivery) => {
                let expects = |did: &_| self.machine.is_expected(did);
                let (result, verdict) = self.opener.open_expecting(now.mono, &topic, &delivery, &expects);
                match result {
                    Ok((channel, Content { from, boot, call, body, .. })) => {
                        tracing::trace!(kind = ?body.kind(), "a message came");
                        let lasts = !body.is_from_throwaway();
                        self.machine.handle(now, Input::Signal(Signal { channel, from, boot, call, body }));
                        // Judged afterwards: a message may bring the entry by which its sender is a
                        // member.
                        let may_speak = self.machine.is_permitted(&channel, &from.did);
                        self.parts.signaling.report(delivery.id, if may_speak { verdict } else { Verdict::Ignore });
                        let expected = self.machine.is_expected(&from.did);
                        self.opener.set_expected(now.mono, &delivery, &from, expected, lasts);
                    }
                    Err(refusal) => {
                        self.parts.signaling.report(delivery.id, verdict);
                        tracing::trace!(?refusal, "a message was refused");
                        if let Some(boot_rollback) = self.opener.take_boot_rollback() {
                            self.machine.handle(now, Input::BootRollback(boot_rollback));
                        }
                    }
                }
            }
            Report::Lagged(lost) => tracing::warn!(lost, "signaling came faster than it was read"),
            Report::Session(session, event) => {
                tracing::trace!(?session, event = event.name(), "a session reports");
                self.machine.handle(now, Input::Session { session, event });
            }
            Report::Malformed => self.opener.count(Refusal::Malformed),
            Report::Flooded(messages) => {
                tracing::debug!(messages, "a participant says more on its data channel than is read");
                (0..messages).for_each(|_| self.opener.count(Refusal::RateLimited));
            }
            Report::Media(epoch, event) if self.media.is_current(epoch) => self.emit(event),
            Report::Media(..) => {}
            Report::Speaking(epoch, participant, speaking) if self.media.is_current(epoch) => {
                let endpoint = participant.unwrap_or(self.machine.own());
                self.machine.handle(now, Input::Speaking { endpoint, speaking });
            }
            Report::Speaking(..) => {}
            Report::SourceLost(stream) => self.handle_source_lost(stream),
            Report::Source(result, command) => {
                if let Command::OfferStream { config, reply } = *command {
                    // As with every command: a reply that nobody waits for is no failure.
                    reply.send(result.and_then(|source| self.offer_stream(source, &config))).ok();
                }
            }
            Report::Microphone(Ok(source), command, audio) => self.join(*command, audio, Some(source)).await,
            Report::Microphone(Err(error), command, _) => match *command {
                // As with every command: a reply that nobody waits for is no failure.
                Command::Offer { reply, .. } | Command::Answer { reply, .. } => drop(reply.send(Err(error))),
                _ => {}
            },
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
            // What was missed is repeated by the machine's timers anyway.
            Ok(_) | Err(_) => {}
        }
    }

    /// Does everything the machine wants done.
    async fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send { channel, recipients, call, body } => {
                    let unix_ms = self.parts.clock.unix_ms();
                    tracing::trace!(kind = ?body.kind(), "a message goes out");
                    match self.opener.seal(&channel, &recipients, call, *body, unix_ms) {
                        Ok((topic, message)) => self.publisher.publish(topic, message),
                        Err(refusal) => tracing::warn!(?refusal, "a message cannot be sealed"),
                    }
                }
                Output::Subscribe(topic) => {
                    self.opener.join(topic.keys.clone(), topic.key);
                    if let Err(error) = self.subscriptions.subscribe(topic.keys.topic).await {
                        tracing::error!(%error, "a call's topic cannot be read");
                    }
                }
                Output::RetireTopic(topic) => {
                    self.opener.retire_topic(&topic);
                    self.subscriptions.unsubscribe(&topic);
                }
                Output::Unsubscribe(call) => self.part(call),
                Output::OpenSession { session, call, remote, is_offerer } => {
                    let media = self.media.handle();
                    let span = tracing::info_span!("session", id = session.0, %call, peer = %remote.did);
                    let reports = self.reports.clone();
                    let handle = SessionHandle::start(session, remote, is_offerer, &self.parts, media, reports, span);
                    self.sessions.insert(session, handle);
                }
                Output::Negotiate { session, step } => self.with_session(session, |handle| handle.negotiate(step)),
                Output::SendChannelMessage { session, message } => {
                    self.with_session(session, |handle| handle.send(message))
                }
                Output::Admit { session } => self.with_session(session, SessionHandle::admit),
                Output::SetStreamFlow { session, stream, direction, active } => {
                    self.change_stream(session, stream, direction, active);
                }
                Output::EndStream { participant, stream } => self.streams.drop_requested(participant, stream),
                Output::CloseSession { session } => {
                    if let Some(handle) = self.sessions.remove(&session) {
                        self.closing.retain_mut(|closing| closing.try_recv() == Err(TryRecvError::Empty));
                        self.closing.push(handle.close());
                    }
                }
                Output::SetActiveCall(gate) => self.set_gate(gate).await,
                Output::Persist(memo) => self.keeper.keep(memo),
                Output::SetBoot(boot) => self.opener.set_boot(boot),
                Output::Emit(event) => self.emit(event),
                Output::CountRefusal(refusal) => self.opener.count(refusal),
            }
        }
        self.keeper.hand_over();
    }

    fn part(&mut self, call: CallId) {
        let topic = self.opener.topic(&blink_proto::secure::Channel::Call(call));
        self.opener.leave(&call);
        if let Some(topic) = topic {
            self.subscriptions.unsubscribe(&topic);
        }
    }

    fn with_session(&mut self, session: SessionId, work: impl FnOnce(&SessionHandle)) {
        let Some(handle) = self.sessions.get(&session) else { return };
        work(handle);
        if handle.is_stuck() {
            self.machine.handle(now(&self.parts), Input::Session { session, event: SessionInput::Failed });
        }
    }

    async fn set_gate(&mut self, gate: Option<CallId>) {
        match gate {
            Some(call) => self.media.open(call).await,
            None => {
                self.streams.clear();
                self.media.close().await;
            }
        }
    }

    fn emit(&mut self, event: Event) {
        tracing::debug!(event = event.name());
        if let Event::CallReplaced { old, new } = event {
            self.handles.replace(old, new);
        }
        self.events.send(event);
    }

    /// Leaves, says so, and closes everything.
    async fn shut_down(&mut self) {
        // Who is in no call has none to leave.
        self.machine.leave(now(&self.parts)).ok();
        self.carry_out().await;
        if self.machine.has_pending_farewells() {
            let end = tokio::time::Instant::now() + FAREWELL;
            loop {
                self.carry_out().await;
                tokio::select! {
                    () = sleep_until(self.machine.deadline()) => self.machine.handle_timeout(now(&self.parts)),
                    Some(report) = self.incoming.recv() => self.handle_report(report).await,
                    () = tokio::time::sleep_until(end) => break,
                }
            }
        }
        self.carry_out().await;
        let open = std::mem::take(&mut self.sessions);
        self.closing.extend(open.values().map(SessionHandle::close));
        let closings = std::mem::take(&mut self.closing);
        let all = async {
            for closing in closings {
                // An error means that the task had ended by itself, and the session with it.
                closing.await.ok();
            }
        };
        if tokio::time::timeout(CLOSING, all).await.is_err() {
            tracing::warn!("a session did not close in time");
        }
        self.media.finish().await;
        self.publisher.flush().await;
        self.parts.signaling.shutdown().await;
        self.keeper.finish().await;
    }
}

/// The next event of the signaling network; none ever where it will tell nothing more.
async fn network_event(
    network: &mut Option<broadcast::Receiver<SignalingEvent>>,
) -> Result<SignalingEvent, broadcast::error::RecvError> {
    if let Some(receiver) = network {
        match receiver.recv().await {
            Err(broadcast::error::RecvError::Closed) => *network = None,
            event => return event,
        }
    }
    std::future::pending().await
}

/// The error of a command that no driver is there to take.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the engine is shut down")
}

fn now(parts: &Parts) -> Now {
    Now { mono: parts.clock.now(), unix_ms: parts.clock.unix_ms() }
}

pub(super) async fn sleep_until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
