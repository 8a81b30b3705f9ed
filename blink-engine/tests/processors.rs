//! Processors that are slow to build, or panic: the engine goes on, and no microphone is sent
//! without them.

mod people;

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use blink_api::{AudioFormat, AudioProcessor, AudioProcessorFactory, Error, ErrorKind, ProcessorCapabilities, Result};
use blink_engine::{CallConfig, Event};
use people::TestNetwork;

/// Changes nothing.
struct Idle;

impl AudioProcessor for Idle {
    fn render(&mut self, _: &[f32], _: std::time::Instant) -> Result<()> {
        Ok(())
    }

    fn capture(&mut self, _: &mut [f32], _: std::time::Instant) -> Result<()> {
        Ok(())
    }

    fn reset(&mut self) {}

    fn delay(&self) -> Duration {
        Duration::ZERO
    }
}

/// A factory that loads its model until the test says that it is loaded.
struct Loading(Mutex<mpsc::Receiver<()>>);

impl AudioProcessorFactory for Loading {
    fn capabilities(&self) -> ProcessorCapabilities {
        ProcessorCapabilities::NONE
    }

    fn processor(&self, _: AudioFormat) -> Result<Box<dyn AudioProcessor>> {
        let loaded = self.0.lock().unwrap().recv_timeout(Duration::from_secs(20));
        loaded.map_err(|_| Error::new(ErrorKind::Timeout, "the engine waited for the model"))?;
        Ok(Box::new(Idle))
    }
}

struct Panicking;

impl AudioProcessorFactory for Panicking {
    fn capabilities(&self) -> ProcessorCapabilities {
        ProcessorCapabilities::NONE
    }

    fn processor(&self, _: AudioFormat) -> Result<Box<dyn AudioProcessor>> {
        panic!("as the test says")
    }
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_loads_keeps_no_command_waiting_and_the_microphone_waits_for_it() {
    for settings in [&[][..], &["call.require_microphone=true"]] {
        let network = TestNetwork::new();
        let (loaded, loading) = mpsc::channel();
        let factory = Arc::new(Loading(Mutex::new(loading)));
        let alice = network.person_built(1, "speech", settings, |engine| engine.processor(factory)).await;
        let mut bob = network.person(2, "silence").await;
        alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
        bob.answers().await;
        bob.until("joined", |event| matches!(event, Event::ParticipantJoined { .. })).await;
        alice.blink.set_deafened(true).await.unwrap();
        assert!(!bob.told.iter().any(|event| matches!(event, Event::SpeakingStarted { .. })));
        loaded.send(()).unwrap();
        bob.until("speaking", |event| matches!(event, Event::SpeakingStarted { .. })).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_panics_costs_the_microphone_and_not_the_engine() {
    let network = TestNetwork::new();
    let mut alice = network.person_built(1, "tone:440", &[], |engine| engine.processor(Arc::new(Panicking))).await;
    let mut bob = network.person(2, "speech").await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    let event = alice.until("no microphone", |event| matches!(event, Event::NoMicrophone { .. })).await;
    assert!(matches!(event, Event::NoMicrophone { error, .. } if error.contains("panicked")));
    bob.answers().await;
    alice.until("speaking", |event| matches!(event, Event::SpeakingStarted { .. })).await;
    assert!(!bob.told.iter().any(|event| matches!(event, Event::SpeakingStarted { .. })));
}
