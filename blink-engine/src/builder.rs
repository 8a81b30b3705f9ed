//! Construction of an engine.

use std::fmt;
use std::sync::{Arc, OnceLock};

use blink_api::{
    AudioCodec, AudioProcessorFactory, Clock, Configuration, Context, DeviceId, Endpoint, Error, ErrorKind,
    HostCandidates, IceConfig, MediaHost, PayloadFormat, Recorder, Result, Signaling, SystemClock, Transport,
    TransportCapabilities,
};
use rand::{Rng, SeedableRng};
use tokio::sync::{mpsc, watch};
use tracing::Instrument;

use crate::blink::Blink;
use crate::driver::device_names::check_configured;
use crate::driver::driver_loop::Driver;
use crate::driver::media_threads::MediaThreads;
use crate::driver::parts::{NamedRecorder, Parts};
use crate::driver::worker_host::{Pacing, WorkerHost};
use crate::event_sender::EventSender;
use crate::events::WeakEvents;
use crate::levels::Levels;
use crate::microphone::{self, Microphone};
use crate::store::Store;
use blink_media::CallAudio;
use blink_media::video::PayloadFormats;
use blink_proto::call::{Machine, MachineConfig, Memory, Now};
use blink_proto::secure::{EnvelopeCodec, Identity, Random};

/// Events that are kept for a slow listener.
const EVENTS: usize = 1_024;
/// Commands that wait for the driver. Methods with a further command wait for room.
const COMMANDS: usize = 64;

/// Builder of an engine. Backends that are not given are those of the configuration.
#[must_use = "an engine is started with `start`"]
pub struct BlinkBuilder {
    configuration: Configuration,
    identity: Option<Identity>,
    clock: Arc<dyn Clock>,
    pacing: Pacing,
    threads: Option<MediaThreads>,
    seed: Option<[u8; 32]>,
    transport: Option<Arc<dyn Transport>>,
    signaling: Option<Arc<dyn Signaling>>,
    codecs: Vec<Arc<dyn AudioCodec>>,
    media_hosts: Vec<(String, Arc<dyn MediaHost>)>,
    processors: Vec<Arc<dyn AudioProcessorFactory>>,
    recorders: Vec<NamedRecorder>,
    /// The program's own samples, beside all media hosts.
    samples: Option<Arc<dyn MediaHost>>,
}

impl BlinkBuilder {
    pub(crate) fn new(configuration: &Configuration) -> Self {
        Self {
            configuration: configuration.clone(),
            identity: None,
            clock: Arc::new(SystemClock),
            pacing: Pacing::Threads,
            threads: None,
            seed: None,
            transport: None,
            signaling: None,
            codecs: Vec::new(),
            media_hosts: Vec::new(),
            processors: Vec::new(),
            recorders: Vec::new(),
            samples: None,
        }
    }

    /// Sets the identity. Default: the one in `data_dir`, or a new one.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Sets the clock, and whether media runs on threads or tasks. Tests with a clock of their own
    /// use [`Pacing::Tasks`].
    pub fn clock(mut self, clock: Arc<dyn Clock>, pacing: Pacing) -> Self {
        self.clock = clock;
        self.pacing = pacing;
        self
    }

    /// Runs media on threads that it shares with other engines of this process. Default: a thread
    /// of its own.
    pub fn media_threads(mut self, threads: &MediaThreads) -> Self {
        self.threads = Some(threads.clone());
        self
    }

    /// Makes identity, keys, nonces and ids reproducible. For tests only: every key follows from
    /// the seed.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the transport. Default: the configured one.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Sets the signaling backend. Default: the configured one.
    pub fn signaling(mut self, signaling: Arc<dyn Signaling>) -> Self {
        self.signaling = Some(signaling);
        self
    }

    /// Adds an audio codec; the first is preferred. Default: the configured ones.
    pub fn codec(mut self, codec: Arc<dyn AudioCodec>) -> Self {
        self.codecs.push(codec);
        self
    }

    /// Adds a media host, whose devices are named `HOST/NAME` with this name; the first is
    /// preferred. Default: the configured ones.
    pub fn media_host(mut self, name: &str, media_host: Arc<dyn MediaHost>) -> Self {
        self.media_hosts.push((name.to_owned(), media_host));
        self
    }

    /// Captures from samples of the program, in place of the configured microphone. The media hosts
    /// stay as they are; [`Blink::set_microphone`] changes to another one and, with
    /// `program/samples`, back.
    pub fn microphone(mut self, microphone: &Microphone) -> Self {
        self.samples = Some(microphone.media_host());
        self
    }

