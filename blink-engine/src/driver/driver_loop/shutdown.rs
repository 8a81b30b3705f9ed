//! The end of the engine.

use super::super::alarm::Alarm;
use super::super::report::Report;
use super::super::session::SessionHandle;
use super::{CLOSING, Driver, FAREWELL, now};

impl Driver {
    /// Leaves, notifies the others, and closes everything.
    pub(super) async fn shut_down(&mut self) {
        self.machine.leave_all(now(&self.parts));
        self.carry_out().await;
        if self.machine.has_pending_farewells() {
            let end = tokio::time::Instant::now() + FAREWELL;
            let mut alarm = Alarm::new();
            loop {
                self.carry_out().await;
                tokio::select! {
                    () = alarm.wait(self.machine.deadline()) => self.machine.handle_timeout(now(&self.parts)),
                    Some(report) = self.incoming.recv() => self.handle_report(report).await,
                    () = tokio::time::sleep_until(end) => break,
                }
            }
        }
        self.carry_out().await;
        let open = std::mem::take(&mut self.sessions);
        self.closing.extend(open.values().map(SessionHandle::close));
        let closings = std::mem::take(&mut self.closing);
        let all = async {
            for closing in closings {
                // An error means that the task had ended by itself, and the session with it.
                closing.await.ok();
            }
        };
        if tokio::time::timeout(CLOSING, all).await.is_err() {
            tracing::warn!("a session did not close in time");
        }
        self.close_media().await;
        let mut retired = Vec::new();
        while let Ok(report) = self.incoming.try_recv() {
            if let Report::Retired(device) = report {
                retired.push(device);
            }
        }
        self.close_devices_of_call(retired).await;
        self.finish_recordings().await;
        self.publisher.flush().await;
        self.parts.signaling.shutdown().await;
        self.store_writer.finish().await;
    }
}
