//! One person on one device: what stays while its engine is started, killed and started again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blink_api::{
    AudioCodec, Configuration, Context, Endpoint, MediaHost, OpenRequest, Signaling, TrackKind, Transport,
};
use blink_engine::{Blink, Event, EventItem, Events, Identity, Pacing};
use tokio::task::JoinHandle;

use super::codec::LabCodec;
use super::core::Core;
use super::failure::{Failure, Result};
use super::fault::Fault;
use super::line::Line;
use super::log::Log;
use super::media_host::{Devices, LabHost};
use super::profile::Profile;
use super::signaling::LineSignaling;
use super::sound::BLOCK;
use super::transport::LineTransport;
use crate::impaired::{ImpairedSignaling, ImpairedTransport, SignalingImpairment};

pub(crate) struct Person {
    pub(crate) name: String,
    /// In the order of appearance.
    pub(crate) number: usize,
    pub(crate) identity: Identity,
    pub(crate) log: Log,
    pub(crate) devices: Arc<Devices>,
    profile: Profile,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The engine, while it runs.
    life: Option<Life>,
    /// How often it was started.
    lives: u8,
    endpoint: Option<Endpoint>,
    line: Option<Arc<Line>>,
    /// The end of the life before, which takes a moment.
    dying: Option<JoinHandle<()>>,
}

struct Life {
    blink: Blink,
    listener: JoinHandle<()>,
}

impl Person {
    pub(crate) fn new(core: &Core, number: usize, profile: Profile) -> Self {
        let identity = profile.identity.clone().unwrap_or_else(|| Identity::from_seed(&[number as u8 + 1; 32]));
        let pretends = matches!(core.fault, Some(Fault::PretendsMicrophone));
        let devices = Devices::new(number, core.clock, profile.has_microphone, pretends);
        Self {
            name: profile.name.clone(),
            number,
            identity,
            log: Log::default(),
            devices: Arc::new(devices),
            profile,
            state: Mutex::default(),
        }
    }

    /// The running engine.
    pub(crate) fn blink(&self) -> Option<Blink> {
        self.state().life.as_ref().map(|life| life.blink.clone())
    }

    /// The connections of the newest life.
    pub(crate) fn line(&self) -> Option<Arc<Line>> {
        self.state().line.clone()
    }

