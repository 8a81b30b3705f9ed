//! Commands that are typed while `blink listen` runs.

use blink_api::CallId;
use blink_engine::{CallSnapshot, ParticipantStatus};
use serde_json::json;

use super::Listener;
use crate::device_lines::{self, DeviceLine};

impl Listener<'_> {
    /// Executes a typed line.
    pub(super) async fn handle_line(&mut self, line: &str) {
        if let Some(line) = DeviceLine::parse(line) {
            return line.run(&self.blink, self.output).await;
        }
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
            _ => {
                let help = device_lines::HELP;
                let line =
                    format!("            y answers, n rejects, h hangs up, j lists ongoing calls, Ctrl-C ends; {help}");
                self.output.event(&line);
            }
        }
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
        self.report(self.blink.leave_call().await.err());
        let ongoing = self.blink.ongoing_calls().await.unwrap_or_default();
        let left = |call: &&CallSnapshot| current.as_ref().is_some_and(|current| current.is(call.call));
        if let Some(call) = ongoing.iter().find(left) {
            // The event of leaving may not have been processed yet.
            self.last.clone_from(&current);
            self.output.event(&format!("            {} is ongoing: j rejoins it", self.describe(call)));
        }
    }

    /// Rejoins the call that was left, if it is ongoing. Otherwise lists the ongoing calls, so that
    /// no unnamed call is joined.
    async fn join_last(&mut self) {
        let ongoing = self.blink.ongoing_calls().await.unwrap_or_default();
        let last = |call: &&CallSnapshot| self.last.as_ref().is_some_and(|last| last.is(call.call));
        if let Some(call) = ongoing.iter().find(last) {
            self.output.event(&format!("            rejoining {}", self.describe(call)));
            return self.enter(call.call).await;
        }
        if ongoing.is_empty() {
            self.refuse_line("no call is ongoing that could be joined");
        }
        for (n, call) in (1..).zip(&ongoing) {
            self.output.event(&format!("            type j {n} to join {}", self.describe(call)));
        }
        let calls: Vec<_> = ongoing.iter().map(|call| json!({ "call": call.call, "from": call.from })).collect();
        self.output.json_event(&json!({ "event": "ongoing", "calls": calls }));
        self.listed = ongoing.iter().map(|call| call.call).collect();
    }

    /// Joins a call by its number in the last list.
    async fn join(&mut self, number: &str) {
        let listed = number.parse::<usize>().ok().and_then(|n| self.listed.get(n.checked_sub(1)?).copied());
        match listed {
            Some(call) => self.enter(call).await,
            None => self.refuse_line("no call with that number: j lists ongoing calls"),
        }
    }

    /// Creator and participants of a group call.
    fn describe(&self, call: &CallSnapshot) -> String {
        let is_in = |status| matches!(status, ParticipantStatus::Joined);
        let present = call.participants.iter().filter(|participant| is_in(participant.status));
        let present: Vec<_> = present.map(|participant| self.names.of(&participant.did)).collect();
        let with = if present.is_empty() { String::new() } else { format!(" ({} in it)", present.join(", ")) };
        format!("the call of {}{with}", self.names.of(&call.from))
    }

    /// Reports why a typed line has no effect.
    fn refuse_line(&self, why: &str) {
        self.output.event(&format!("            {why}"));
        self.output.json_event(&json!({ "event": "refused", "error": why }));
    }
}
