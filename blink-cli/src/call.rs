//! `blink call`: calls somebody.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use blink_api::{Did, Endpoint, ErrorKind};
use blink_engine::{
    Blink, Call, CallConfig, CallSnapshot, CallState, EndReason, Event, EventItem, Events, ParticipantStatistics,
    ParticipantStatus,
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::args::{CallArguments, Global};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::show::{Names, ended, milliseconds};
use crate::target::{self, Target};
use crate::video::Video;
use crate::{configuration, engine, files};

const HEARD: &str = "heard.wav";
/// Longest call that `--seconds` can ask for: 30 days.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long the first connection to a node may take.
const CONNECT: Duration = Duration::from_secs(30);

/// Runs until the call is over.
pub(crate) async fn run(
    arguments: &CallArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let people = target::parse(&arguments.targets)?;
    let seconds = arguments.seconds.map(limit).transpose()?;
    let heard = arguments.out.as_ref().map(|directory| directory.join(HEARD));
    let configuration = configuration::person(global, arguments.input.as_deref(), heard.as_deref())?;
    files::check_microphone(&configuration).await?;
    files::check_video(&configuration, arguments.video.as_deref()).await?;
    if let Some(directory) = &arguments.out {
        files::check(&directory.join(HEARD))?;
    }
    let blink = engine::start(&configuration, interrupt).await?;
    let mut events = blink.events();
    let mut caller = Caller {
        blink: blink.clone(),
        output,
        names: Names::default(),
        talk: Talk::default(),
        hint: files::silence(&configuration),
        video: Video::new(&blink, arguments.video.as_deref(), arguments.out.as_deref()),
    };
    let result = tokio::select! {
        result = caller.call(&people, seconds, &mut events) => result,
        () = interrupt.wait() => Err(Failure::interrupted()),
    };
    let Caller { names, talk, video, .. } = caller;
    engine::stop(blink, events, output, |event| engine::show(output, &names, event)).await;
    video.finish(output).await;
    let heard = arguments.out.as_ref().map(|directory| directory.join(HEARD)).filter(|_| talk.connected.is_some());
    talk.show(output, &names, heard, result.is_ok());
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
    talk: Talk,
    /// What to tell whoever calls.
    hint: Option<&'static str>,
    video: Video,
}

/// What became of the call.
#[derive(Default)]
struct Talk {
    call: Option<Call>,
    /// How long it took until somebody was there.
    connected: Option<Duration>,
    ended: Option<EndReason>,
    present: BTreeSet<Endpoint>,
    statistics: Vec<ParticipantStatistics>,
}

impl Caller<'_> {
    async fn call(&mut self, people: &[Target], seconds: Option<Duration>, events: &mut Events) -> Result<(), Failure> {
        for person in people {
            self.connect(person).await?;
        }
        let dids: Vec<Did> = people.iter().map(|person| person.did).collect();
        let call = self.blink.offer_call(&dids, CallConfig::default()).await?;
        let offered = Instant::now();
        self.talk.call = Some(call.clone());
        let names: Vec<_> = dids.iter().map(|did| self.names.of(did)).collect();
        self.output.event(&format!("{:8.3} s  calling {}", self.output.elapsed().as_secs_f64(), names.join(", ")));
        self.output.json_event(&json!({
            "event": "calling", "call": call.id(), "people": dids, "at_ms": milliseconds(self.output.elapsed()),
        }));
        if let Some(hint) = self.hint {
            self.output.event(hint);
        }
        self.output.waiting("calling");
        let mut leave_at = None;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                item = events.next() => {
                    let Some(item) = item else { return Err(Failure::call("the engine stopped")) };
                    let first = self.talk.connected.is_none();
                    self.handle_item(&call, item, offered);
                    if first && self.talk.connected.is_some() {
                        leave_at = seconds.map(|seconds| Instant::now() + seconds);
                        self.output.waiting("in the call");
                    }
                    if let Some(reason) = self.talk.ended {
                        return self.talk.verdict(reason);
                    }
                    if self.is_alone().await? {
                        self.leave().await?;
                    }
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

    /// Connects to any one of somebody's addresses.
    async fn connect(&self, person: &Target) -> Result<(), Failure> {
        if person.addresses.is_empty() {
            return Ok(());
        }
        let name = self.names.of(&person.did);
        self.output.waiting(format!("connecting to {name}'s node"));
        let mut attempts = JoinSet::new();
        for address in person.addresses.clone() {
            let blink = self.blink.clone();
            attempts.spawn(async move { blink.connect(&address).await });
        }
        let limit = tokio::time::sleep(CONNECT);
        tokio::pin!(limit);
        let mut reason = "no answer".to_owned();
        loop {
            let attempt = tokio::select! {
                attempt = attempts.join_next() => attempt,
                () = &mut limit => None,
            };
            match attempt {
                Some(Ok(Ok(()))) => return Ok(()),
                Some(Ok(Err(error))) if error.kind() == ErrorKind::Invalid => return Err(error.into()),
                Some(Ok(Err(error))) => reason = error.to_string(),
                Some(Err(error)) => reason = error.to_string(),
                None => return Err(Failure::call(format!("unreachable: {name}'s node: {reason}"))),
            }
        }
    }

    fn handle_item(&mut self, call: &Call, item: EventItem, offered: Instant) {
        let event = match item {
            EventItem::Event(event) => event,
            EventItem::Lagged { snapshot, .. } => {
                // Its end may be among what was missed.
                let goes_on = |known: &CallSnapshot| call.is(known.call) && known.state != CallState::Open;
                if !snapshot.calls.iter().any(goes_on) {
                    self.talk.ended = Some(EndReason::Gone);
                }
                return;
            }
        };
        engine::show(self.output, &self.names, &event);
        self.video.handle(&event, self.output);
        // Another call may ring, be missed or be cancelled meanwhile.
        if !call.concerns(&event) {
            return;
        }
        match event {
            Event::ParticipantJoined { participant, .. } => {
                self.talk.connected.get_or_insert(offered.elapsed());
                self.talk.present.insert(participant);
            }
            Event::ParticipantLeft { participant, .. } => {
                self.talk.present.remove(&participant);
            }
            // Paths of the call that was given up are closed without a word.
            Event::CallReplaced { .. } => self.talk.present.clear(),
            Event::CallEnded { reason, .. } => self.talk.ended = Some(reason),
            _ => {}
        }
    }

    /// Whether everybody was there or refused, and nobody is or will be.
    async fn is_alone(&self) -> Result<bool, Failure> {
        if self.talk.connected.is_none() || !self.talk.present.is_empty() {
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

    /// Leaves; the event that says so ends the command.
    async fn leave(&self) -> Result<(), Failure> {
        match self.blink.leave_call().await {
            // Over already: the event that says so is on its way.
            Err(error) if error.kind() == ErrorKind::State => Ok(()),
            result => Ok(result?),
        }
    }

    async fn keep_statistics(&mut self) -> Result<(), Failure> {
        let statistics = self.blink.statistics().await?;
        for new in statistics {
            self.talk.statistics.retain(|known| known.participant != new.participant);
            self.talk.statistics.push(new);
        }
        Ok(())
    }
}

impl Talk {
    /// Whether a call that ended like this succeeded.
    fn verdict(&self, reason: EndReason) -> Result<(), Failure> {
        match (self.connected, reason) {
            (Some(_), EndReason::Left | EndReason::RemoteLeft) => Ok(()),
            (Some(_), reason) => Err(Failure::call(format!("the call broke off: {}", ended(reason)))),
            (None, reason) => Err(Failure::call(format!("no call came about: {}", ended(reason)))),
        }
    }

    fn show(&self, output: &Output, names: &Names, heard: Option<PathBuf>, succeeded: bool) {
        for figures in &self.statistics {
            let session = &figures.session;
            let round_trip = session.round_trip.map(|time| format!(", {:.1} ms round trip", milliseconds(time)));
            output.event(&format!(
                "{}: {} packets heard, {} lost{}",
                names.of(&figures.participant.did),
                session.packets_received,
                session.packets_lost,
                round_trip.unwrap_or_default()
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

/// Waits until then; for ever without a time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
