//! Virtual time: deliveries, sessions and timers in their order.

use std::time::{Duration, Instant};

use blink_proto::call::{Event, Input, Machine, Now, SessionId, SessionInput};

use super::{Simulation, UNIX_MS};

/// Step of a machine that a recording repeats.
#[derive(Debug, Clone)]
pub enum Step {
    /// Input.
    Input(Box<Input>),
    /// Timer.
    Timeout,
}

impl Simulation {
    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.now.duration_since(self.began)
    }

    /// Clocks of a node.
    pub fn time(&self, node: usize) -> Now {
        let since = self.elapsed().as_millis() as u64;
        let error = self.clock_error_ms + self.nodes[node].clock_error_ms;
        Now { mono: self.now, unix_ms: (UNIX_MS + since).saturating_add_signed(error) }
    }

    /// Hands an input to a node's machine.
    pub fn input(&mut self, node: usize, input: Input) {
        self.record_step(node, || Step::Input(Box::new(input.clone())));
        self.act(node, |machine, now| machine.handle(now, input));
    }

    /// Hands an event of a session to a node's machine.
    pub fn session_input(&mut self, node: usize, session: SessionId, event: SessionInput) {
        self.input(node, Input::Session { session, event });
    }

    /// Runs for a time.
    pub fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
    }

    /// Runs until a node emitted an event.
    ///
    /// # Panics
    /// After the limit, with the transcript.
    pub fn until(&mut self, node: usize, limit: Duration, what: &str, is: impl Fn(&Event) -> bool) {
        let end = self.now + limit;
        while !self.nodes[node].events.iter().any(&is) {
            if !self.step(end) {
                let transcript = self.transcript();
                panic!("seed {}: node {node} was not told `{what}` in {limit:?}\n{transcript}", self.seed);
            }
        }
    }

    /// Goes to the next delivery, report or timer until `end`. Returns false where there is none,
    /// and then it is `end`.
    pub fn step(&mut self, end: Instant) -> bool {
        let delivery = self.queue.next_at().filter(|_| !self.holds_deliveries);
        let timer = self.deadlines.iter().enumerate().filter_map(|(node, at)| Some(((*at)?, node))).min();
        let path = self.paths.next();
        let next = [delivery, timer.map(|(at, _)| at), path].into_iter().flatten().min();
        let Some(at) = next.filter(|at| *at <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(at);
        if delivery == Some(at) {
            self.deliver_next();
        } else if path == Some(at) {
            let reports = self.paths.poll(self.now);
            reports.into_iter().for_each(|(to, session, event)| self.session_input(to, session, event));
        } else if let Some((_, node)) = timer {
            self.record_step(node, || Step::Timeout);
            self.act(node, Machine::handle_timeout);
            let is_later = self.deadlines[node].is_none_or(|at| at > self.now);
            assert!(is_later, "seed {}: node {node} spins\n{}", self.seed, self.transcript());
        }
        true
    }

    /// Records the steps of a node's machine from now on, but for commands of its user.
    pub fn record(&mut self, node: usize) {
        self.recording = Some((node, Vec::new()));
    }

    /// Ends a recording. Returns its steps with their times.
    pub fn take_recording(&mut self) -> Vec<(Now, Step)> {
        self.recording.take().map(|(_, steps)| steps).unwrap_or_default()
    }

    fn record_step(&mut self, node: usize, step: impl FnOnce() -> Step) {
        let now = self.time(node);
        if let Some((_, steps)) = self.recording.as_mut().filter(|(recorded, _)| *recorded == node) {
            steps.push((now, step()));
        }
    }
}
