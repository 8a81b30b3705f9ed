//! A timer that a loop waits for beside other events.

use std::pin::Pin;
use std::time::Instant;

use tokio::time::Sleep;

/// Waits for one time after the other. The runtime's timer is set where the time changes, and not
/// with each turn of the loop.
pub(super) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    at: Instant,
}

impl Alarm {
    pub(super) fn new() -> Self {
        let at = tokio::time::Instant::now();
        Self { sleep: Box::pin(tokio::time::sleep_until(at)), at: at.into() }
    }

    /// Until this time, for ever where it is `None`. Waiting may be given up and begun again.
    pub(super) async fn wait(&mut self, until: Option<Instant>) {
        let Some(until) = until else { return std::future::pending().await };
        if self.at != until {
            self.at = until;
            self.sleep.as_mut().reset(until.into());
        }
        self.sleep.as_mut().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_time_is_waited_for_and_one_that_is_over_is_over() {
        let began = Instant::from(tokio::time::Instant::now());
        let after = |ms| began + Duration::from_millis(ms);
        let mut alarm = Alarm::new();
        // Set, given up, and set to an earlier and a later time; one that has passed again; never.
        for (until, limit, ends) in [
            (Some(100), 50, Some(50)),
            (Some(80), 500, Some(80)),
            (Some(80), 500, Some(80)),
            (Some(200), 500, Some(200)),
            (Some(150), 500, Some(200)),
            (None, 30, Some(230)),
            (Some(300), 500, Some(300)),
        ] {
            tokio::time::timeout(Duration::from_millis(limit), alarm.wait(until.map(after))).await.ok();
            assert_eq!(Some(Instant::from(tokio::time::Instant::now())), ends.map(after), "{until:?}");
        }
    }
}
