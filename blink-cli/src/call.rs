//! `blink call`: places a call.

mod remote;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use blink_api::{Did, Endpoint, ErrorKind, PathFailure};
use blink_engine::{
    Blink, Call, CallConfig, CallSnapshot, CallState, EndReason, Event, EventItem, Events, ParticipantStatistics,
    ParticipantStatus, Presence,
};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};

use crate::args::{CallArguments, Global};
use crate::commands::{Executor, Reply, Request, dial};
use crate::contacts::Contacts;
use crate::control::{self, Server};
use crate::event_text::{Names, ended_because, milliseconds};
use crate::failure::{Failure, one_line};
use crate::interrupt::Interrupt;
use crate::keyboard::Keyboard;
use crate::output::Output;
use crate::record::recordings;
use crate::target::{self, Target};
use crate::video::Video;
use crate::{configuration, engine, files};

const HEARD: &str = "heard.wav";
/// Maximum of `--seconds`: 30 days.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Time after which a callee who is neither online nor rings is told.
const NOT_FOUND: Duration = Duration::from_secs(5);

/// Runs until the call has ended.
pub(crate) async fn run(
    arguments: &CallArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let seconds = arguments.seconds.map(limit).transpose()?;
    let heard = arguments.out.as_ref().map(|directory| directory.join(HEARD));
    let configuration = configuration::for_call(
        global,
        &arguments.devices,
        (arguments.input.as_deref(), heard.as_deref()),
        (&arguments.record, arguments.out.as_deref()),
    )?;
    let contacts = match &configuration.settings().data_dir {
        Some(data_dir) => Contacts::load(data_dir)?,
        None => Contacts::default(),
    };
    let callees = target::parse(&arguments.targets, &contacts, SystemTime::now())?;
    let data_dir = configuration.settings().data_dir.clone();
    if let Some(client) = control::connect(data_dir.as_deref()).await {
        return remote::call(client, arguments, seconds, &global.set, (output, interrupt)).await;
    }
    files::check_microphone(&configuration).await?;
    files::check_video(&configuration, arguments.video.as_deref()).await?;
    if let Some(directory) = &arguments.out {
        files::check(&directory.join(HEARD))?;
    }
    let blink = engine::start(&configuration, interrupt).await?;
    let mut events = blink.events();
    let settings = configuration.settings();
    let out = arguments.out.clone().unwrap_or_else(|| recordings(settings));
    let executor = Executor::new(&blink, data_dir.clone(), out).await?;
    let executor = executor.with_recorders(&settings.recorders).with_settings(&configuration);
    let mut caller = Caller {
        blink: blink.clone(),
        output,
        names: executor.names(),
        executor,
        control: Server::start(data_dir.as_deref(), output),
        progress: CallProgress::default(),
        hint: files::silence(&blink, &configuration).await,
        video: Video::new(&blink, arguments.video.as_deref(), arguments.out.as_deref()),
    };
    let result = tokio::select! {
        result = caller.call(&callees, seconds, &mut events) => result,
        () = interrupt.wait() => Err(Failure::interrupted()),
    };
    let Caller { names, progress, video, executor, control, .. } = caller;
    drop((executor, control));
    engine::stop(blink, events, output, |event| engine::show(output, &names, event)).await;
    video.finish(output).await;
    let heard = arguments.out.as_ref().map(|directory| directory.join(HEARD)).filter(|_| progress.connected.is_some());
    progress.show(output, &names, heard, result.is_ok());
    result
}

fn limit(seconds: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero() && *duration <= LONGEST).ok_or_else(
        || {
            let longest = LONGEST.as_secs();
            Failure::input(format!("--seconds {seconds}: expected a number greater than 0 and at most {longest}"))
        },
    )
}

struct Caller<'a> {
    blink: Blink,
    output: &'a Output,
    names: Names,
    executor: Executor,
    control: Server,
    progress: CallProgress,
    /// Hint that is printed while calling.
    hint: Option<String>,
    video: Video,
}

/// Progress and result of the call.
#[derive(Default)]
struct CallProgress {
    call: Option<Call>,
    /// Time until the first participant joined.
    connected: Option<Duration>,
    ended: Option<EndReason>,
    failure: Option<PathFailure>,
    present: BTreeSet<Endpoint>,
    /// Whether a device of a callee rang or answered in any way.
    found: bool,
    statistics: Vec<ParticipantStatistics>,
}

