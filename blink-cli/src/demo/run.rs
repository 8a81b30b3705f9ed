//! One call between the two.

use std::time::{Duration, Instant};

use blink_engine::{Blink, Call, CallConfig, EndReason, Event, EventItem, Events, ParticipantStatistics};
use tokio::sync::mpsc;

use super::plan::Plan;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::show::{Names, json, words};

/// How long each step may take.
const STEP: Duration = Duration::from_secs(30);
/// How long until leaving is seen on the other side.
const LEAVING: Duration = Duration::from_secs(5);
/// How long closing may take.
const GOODBYE: Duration = Duration::from_secs(10);

/// One side's figures of a call. Times are from `answer_call`.
#[derive(Debug, Clone)]
pub(super) struct Talk {
    /// Until the path to the other one was up.
    pub(super) connected: Duration,
    /// Until the first sound was decoded.
    pub(super) first_audio: Duration,
    /// What the engine counted.
    pub(super) statistics: ParticipantStatistics,
}

/// Starts both engines, lets them talk, and ends both, whatever happens in between.
pub(super) async fn once(plan: &Plan, output: &Output, interrupt: &Interrupt) -> Result<[Talk; 2], Failure> {
    let mut engines = Vec::new();
    let result = tokio::select! {
        result = talk(plan, output, &mut engines) => result,
        () = interrupt.wait() => Err(Failure::interrupted()),
    };
    output.waiting("closing");
    let closing = engines.iter().map(|engine| {
        let engine: Blink = engine.clone();
        tokio::spawn(async move { tokio::time::timeout(GOODBYE, engine.shutdown()).await })
    });
    for closing in closing.collect::<Vec<_>>() {
        if !matches!(closing.await, Ok(Ok(()))) {
            tracing::warn!("an engine did not shut down within {GOODBYE:?}");
        }
    }
    result
}

async fn talk(plan: &Plan, output: &Output, engines: &mut Vec<Blink>) -> Result<[Talk; 2], Failure> {
    output.waiting("starting both engines");
    let began = Instant::now();
    for side in &plan.sides {
        let starting = tokio::time::timeout(STEP, Blink::start(&side.configuration));
        let engine = starting.await.map_err(|_| late("starting", side.name, STEP))?;
        engines.push(engine.map_err(|error| Failure::from(error).during(side.name))?);
    }
    let [alice, bob] = &engines[..] else { return Err(Failure::call("there are two engines")) };
    let mut stage = Stage::new(plan, output, [alice, bob], began);

    stage.tell(&format!("both engines run; Alice connects to Bob's node ({})", plan.sides[0].signaling))?;
    output.waiting("connecting the nodes");
    let addresses = bob.addresses().await?;
    let address = addresses.first().ok_or_else(|| Failure::input("Bob's node has no address to connect to"))?;
    within(STEP, "connecting the nodes", alice.connect(address)).await?;

    stage.tell("Alice calls Bob")?;
    let call = within(STEP, "offering the call", alice.offer_call(&[bob.did()], CallConfig::default())).await?;
    stage.call = Some(call.clone());
    stage.until("ringing", STEP, |seen| seen.side(BOB).rings).await?;
    stage.tell("Bob answers")?;
    let answered = Instant::now();
    within(STEP, "answering", bob.answer_call(&call)).await?;
    stage.until("connecting", STEP, |seen| seen.sides.iter().all(|side| side.joined.is_some())).await?;
    stage.until("the first sound", STEP, |seen| seen.sides.iter().all(|side| side.heard.is_some())).await?;
    stage.stay(plan.talk).await?;

    let mut talks = Vec::new();
    for (engine, side) in [alice, bob].into_iter().zip(&stage.seen.sides) {
        talks.push(side.talk(answered, engine.statistics().await?)?);
    }
    within(STEP, "leaving", alice.leave_call()).await?;
    stage.until("the end of the call", LEAVING, |seen| seen.sides.iter().all(|side| side.ended.is_some())).await?;
    talks.try_into().map_err(|_| Failure::call("there are two sides"))
}

/// Runs one step of an engine, which should not take long.
async fn within<T>(
    limit: Duration,
    what: &str,
    step: impl Future<Output = blink_api::Result<T>>,
) -> Result<T, Failure> {
    let result = tokio::time::timeout(limit, step).await.map_err(|_| late(what, "the engine", limit))?;
    result.map_err(|error| Failure::from(error).during(what))
}

fn late(what: &str, who: &str, limit: Duration) -> Failure {
    Failure::call(format!("{what}: {who} took longer than {} s", limit.as_secs()))
}

const BOB: usize = 1;

/// What happens on both sides, with times, in the order in which it happens.
struct Stage<'a> {
    output: &'a Output,
    names: Names,
    sides: [&'static str; 2],
    began: Instant,
    events: mpsc::Receiver<(Instant, usize, EventItem)>,
    seen: Seen,
    /// The call that is looked at, once it is offered; anybody may call meanwhile.
    call: Option<Call>,
}

