//! Configuration and start of an engine in one expression.

use std::fmt;
use std::path::Path;

use blink_api::{
    AudioCodec, Configuration, ConfigurationBuilder, ConfigurationValue, Kind, MediaHost, Recorder, Registry, Result,
    Signaling, Transport,
};
use blink_engine::{Blink, BlinkBuilder};

use crate::features::{explain, preferred};

/// Source of values that the program sets, in errors.
const PROGRAM: &str = "the program";

/// Configures and starts an engine, with the backends of all features that are on.
///
/// Every method sets a key of the configuration; of several that set the same key, the last one
/// counts. A key without a method is set with [`set`](Self::set).
#[must_use = "an engine is started with `start`"]
pub struct Builder {
    configuration: Result<ConfigurationBuilder>,
}

/// Begins with defaults: of each kind the first backend whose feature is on, in the order of the
/// table in the documentation of this crate; all codecs and media hosts that are there.
///
/// A further backend in the program changes no default.
pub fn builder() -> Builder {
    Builder { configuration: Registry::discovered().map(|registry| defaults(&registry)) }
}

impl Builder {
    /// Begins as [`builder`], with the backends of a registry. Engines of one registry share what
    /// is inside a process, such as the network `memory`.
    pub fn new(registry: &Registry) -> Self {
        Self { configuration: Ok(defaults(registry)) }
    }

    /// Reads a TOML file. One that cannot be read makes [`build`](Self::build) fail.
    pub fn file(self, path: impl AsRef<Path>) -> Self {
        self.with(|builder| builder.file(path.as_ref()))
    }

    /// Reads a TOML file, if it exists.
    pub fn optional_file(self, path: impl AsRef<Path>) -> Self {
        self.with(|builder| builder.optional_file(path.as_ref()))
    }

    /// Reads the environment variables `BLINK_…`.
    pub fn environment(self) -> Self {
        self.with(ConfigurationBuilder::environment)
    }

    /// Chooses the transport, such as `"str0m"`.
    pub fn transport(self, name: &str) -> Self {
        self.value("transport", name)
    }

    /// Chooses the signaling backend, such as `"libp2p"`.
    pub fn signaling(self, name: &str) -> Self {
        self.value("signaling", name)
    }

    /// Chooses the codecs, the preferred one first.
    pub fn codecs(self, names: &[&str]) -> Self {
        self.value("codec", names.to_vec())
    }

    /// Chooses the media hosts, the preferred one first.
    pub fn media_hosts(self, names: &[&str]) -> Self {
        self.value("media_host", names.to_vec())
    }

    /// Chooses the processors of the microphone, in order.
    pub fn processors(self, names: &[&str]) -> Self {
        self.value("processor", names.to_vec())
    }

    /// Chooses the recorders, which start when the program asks for a recording.
    pub fn recorders(self, names: &[&str]) -> Self {
        self.value("recorder", names.to_vec())
    }

    /// Chooses the microphone: a device's name, `"default"`, `"none"`, `"wav:FILE"` …
    pub fn microphone(self, name: &str) -> Self {
        self.value("microphone", name)
    }

    /// Chooses the speaker: a device's name, `"default"`, `"none"`, `"wav:FILE"` …
    pub fn speaker(self, name: &str) -> Self {
        self.value("speaker", name)
    }

    /// Keeps identity, history and open calls in this directory. Without one they are in memory.
    pub fn data_dir(self, path: impl AsRef<Path>) -> Self {
        self.value("data_dir", path.as_ref().to_string_lossy().into_owned())
    }

    /// Sets any key, levels separated by dots, such as `("call.ring_time", "20s")`.
    pub fn set(self, key: &str, value: impl Into<ConfigurationValue>) -> Self {
        self.value(key, value)
    }

    /// Checks the configuration, without opening anything.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for an unknown key or a wrong value, with the key and
    /// where it was set; [`NotFound`](crate::ErrorKind::NotFound) for a backend that is not in this
    /// program, with the feature that has it.
    pub fn build(self) -> Result<Configuration> {
        let configuration = self.configuration.and_then(ConfigurationBuilder::build).map_err(explain)?;
        configuration.chosen::<dyn Transport>()?;
        configuration.chosen::<dyn Signaling>()?;
        configuration.chosen_all::<dyn AudioCodec>()?;
        configuration.chosen_all::<dyn MediaHost>()?;
        Ok(configuration)
    }

    /// A builder of the engine, which takes objects of the program's own: an identity, a clock,
    /// backends.
    ///
    /// # Errors
    /// As [`build`](Self::build), but backends may be missing.
    pub fn engine(self) -> Result<BlinkBuilder> {
        let configuration = self.configuration.and_then(ConfigurationBuilder::build).map_err(explain)?;
        Ok(Blink::builder(&configuration))
    }

    /// Starts the engine, on a tokio runtime with time and IO enabled.
    ///
    /// # Errors
    /// As [`build`](Self::build) and [`BlinkBuilder::start`].
    ///
    /// # Cancellation
    /// As [`BlinkBuilder::start`].
    pub async fn start(self) -> Result<Blink> {
        Blink::start(&self.build()?).await
    }

    fn value(self, key: &str, value: impl Into<ConfigurationValue>) -> Self {
        self.with(|builder| builder.set(PROGRAM, key, value))
    }

    fn with(self, change: impl FnOnce(ConfigurationBuilder) -> ConfigurationBuilder) -> Self {
        Self { configuration: self.configuration.map(change) }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

fn defaults(registry: &Registry) -> ConfigurationBuilder {
    let builder = Configuration::builder(registry);
    let builder = match present::<dyn Transport>(registry).first() {
        Some(name) => builder.default_value("transport", *name),
        None => builder,
    };
    let builder = match present::<dyn Signaling>(registry).first() {
        Some(name) => builder.default_value("signaling", *name),
        None => builder,
    };
    builder
        .default_value("codec", present::<dyn AudioCodec>(registry))
        .default_value("media_host", present::<dyn MediaHost>(registry))
        .default_value("recorder", present::<dyn Recorder>(registry).into_iter().take(1).collect::<Vec<_>>())
}

/// The backends of this project that the program has of a kind; those of others where there is none
/// of this project.
fn present<K: Kind + ?Sized>(registry: &Registry) -> Vec<&'static str> {
    let known: Vec<_> = preferred(K::KIND).filter(|name| registry.entry::<K>(name).is_ok()).collect();
    match known.is_empty() {
        true => registry.entries::<K>().map(|entry| entry.name).collect(),
        false => known,
    }
}