    /// Of the newest life.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        self.state().endpoint
    }

    /// Starts the engine.
    pub(crate) async fn start(self: &Arc<Self>, core: &Arc<Core>) -> Result<()> {
        self.try_to_start(core).await.map_err(Failure::set_up)
    }

    /// As [`start`](Self::start), with what the engine says.
    pub(crate) async fn try_to_start(self: &Arc<Self>, core: &Arc<Core>) -> Result<(), blink_api::Error> {
        let dying = self.state().dying.take();
        if let Some(dying) = dying {
            // An engine that ended in a panic has ended too; the panic is on the screen.
            dying.await.ok();
        }
        let lives = {
            let mut state = self.state();
            state.lives += 1;
            state.lives
        };
        let line = Arc::new(Line::new(self.number));
        core.add_line(line.clone());
        let configuration = self.configuration(core)?;
        let clock = core.clock.of_engines(core.is_virtual());
        let context = Context { clock: clock.clone(), shared: core.stage.registry.shared() };
        let transport = configuration.create::<dyn Transport>(&context).await?;
        let signaling = configuration.create::<dyn Signaling>(&context).await?;
        let (transport, signaling) = impair(transport, signaling, &line, core);
        let transport = Arc::new(LineTransport::new(transport, line.clone(), core.clone()));
        let host = Arc::new(LabHost(self.devices.clone()));
        let mut seed = [self.number as u8 + 1; 32];
        seed[0] = lives;
        let mut builder = Blink::builder(&configuration)
            .identity(self.identity.clone())
            .seed(seed)
            .clock(clock, if core.is_virtual() { Pacing::Tasks } else { Pacing::Threads })
            .media_host("lab", host.clone())
            .transport(transport.clone())
            .signaling(Arc::new(LineSignaling::new(signaling, line.clone(), core.clone())));
        if self.profile.strange_codec {
            builder = builder.codec(Arc::new(LabCodec::STRANGE) as Arc<dyn AudioCodec>);
        } else if core.stage.codec.is_none() {
            builder = builder.codec(Arc::new(LabCodec::USUAL) as Arc<dyn AudioCodec>);
        }
        let blink = builder.start().await?;
        // Before it meets anybody, or what happens at once would go unseen.
        let events = blink.events();
        self.connect(core, &blink).await?;
        let hasty = Hasty { transport, host };
        let listener = tokio::spawn(listen(self.clone(), core.clone(), events, hasty));
        let mut state = self.state();
        state.endpoint = Some(blink.endpoint());
        state.line = Some(line);
        state.life = Some(Life { blink, listener });
        Ok(())
    }

    /// Connects signaling with everybody who is there. Backends in which all nodes find each other
    /// have nothing to do.
    async fn connect(&self, core: &Core, blink: &Blink) -> Result<(), blink_api::Error> {
        for other in core.people().iter().filter_map(|person| person.blink()) {
            if let Some(address) = other.addresses().await?.first() {
                blink.connect(address).await?;
            }
        }
        Ok(())
    }

    fn configuration(&self, core: &Core) -> Result<Configuration, blink_api::Error> {
        let stage = &core.stage;
        let mut builder = Configuration::builder(&stage.registry)
            .set("lab", "transport", stage.transports[self.number % 2].as_str())
            .set("lab", "signaling", stage.signalings[self.number % 2].as_str());
        if let Some(codec) = &stage.codec {
            builder = builder.set("lab", "codec", codec.as_str());
        }
        if self.profile.keeps_data {
            let directory = core
                .directory()
                .map_err(|failure| blink_api::Error::new(blink_api::ErrorKind::Io, failure.to_string()))?;
            builder = builder.set("lab", "data_dir", directory.join(&self.name).display().to_string());
        }
        for setting in &stage.settings {
            builder = builder.set_argument("lab", setting);
        }
        if !matches!(core.fault, Some(Fault::ForgetsSettings)) {
            for setting in &self.profile.settings {
                builder = builder.set_argument("lab", setting);
            }
        }
        builder.build()
    }

    /// The engine ends without a word to anybody.
    pub(crate) fn kill(&self, core: &Core) {
        let mut state = self.state();
        let Some(life) = state.life.take() else { return };
        life.listener.abort();
        if let Some(line) = &state.line {
            line.kill();
            core.set_media(line, false);
        }
        state.dying = Some(tokio::spawn(async move { life.blink.shutdown().await }));
    }

    /// The engine ends as its user wants.
    pub(crate) async fn end(&self) {
        let (life, dying) = {
            let mut state = self.state();
            (state.life.take(), state.dying.take())
        };
        if let Some(life) = life {
            life.blink.shutdown().await;
            life.listener.abort();
        }
        if let Some(dying) = dying {
            // As above.
            dying.await.ok();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Backends as they are, or on the lab's network.
fn impair(
    transport: Arc<dyn Transport>,
    signaling: Arc<dyn Signaling>,
    line: &Line,
    core: &Core,
) -> (Arc<dyn Transport>, Arc<dyn Signaling>) {
    let (Some(network), Some(impaired)) = (&core.network, core.stage.impaired) else { return (transport, signaling) };
    let transport = Arc::new(ImpairedTransport::new(transport, network));
    let seed = impaired.deliveries.seed.wrapping_add(line.number as u64);
    let signaling = Arc::new(ImpairedSignaling::new(signaling, SignalingImpairment { seed, ..impaired.deliveries }));
    line.impair(transport.clone(), signaling.clone());
    (transport, signaling)
}

/// What a hasty engine would touch before its user has answered.
struct Hasty {
    transport: Arc<LineTransport>,
    host: Arc<LabHost>,
}

impl Hasty {
    /// Does it, with a fault of that name; the lab keeps what was opened until the listener ends.
    async fn touch(&self, core: &Core, kept: &mut Vec<Box<dyn std::any::Any + Send>>) {
        match core.fault {
            Some(Fault::OpensMicrophoneEarly) => {
                let request = OpenRequest::new(blink_api::AudioFormat::CALL, BLOCK);
                if let Ok(source) = self.host.open_audio_source("default", request).await {
                    kept.push(Box::new(source));
                }
            }
            Some(Fault::GathersEarly) => {
                let clock = core.clock.of_engines(core.is_virtual());
                let config = blink_api::SessionConfig::new(clock, blink_api::rtp_queue(1).0)
                    .with_audio(vec![LabCodec::USUAL.rtp()]);
                let Ok((session, events)) = self.transport.open(config).await else { return };
                let offered = session.add_track(TrackKind::Audio).await.is_ok();
                if offered && session.create_offer(false).await.is_ok() {
                    kept.push(Box::new((session, events)));
                }
            }
            _ => {}
        }
    }
}

/// Writes down what an engine tells.
async fn listen(person: Arc<Person>, core: Arc<Core>, mut events: Events, hasty: Hasty) {
    let mut kept = Vec::new();
    while let Some(item) = events.next().await {
        match item {
            EventItem::Event(event) => {
                if matches!(event, Event::IncomingCall { .. }) {
                    hasty.touch(&core, &mut kept).await;
                }
                person.log.hear(&core, event);
            }
            EventItem::Lagged { missed, .. } => {
                person.log.note(core.clock.elapsed(), format!("the lab was too slow and missed {missed} events"));
            }
        }
    }
}
