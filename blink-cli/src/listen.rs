//! `blink listen`: waits for calls.

use std::collections::VecDeque;
use std::path::PathBuf;

use blink_api::{CallId, Did, ErrorKind};
use blink_engine::{Blink, CallState, Event, EventStream, Snapshot, StreamItem};
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
        current: None,
        caller: None,
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
        output.json_result(&json!({ "event": "heard", "call": call, "path": path }));
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
    ringing: VecDeque<CallId>,
    /// The call this device answered.
    current: Option<CallId>,
    /// Who began it.
    caller: Option<Did>,
    /// What to tell whoever listens beside how to answer.
    hint: Option<&'static str>,
    /// The file of the current call.
    heard: Option<(CallId, PathBuf)>,
    /// The addresses that were shown last.
    addresses: Vec<String>,
    video: Video,
}

impl Listener<'_> {
    /// Goes on until something is wrong with the engine.
    async fn serve(&mut self, events: &mut EventStream) -> Failure {
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
            self.output.waiting(self.waiting());
            tokio::select! {
                item = events.next() => match item {
                    Some(StreamItem::Event(event)) => self.handle_event(event).await,
                    Some(StreamItem::Lagged { snapshot, .. }) => {
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

    /// What is being waited for.
    fn waiting(&self) -> &'static str {
        match (self.ringing.is_empty(), self.current) {
            (false, _) if self.keyboard.is_open() => "somebody calls: type y to answer, n to reject",
            (false, _) => "somebody calls",
            (true, Some(_)) => "in the call",
            (true, None) => "waiting for calls",
        }
    }

    async fn introduce(&mut self) -> Result<(), Failure> {
        self.addresses = self.addresses().await?;
        self.show_addresses();
        let how = if self.answers {
            "every call is answered"
        } else {
            "y answers a call, n rejects it, h hangs up, j joins one that goes on"
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
            Event::IncomingCall { call, .. } if !self.ringing.contains(&call) => {
                self.ringing.push_back(call);
                self.handle_ringing().await;
            }
            Event::CallCancelled { call, .. } | Event::MissedCall { call, .. } => {
                self.ringing.retain(|ringing| *ringing != call);
            }
            // Whoever answers everything is there for the caller, and does not hold a group's call with others of its kind.
            Event::ParticipantLeft { call, participant, .. }
                if self.answers && self.current == Some(call) && self.caller == Some(participant.did) =>
            {
                // In a call of two that was its end.
                let error = self.blink.leave_call().await.err();
                self.report(error.filter(|error| error.kind() != ErrorKind::State));
            }
            Event::CallEnded { call, .. } if self.current == Some(call) => {
                self.current = None;
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

    /// Some events were missed; how things stand is known.
    async fn handle_snapshot(&mut self, snapshot: &Snapshot) {
        let in_state = |state: fn(CallState) -> bool| {
            snapshot.calls.iter().filter(move |call| state(call.state)).map(|call| call.call)
        };
        self.ringing = in_state(|state| state == CallState::Ringing).collect();
        self.current = in_state(|state| matches!(state, CallState::Joining | CallState::Active)).next();
        if self.answers {
            self.handle_ringing().await;
        }
    }

    /// Answers, or says how to. A call that rings while another goes on waits for that to end, if nobody is there to decide.
    async fn handle_ringing(&mut self) {
        if self.answers {
            while self.current.is_none() && !self.ringing.is_empty() {
                self.answer().await;
            }
        } else if self.ringing.is_empty() {
            // Nothing to say.
        } else if self.keyboard.is_open() {
            self.output.event("            type y to answer, n to reject");
        } else {
            self.output.event("            nobody can type here: it rings until the caller gives up; --answer answers");
        }
    }

    async fn handle_line(&mut self, line: &str) {
        match (line.trim().to_lowercase().as_str(), self.ringing.is_empty()) {
            ("y" | "yes", false) => self.answer().await,
            ("n" | "no", false) => {
                if let Some(call) = self.ringing.pop_front() {
                    self.report(self.blink.reject_call(call).await.err());
                }
            }
            ("y" | "yes" | "n" | "no", true) => self.output.event("            no call rings"),
            ("h" | "hang up", _) => self.report(self.blink.leave_call().await.err()),
            ("j" | "join", _) => self.join().await,
            ("", _) => {}
            _ => self
                .output
                .event("            y answers, n rejects, h hangs up, j joins a call that goes on, Ctrl-C ends"),
        }
    }

    /// Joins the call of a group that goes on without this device.
    async fn join(&mut self) {
        let ongoing = self.blink.ongoing_calls().await.unwrap_or_default();
        match ongoing.first() {
            Some(call) => self.enter(call.call).await,
            None => self.output.event("            no call goes on that could be joined"),
        }
    }

    /// Answers the oldest call that rings.
    async fn answer(&mut self) {
        if let Some(call) = self.ringing.pop_front() {
            self.enter(call).await;
        }
    }

    async fn enter(&mut self, call: CallId) {
        let file = self.out.as_ref().map(|directory| numbered(&directory.join(HEARD)));
        match self.blink.answer_call(call).await {
            Ok(call) => {
                self.current = Some(call);
                // Over already: then nobody leaves any more.
                self.caller = self.blink.current_call().await.ok().flatten().map(|call| call.from);
                self.heard = file.map(|file| (call, file));
            }
            Err(error) => self.report(Some(error)),
        }
    }

    /// Rejects what still rings, so that nobody waits for an answer that cannot come.
    async fn refuse(&self) {
        for call in &self.ringing {
            // Over in the meantime, or the engine is gone: nobody waits then.
            self.blink.reject_call(*call).await.ok();
        }
    }

    fn report(&self, error: Option<blink_api::Error>) {
        if let Some(error) = error {
            let error = one_line(&error.to_string());
            self.output.event(&format!("            {error}"));
            self.output.json_event(&json!({ "event": "refused", "error": error }));
        }
    }
}
