//! The media host.

use std::fmt;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    AudioSink, AudioSource, Clock, DeviceChange, DeviceDirection, DeviceInfo, Error, ErrorKind, MediaCapabilities,
    MediaHost, OpenRequest, Result,
};
use tokio::sync::{broadcast, oneshot};

use super::sound_system::{self, ChosenSystem};
use super::stream_health::StreamHealth;
use super::watcher::Watcher;
use super::{CpalConfig, NAME, catalog, opening};

pub(crate) const CAPABILITIES: MediaCapabilities = MediaCapabilities {
    audio_sources: true,
    audio_sinks: true,
    hotplug: true,
    hardware_clock: true,
    ..MediaCapabilities::NONE
};

/// Longest time to list the devices.
const LIST_TIMEOUT: Duration = Duration::from_secs(3);

/// Media host that opens microphones and loudspeakers of the sound system, by name, by description
/// or as `default`.
pub struct CpalHost {
    config: CpalConfig,
    system: ChosenSystem,
    watcher: Arc<Watcher>,
    clock: Arc<dyn Clock>,
    /// Ends the thread of the watcher when it is dropped.
    _watch: Option<mpsc::Sender<()>>,
}

impl CpalHost {
    /// Chooses the sound system and watches its devices.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for values out of range, with the key; [`Io`](ErrorKind::Io)
    /// where the configured sound system does not answer.
    pub async fn new(config: CpalConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        config.check()?;
        let system = apart("create", move || sound_system::choose(config.system)).await?;
        tracing::info!(system = system.description, "sound system chosen");
        let watcher = Arc::new(Watcher::new(system.clone()));
        let watch = Some(Watcher::spawn(&watcher)?);
        Ok(Self { config, system, watcher, clock, _watch: watch })
    }

    /// A host over a sound system of a test, which polls.
    #[cfg(test)]
    pub(super) fn over(system: ChosenSystem, config: CpalConfig, clock: Arc<dyn Clock>) -> Self {
        let watcher = Arc::new(Watcher::new(system.clone()));
        Self { config, system, watcher, clock, _watch: None }
    }

    #[cfg(test)]
    pub(super) fn poll(&self) {
        self.watcher.poll();
    }

    /// Opens a device on a thread of its own. One that nothing waits for any more is closed.
    pub(super) async fn open<T: Send + 'static>(
        &self,
        (name, direction): (&str, DeviceDirection),
        open: impl FnOnce(&cpal::Device, (Arc<dyn Clock>, Arc<StreamHealth>)) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let operation = match direction {
            DeviceDirection::Source => "open_audio_source",
            DeviceDirection::Sink => "open_audio_sink",
        };
        let (system, watcher, clock) = (self.system.clone(), self.watcher.clone(), self.clock.clone());
        let name = name.to_owned();
        apart(operation, move || {
            let host = (system.connect)().map_err(|error| opening::failure(error, operation))?;
            let (device, name) = catalog::find(&host, direction, &name)?;
            let health = Arc::new(StreamHealth::default());
            let opened = open(&device, (clock, health.clone()))?;
            watcher.watch(&health, name, direction);
            Ok(opened)
        })
        .await
        .map_err(|error| error.operation(operation))
    }
}

impl fmt::Debug for CpalHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system = &self.system.description;
        f.debug_struct("CpalHost").field("config", &self.config).field("system", system).finish_non_exhaustive()
    }
}

/// Runs what may block on a thread of its own.
async fn apart<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (answer, result) = oneshot::channel();
    // The result of what was cancelled is dropped, and a device in it closed.
    let run = move || answer.send(work()).unwrap_or_else(drop);
    std::thread::Builder::new().name("device-open".into()).spawn(run).map_err(|error| {
        Error::new(ErrorKind::Io, "no thread to open a device").backend(NAME).operation(operation).source(error)
    })?;
    let panicked = |_| Error::new(ErrorKind::Unexpected, "the sound system panicked").backend(NAME);
    result.await.map_err(panicked)?
}

#[async_trait]
impl MediaHost for CpalHost {
    fn capabilities(&self) -> MediaCapabilities {
        CAPABILITIES
    }

    fn description(&self) -> Option<String> {
        Some(self.system.description.clone())
    }

    async fn devices(&self) -> Result<Vec<DeviceInfo>> {
        let watcher = self.watcher.clone();
        let listed = apart("devices", move || watcher.devices());
        tokio::time::timeout(LIST_TIMEOUT, listed).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Io, "the sound system does not answer").backend(NAME).operation("devices"))
        })
    }

    async fn open_audio_source(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSource>> {
        let config = self.config;
        let open = move |device: &cpal::Device, shared| opening::open_source(device, request, config, shared);
        Ok(Box::new(self.open((name, DeviceDirection::Source), open).await?))
    }

    async fn open_audio_sink(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSink>> {
        let config = self.config;
        let open = move |device: &cpal::Device, shared| opening::open_sink(device, request, config, shared);
        Ok(Box::new(self.open((name, DeviceDirection::Sink), open).await?))
    }

    fn changes(&self) -> Option<broadcast::Receiver<DeviceChange>> {
        Some(self.watcher.changes())
    }
}
