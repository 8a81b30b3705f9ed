//! `blink listen`: waits for calls.

mod alerts;
mod lines;
mod ringing;
mod start;

use std::collections::VecDeque;
use std::path::PathBuf;

use blink_api::{CallId, Configuration, Did, ErrorKind};
use blink_engine::{Blink, Call, CallSnapshot, CallState, Event, EventItem, Events, Snapshot};
use blink_media_synthetic::numbered;
use serde_json::json;

use self::alerts::Alerts;
use self::start::executor;
pub(crate) use self::start::refuse_second;
use crate::args::{Global, ListenArguments};
use crate::commands::{Executor, Invalid};
use crate::control::Server;
use crate::event_text::Names;
use crate::failure::{Failure, one_line};
use crate::interrupt::Interrupt;
use crate::keyboard::Keyboard;
use crate::output::Output;
use crate::record::recordings;
use crate::video::Video;
use crate::{configuration, engine, files, inviting};

/// Recording of each call, numbered by the media host.
const HEARD: &str = "heard-{n}.wav";

/// Runs until interrupted.
pub(crate) async fn run(
    arguments: &ListenArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let heard = arguments.out.as_ref().map(|directory| directory.join(HEARD));
    let configuration = configuration::for_call(
        global,
        &arguments.devices,
        (arguments.input.as_deref(), heard.as_deref()),
        (&arguments.record, arguments.out.as_deref()),
    )?;
    files::check_microphone(&configuration).await?;
    files::check_video(&configuration, arguments.video.as_deref()).await?;
    if let Some(directory) = &arguments.out {
        files::check(&numbered(&directory.join(HEARD)))?;
    }
    let settings = configuration.settings();
    refuse_second(settings.data_dir.as_deref()).await?;
    let blink = engine::start(&configuration, interrupt).await?;
    let mut events = blink.events();
    let recordings = arguments.out.clone().unwrap_or_else(|| recordings(settings));
    let executor = executor(&blink, &configuration, recordings).await?;
    let mut listener = Listener {
        blink: blink.clone(),
        output,
        names: executor.names(),
        executor,
        control: Server::start(settings.data_dir.as_deref(), output),
        configuration: &configuration,
        answers: arguments.answer,
        keyboard: Keyboard::new(),
        alerts: Alerts::new(&configuration, arguments.interactive),
        out: arguments.out.clone(),
        ringing: VecDeque::new(),
        named: None,
        current: None,
        caller: None,
        last: None,
        listed: Vec::new(),
        hint: files::silence(&blink, &configuration).await,
        heard: None,
        addresses: Vec::new(),
        invite: String::new(),
        video: Video::new(&blink, arguments.video.as_deref(), arguments.out.as_deref()),
    };
    let result = tokio::select! {
        result = listener.serve(&mut events) => result,
        () = interrupt.wait() => Err(Failure::interrupted()),
        // The reader of the output has closed it.
        () = output.closed() => Ok(()),
    };
    listener.refuse().await;
    let Listener { mut heard, names, video, executor, control, .. } = listener;
    drop((executor, control));
    engine::stop(blink, events, output, |event| {
        engine::show(output, &names, event);
        if let Event::CallEnded { .. } = event {
            show_heard(output, heard.take());
        }
    })
    .await;
    show_heard(output, heard);
    video.finish(output).await;
    result
}

/// Prints the path of a recording, if there is one.
fn show_heard(output: &Output, heard: Option<(CallId, PathBuf)>) {
    if let Some((call, path)) = heard {
        output.result(&format!("heard: {}", path.display()));
        output.json_result(&json!({ "event": "heard", "call": call, "path": path.to_string_lossy() }));
    }
}

struct Listener<'a> {
    blink: Blink,
    output: &'a Output,
    configuration: &'a Configuration,
    names: Names,
    executor: Executor,
    control: Server,
    /// Answers every call automatically.
    answers: bool,
    keyboard: Keyboard,
    alerts: Alerts,
    out: Option<PathBuf>,
    /// Ringing calls, oldest first.
    ringing: VecDeque<Ringing>,
    /// The call named by the last prompt: the only one that `y` and `n` apply to.
    named: Option<CallId>,
    /// The call that this device is in.
    current: Option<Call>,
    /// Its creator.
    caller: Option<Did>,
    /// The call that this device was in last.
    last: Option<Call>,
    /// Ongoing calls as last listed, to be joined by number.
    listed: Vec<CallId>,
    /// Hint that is printed while waiting.
    hint: Option<String>,
    /// Recording of the current call.
    heard: Option<(CallId, PathBuf)>,
    /// Addresses that were last printed, and the invite with them.
    addresses: Vec<String>,
    invite: String,
    video: Video,
}

