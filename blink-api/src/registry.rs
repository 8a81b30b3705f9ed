//! The registry of backends: each crate submits entries at link time, and a program chooses among
//! them by name.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_core::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::nearest::did_you_mean;
use crate::{
    AudioCodec, AudioCodecCapabilities, AudioProcessorFactory, Clock, Configuration, Error, ErrorKind,
    MediaCapabilities, MediaHost, PayloadFormat, PayloadFormatCapabilities, ProcessorCapabilities, Recorder,
    RecorderCapabilities, Result, Signaling, SignalingCapabilities, Transport, TransportCapabilities, VideoCodec,
    VideoCodecCapabilities,
};

/// One implementation of a trait `K`, to be registered:
///
/// ```
/// use std::sync::Arc;
/// use blink_api::macros::{async_trait, submit};
/// use blink_api::*;
///
/// /// `[codecs.silence]` in the configuration.
/// #[derive(serde::Serialize, serde::Deserialize, Default)]
/// #[serde(deny_unknown_fields)]
/// struct SilenceConfig { stereo: bool }
///
/// struct Silence;
///
/// #[async_trait]
/// impl Plugin<dyn AudioCodec> for Silence {
///     type Config = SilenceConfig;
///     const NAME: &'static str = "silence";
///     const SUMMARY: &'static str = "sends nothing and hears nothing";
///     const CAPABILITIES: AudioCodecCapabilities = AudioCodecCapabilities {
///         discontinuous: true, max_channels: 2, ..AudioCodecCapabilities::NONE
///     };
///     async fn create(config: SilenceConfig, _: &Context) -> Result<Arc<dyn AudioCodec>> {
///         # let _ = config.stereo;
///         Err(Error::unsupported("silence", "create")) // here: Ok(Arc::new(SilenceCodec::new(config)))
///     }
/// }
///
/// submit! { Entry::<dyn AudioCodec>::of::<Silence>() }
/// assert!(Registry::discovered().unwrap().entry::<dyn AudioCodec>("silence").is_ok());
/// ```
#[async_trait]
pub trait Plugin<K: Kind + ?Sized>: Send + 'static {
    /// Its section of the configuration. The serialized default has every key that exists.
    type Config: Serialize + DeserializeOwned + Default + Send;
    /// Name in the configuration: lower case, digits and `-`.
    const NAME: &'static str;
    /// Description in one line.
    const SUMMARY: &'static str;
    /// Capabilities of the backend.
    const CAPABILITIES: K::Capabilities;

    /// Checks ranges and combinations of values. Opens nothing.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), naming the key.
    fn check(_config: &Self::Config) -> Result<()> {
        Ok(())
    }

    /// Creates the backend and opens everything that it needs.
    ///
    /// # Errors
    /// Those of the sockets, files and devices that it opens; see [`ErrorKind`].
    ///
    /// # Cancellation
    /// Where the future is dropped, everything it opened is closed.
    async fn create(config: Self::Config, context: &Context) -> Result<Arc<K>>;
}

/// A kind of backend; implemented by the trait objects `dyn Transport`, `dyn Signaling`, …
pub trait Kind: Send + Sync + 'static {
    /// The capabilities of this kind.
    type Capabilities: Copy + Serialize + Send + Sync + 'static;
    /// Name of the kind, which is also the configuration key that chooses a backend.
    const KIND: &'static str;
    /// Configuration table with a section for each backend.
    const SECTION: &'static str;

    #[doc(hidden)]
    fn table(registry: &Registry) -> &Table<Self>;
    #[doc(hidden)]
    fn table_mut(registry: &mut Registry) -> &mut Table<Self>;
}

/// A registered backend.
#[derive(Debug)]
pub struct Entry<K: Kind + ?Sized> {
    /// Name in the configuration.
    pub name: &'static str,
    /// Description in one line.
    pub summary: &'static str,
    /// Capabilities of the backend.
    pub capabilities: K::Capabilities,
    defaults: fn() -> serde_json::Value,
    check: fn(&Configuration) -> Result<()>,
    create: for<'a> fn(&'a Configuration, &'a Context) -> BoxFuture<'a, Result<Arc<K>>>,
}

impl<K: Kind + ?Sized> Entry<K> {
    /// The entry of an implementation.
    pub const fn of<P: Plugin<K>>() -> Self {
        Self {
            name: P::NAME,
            summary: P::SUMMARY,
            capabilities: P::CAPABILITIES,
            defaults: || serde_json::to_value(P::Config::default()).unwrap_or_default(),
            check: |configuration| P::check(&configuration.section::<P::Config>(K::SECTION, P::NAME)?),
            create: |configuration, context| {
                Box::pin(
                    async move { P::create(configuration.section::<P::Config>(K::SECTION, P::NAME)?, context).await },
                )
            },
        }
    }