impl Caller<'_> {
    async fn call(
        &mut self,
        callees: &[Target],
        seconds: Option<Duration>,
        events: &mut Events,
    ) -> Result<(), Failure> {
        self.connect(callees).await?;
        let dids: Vec<Did> = callees.iter().map(|callee| callee.did).collect();
        let call = self.blink.offer_call(&dids, CallConfig::default()).await?;
        let offered = Instant::now();
        self.progress.call = Some(call.clone());
        let names: Vec<_> = dids.iter().map(|did| self.names.of(did)).collect();
        self.output.event(&format!("{:8.3} s  calling {}", self.output.elapsed().as_secs_f64(), names.join(", ")));
        self.output.json_event(&json!({
            "event": "calling", "call": call.id(), "people": dids, "at_ms": milliseconds(self.output.elapsed()),
        }));
        if let Some(hint) = &self.hint {
            self.output.event(hint);
        }
        self.output.waiting("calling");
        let mut keyboard = Keyboard::new();
        let mut search_until = Some(offered + NOT_FOUND);
        let mut leave_at = None;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                item = events.next() => {
                    let Some(item) = item else { return Err(Failure::call("the engine stopped")) };
                    let first = self.progress.connected.is_none();
                    self.handle_item(&call, item, offered);
                    if first && self.progress.connected.is_some() {
                        leave_at = seconds.map(|seconds| Instant::now() + seconds);
                        self.output.waiting("in the call");
                    }
                    if let Some(reason) = self.progress.ended {
                        return self.verdict(reason, &dids);
                    }
                    if self.is_alone().await? {
                        self.leave().await?;
                    }
                }
                line = keyboard.line() => match line {
                    Some(line) => self.handle_line(&line).await,
                    None => self.leave().await?,
                },
                line = self.control.line() => self.handle_line(&line).await,
                () = at(search_until) => {
                    search_until = None;
                    self.tell_not_found(&dids).await?;
                }
                _ = tick.tick() => self.keep_statistics().await?,
                () = at(leave_at) => {
                    leave_at = None;
                    self.keep_statistics().await?;
                    self.leave().await?;
                }
            }
        }
    }

    /// Connects to the nodes of the callees; the call needs one of them.
    async fn connect(&self, callees: &[Target]) -> Result<(), Failure> {
        let names: Vec<_> = callees.iter().map(|callee| self.names.of(&callee.did)).collect();
        self.output.waiting(format!("connecting to {}", names.join(", ")));
        let failed = dial(&self.blink, callees).await?;
        let all = failed.len() == callees.len();
        for failed in failed {
            let (name, reason) = (self.names.of(&failed.did), one_line(&failed.reason));
            if all {
                return Err(Failure::call(format!("unreachable: {name}'s node: {reason}")));
            }
            self.output.event(&format!("            unreachable: {name}'s node: {reason}; still trying"));
            self.output.json_event(&json!({ "event": "unreachable", "did": failed.did, "error": reason }));
        }
        Ok(())
    }

    /// Executes a line of standard input or of another process.
    async fn handle_line(&mut self, line: &str) {
        let request = match Request::parse(line) {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(invalid) => return engine::refuse(self.output, invalid),
        };
        let reply = self.executor.run(&request.command).await;
        let reply = reply.unwrap_or_else(|error| Reply::Refused { error: one_line(&error.to_string()) });
        self.names = self.executor.names().with_claims_of(&self.names);
        engine::reply(self.output, &self.names, &reply, Some(&request));
    }

    /// Tells which callees are not online, as far as is known, while the call goes on.
    async fn tell_not_found(&self, callees: &[Did]) -> Result<(), Failure> {
        if self.progress.found {
            return Ok(());
        }
        for did in callees {
            if self.blink.presence(*did).await? == Presence::Unknown {
                let text = format!("no one with the DID of {} answers so far; still calling", self.names.of(did));
                self.output.event(&format!("            {text}"));
                self.output.json_event(&json!({ "event": "not_found", "did": did, "text": text }));
            }
        }
        Ok(())
    }

    /// Result of the command for a call that ended with `reason`.
    fn verdict(&self, reason: EndReason, callees: &[Did]) -> Result<(), Failure> {
        if reason == EndReason::Unanswered && !self.progress.found {
            let names: Vec<_> = callees.iter().map(|did| self.names.of(did)).collect();
            return Err(Failure::call(format!(
                "the call failed: {} was not found: no one with this DID answers there",
                names.join(", ")
            )));
        }
        self.progress.verdict(reason)
    }

    fn handle_item(&mut self, call: &Call, item: EventItem, offered: Instant) {
        let event = match item {
            EventItem::Event(event) => event,
            EventItem::Lagged { snapshot, .. } => {
                // The event of its end may have been missed.
                let goes_on = |known: &CallSnapshot| call.is(known.call) && known.state != CallState::Open;
                if !snapshot.calls.iter().any(goes_on) {
                    self.progress.ended = Some(EndReason::Gone);
                }
                return;
            }
        };
        self.names.on_event(&event);
        engine::show(self.output, &self.names, &event);
        self.video.handle(&event, self.output);
        // Other calls may ring, be missed or be cancelled meanwhile.
        if !call.concerns(&event) {
            return;
        }
        self.progress.found |= matches!(
            event,
            Event::ParticipantRinging { .. }
                | Event::ParticipantBusy { .. }
                | Event::ParticipantRejected { .. }
                | Event::ParticipantJoined { .. }
        );
        match event {
            Event::ParticipantJoined { participant, .. } => {
                self.progress.connected.get_or_insert(offered.elapsed());
                self.progress.present.insert(participant);
            }
            Event::ParticipantLeft { participant, .. } => {
                self.progress.present.remove(&participant);
            }
            // The paths of a replaced call are closed without a message.
            Event::CallReplaced { .. } => self.progress.present.clear(),
            Event::CallEnded { reason, failure, .. } => {
                (self.progress.ended, self.progress.failure) = (Some(reason), failure);
            }
            _ => {}
        }
    }

    /// Whether every invited participant has left, rejected or not answered.
    async fn is_alone(&self) -> Result<bool, Failure> {
        if self.progress.connected.is_none() || !self.progress.present.is_empty() {
            return Ok(false);
        }
        let Some(call) = self.blink.current_call().await? else { return Ok(false) };
        let is_gone = |status| {
            matches!(
                status,
                ParticipantStatus::Left
                    | ParticipantStatus::Rejected
                    | ParticipantStatus::Unanswered
                    | ParticipantStatus::Busy
            )
        };
        Ok(call.participants.iter().all(|participant| is_gone(participant.status)))
    }

    /// Leaves the call; the resulting event ends the command.
    async fn leave(&self) -> Result<(), Failure> {
        let left = match &self.progress.call {
            // By its id: it may be on hold.
            Some(call) => self.blink.leave_held_call(call).await,
            None => self.blink.leave_call().await,
        };
        match left {
            // The call has already ended; its event follows.
            Err(error) if matches!(error.kind(), ErrorKind::State | ErrorKind::NotFound) => Ok(()),
            result => Ok(result?),
        }
    }

    async fn keep_statistics(&mut self) -> Result<(), Failure> {
        let statistics = self.blink.statistics().await?;
        for new in statistics {
            self.progress.statistics.retain(|known| known.participant != new.participant);
            self.progress.statistics.push(new);
        }
        Ok(())
    }
}

