//! A call between two complete engines in this process.

use std::sync::Arc;
use std::time::Duration;

use blink_api::{AudioCodec, Configuration, MediaHost};
use blink_engine::{Blink, CallConfig, Event, EventItem, Events, MediaThreads};

use crate::failure::Failure;

/// Timeout of each step.
const STEP: Duration = Duration::from_secs(30);

/// Parts of one side, in addition to its configuration.
#[derive(Clone)]
pub(super) struct Side {
    pub(super) configuration: Configuration,
    pub(super) codecs: Vec<Arc<dyn AudioCodec>>,
    pub(super) media_host: Option<Arc<dyn MediaHost>>,
    /// Audio threads shared with other engines.
    pub(super) threads: Option<MediaThreads>,
}

/// A call between two engines that receive each other's audio.
pub(super) struct EngineCall {
    engines: [Blink; 2],
}

impl EngineCall {
    /// Starts both engines; the first calls the second.
    pub(super) async fn start(sides: [Side; 2]) -> Result<Self, Failure> {
        let [caller, callee] = sides;
        let (alice, bob) = (caller.start().await?, callee.start().await?);
        let (mut heard, mut answered) = (alice.events(), bob.events());
        let offered = alice.offer_call(&[bob.did()], CallConfig::default()).await?;
        let call = within(&mut answered, "the call rings", |event| match event {
            Event::IncomingCall { call, .. } if offered.is(*call) => Some(*call),
            _ => None,
        });
        bob.answer_call(call.await?).await?;
        for events in [&mut heard, &mut answered] {
            let started = |event: &Event| matches!(event, Event::MediaStarted { .. }).then_some(());
            within(events, "the first audio", started).await?;
        }
        Ok(Self { engines: [alice, bob] })
    }

    /// Audio concealed so far, at both ends.
    pub(super) async fn concealed(&self) -> Result<Duration, Failure> {
        let mut concealed = Duration::ZERO;
        for engine in &self.engines {
            let figures = engine.statistics().await?;
            let audio = figures.iter().map(|figures| figures.audio);
            concealed += audio.map(|audio| audio.duration_of(audio.concealed_samples)).sum::<Duration>();
        }
        Ok(concealed)
    }

    /// Shuts both engines down.
    pub(super) async fn end(self) {
        for engine in self.engines {
            // The results are complete; an engine that does not shut down in time ends with the
            // program.
            tokio::time::timeout(STEP, engine.shutdown()).await.ok();
        }
    }
}

impl Side {
    async fn start(self) -> Result<Blink, Failure> {
        let mut builder = Blink::builder(&self.configuration);
        for codec in self.codecs {
            builder = builder.codec(codec);
        }
        if let Some(host) = self.media_host {
            builder = builder.media_host("bench", host);
        }
        if let Some(threads) = &self.threads {
            builder = builder.media_threads(threads);
        }
        Ok(builder.start().await?)
    }
}

/// Waits for an event.
async fn within<T>(events: &mut Events, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> Result<T, Failure> {
    let waiting = async {
        loop {
            match events.next().await {
                Some(EventItem::Event(Event::CallEnded { reason, failure, .. })) => {
                    return Err(Failure::call(format!(
                        "{what}: the call ended: {}",
                        crate::event_text::ended_because(reason, failure.as_ref())
                    )));
                }
                Some(EventItem::Event(event)) => {
                    if let Some(found) = wanted(&event) {
                        return Ok(found);
                    }
                }
                Some(_) => {}
                None => return Err(Failure::call(format!("{what}: an engine stopped"))),
            }
        }
    };
    let late = |_| Failure::call(format!("{what}: nothing within {} s", STEP.as_secs()));
    tokio::time::timeout(STEP, waiting).await.map_err(late)?
}