    /// Adds an audio processor; they process in the order in which they are added. Default: the
    /// configured ones.
    pub fn processor(mut self, processor: Arc<dyn AudioProcessorFactory>) -> Self {
        self.processors.push(processor);
        self
    }

    /// Adds a recorder, which [`RecordingRequest`](crate::RecordingRequest) names. Default: the
    /// configured ones.
    pub fn recorder(mut self, name: &str, recorder: Arc<dyn Recorder>) -> Self {
        self.recorders.push((name.to_owned(), recorder));
        self
    }

    /// Opens the backends and starts the engine.
    ///
    /// # Errors
    /// Those of opening a backend, which the error names, such as an occupied port or a data
    /// directory that another process uses; [`State`](ErrorKind::State) on a runtime without timers
    /// or, where a backend needs it, without input and output;
    /// [`Unsupported`](ErrorKind::Unsupported) where the transport does not support the configured
    /// `ice.relay_only` or `ice.host_candidates`.
    ///
    /// # Cancellation
    /// Where the future is dropped, no engine runs and all backends that were opened are dropped.
    pub async fn start(self) -> Result<Blink> {
        crate::runtime_check::check(self.needs_network()?)?;
        let mut random = self.random()?;
        let settings = self.configuration.settings().clone();
        let store = match settings.data_dir.as_deref() {
            Some(directory) => Some(crate::store::open(directory).await?),
            None => None,
        };
        let identity = match (&self.identity, &store) {
            (Some(identity), _) => identity.clone(),
            (None, Some(store)) => store.identity(|| Identity::generate(&mut random))?,
            (None, None) => Identity::generate(&mut random),
        };
        let fresh_device = DeviceId::from_random(fresh(&mut random));
        let unix_ms = self.clock.unix_ms();
        let (device, boot) = match &store {
            Some(store) => (store.device(fresh_device)?, store.next_boot(unix_ms)?),
            None => (fresh_device, unix_ms),
        };
        let endpoint = Endpoint { did: identity.did(), device };
        let memory = remembered(store.as_ref())?;
        let parts = self.parts(fresh(&mut random)).await?;
        let now = Now { mono: parts.clock.now(), unix_ms: parts.clock.unix_ms() };
        let call = parts.settings.call.clone();
        let seed = fresh(&mut random);
        let config = MachineConfig { identity: identity.clone(), own: endpoint, boot, settings: call, seed, memory };
        let name = parts.settings.name.clone();
        let mut machine = Machine::new(config, now);
        machine.set_name(name.as_deref());
        let opener = EnvelopeCodec::new(identity, endpoint, boot, random, now.mono);
        launch(parts, machine, opener, endpoint, store).await
    }

    /// Whether a backend opens sockets, by its capabilities.
    fn needs_network(&self) -> Result<bool> {
        let transport = match &self.transport {
            Some(transport) => transport.capabilities().network,
            None => self.configuration.chosen::<dyn Transport>()?.capabilities.network,
        };
        let signaling = match &self.signaling {
            Some(signaling) => signaling.capabilities().network,
            None => self.configuration.chosen::<dyn Signaling>()?.capabilities.network,
        };
        Ok(transport || signaling)
    }