impl CallProgress {
    /// Result of the command for a call that ended with `reason`.
    fn verdict(&self, reason: EndReason) -> Result<(), Failure> {
        let why = ended_because(reason, self.failure.as_ref());
        match (self.connected, reason) {
            (Some(_), EndReason::Left | EndReason::RemoteLeft) => Ok(()),
            (Some(_), _) => Err(Failure::call(format!("the call was interrupted: {why}"))),
            (None, _) => Err(Failure::call(format!("the call failed: {why}"))),
        }
    }

    fn show(&self, output: &Output, names: &Names, heard: Option<PathBuf>, succeeded: bool) {
        for figures in &self.statistics {
            let session = &figures.session;
            let round_trip = session.round_trip.map(|time| format!(", {:.1} ms round trip", milliseconds(time)));
            let path = session.path.map(|path| format!(", {path}"));
            output.event(&format!(
                "{}: {} packets received, {} lost{}{}",
                names.of(&figures.participant.did),
                session.packets_received,
                session.packets_lost,
                round_trip.unwrap_or_default(),
                path.unwrap_or_default()
            ));
        }
        if let Some(path) = &heard {
            output.result(&format!("heard: {}", path.display()));
        }
        if succeeded {
            output.json_result(&json!({
                "ok": true, "call": self.call.as_ref().map(Call::id), "reason": self.ended, "connected_ms": self.connected.map(milliseconds),
                "participants": self.statistics, "heard": heard.as_ref().map(|path| path.to_string_lossy()),
            }));
        }
    }
}

/// Waits until `time`, or forever without one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
