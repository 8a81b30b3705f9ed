//! The processors of a call's microphone. They are built in the background, since one may load a
//! model, and before the microphone opens, which must not be sent without them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use blink_api::{AudioFormat, AudioProcessor, AudioProcessorFactory, DeviceDirection, Error, ErrorKind, Result};

use super::driver_loop::{Driver, now};
use super::epoch::Epoch;
use super::openings::Opened;
use blink_media::{MediaCommand, Processors};
use blink_proto::call::Event;

impl Driver {
    /// Builds the configured processors for the call whose media was opened last.
    pub(super) fn build_processors(&mut self) {
        let (epoch, format) = (self.media.epoch(), self.media.audio().format());
        let factories = self.parts.processors.clone();
        self.openings.spawn_device_open(&self.parts.workers, async move {
            Opened::Processors(epoch, build(&factories, format))
        });
    }

    /// The processors are there, and the microphone opens; without them there is none.
    pub(super) async fn handle_processors(&mut self, epoch: Epoch, result: Result<Vec<Box<dyn AudioProcessor>>>) {
        let Some(call) = self.active else { return self.media.drop_prepared() };
        if !self.media.is_current(epoch) {
            // Those of the call that goes on are being built.
            return;
        }
        self.devices.awaits_processors = false;
        match result {
            Ok(chain) => {
                self.media.send_command(MediaCommand::SetProcessors(Processors::new(chain))).await;
                let now = now(&self.parts).mono;
                self.devices.manager.set_wanted(now, DeviceDirection::Source, &self.parts.settings.microphone);
                self.drive_devices().await;
            }
            Err(error) => self.emit(Event::NoMicrophone { call, error: error.to_string() }),
        }
        self.media.drop_prepared();
    }
}

/// Builds a processor with each factory.
///
/// # Errors
/// The first factory's that fails; [`Unexpected`](ErrorKind::Unexpected) where one panics.
fn build(factories: &[Arc<dyn AudioProcessorFactory>], format: AudioFormat) -> Result<Vec<Box<dyn AudioProcessor>>> {
    let build = || factories.iter().map(|factory| factory.processor(format)).collect();
    catch_unwind(AssertUnwindSafe(build))
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Unexpected, "a processor panicked while it was built")))
}