    /// Opens the backends. Signaling comes last: with it the device becomes visible to others.
    async fn parts(&self, seed: [u8; 32]) -> Result<Parts> {
        let configuration = &self.configuration;
        let context = Context { clock: self.clock.clone(), shared: configuration.registry().shared() };
        let mut settings = configuration.settings().clone();
        let transport = match &self.transport {
            Some(transport) => transport.clone(),
            None => configuration.create::<dyn Transport>(&context).await?,
        };
        keeps_secrets(&settings.ice, transport.capabilities()).map_err(|error| configuration.locate(error))?;
        let codecs = match &self.codecs[..] {
            [] => configuration.create_all::<dyn AudioCodec>(&context).await?,
            given => given.to_vec(),
        };
        let audio = CallAudio::new(codecs.clone(), settings.call.audio.clone())?;
        let mut media_hosts = self.media_hosts.clone();
        if media_hosts.is_empty() {
            for entry in configuration.chosen_all::<dyn MediaHost>()? {
                media_hosts.push((entry.name.to_owned(), entry.create(configuration, &context).await?));
            }
        }
        if let Some(samples) = &self.samples {
            media_hosts.push((microphone::HOST.to_owned(), samples.clone()));
            settings.microphone = format!("{}/{}", microphone::HOST, microphone::DEVICE);
        }
        check_configured(&media_hosts, &settings).await.map_err(|error| configuration.locate(error))?;
        let mut processors = self.processors.clone();
        if processors.is_empty() {
            for name in &settings.processors {
                let entry = configuration.registry().entry::<dyn AudioProcessorFactory>(name)?;
                processors.push(entry.create(configuration, &context).await?);
            }
        }
        let mut recorders = self.recorders.clone();
        if recorders.is_empty() {
            for name in &settings.recorders {
                let entry = configuration.registry().entry::<dyn Recorder>(name)?;
                recorders.push((name.clone(), entry.create(configuration, &context).await?));
            }
        }
        if settings.recording.automatic && recorders.is_empty() {
            let error =
                Error::new(ErrorKind::Invalid, "`recording.automatic` needs a recorder").with("key", "recorder");
            return Err(configuration.locate(error));
        }
        let mut payload_formats = Vec::new();
        for entry in configuration.registry().entries::<dyn PayloadFormat>() {
            payload_formats.push(entry.create(configuration, &context).await?);
        }
        let payload_formats = PayloadFormats::new(payload_formats);
        let signaling = match &self.signaling {
            Some(signaling) => signaling.clone(),
            None => configuration.create::<dyn Signaling>(&context).await?,
        };
        let (clock, workers) = (self.clock.clone(), WorkerHost::new(self.pacing, self.threads.as_ref())?);
        Ok(Parts {
            transport,
            signaling,
            codecs,
            audio,
            media_hosts,
            processors,
            recorders,
            payload_formats,
            clock,
            settings,
            workers,
            seed,
        })
    }

    fn random(&self) -> Result<Random> {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        match self.seed {
            Some(given) => *seed = given,
            None => getrandom::fill(&mut seed[..]).map_err(|source| {
                blink_api::Error::new(blink_api::ErrorKind::Io, "the system gives no random numbers").source(source)
            })?,
        }
        Ok(Random::from_seed(*seed))
    }
}

impl fmt::Debug for BlinkBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlinkBuilder").field("pacing", &self.pacing).finish_non_exhaustive()
    }
}

async fn launch(
    parts: Parts,
    machine: Machine,
    opener: EnvelopeCodec,
    endpoint: Endpoint,
    store: Option<Store>,
) -> Result<Blink> {
    let events = EventSender::new(EVENTS);
    let (commands, queue) = mpsc::channel(COMMANDS);
    let signaling = parts.signaling.clone();
    let listeners = WeakEvents::of(&events);
    let stopped = Arc::new(OnceLock::new());
    let (level_sender, levels) = watch::channel(Levels::default());
    let driver = match Driver::start(parts, machine, opener, store, events, stopped.clone(), level_sender).await {
        Ok(driver) => driver,
        Err(error) => {
            signaling.shutdown().await;
            return Err(error);
        }
    };
    let span = tracing::info_span!("engine", did = %endpoint.did);
    let work = async move {
        // There is no reply where all handles were dropped, and no receiver where the future of
        // `shutdown` was.
        driver.run(queue).await.map(|reply| reply.send(()))
    };
    tokio::spawn(work.instrument(span));
    Ok(Blink { commands, events: listeners, signaling, endpoint, levels, stopped })
}

/// Rejects a configuration that hides addresses with a transport that cannot, before any message is
/// sent.
fn keeps_secrets(ice: &IceConfig, transport: TransportCapabilities) -> Result<()> {
    let refused = |key: &'static str, message: &'static str| {
        Err(Error::new(ErrorKind::Unsupported, message).operation("start").with("key", key))
    };
    if ice.relay_only && !transport.relay {
        return refused("ice.relay_only", "the transport finds no relayed candidates");
    }
    if ice.host_candidates != HostCandidates::Address && !transport.hidden_hosts {
        return refused("ice.host_candidates", "the transport sends host candidates as addresses only");
    }
    Ok(())
}

/// Reads the state of calls from the store, without damaged entries.
fn remembered(store: Option<&Store>) -> Result<Memory> {
    let Some(store) = store else { return Ok(Memory::default()) };
    let (memory, damaged) = store.memory()?;
    if damaged > 0 {
        tracing::warn!(damaged, "entries of the data directory could not be read and are forgotten");
    }
    Ok(memory)
}

fn fresh<const N: usize>(random: &mut Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill_bytes(&mut bytes);
    bytes
}
