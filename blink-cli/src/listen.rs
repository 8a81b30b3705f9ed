//! `blink listen`: waits for calls.

use std::collections::VecDeque;
use std::path::PathBuf;

use blink_api::{CallId, Did, ErrorKind};
use blink_engine::{Blink, Call, CallSnapshot, CallState, Event, EventItem, Events, ParticipantStatus, Snapshot};
use blink_media_synthetic::numbered;
use serde_json::json;

use crate::args::{Global, ListenArguments};
use crate::failure::{Failure, one_line};
use crate::interrupt::Interrupt;
use crate::keyboard::Keyboard;
use crate::output::Output;
use crate::show::Names;
use crate::video::Video;
use crate::{configuration, engine, files};

/// One file for each call; the media host counts.
const HEARD: &str = "heard-{n}.wav";

/// Runs until interrupted.
pub(crate) async fn run(
    arguments: &ListenArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let heard = arguments.out.as_ref().map(|directory| directory.join(HEARD));
    let configuration = configuration::person(global, arguments.input.as_deref(), heard.as_deref())?;
    files::check_microphone(&configuration).await?;
    files::check_video(&configuration, arguments.video.as_deref()).await?;
    if let Some(directory) = &arguments.out {
        files::check(&numbered(&directory.join(HEARD)))?;
    }
    let blink = engine::start(&configuration, interrupt).await?;
    let mut events = blink.events();
    let mut listener = Listener {
        blink: blink.clone(),
        output,
        names: Names::default(),
        answers: arguments.answer,
        keyboard: Keyboard::new(!arguments.answer),
        out: arguments.out.clone(),
        ringing: VecDeque::new(),
        named: None,
        current: None,
        caller: None,
        last: None,
        listed: Vec::new(),
        hint: files::silence(&configuration),
        heard: None,
        addresses: Vec::new(),
        video: Video::new(&blink, arguments.video.as_deref(), arguments.out.as_deref()),
    };
    let result = tokio::select! {
        failure = listener.serve(&mut events) => Err(failure),
        () = interrupt.wait() => Err(Failure::interrupted()),
    };
    listener.refuse().await;
    let Listener { mut heard, names, video, .. } = listener;
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

/// Says where what was heard is, if anywhere.
fn show_heard(output: &Output, heard: Option<(CallId, PathBuf)>) {
    if let Some((call, path)) = heard {
        output.result(&format!("heard: {}", path.display()));
        output.json_result(&json!({ "event": "heard", "call": call, "path": path.to_string_lossy() }));
    }
}

struct Listener<'a> {
    blink: Blink,
    output: &'a Output,
    names: Names,
    /// Answers every call by itself.
    answers: bool,
    keyboard: Keyboard,
    out: Option<PathBuf>,
    /// Calls that ring, the oldest first.
    ringing: VecDeque<Ringing>,
    /// The call that the last prompt named: the only one that is answered or rejected by a word.
    named: Option<CallId>,
    /// The call this device answered.
    current: Option<Call>,
    /// Who began it.
    caller: Option<Did>,
    /// The call this device was in last.
    last: Option<Call>,
    /// Ongoing calls as they were listed last, to be joined by their number.
    listed: Vec<CallId>,
    /// What to tell whoever listens beside how to answer.
    hint: Option<&'static str>,
    /// The file of the current call.
    heard: Option<(CallId, PathBuf)>,
    /// The addresses that were shown last.
    addresses: Vec<String>,
    video: Video,
}

/// A call that rings.
struct Ringing {
    call: CallId,
    from: Did,
}

