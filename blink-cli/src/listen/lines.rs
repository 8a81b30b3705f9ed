//! Commands while `blink listen` runs, from standard input and from other processes.

use std::path::PathBuf;

use blink_api::CallId;
use blink_engine::CallSnapshot;

use super::{Listener, show_heard};
use crate::commands::{Command, Invalid, Reply, Request, describe};
use crate::engine;
use crate::failure::one_line;

impl Listener<'_> {
    /// Executes a line. What a person typed without naming a call applies to the call that the last
    /// prompt named.
    pub(super) async fn handle_line(&mut self, line: &str, is_input: bool) {
        let request = match Request::parse(line) {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(invalid) => return engine::refuse(self.output, invalid),
        };
        let is_typed = is_input && !line.trim_start().starts_with('{');
        if let Some(reply) = self.execute(&request, is_typed).await {
            engine::reply(self.output, &self.names, &reply, Some(&request));
        }
    }

    /// Executes a command; `None` where the reply was shown already.
    async fn execute(&mut self, request: &Request, is_typed: bool) -> Option<Reply> {
        match &request.command {
            Command::Answer { call: None } if is_typed => {
                let call = self.take_named()?;
                self.enter(call).await;
                return None;
            }
            Command::Reject { call: None } if is_typed => {
                let call = self.take_named()?;
                self.report(self.blink.reject_call(call).await.err());
                self.prompt();
                return None;
            }
            Command::Join { call: None } if is_typed => return self.join_last().await,
            Command::Join { call: Some(number) } if is_typed => {
                self.join(number).await;
                return None;
            }
            Command::Leave { call: None } if is_typed => {
                self.hang_up().await;
                return None;
            }
            _ => {}
        }
        if let Command::Answer { .. } | Command::Join { .. } | Command::Call { .. } = request.command {
            self.alerts.silence().await;
        }
        let file = self.next_recording();
        let reply = match self.executor.run(&request.command).await {
            Ok(reply) => reply,
            Err(error) => return Some(Reply::Refused { error: one_line(&error.to_string()) }),
        };
        match (&request.command, &reply) {
            (Command::ReloadContacts {}, _) => {
                self.names = self.executor.names().with_claims_of(&self.names);
            }
            (_, Reply::Calling { call, .. }) => self.follow(*call, file).await,
            (Command::Answer { .. } | Command::Join { call: Some(_) } | Command::Resume { .. }, Reply::Done) => {
                if let Ok(Some(current)) = self.blink.current_call().await {
                    self.ringing.retain(|ringing| ringing.call != current.call);
                    self.follow(current.call, file).await;
                }
            }
            _ => {}
        }
        Some(reply)
    }

    /// Takes a call as the current one that was not entered here.
    async fn follow(&mut self, call: CallId, file: Option<PathBuf>) {
        self.current = self.blink.call(call).await.ok();
        self.caller = self.blink.current_call().await.ok().flatten().map(|call| call.from);
        let before = std::mem::replace(&mut self.heard, file.map(|file| (call, file)));
        show_heard(self.output, before);
    }

    /// Takes the call that the last prompt named. If another one rings by now, it is named first.
    fn take_named(&mut self) -> Option<CallId> {
        let first = self.ringing.front().map(|ringing| ringing.call);
        if first.is_some() && first == self.named {
            self.named = None;
            return self.ringing.pop_front().map(|ringing| ringing.call);
        }
        self.refuse_line(match (first, self.named) {
            (None, _) => "no call rings",
            (Some(_), Some(_)) => "that call has stopped ringing",
            (Some(_), None) => "another call rings",
        });
        self.prompt();
        None
    }

    /// Leaves the current call, and offers to rejoin it if it is ongoing.
    async fn hang_up(&mut self) {
        let current = self.current.clone();
        self.report(self.executor.leave(None).await.err());
        let ongoing = self.blink.ongoing_calls().await.unwrap_or_default();
        let left = |call: &&CallSnapshot| current.as_ref().is_some_and(|current| current.is(call.call));
        if let Some(call) = ongoing.iter().find(left) {
            // The event of leaving may not have been processed yet.
            self.last.clone_from(&current);
            self.output.event(&format!("            {} is ongoing: j rejoins it", describe(call, &self.names)));
        }
    }

    /// Rejoins the call that was left, if it is ongoing. Otherwise lists the ongoing calls, so that
    /// no unnamed call is joined.
    async fn join_last(&mut self) -> Option<Reply> {
        let ongoing = self.blink.ongoing_calls().await.unwrap_or_default();
        let last = |call: &&CallSnapshot| self.last.as_ref().is_some_and(|last| last.is(call.call));
        if let Some(call) = ongoing.iter().find(last) {
            self.output.event(&format!("            rejoining {}", describe(call, &self.names)));
            self.enter(call.call).await;
            return None;
        }
        if ongoing.is_empty() {
            self.refuse_line("no call is ongoing that could be joined");
            return None;
        }
        self.listed = ongoing.iter().map(|call| call.call).collect();
        Some(Reply::Ongoing { calls: ongoing })
    }

    /// Joins a call by its number in the last list.
    async fn join(&mut self, number: &str) {
        let listed = number.parse::<usize>().ok().and_then(|n| self.listed.get(n.checked_sub(1)?).copied());
        match listed {
            Some(call) => self.enter(call).await,
            None => self.refuse_line("no call with that number: j lists ongoing calls"),
        }
    }

    /// Reports why a typed line has no effect.
    fn refuse_line(&self, why: &str) {
        engine::refuse(self.output, Invalid { id: None, reason: why.to_owned() });
    }
}