/// What both sides have seen.
#[derive(Default)]
struct Seen {
    sides: [SeenBy; 2],
}

/// What one side has seen.
#[derive(Default, Clone)]
struct SeenBy {
    rings: bool,
    joined: Option<Instant>,
    heard: Option<Instant>,
    ended: Option<EndReason>,
}

impl<'a> Stage<'a> {
    fn new(plan: &Plan, output: &'a Output, engines: [&Blink; 2], began: Instant) -> Self {
        let mut names = Names::default();
        let (sender, events) = mpsc::channel(1_024);
        for (n, (engine, side)) in engines.into_iter().zip(&plan.sides).enumerate() {
            names.add(engine.did(), side.name);
            tokio::spawn(forward(n, engine.events(), sender.clone()));
        }
        let sides = [plan.sides[0].name, plan.sides[1].name];
        Self { output, names, sides, began, events, seen: Seen::default(), call: None }
    }

    /// Shows what is done now, after what happened before it.
    fn tell(&mut self, text: &str) -> Result<(), Failure> {
        while let Ok(event) = self.events.try_recv() {
            self.take(Some(event))?;
        }
        self.output.event(&format!("{:8.3} s  {text}", self.began.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Shows what happens until something has.
    async fn until(&mut self, what: &str, limit: Duration, reached: impl Fn(&Seen) -> bool) -> Result<(), Failure> {
        self.output.waiting(what);
        let deadline = tokio::time::sleep(limit);
        tokio::pin!(deadline);
        while !reached(&self.seen) {
            tokio::select! {
                event = self.events.recv() => self.take(event)?,
                () = &mut deadline => {
                    return Err(Failure::call(format!("{what}: nothing within {} s", limit.as_secs())));
                }
            }
            let ended = self.seen.sides.iter().find_map(|side| side.ended).filter(|_| !reached(&self.seen));
            if let Some(reason) = ended.filter(|reason| !matches!(reason, EndReason::Left | EndReason::RemoteLeft)) {
                return Err(Failure::call(format!("{what}: the call is over: {}", crate::show::ended(reason))));
            }
        }
        Ok(())
    }

    /// Shows what happens for a while, in which the call should not end.
    async fn stay(&mut self, duration: Duration) -> Result<(), Failure> {
        self.output.waiting(format!("talking for {:.1} s", duration.as_secs_f64()));
        let end = tokio::time::sleep(duration);
        tokio::pin!(end);
        loop {
            tokio::select! {
                event = self.events.recv() => self.take(event)?,
                () = &mut end => return Ok(()),
            }
            if let Some(reason) = self.seen.sides.iter().find_map(|side| side.ended) {
                return Err(Failure::call(format!("the call broke off: {}", crate::show::ended(reason))));
            }
        }
    }

    fn take(&mut self, event: Option<(Instant, usize, EventItem)>) -> Result<(), Failure> {
        let Some((at, side, item)) = event else { return Err(Failure::call("both engines stopped")) };
        let EventItem::Event(event) = item else {
            return Err(Failure::call("this program was too slow for its engines"));
        };
        if self.call.as_ref().is_some_and(|call| call.concerns(&event)) {
            self.seen.sides[side].note(at, &event);
        }
        let at = at.duration_since(self.began);
        if let Some(words) = words(&event, &self.names) {
            self.output.event(&format!("{:8.3} s  {:5}  {words}", at.as_secs_f64(), self.sides[side]));
        }
        self.output.json_event(&json(&event, at, Some(self.sides[side])));
        Ok(())
    }
}

impl Seen {
    fn side(&self, n: usize) -> &SeenBy {
        &self.sides[n]
    }
}

impl SeenBy {
    fn note(&mut self, at: Instant, event: &Event) {
        match event {
            Event::IncomingCall { .. } => self.rings = true,
            Event::ParticipantJoined { .. } => _ = self.joined.get_or_insert(at),
            Event::MediaStarted { .. } => _ = self.heard.get_or_insert(at),
            Event::CallEnded { reason, .. } => self.ended = Some(*reason),
            _ => {}
        }
    }

    fn talk(&self, answered: Instant, mut statistics: Vec<ParticipantStatistics>) -> Result<Talk, Failure> {
        let (Some(joined), Some(heard), Some(statistics)) = (self.joined, self.heard, statistics.pop()) else {
            return Err(Failure::call("the engine has no figures of the call"));
        };
        let since = |at: Instant| at.saturating_duration_since(answered);
        Ok(Talk { connected: since(joined), first_audio: since(heard), statistics })
    }
}

/// Stamps events when they come. It ends with the engine, or when nobody listens any more.
async fn forward(side: usize, mut events: Events, sender: mpsc::Sender<(Instant, usize, EventItem)>) {
    while let Some(item) = events.next().await {
        if sender.send((Instant::now(), side, item)).await.is_err() {
            break;
        }
    }
}