impl Listener<'_> {
    /// Goes on until something is wrong with the engine.
    async fn serve(&mut self, events: &mut Events) -> Failure {
        if let Err(failure) = self.introduce().await {
            return failure;
        }
        // What rang before the program was started anew rings still, without being told of again.
        match self.blink.snapshot().await {
            Ok(snapshot) => self.handle_snapshot(&snapshot).await,
            Err(error) => return error.into(),
        }
        if !self.answers && !self.ringing.is_empty() {
            self.output.event("            a call from before still rings");
            self.handle_ringing().await;
        }
        loop {
            let waiting = self.waiting();
            self.output.waiting(waiting);
            tokio::select! {
                // What a line did is told before the next line: the end of a call that was left
                // must not be taken for that of the same call joined again.
                biased;
                item = events.next() => match item {
                    Some(EventItem::Event(event)) => self.handle_event(event).await,
                    Some(EventItem::Lagged { snapshot, .. }) => {
                        self.handle_snapshot(&snapshot).await;
                        self.update_addresses().await;
                    }
                    None => return self.why_stopped().await,
                },
                line = self.keyboard.line() => self.handle_line(&line).await,
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
        self.addresses = self.addresses().await?;
        self.show_addresses();
        let how = if self.answers {
            "every call is answered"
        } else {
            "y answers a call, n rejects it, h hangs up, j lists those that go on"
        };
        self.output.event(&format!("waiting for calls; {how}; Ctrl-C ends"));
        if let Some(hint) = self.hint {
            self.output.event(hint);
        }
        Ok(())
    }

    /// Where to call, as on a command line.
    async fn addresses(&self) -> blink_api::Result<Vec<String>> {
        let did = self.blink.did();
        Ok(self.blink.addresses().await?.iter().map(|address| format!("{did}@{address}")).collect())
    }

    /// Shows them again where they are others.
    async fn update_addresses(&mut self) {
        match self.addresses().await {
            Ok(addresses) if addresses != self.addresses => {
                self.addresses = addresses;
                self.show_addresses();
            }
            Ok(_) => {}
            Err(error) => self.report(Some(error)),
        }
    }

    fn show_addresses(&self) {
        let (did, addresses) = (self.blink.did(), &self.addresses);
        for address in addresses {
            self.output.result(address);
        }
        self.output.json_result(&json!({ "event": "listening", "did": did, "addresses": addresses }));
        if addresses.is_empty() {
            self.output.result(&did.to_string());
        }
    }

    async fn handle_event(&mut self, event: Event) {
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
            // Whoever answers everything is there for the caller, and does not hold a group's call
            // with others of its kind.
            Event::ParticipantLeft { call, participant, .. }
                if self.answers && self.is_current(call) && self.caller == Some(participant.did) =>
            {
                // In a call of two that was its end.
                let error = self.blink.leave_call().await.err();
                self.report(error.filter(|error| error.kind() != ErrorKind::State));
            }
            Event::CallEnded { call, .. } if self.is_current(call) => {
                self.last = self.current.take();
                self.caller = None;
                show_heard(self.output, self.heard.take());
                if self.answers {
                    self.handle_ringing().await;
                }
            }
            Event::AddressesChanged => self.update_addresses().await,
            _ => {}
        }
    }

    fn is_current(&self, call: CallId) -> bool {
        self.current.as_ref().is_some_and(|current| current.is(call))
    }

    /// Some events were missed; how things stand is known.
    async fn handle_snapshot(&mut self, snapshot: &Snapshot) {
        let in_state = |state: fn(CallState) -> bool| snapshot.calls.iter().filter(move |call| state(call.state));
        let ringing = |call: &CallSnapshot| Ringing { call: call.call, from: call.from };
        self.ringing = in_state(|state| state == CallState::Ringing).map(ringing).collect();
        match in_state(|state| matches!(state, CallState::Joining | CallState::Active)).next() {
            Some(call) if self.is_current(call.call) => {}
            // Over in the meantime: then none is current.
            Some(call) => self.current = self.blink.call(call.call).await.ok(),
            None => self.current = None,
        }
        if self.answers {
            self.handle_ringing().await;
        }
    }

    /// Answers, or says how to. A call that rings while another goes on waits for that to end, if
    /// nobody is there to decide.
    async fn handle_ringing(&mut self) {
        if self.answers {
            while self.current.is_none()
                && let Some(first) = self.ringing.pop_front()
            {
                self.enter(first.call).await;
            }
        } else if self.keyboard.is_open() {
            self.prompt();
        } else if !self.ringing.is_empty() {
            self.output.event("            nobody can type here: it rings until the caller gives up; --answer answers");
        }
    }

    /// Names the oldest call that rings; from now on a word answers or rejects it.
    fn prompt(&mut self) {
        if let Some(first) = self.ringing.front() {
            self.named = Some(first.call);
            let name = self.names.of(&first.from);
            self.output.event(&format!("            {name} calls: type y to answer, n to reject"));
        }
    }

    async fn handle_line(&mut self, line: &str) {
        let line = line.trim().to_lowercase();
        match line.split_once(' ').map_or((line.as_str(), ""), |(word, rest)| (word, rest.trim())) {
            ("y" | "yes", "") => {
                if let Some(call) = self.take_named() {
                    self.enter(call).await;
                }
            }
            ("n" | "no", "") => {
                if let Some(call) = self.take_named() {
                    self.report(self.blink.reject_call(call).await.err());
                    self.prompt();
                }
            }
            ("h", "") | ("hang", "up") => self.hang_up().await,
            ("j" | "join", "") => self.join_last().await,
            ("j" | "join", number) => self.join(number).await,
            ("", _) => {}
            _ => self.output.event("            y answers, n rejects, h hangs up, j lists ongoing calls, Ctrl-C ends"),
        }
    }

    /// The call that the user was asked about. Another one is named first: it may have begun to
    /// ring since, or is the next one where the first gave up.
    fn take_named(&mut self) -> Option<CallId> {
        let first = self.ringing.front().map(|ringing| ringing.call);
        if first.is_some() && first == self.named {
            self.named = None;
            return self.ringing.pop_front().map(|ringing| ringing.call);
        }
        self.refuse_line(match (first, self.named) {
            (None, _) => "no call rings",
            (Some(_), Some(_)) => "that call rings no more",
            (Some(_), None) => "another call rings",
        });
        self.prompt();
        None
    }

    async fn hang_up(&mut self) {
        let current = self.current.clone();
        self.report(self.blink.leave_call().await.err());
        let ongoing = self.blink.ongoing_calls().await.unwrap_or_default();
        let left = |call: &&CallSnapshot| current.as_ref().is_some_and(|current| current.is(call.call));
        if let Some(call) = ongoing.iter().find(left) {
            // The event that says so may not have been read yet.
            self.last.clone_from(&current);
            self.output.event(&format!("            {} goes on: j joins it again", self.describe(call)));
        }
    }

    /// Joins again the call that was left, if it goes on. All others are listed, so that none is
    /// joined that was not named.
    async fn join_last(&mut self) {
        let ongoing = self.blink.ongoing_calls().await.unwrap_or_default();
        let last = |call: &&CallSnapshot| self.last.as_ref().is_some_and(|last| last.is(call.call));
        if let Some(call) = ongoing.iter().find(last) {
            self.output.event(&format!("            joining {} again", self.describe(call)));
            return self.enter(call.call).await;
        }
        if ongoing.is_empty() {
            self.refuse_line("no call goes on that could be joined");
        }
        for (n, call) in (1..).zip(&ongoing) {
            self.output.event(&format!("            type j {n} to join {}", self.describe(call)));
        }
        let calls: Vec<_> = ongoing.iter().map(|call| json!({ "call": call.call, "from": call.from })).collect();
        self.output.json_event(&json!({ "event": "ongoing", "calls": calls }));
        self.listed = ongoing.iter().map(|call| call.call).collect();
    }

    /// Joins a call by its number in the list that was shown last.
    async fn join(&mut self, number: &str) {
        let listed = number.parse::<usize>().ok().and_then(|n| self.listed.get(n.checked_sub(1)?).copied());
        match listed {
            Some(call) => self.enter(call).await,
            None => self.refuse_line("no call was listed under that number: j lists them"),
        }
    }

    /// Creator and members of a group's call.
    fn describe(&self, call: &CallSnapshot) -> String {
        let is_in = |status| matches!(status, ParticipantStatus::Joined);
        let present = call.participants.iter().filter(|participant| is_in(participant.status));
        let present: Vec<_> = present.map(|participant| self.names.of(&participant.did)).collect();
        let with = if present.is_empty() { String::new() } else { format!(" ({} in it)", present.join(", ")) };
        format!("the call of {}{with}", self.names.of(&call.from))
    }

    async fn enter(&mut self, call: CallId) {
        let file = self.out.as_ref().map(|directory| numbered(&directory.join(HEARD)));
        match self.blink.answer_call(call).await {
            Ok(call) => {
                // Over already: then nobody leaves any more.
                self.caller = self.blink.current_call().await.ok().flatten().map(|call| call.from);
                self.heard = file.map(|file| (call.id(), file));
                self.current = Some(call);
            }
            Err(error) => self.report(Some(error)),
        }
    }

    /// Rejects what still rings, so that nobody waits for an answer that cannot come.
    async fn refuse(&self) {
        for ringing in &self.ringing {
            // Over in the meantime, or the engine is gone: nobody waits then.
            self.blink.reject_call(ringing.call).await.ok();
        }
    }

    /// Says why a line that was typed does nothing.
    fn refuse_line(&self, why: &str) {
        self.output.event(&format!("            {why}"));
        self.output.json_event(&json!({ "event": "refused", "error": why }));
    }

    fn report(&self, error: Option<blink_api::Error>) {
        if let Some(error) = error {
            let error = one_line(&error.to_string());
            self.output.event(&format!("            {error}"));
            self.output.json_event(&json!({ "event": "refused", "error": error }));
        }
    }
}
