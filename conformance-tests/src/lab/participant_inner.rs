//! State of a participant that outlives a run of its engine.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blink_api::{
    AudioCodec, Configuration, Context, Endpoint, MediaHost, OpenRequest, Signaling, TrackKind, Transport,
};
use blink_engine::{Blink, Event, EventItem, Events, Identity, Pacing};
use tokio::task::JoinHandle;

use super::core::Core;
use super::event_log::Log;
use super::failure::{Failure, Result};
use super::fault::Fault;
use super::lab_codec::LabCodec;
use super::lab_recorder::LabRecorder;
use super::link::Link;
use super::link_signaling::LinkSignaling;
use super::link_transport::LinkTransport;
use super::media_host::{Devices, LabHost};
use super::playback::BLOCK;
use super::profile::Profile;
use super::recorded::{FULL_AFTER, FULL_RECORDER, RECORDER};
use crate::impaired::{ImpairedSignaling, ImpairedTransport};
use crate::watched::{WatchedSignaling, WatchedTransport};

/// Codec of participants with real speech, where it is registered.
pub(crate) const SPEECH_CODEC: &str = "opus";

pub(crate) struct ParticipantInner {
    pub(crate) name: String,
    /// Number in order of creation.
    pub(crate) number: usize,
    pub(crate) identity: Identity,
    pub(crate) log: Log,
    pub(crate) devices: Arc<Devices>,
    profile: Profile,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The running engine, if any.
    run: Option<EngineRun>,
    /// Number of starts.
    starts: u8,
    endpoint: Option<Endpoint>,
    link: Option<Arc<Link>>,
    /// Shutdown of the previous run, which takes a moment.
    stopping: Option<JoinHandle<()>>,
}

struct EngineRun {
    blink: Blink,
    listener: JoinHandle<()>,
}

impl ParticipantInner {
    pub(crate) fn new(core: &Core, number: usize, profile: Profile) -> Self {
        let identity = profile.identity.clone().unwrap_or_else(|| Identity::from_seed(&[number as u8 + 1; 32]));
        let fakes_microphone = matches!(core.fault, Some(Fault::FakesMicrophone));
        let devices = Devices::new(number, core.clock, &profile, fakes_microphone);
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

    /// Handle of the running engine.
    pub(crate) fn blink(&self) -> Option<Blink> {
        self.state().run.as_ref().map(|run| run.blink.clone())
    }

    /// Link of the latest run.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.state().link.clone()
    }

