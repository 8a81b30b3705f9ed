//! One call of the demo.

use std::time::{Duration, Instant};

use blink_api::PathFailure;
use blink_engine::{
    Blink, Call, CallConfig, EndReason, Event, EventItem, Events, ParticipantStatistics, RecordingRequest,
};
use tokio::sync::mpsc;

use super::plan::Plan;
use crate::event_text::{Names, json, words};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Timeout of each step.
const STEP: Duration = Duration::from_secs(30);
/// Timeout until the other side sees that one left.
const LEAVING: Duration = Duration::from_secs(5);
/// Timeout of the shutdown.
const GOODBYE: Duration = Duration::from_secs(10);

/// Measurements of one side in a call. Times are from `answer_call`.
#[derive(Debug, Clone)]
pub(super) struct Measurement {
    /// Time until the path to the other side was up.
    pub(super) connected: Duration,
    /// Time until the first audio was decoded.
    pub(super) first_audio: Duration,
    /// Statistics of the engine.
    pub(super) statistics: ParticipantStatistics,
}

/// Starts both engines, runs the call, and shuts both down, whatever the result.
pub(super) async fn once(plan: &Plan, output: &Output, interrupt: &Interrupt) -> Result<[Measurement; 2], Failure> {
    let mut engines = Vec::new();
    let result = tokio::select! {
        result = measure(plan, output, &mut engines) => result,
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

async fn measure(plan: &Plan, output: &Output, engines: &mut Vec<Blink>) -> Result<[Measurement; 2], Failure> {
    output.waiting("starting both engines");
    let began = Instant::now();
    for side in &plan.sides {
        let starting = tokio::time::timeout(STEP, Blink::start(&side.configuration));
        let engine = starting.await.map_err(|_| late("starting", side.name, STEP))?;
        engines.push(engine.map_err(|error| Failure::from(error).during(side.name))?);
    }
    let [alice, bob] = &engines[..] else { return Err(Failure::call("internal error: not two engines")) };
    let mut monitor = Monitor::new(plan, output, [alice, bob], began);

    monitor.tell(&format!("both engines run; Alice connects to Bob's node ({})", plan.sides[0].signaling))?;
    output.waiting("connecting the nodes");
    let addresses = bob.addresses().await?;
    let address = addresses.first().ok_or_else(|| Failure::input("Bob's node has no address to connect to"))?;
    within(STEP, "connecting the nodes", alice.connect(address)).await?;

    monitor.tell("Alice calls Bob")?;
    let call = within(STEP, "offering the call", alice.offer_call(&[bob.did()], CallConfig::default())).await?;
    monitor.call = Some(call.clone());
    monitor.until("ringing", STEP, |seen| seen.side(BOB).rings).await?;
    monitor.tell("Bob answers")?;
    let answered = Instant::now();
    within(STEP, "answering", bob.answer_call(&call)).await?;
    monitor.until("connecting", STEP, |seen| seen.sides.iter().all(|side| side.joined.is_some())).await?;
    for (engine, side) in [alice, bob].into_iter().zip(&plan.sides) {
        if let Some(directory) = &side.recordings {
            let request = RecordingRequest::new(directory);
            let request = request.name(alice.did(), plan.sides[0].name).name(bob.did(), plan.sides[1].name);
            within(STEP, "starting to record", engine.start_recording(request)).await?;
        }
    }
    monitor.until("the first audio", STEP, |seen| seen.sides.iter().all(|side| side.heard.is_some())).await?;
    monitor.stay(plan.talk).await?;

    let mut measurements = Vec::new();
    for (engine, side) in [alice, bob].into_iter().zip(&monitor.seen.sides) {
        measurements.push(side.measure(answered, engine.statistics().await?)?);
    }
    within(STEP, "leaving", alice.leave_call()).await?;
    monitor.until("the end of the call", LEAVING, |seen| seen.sides.iter().all(|side| side.ended.is_some())).await?;
    if plan.sides.iter().any(|side| side.recordings.is_some()) {
        let complete = |seen: &Progress| seen.sides.iter().all(|side| side.recorded);
        monitor.until("the files of the recordings", LEAVING, complete).await?;
    }
    measurements.try_into().map_err(|_| Failure::call("internal error: not two sides"))
}

/// Runs one step of an engine with a timeout.
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

/// Events of both sides, with times, in order.
struct Monitor<'a> {
    output: &'a Output,
    names: Names,
    sides: [&'static str; 2],
    began: Instant,
    events: mpsc::Receiver<(Instant, usize, EventItem)>,
    seen: Progress,
    /// The call of the demo, once offered; other calls may arrive meanwhile.
    call: Option<Call>,
}

/// Progress of both sides.
#[derive(Default)]
struct Progress {
    sides: [SideProgress; 2],
}

/// Progress of one side.
#[derive(Default, Clone)]
struct SideProgress {
    rings: bool,
    joined: Option<Instant>,
    heard: Option<Instant>,
    ended: Option<(EndReason, Option<PathFailure>)>,
    /// The files of its recording are complete.
    recorded: bool,
}

impl<'a> Monitor<'a> {
    fn new(plan: &Plan, output: &'a Output, engines: [&Blink; 2], began: Instant) -> Self {
        let mut names = Names::default();
        let (sender, events) = mpsc::channel(1_024);
        for (n, (engine, side)) in engines.into_iter().zip(&plan.sides).enumerate() {
            names.add(engine.did(), side.name);
            tokio::spawn(forward(n, engine.events(), sender.clone()));
        }
        let sides = [plan.sides[0].name, plan.sides[1].name];
        Self { output, names, sides, began, events, seen: Progress::default(), call: None }
    }

    /// Prints a step, after the events before it.
    fn tell(&mut self, text: &str) -> Result<(), Failure> {
        while let Ok(event) = self.events.try_recv() {
            self.take(Some(event))?;
        }
        self.output.event(&format!("{:8.3} s  {text}", self.began.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Prints events until a condition holds.
    async fn until(&mut self, what: &str, limit: Duration, reached: impl Fn(&Progress) -> bool) -> Result<(), Failure> {
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
            let is_wanted = |reason| matches!(reason, EndReason::Left | EndReason::RemoteLeft);
            if let Some((reason, failure)) = ended.filter(|(reason, _)| !is_wanted(*reason)) {
                return Err(Failure::call(format!(
                    "{what}: the call ended: {}",
                    crate::event_text::ended_because(reason, failure.as_ref())
                )));
            }
        }
        Ok(())
    }

    /// Prints events for a while, in which the call must not end.
    async fn stay(&mut self, duration: Duration) -> Result<(), Failure> {
        self.output.waiting(format!("talking for {:.1} s", duration.as_secs_f64()));
        let end = tokio::time::sleep(duration);
        tokio::pin!(end);
        loop {
            tokio::select! {
                event = self.events.recv() => self.take(event)?,
                () = &mut end => return Ok(()),
            }
            if let Some((reason, failure)) = self.seen.sides.iter().find_map(|side| side.ended) {
                return Err(Failure::call(format!(
                    "the call was interrupted: {}",
                    crate::event_text::ended_because(reason, failure.as_ref())
                )));
            }
        }
    }

    fn take(&mut self, event: Option<(Instant, usize, EventItem)>) -> Result<(), Failure> {
        let Some((at, side, item)) = event else { return Err(Failure::call("both engines stopped")) };
        let EventItem::Event(event) = item else {
            return Err(Failure::call("events were missed: this machine is overloaded"));
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

impl Progress {
    fn side(&self, n: usize) -> &SideProgress {
        &self.sides[n]
    }
}

impl SideProgress {
    fn note(&mut self, at: Instant, event: &Event) {
        match event {
            Event::IncomingCall { .. } => self.rings = true,
            Event::ParticipantJoined { .. } => _ = self.joined.get_or_insert(at),
            Event::MediaStarted { .. } => _ = self.heard.get_or_insert(at),
            Event::CallEnded { reason, failure, .. } => self.ended = Some((*reason, *failure)),
            Event::RecordingStopped { .. } => self.recorded = true,
            _ => {}
        }
    }

    fn measure(&self, answered: Instant, mut statistics: Vec<ParticipantStatistics>) -> Result<Measurement, Failure> {
        let (Some(joined), Some(heard), Some(statistics)) = (self.joined, self.heard, statistics.pop()) else {
            return Err(Failure::call("the engine has no statistics of the call"));
        };
        let since = |at: Instant| at.saturating_duration_since(answered);
        Ok(Measurement { connected: since(joined), first_audio: since(heard), statistics })
    }
}

/// Stamps events on arrival. Ends with the engine, or with the receiver.
async fn forward(side: usize, mut events: Events, sender: mpsc::Sender<(Instant, usize, EventItem)>) {
    while let Some(item) = events.next().await {
        if sender.send((Instant::now(), side, item)).await.is_err() {
            break;
        }
    }
}