    /// Defaults of its section, as a JSON object with every key.
    pub fn defaults(&self) -> serde_json::Value {
        (self.defaults)()
    }

    /// Checks its section. Opens nothing.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), naming the key and its source.
    pub fn check(&self, configuration: &Configuration) -> Result<()> {
        (self.check)(configuration)
    }

    /// Creates the backend.
    ///
    /// # Errors
    /// As [`check`](Entry::check) and [`Plugin::create`].
    ///
    /// # Cancellation
    /// As [`Plugin::create`].
    pub async fn create(&self, configuration: &Configuration, context: &Context) -> Result<Arc<K>> {
        (self.create)(configuration, context).await.map_err(|error| configuration.locate(error))
    }
}

/// Environment of a backend beside its configuration.
#[derive(Clone)]
pub struct Context {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Values shared by the backends of one [`Registry`], such as an in-process network.
    pub shared: Shared,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

/// Values shared by all backends of one registry, at most one of each type.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// The value of type `T`, created by its default at the first use.
    pub fn of<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut values = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let value = values.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default())).clone();
        value.downcast().expect("values are stored under their own type")
    }
}

/// The registered backends of a program, sorted by name.
#[derive(Default, Clone)]
pub struct Registry {
    transports: Table<dyn Transport>,
    signalings: Table<dyn Signaling>,
    media_hosts: Table<dyn MediaHost>,
    codecs: Table<dyn AudioCodec>,
    video_codecs: Table<dyn VideoCodec>,
    payload_formats: Table<dyn PayloadFormat>,
    processors: Table<dyn AudioProcessorFactory>,
    recorders: Table<dyn Recorder>,
    shared: Shared,
}

/// A backend in a list such as that of `blink backends`.
#[derive(Debug, Clone, Serialize)]
pub struct BackendSummary {
    /// Name of the kind: `transport`, `signaling`, …
    pub kind: &'static str,
    /// Name in the configuration.
    pub name: &'static str,
    /// Description in one line.
    pub summary: &'static str,
    /// Capabilities, as a JSON object.
    pub capabilities: serde_json::Value,
}

impl Registry {
    /// A registry without backends, for tests and for platforms without link-time registration.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Every backend of the crates that the program links. A crate is linked where it is named, as
    /// in `use blink_transport_x as _;`.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where two of a kind have the same name.
    pub fn discovered() -> Result<Self> {
        let mut registry = Self::empty();
        registry.collect::<dyn Transport>(inventory::iter::<Entry<dyn Transport>>.into_iter())?;
        registry.collect::<dyn Signaling>(inventory::iter::<Entry<dyn Signaling>>.into_iter())?;
        registry.collect::<dyn MediaHost>(inventory::iter::<Entry<dyn MediaHost>>.into_iter())?;
        registry.collect::<dyn AudioCodec>(inventory::iter::<Entry<dyn AudioCodec>>.into_iter())?;
        registry.collect::<dyn VideoCodec>(inventory::iter::<Entry<dyn VideoCodec>>.into_iter())?;
        registry.collect::<dyn PayloadFormat>(inventory::iter::<Entry<dyn PayloadFormat>>.into_iter())?;
        registry
            .collect::<dyn AudioProcessorFactory>(inventory::iter::<Entry<dyn AudioProcessorFactory>>.into_iter())?;
        registry.collect::<dyn Recorder>(inventory::iter::<Entry<dyn Recorder>>.into_iter())?;
        Ok(registry)
    }

    /// Adds a backend.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where one of that kind and name exists.
    pub fn with<K: Kind + ?Sized>(mut self, entry: &'static Entry<K>) -> Result<Self> {
        self.collect(std::iter::once(entry))?;
        Ok(self)
    }

    fn collect<K: Kind + ?Sized>(&mut self, entries: impl Iterator<Item = &'static Entry<K>>) -> Result<()> {
        for entry in entries {
            if K::table_mut(self).insert(entry.name, entry).is_some() {
                return Err(Error::new(ErrorKind::Invalid, "two backends have the same name")
                    .with("kind", K::KIND)
                    .with("name", entry.name));
            }
        }
        Ok(())
    }