    /// Endpoint of the latest run.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        self.state().endpoint
    }

    /// Starts the engine.
    pub(crate) async fn start(self: &Arc<Self>, core: &Arc<Core>) -> Result<()> {
        self.try_to_start(core).await.map_err(Failure::set_up)
    }

    /// As [`start`](Self::start), but returns the engine's error.
    pub(crate) async fn try_to_start(self: &Arc<Self>, core: &Arc<Core>) -> Result<(), blink_api::Error> {
        let stopping = self.state().stopping.take();
        if let Some(stopping) = stopping {
            // A panic of the task was already printed, and the engine has ended too.
            stopping.await.ok();
        }
        let starts = {
            let mut state = self.state();
            state.starts += 1;
            state.starts
        };
        let link = Arc::new(Link::new(self.number));
        core.add_link(link.clone());
        let configuration = self.configuration(core)?;
        let clock = core.clock.of_engines(core.is_virtual());
        let context = Context { clock: clock.clone(), shared: core.config.registry.shared() };
        let transport = configuration.create::<dyn Transport>(&context).await?;
        let signaling = configuration.create::<dyn Signaling>(&context).await?;
        self.has_declared_capabilities(core, &*transport, &*signaling)?;
        let (node, progress) = (self.name.clone(), core.config.progress.clone());
        let transport: Arc<dyn Transport> =
            Arc::new(WatchedTransport { inner: transport, side: node.clone(), progress: progress.clone() });
        let signaling: Arc<dyn Signaling> = Arc::new(WatchedSignaling { inner: signaling, node, progress });
        let (transport, signaling) = impair(transport, signaling, &link, core);
        let transport = Arc::new(LinkTransport::new(transport, link.clone(), core.clone()));
        let host = Arc::new(LabHost(self.devices.clone()));
        let mut seed = [self.number as u8 + 1; 32];
        seed[0] = starts;
        let mut builder = Blink::builder(&configuration)
            .identity(self.identity.clone())
            .seed(seed)
            .clock(clock, if core.is_virtual() { Pacing::Tasks } else { Pacing::Threads })
            .media_host("lab", host.clone())
            .transport(transport.clone())
            .signaling(Arc::new(LinkSignaling::new(signaling, link.clone(), core.clone())));
        for (name, limit) in [(RECORDER, None), (FULL_RECORDER, Some(FULL_AFTER))] {
            builder = builder.recorder(name, Arc::new(LabRecorder { limit, fault: core.fault }));
        }
        if self.profile.unshared_codec {
            builder = builder.codec(Arc::new(LabCodec::UNSHARED) as Arc<dyn AudioCodec>);
        } else if self.codec(core).is_none() {
            builder = builder.codec(Arc::new(LabCodec::DEFAULT) as Arc<dyn AudioCodec>);
        }
        let blink = builder.start().await?;
        // Subscribe before connecting, so that no event is missed.
        let events = blink.events();
        self.connect(core, &blink).await?;
        let hasty = EarlyResources { transport, host };
        let listener = tokio::spawn(listen(self.clone(), core.clone(), events, hasty));
        let mut state = self.state();
        state.endpoint = Some(blink.endpoint());
        state.link = Some(link);
        state.run = Some(EngineRun { blink, listener });
        Ok(())
    }

    /// Connects its signaling with that of all running participants. Has no effect with backends
    /// whose nodes discover each other.
    async fn connect(&self, core: &Core, blink: &Blink) -> Result<(), blink_api::Error> {
        for other in core.participants().iter().filter_map(|participant| participant.blink()) {
            if let Some(address) = other.addresses().await?.first() {
                blink.connect(address).await?;
            }
        }
        Ok(())
    }

    /// Verifies that backends declare the capabilities of their entries, by which scenarios are
    /// selected.
    fn has_declared_capabilities(
        &self,
        core: &Core,
        transport: &dyn Transport,
        signaling: &dyn Signaling,
    ) -> Result<(), blink_api::Error> {
        let (registry, parity) = (&core.config.registry, self.number % 2);
        let transport_entry = registry.entry::<dyn Transport>(&core.config.transports[parity])?;
        let signaling_entry = registry.entry::<dyn Signaling>(&core.config.signalings[parity])?;
        let differs = (transport.capabilities() != transport_entry.capabilities).then_some(transport_entry.name);
        let differs =
            differs.or((signaling.capabilities() != signaling_entry.capabilities).then_some(signaling_entry.name));
        differs.map_or(Ok(()), |name| {
            let why = "the backend declares other capabilities than its registry entry";
            Err(blink_api::Error::new(blink_api::ErrorKind::Unexpected, why).backend(name).operation("capabilities"))
        })
    }

    fn configuration(&self, core: &Core) -> Result<Configuration, blink_api::Error> {
        let config = &core.config;
        let mut builder = Configuration::builder(&config.registry)
            .set("lab", "transport", config.transports[self.number % 2].as_str())
            .set("lab", "signaling", config.signalings[self.number % 2].as_str());
        if let Some(codec) = self.codec(core) {
            builder = builder.set("lab", "codec", codec);
        }
        if self.profile.has_data_directory {
            let directory = core
                .directory()
                .map_err(|failure| blink_api::Error::new(blink_api::ErrorKind::Io, failure.to_string()))?;
            builder = builder.set("lab", "data_dir", directory.join(&self.name).display().to_string());
        }
        for setting in &config.settings {
            builder = builder.set_argument("lab", setting);
        }
        if !matches!(core.fault, Some(Fault::IgnoresSettings)) {
            for setting in &self.profile.settings {
                builder = builder.set_argument("lab", setting);
            }
        }
        builder.build()
    }

    /// Name of a registered codec; `None` for the lab's own.
    fn codec<'a>(&self, core: &'a Core) -> Option<&'a str> {
        let config = &core.config;
        let has_opus = || config.registry.entry::<dyn AudioCodec>(SPEECH_CODEC).is_ok();
        let of_speech = (self.profile.speaks && has_opus()).then_some(SPEECH_CODEC);
        config.codec.as_deref().or(of_speech)
    }

    /// Kills the engine without any message to others.
    pub(crate) fn kill(&self, core: &Core) {
        let mut state = self.state();
        let Some(run) = state.run.take() else { return };
        run.listener.abort();
        if let Some(link) = &state.link {
            link.kill();
            core.set_media(link, false);
        }
        state.stopping = Some(tokio::spawn(async move { run.blink.shutdown().await }));
    }

    /// Shuts the engine down, if it is running.
    pub(crate) async fn end(&self) {
        let (run, stopping) = {
            let mut state = self.state();
            (state.run.take(), state.stopping.take())
        };
        if let Some(run) = run {
            run.blink.shutdown().await;
            run.listener.abort();
        }
        if let Some(stopping) = stopping {
            // A panic of the task was already printed.
            stopping.await.ok();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wraps the backends for the emulated network, if there is one.
fn impair(
    transport: Arc<dyn Transport>,
    signaling: Arc<dyn Signaling>,
    link: &Link,
    core: &Core,
) -> (Arc<dyn Transport>, Arc<dyn Signaling>) {
    let (Some(network), Some(impaired)) = (&core.network, core.config.impaired) else { return (transport, signaling) };
    let transport = Arc::new(ImpairedTransport::new(transport, network));
    let seed = impaired.seed.wrapping_add(link.number as u64);
    let signaling = Arc::new(ImpairedSignaling::new(signaling, impaired.deliveries, seed));
    link.impair(transport.clone(), signaling.clone());
    (transport, signaling)
}

/// Opens resources before the call is answered, for [`Fault::OpensMicrophoneEarly`] and
/// [`Fault::GathersEarly`].
struct EarlyResources {
    transport: Arc<LinkTransport>,
    host: Arc<LabHost>,
}

impl EarlyResources {
    /// Opens what the fault demands. The resources stay open until the event task ends.
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
                    .with_audio(vec![LabCodec::DEFAULT.rtp()]);
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

/// Records the events of an engine.
async fn listen(participant: Arc<ParticipantInner>, core: Arc<Core>, mut events: Events, hasty: EarlyResources) {
    let mut kept = Vec::new();
    while let Some(item) = events.next().await {
        match item {
            EventItem::Event(event) => {
                if matches!(event, Event::IncomingCall { .. }) {
                    hasty.touch(&core, &mut kept).await;
                }
                participant.log.hear(&core, event);
            }
            EventItem::Lagged { missed, .. } => {
                participant
                    .log
                    .log_action(core.clock.elapsed(), format!("the lab was too slow and missed {missed} events"));
            }
        }
    }
}
