//! Workers: state machines of media with their commands, and the loop that runs one as a task.

use std::time::Instant;

use tokio::sync::mpsc;

use super::alarm::Alarm;

/// A state machine that ticks and takes commands.
pub(super) trait Worker {
    type Command;

    /// Time of the next tick; `None` while there is nothing to do.
    fn next(&self) -> Option<Instant>;

    /// Does what is due.
    fn tick(&mut self);

    /// Carries out what ticks and commands made, such as packets to send.
    fn flush(&mut self) {}

    fn handle(&mut self, command: Self::Command);

    /// The command channel is closed.
    fn finish(&mut self);
}

/// Runs a worker as a task. Commands come first: a worker that does not keep up with its ticks must
/// still be stopped by one.
pub(super) async fn run<W: Worker>(mut worker: W, mut commands: mpsc::Receiver<W::Command>) {
    let mut alarm = Alarm::new();
    loop {
        match commands.try_recv() {
            Ok(command) => {
                worker.handle(command);
                worker.flush();
                continue;
            }
            Err(mpsc::error::TryRecvError::Disconnected) => return worker.finish(),
            Err(mpsc::error::TryRecvError::Empty) => {}
        }
        tokio::select! {
            biased;
            () = alarm.wait(worker.next()) => worker.tick(),
            command = commands.recv() => match command {
                Some(command) => worker.handle(command),
                None => return worker.finish(),
            },
        }
        worker.flush();
    }
}
