//! Calls that ring: answered by themselves, offered at the prompt, or rejected at the end.

use super::Listener;

impl Listener<'_> {
    /// Answers, or prompts. A call that rings during another one waits for its end if it cannot be
    /// answered by hand.
    pub(super) async fn handle_ringing(&mut self) {
        if self.answers {
            while self.current.is_none()
                && let Some(first) = self.ringing.pop_front()
            {
                self.enter(first.call).await;
            }
        } else if self.keyboard.is_open() {
            self.prompt();
        } else if !self.ringing.is_empty() {
            self.output.event(
                "            standard input is closed: the call rings until the caller cancels; use --answer to answer",
            );
        }
    }

    /// Names the oldest ringing call; from now on `y` and `n` apply to it.
    pub(super) fn prompt(&mut self) {
        if let Some(first) = self.ringing.front() {
            self.named = Some(first.call);
            let name = self.names.of(&first.from);
            self.output.event(&format!("            {name} calls: type y to answer, n to reject"));
        }
    }

    /// Rejects all ringing calls, so that their callers do not wait for an answer.
    pub(super) async fn refuse(&self) {
        for ringing in &self.ringing {
            // The call has ended meanwhile, or the engine has stopped.
            self.blink.reject_call(ringing.call).await.ok();
        }
    }
}
