//! The loop between the terminal, the state and the engine.

use std::time::{Duration, Instant, SystemTime};

use blink_api::{Configuration, ErrorKind};
use blink_engine::{Blink, EventItem, Events};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::action::{Action, Outcome};
use super::control_lane::ControlLane;
use super::draw::Moment;
use super::full_screen::FullScreen;
use super::path_views::PathViews;
use super::perform::{Performer, Workshop};

use super::state::State;
use super::terminal_input::{self, Input};
use super::theme::Theme;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::ring_tone::RingTone;

/// Interval of statistics and of the clock on the screen.
const SECOND: Duration = Duration::from_secs(1);
/// Seconds between two questions for the presence of contacts.
const PRESENCE: u64 = 5;

/// The running full-screen program.
pub(super) struct Session<'a> {
    pub(super) state: State,
    pub(super) theme: Theme,
    pub(super) blink: Blink,
    pub(super) configuration: &'a Configuration,
    pub(super) workshop: Workshop,
    pub(super) outcomes: mpsc::Receiver<Outcome>,
    pub(super) control: ControlLane,
}

impl Session<'_> {
    /// Runs until the user quits, the terminal closes, or the engine stops.
    pub(super) async fn run(mut self, events: &mut Events, interrupt: &Interrupt) -> Result<(), Failure> {
        let mut screen = FullScreen::enter().map_err(|error| terminal(&error))?;
        let performer = Performer::start(&self.workshop);
        let result = tokio::select! {
            result = self.serve(&mut screen, &performer, events) => result,
            () = interrupt.wait() => Err(Failure::interrupted()),
        };
        performer.end();
        for ringing in &self.state.ringing {
            // So that the caller does not wait for an answer; it may have ended meanwhile.
            self.blink.reject_call(ringing.call).await.ok();
        }
        result
    }

    async fn serve(
        &mut self,
        screen: &mut FullScreen,
        performer: &Performer,
        events: &mut Events,
    ) -> Result<(), Failure> {
        let mut inputs = terminal_input::start();
        let mut levels = self.blink.levels();
        let mut continued = Continued::listen().map_err(|error| terminal(&error))?;
        let mut ticks = tokio::time::interval(SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut paths = PathViews::default();
        let (mut seconds, mut tone) = (0_u64, None);
        let mut actions =
            vec![Action::ReadContacts, Action::Snapshot, Action::ReadHistory, Action::MakeInvite, Action::ListDevices];
        loop {
            for action in std::mem::take(&mut actions) {
                match action {
                    Action::Quit => return Ok(()),
                    Action::Bell if self.configuration.settings().ui.bell => screen.bell(),
                    Action::Copy(text) => screen.copy(&text),
                    Action::Redraw => screen.redraw(),
                    Action::Suspend => screen.suspend(),
                    Action::Snapshot => {
                        let snapshot = self.blink.snapshot().await?;
                        actions.extend(self.state.on_snapshot(&snapshot, Instant::now()));
                        Ok(())
                    }
                    Action::Answer(_) => {
                        // The call opens the speaker next.
                        if let Some(tone) = tone.take() {
                            RingTone::stop(tone).await;
                        }
                        performer.queue(action);
                        Ok(())
                    }
                    action => {
                        performer.queue(action);
                        Ok(())
                    }
                }
                .map_err(|error| terminal(&error))?;
            }
            if !actions.is_empty() {
                continue;
            }
            match (self.state.rings_aloud(), &tone) {
                (true, None) => tone = Some(RingTone::start(self.configuration, &self.state.speaker)),
                (false, Some(_)) => tone = None,
                _ => {}
            }
            self.state.wall = SystemTime::now();
            screen.draw(&self.state, self.theme, moment()).map_err(|error| terminal(&error))?;
            tokio::select! {
                biased;
                item = events.next() => {
                    actions = self.handle_item(item).await?;
                    // All events that wait are followed by one snapshot.
                    while let Some(item) = poll_once(events).await {
                        actions.extend(self.handle_item(item).await?);
                    }
                    actions.push(Action::Snapshot);
                }
                input = inputs.recv() => match input {
                    Some(Input::Key(key)) => actions = self.state.on_key(key, Instant::now()),
                    Some(Input::Paste(text)) => self.state.on_paste(&text),
                    Some(Input::Resized) => {}
                    None => return Err(Failure::call("the terminal was closed")),
                },
                Some(outcome) = self.outcomes.recv() => {
                    self.state.on_outcome(outcome);
                    actions.push(Action::Snapshot);
                }
                changed = levels.changed() => {
                    if changed.is_err() {
                        return Err(self.why_stopped().await);
                    }
                    let levels = levels.borrow_and_update().clone();
                    self.state.on_levels(&levels);
                }
                () = continued.wait() => screen.resume().map_err(|error| terminal(&error))?,
                _ = ticks.tick() => {
                    seconds += 1;
                    if !screen.is_open() {
                        return Err(Failure::call("the terminal was closed"));
                    }
                    if self.state.call.is_some() {
                        self.state.on_paths(paths.update(&self.blink.statistics().await?));
                    }
                    if seconds % PRESENCE == 1 {
                        actions.push(Action::ReadContacts);
                        let people = self.state.contacts.iter().map(|contact| contact.did).collect();
                        actions.push(Action::ReadPresence(people));
                    }
                }
            }
        }
    }

    async fn handle_item(&mut self, item: Option<EventItem>) -> Result<Vec<Action>, Failure> {
        match item {
            Some(EventItem::Event(event)) => {
                self.control.show(&self.state.names, &event);
                Ok(self.state.on_event(&event))
            }
            // The snapshot that follows has all that events would have told.
            Some(EventItem::Lagged { .. }) => Ok(vec![Action::ReadHistory, Action::MakeInvite]),
            None => Err(self.why_stopped().await),
        }
    }

    async fn why_stopped(&self) -> Failure {
        match self.blink.snapshot().await {
            Err(error) if error.kind() != ErrorKind::Closed => error.into(),
            _ => Failure::call("the engine stopped"),
        }
    }
}

/// The next item, if it waits already.
async fn poll_once(events: &mut Events) -> Option<Option<EventItem>> {
    tokio::select! {
        biased;
        item = events.next() => Some(item),
        () = std::future::ready(()) => None,
    }
}

fn moment() -> Moment {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Moment { now: Instant::now(), unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
}

fn terminal(error: &std::io::Error) -> Failure {
    Failure::call(format!("the terminal cannot be used: {error}"))
}

/// Signal with which a shell continues a stopped program.
struct Continued {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl Continued {
    fn listen() -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let kind = SignalKind::from_raw(rustix::process::Signal::CONT.as_raw());
            Ok(Self { signal: signal(kind)? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    async fn wait(&mut self) {
        #[cfg(unix)]
        if self.signal.recv().await.is_some() {
            return;
        }
        std::future::pending::<()>().await;
    }
}