/// A ringing call.
struct Ringing {
    call: CallId,
    from: Did,
}

impl Listener<'_> {
    /// Runs until the engine stops or fails, or an interactive program's input ends.
    async fn serve(&mut self, events: &mut Events) -> Result<(), Failure> {
        self.introduce().await?;
        // Calls of the engine's previous run still ring, without an event.
        let snapshot = self.blink.snapshot().await?;
        self.handle_snapshot(&snapshot).await;
        if !self.answers && !self.ringing.is_empty() {
            self.output.event("            a call from the previous run still rings");
            self.handle_ringing().await;
        }
        loop {
            let waiting = self.waiting();
            self.output.waiting(waiting);
            self.alerts.update(!self.ringing.is_empty(), self.current.is_some());
            tokio::select! {
                // Process the events of a command before the next line: the end of a call that was
                // left must not be mistaken for that of the same call rejoined.
                biased;
                item = events.next() => match item {
                    Some(EventItem::Event(event)) => self.handle_event(event).await,
                    Some(EventItem::Lagged { snapshot, .. }) => {
                        self.handle_snapshot(&snapshot).await;
                        self.update_addresses().await;
                    }
                    None => return Err(self.why_stopped().await),
                },
                line = self.keyboard.next() => match line {
                    Some(line) if self.alerts.is_interactive() && line.trim() == "quit" => return Ok(()),
                    Some(line) => self.handle_line(&line, true).await,
                    None if self.alerts.is_interactive() || self.keyboard.is_terminal() => return Ok(()),
                    None => {}
                },
                line = self.control.line() => self.handle_line(&line, false).await,
            }
        }
    }

    async fn why_stopped(&self) -> Failure {
        match self.blink.snapshot().await {
            Err(error) if error.kind() != ErrorKind::Closed => error.into(),
            _ => Failure::call("the engine stopped"),
        }
    }

    /// Text of the progress line.
    fn waiting(&self) -> String {
        match self.ringing.front() {
            Some(first) if self.keyboard.is_open() && self.named == Some(first.call) => {
                format!("{} calls: type y to answer, n to reject", self.names.of(&first.from))
            }
            Some(first) => format!("{} calls", self.names.of(&first.from)),
            None if self.current.is_some() => "in the call".to_owned(),
            None => "waiting for calls".to_owned(),
        }
    }

    async fn introduce(&mut self) -> Result<(), Failure> {
        let addresses = self.addresses().await?;
        self.show_addresses(addresses);
        let how = if self.answers {
            "answering every call"
        } else {
            "y answers a call, n rejects it, h hangs up, j lists ongoing calls, help lists all commands"
        };
        let end = match (self.alerts.is_interactive(), self.keyboard.is_terminal()) {
            (true, _) => "quit",
            (false, true) => "Ctrl-C or Ctrl-D",
            (false, false) => "Ctrl-C",
        };
        self.output.event(&format!("waiting for calls; {how}; {end} ends"));
        if let Some(hint) = &self.hint {
            self.output.event(hint);
        }
        Ok(())
    }

    /// Targets for `blink call`.
    async fn addresses(&self) -> blink_api::Result<Vec<String>> {
        let did = self.blink.did();
        Ok(self.blink.addresses().await?.iter().map(|address| format!("{did}@{address}")).collect())
    }

    /// Prints the addresses if they have changed.
    async fn update_addresses(&mut self) {
        match self.addresses().await {
            Ok(addresses) if addresses != self.addresses => {
                self.show_addresses(addresses);
            }
            Ok(_) => {}
            Err(error) => self.report(Some(error)),
        }
    }

    /// Prints those that were not printed before, and the invite if it has changed. For programs,
    /// all are in one object.
    fn show_addresses(&mut self, addresses: Vec<String>) {
        let did = self.blink.did();
        for address in addresses.iter().filter(|address| !self.addresses.contains(address)) {
            self.output.result(address);
        }
        if addresses.is_empty() {
            self.output.result(&did.to_string());
        }
        self.addresses = addresses;
        let invite = inviting::with_addresses(did, self.blink_addresses(), self.configuration).to_string();
        if invite != self.invite {
            self.output.event(&format!("others call you with: blink call {invite}"));
        }
        self.output
            .json_result(&json!({ "event": "listening", "did": did, "addresses": self.addresses, "invite": invite }));
        self.invite = invite;
    }

    /// Addresses without the DID.
    fn blink_addresses(&self) -> Vec<String> {
        let start = format!("{}@", self.blink.did());
        self.addresses.iter().filter_map(|target| target.strip_prefix(&start)).map(str::to_owned).collect()
    }

    async fn handle_event(&mut self, event: Event) {
        self.names.on_event(&event);
        engine::show(self.output, &self.names, &event);
        self.video.handle(&event, self.output);
        match event {
            Event::IncomingCall { call, from, .. } if self.ringing.iter().all(|ringing| ringing.call != call) => {
                self.ringing.push_back(Ringing { call, from });
                self.handle_ringing().await;
            }
            Event::CallCancelled { call, .. } | Event::MissedCall { call, .. } => {
                self.ringing.retain(|ringing| ringing.call != call);
            }
            // An automatic answerer follows the caller, and does not keep a group call open with
            // others of its kind.
            Event::ParticipantLeft { call, participant, .. }
                if self.answers && self.is_current(call) && self.caller == Some(participant.did) =>
            {
                // A call of two has already ended then.
                let error = self.blink.leave_call().await.err();
                self.report(error.filter(|error| error.kind() != ErrorKind::State));
            }
            Event::ParticipantLeft { call, .. } if self.is_current(call) => self.tell_alone(call).await,
            Event::CallEnded { call, .. } if self.is_current(call) => {
                self.last = self.current.take();
                self.caller = None;
                self.report(self.executor.end_of_call().await.err());
                show_heard(self.output, self.heard.take());
                if self.answers {
                    self.handle_ringing().await;
                }
            }
            Event::CallHeld { call } if self.is_current(call) => {
                self.current = None;
                show_heard(self.output, self.heard.take_if(|(of, _)| *of == call));
            }
            Event::CallResumed { call } => {
                self.current = self.blink.call(call).await.ok();
                // An automatic answerer leaves with the caller of this call.
                self.caller = self.blink.current_call().await.ok().flatten().map(|call| call.from);
            }
            Event::AddressesChanged => self.update_addresses().await,
            _ => {}
        }
    }

    fn is_current(&self, call: CallId) -> bool {
        self.current.as_ref().is_some_and(|current| current.is(call))
    }

    /// Tells that all others have left a group, which goes on.
    async fn tell_alone(&self, call: CallId) {
        let current = self.blink.current_call().await.ok().flatten();
        // A call of two has ended.
        let current = current.filter(|current| current.group && current.call == call);
        if current.is_some_and(|call| call.participants.iter().all(|person| !person.status.is_present())) {
            self.output.event("            you are alone in the call, and the others may come back: `leave` leaves it");
        }
    }

    /// Synchronizes with a snapshot after missed events.
    async fn handle_snapshot(&mut self, snapshot: &Snapshot) {
        let in_state = |state: fn(CallState) -> bool| snapshot.calls.iter().filter(move |call| state(call.state));
        let ringing = |call: &CallSnapshot| Ringing { call: call.call, from: call.from };
        self.ringing = in_state(|state| state == CallState::Ringing).map(ringing).collect();
        match in_state(|state| matches!(state, CallState::Joining | CallState::Active)).next() {
            Some(call) if self.is_current(call.call) => {}
            // It has ended meanwhile.
            Some(call) => self.current = self.blink.call(call.call).await.ok(),
            None => self.current = None,
        }
        if self.answers {
            self.handle_ringing().await;
        }
    }

    async fn enter(&mut self, call: CallId) {
        let file = self.next_recording();
        self.alerts.silence().await;
        match self.blink.answer_call(call).await {
            Ok(call) => {
                // The call may have ended meanwhile, and be left already.
                self.caller = self.blink.current_call().await.ok().flatten().map(|call| call.from);
                self.heard = file.map(|file| (call.id(), file));
                self.current = Some(call);
            }
            Err(error) => self.report(Some(error)),
        }
    }

    /// File of the next call's audio.
    fn next_recording(&self) -> Option<PathBuf> {
        self.out.as_ref().map(|directory| numbered(&directory.join(HEARD)))
    }

    fn report(&self, error: Option<blink_api::Error>) {
        if let Some(error) = error {
            engine::refuse(self.output, Invalid { id: None, reason: one_line(&error.to_string()) });
        }
    }
}