    /// The backends of a kind, sorted by name.
    pub fn entries<K: Kind + ?Sized>(&self) -> impl Iterator<Item = &'static Entry<K>> + '_ {
        K::table(self).values().copied()
    }

    /// The backend of a kind and name.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), listing the registered names.
    pub fn entry<K: Kind + ?Sized>(&self, name: &str) -> Result<&'static Entry<K>> {
        K::table(self).get(name).copied().ok_or_else(|| {
            let names: Vec<_> = K::table(self).keys().copied().collect();
            let nearest = did_you_mean(name, names.iter().copied());
            let there = match &names[..] {
                [] => "the program has none: name a crate that has one, such as `use blink_… as _;`".to_owned(),
                names => format!("there is: {}", names.join(", ")),
            };
            Error::new(ErrorKind::NotFound, format!("there is no {} `{name}`; {there}{nearest}", K::KIND))
        })
    }

    /// Values shared by the backends of this registry and of its clones.
    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// All backends, sorted by kind and name.
    pub fn summaries(&self) -> Vec<BackendSummary> {
        let mut all = Vec::new();
        self.summarize::<dyn Transport>(&mut all);
        self.summarize::<dyn Signaling>(&mut all);
        self.summarize::<dyn MediaHost>(&mut all);
        self.summarize::<dyn AudioCodec>(&mut all);
        self.summarize::<dyn VideoCodec>(&mut all);
        self.summarize::<dyn PayloadFormat>(&mut all);
        self.summarize::<dyn AudioProcessorFactory>(&mut all);
        self.summarize::<dyn Recorder>(&mut all);
        all.sort_by_key(|backend| (backend.kind, backend.name));
        all
    }

    fn summarize<K: Kind + ?Sized>(&self, all: &mut Vec<BackendSummary>) {
        all.extend(self.entries::<K>().map(|entry| BackendSummary {
            kind: K::KIND,
            name: entry.name,
            summary: entry.summary,
            capabilities: serde_json::to_value(entry.capabilities).unwrap_or_default(),
        }));
    }

    /// The sections of all backends with their defaults: section → name → object.
    pub(crate) fn default_sections(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut sections = serde_json::Map::new();
        self.add_section::<dyn Transport>(&mut sections);
        self.add_section::<dyn Signaling>(&mut sections);
        self.add_section::<dyn MediaHost>(&mut sections);
        self.add_section::<dyn AudioCodec>(&mut sections);
        self.add_section::<dyn VideoCodec>(&mut sections);
        self.add_section::<dyn PayloadFormat>(&mut sections);
        self.add_section::<dyn AudioProcessorFactory>(&mut sections);
        self.add_section::<dyn Recorder>(&mut sections);
        sections
    }

    fn add_section<K: Kind + ?Sized>(&self, sections: &mut serde_json::Map<String, serde_json::Value>) {
        let section = self.entries::<K>().map(|entry| (entry.name.to_owned(), entry.defaults())).collect();
        sections.insert(K::SECTION.to_owned(), serde_json::Value::Object(section));
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.summaries().iter().map(|backend| (backend.kind, backend.name))).finish()
    }
}

#[doc(hidden)]
#[expect(unreachable_pub, reason = "named in the methods of a public trait")]
pub type Table<K> = BTreeMap<&'static str, &'static Entry<K>>;

macro_rules! kind {
    ($trait:ident, $capabilities:ident, $kind:literal, $section:literal, $table:ident) => {
        impl Kind for dyn $trait {
            type Capabilities = $capabilities;
            const KIND: &'static str = $kind;
            const SECTION: &'static str = $section;

            fn table(registry: &Registry) -> &Table<Self> {
                &registry.$table
            }

            fn table_mut(registry: &mut Registry) -> &mut Table<Self> {
                &mut registry.$table
            }
        }

        inventory::collect!(Entry<dyn $trait>);
    };
}

kind!(Transport, TransportCapabilities, "transport", "transports", transports);
kind!(Signaling, SignalingCapabilities, "signaling", "signalings", signalings);
kind!(MediaHost, MediaCapabilities, "media_host", "media_hosts", media_hosts);
kind!(AudioCodec, AudioCodecCapabilities, "codec", "codecs", codecs);
kind!(VideoCodec, VideoCodecCapabilities, "video_codec", "video_codecs", video_codecs);
kind!(PayloadFormat, PayloadFormatCapabilities, "payload_format", "payload_formats", payload_formats);
kind!(AudioProcessorFactory, ProcessorCapabilities, "processor", "processors", processors);
kind!(Recorder, RecorderCapabilities, "recorder", "recorders", recorders);
