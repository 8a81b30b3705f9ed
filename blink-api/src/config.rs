//! Configuration in layers: defaults, files, environment variables, flags. Every value knows the
//! layer that set it.

mod audio;
mod explain;
mod file;
mod ice;
mod layers;
mod path;
mod quality;
mod recording;
mod settings;
mod ui_settings;

pub use audio::AudioSettings;
pub use file::ConfigurationFile;
pub use ice::{HostCandidates, IceConfig, IceServer, ServerScheme, ServerUri};
pub use path::{expand_path, optional_path};
pub use quality::{Preference, QualitySettings};
pub use recording::RecordingSettings;
pub use settings::{BusyPolicy, CallSettings, CallTimers, Invitations, LogSettings, Settings};
pub use ui_settings::UiSettings;

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use figment::Figment;
use figment::value::{Dict, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Context, Entry, Error, ErrorKind, Kind, Registry, Result};
use explain::{explain, hide_secrets, key_of};
use layers::Layer;

/// Prefix of this program's environment variables.
const PREFIX: &str = "BLINK_";

/// A checked configuration: every key is known, every value has the right type, and every chosen
/// backend exists.
#[derive(Clone)]
pub struct Configuration {
    figment: Figment,
    registry: Registry,
    settings: Settings,
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configuration").finish_non_exhaustive()
    }
}

/// A value in force, with its source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectiveValue {
    /// The key, levels separated by dots.
    pub key: String,
    /// The value; null for none. Passwords are hidden.
    pub value: serde_json::Value,
    /// `default`, a file's path, an environment variable or a flag.
    pub source: String,
}

/// Collects the layers of a [`Configuration`].
pub struct ConfigurationBuilder {
    figment: Figment,
    registry: Registry,
    known: serde_json::Value,
    error: Option<Error>,
}

impl fmt::Debug for ConfigurationBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigurationBuilder").finish_non_exhaustive()
    }
}

impl Configuration {
    /// Begins with the defaults of the engine and of every backend in the registry.
    pub fn builder(registry: &Registry) -> ConfigurationBuilder {
        ConfigurationBuilder::new(registry)
    }

    /// The keys that belong to no backend.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The registry its names were checked against.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The chosen backend of a kind: transport, signaling, media host, or the preferred codec.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where none is chosen and there is not exactly one.
    pub fn chosen<K: Kind + ?Sized>(&self) -> Result<&'static Entry<K>> {
        let all = self.chosen_all::<K>()?;
        Ok(all.first().copied().expect("where none is named, there is the only one"))
    }

    /// The chosen backends of a kind of which several may be in use, such as codecs, the preferred
    /// one first. At least one.
    ///
    /// # Errors
    /// As [`chosen`](Configuration::chosen), and [`Invalid`](ErrorKind::Invalid) for one that is
    /// named twice.
    pub fn chosen_all<K: Kind + ?Sized>(&self) -> Result<Vec<&'static Entry<K>>> {
        let names = self.named::<K>();
        if names.is_empty() {
            return Ok(vec![self.only::<K>()?]);
        }
        for (n, name) in names.iter().enumerate() {
            if names[..n].contains(name) {
                return Err(Error::new(ErrorKind::Invalid, format!("the {} `{name}` is named twice", K::KIND))
                    .with("set in", self.source_of(K::KIND)));
            }
        }
        let entry =
            |name: &String| self.registry.entry(name).map_err(|error| error.with("set in", self.source_of(K::KIND)));
        names.iter().map(entry).collect()
    }

    /// Names in the configuration of a kind, which holds a name or a list of names.
    fn named<K: Kind + ?Sized>(&self) -> Vec<String> {
        match self.figment.find_value(K::KIND) {
            Ok(Value::String(_, name)) => vec![name],
            Ok(Value::Array(_, names)) => names.into_iter().filter_map(Value::into_string).collect(),
            _ => Vec::new(),
        }
    }

    fn only<K: Kind + ?Sized>(&self) -> Result<&'static Entry<K>> {
        let mut entries = self.registry.entries::<K>();
        match (entries.next(), entries.next()) {
            (Some(entry), None) => Ok(entry),
            (None, _) => Err(Error::new(ErrorKind::Invalid, format!("this program has no {}", K::KIND))),
            _ => {
                let names: Vec<_> = self.registry.entries::<K>().map(|entry| entry.name).collect();
                Err(Error::new(ErrorKind::Invalid, format!("`{}` is not set; there is: {}", K::KIND, names.join(", "))))
            }
        }
    }

    /// Makes the chosen backend of a kind.
    ///
    /// # Errors
    /// As [`chosen`](Configuration::chosen) and [`Entry::create`].
    ///
    /// # Cancellation
    /// As [`Entry::create`].
    pub async fn create<K: Kind + ?Sized>(&self, context: &Context) -> Result<std::sync::Arc<K>> {
        self.chosen::<K>()?.create(self, context).await
    }

    /// Makes all chosen backends of a kind, the preferred one first.
    ///
    /// # Errors
    /// As [`chosen_all`](Configuration::chosen_all) and [`Entry::create`].
    ///
    /// # Cancellation
    /// As [`Entry::create`]; backends that were created before are dropped.
    pub async fn create_all<K: Kind + ?Sized>(&self, context: &Context) -> Result<Vec<std::sync::Arc<K>>> {
        let mut all = Vec::new();
        for entry in self.chosen_all::<K>()? {
            all.push(entry.create(self, context).await?);
        }
        Ok(all)
    }

    /// A backend's own section.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a value of the wrong type, naming the key and where it
    /// was set.
    pub fn section<C: DeserializeOwned>(&self, section: &str, name: &str) -> Result<C> {
        let levels = section.split('.').chain(name.split('.')).count();
        self.figment.extract_inner(&format!("{section}.{name}")).map_err(|error| explain(&error, levels))
    }

    /// Every key with its value and its source, sorted by key.
    pub fn effective(&self) -> Vec<EffectiveValue> {
        let mut values = Vec::new();
        if let Ok(Value::Dict(_, root)) = self.figment.find_value("") {
            collect(&root, "", &mut |key, value| {
                let mut value = serde_json::to_value(value).unwrap_or_default();
                hide_secrets(&mut value);
                values.push(EffectiveValue { key: key.to_owned(), value, source: self.source_of(key) });
            });
        }
        values
    }

    fn source_of(&self, key: &str) -> String {
        source_of(&self.figment, key)
    }

    /// Checks all values without opening anything. Errors name the source of the value.
    fn check(&self) -> Result<()> {
        self.check_all().map_err(|error| self.locate(error))
    }

    /// Adds to an error the source of the key that it names, unless the error names one already.
    pub fn locate(&self, error: Error) -> Error {
        let fact = |name| error.context().iter().find(|(fact, _)| *fact == name).map(|(_, value)| value.clone());
        match (fact("key"), fact("set in")) {
            (Some(key), None) => error.with("set in", self.source_of(&key)),
            _ => error,
        }
    }

    fn check_all(&self) -> Result<()> {
        self.check_chosen::<dyn crate::Transport>()?;
        self.check_chosen::<dyn crate::Signaling>()?;
        self.check_chosen::<dyn crate::MediaHost>()?;
        self.check_chosen::<dyn crate::AudioCodec>()?;
        let at = |key: &'static str| move |error: Error| error.with("key", key);
        for name in &self.settings.processors {
            let entry = self.registry.entry::<dyn crate::AudioProcessorFactory>(name).map_err(at("processor"))?;
            entry.check(self)?;
        }
        for name in &self.settings.recorders {
            self.registry.entry::<dyn crate::Recorder>(name).map_err(at("recorder"))?.check(self)?;
        }
        self.settings.check()
    }

    /// Checks the chosen backends of a kind. A kind without a choice is accepted: a program may
    /// give the engine an object of its own.
    fn check_chosen<K: Kind + ?Sized>(&self) -> Result<()> {
        if self.named::<K>().is_empty() && self.registry.entries::<K>().count() != 1 {
            return Ok(());
        }
        self.chosen_all::<K>()?.into_iter().try_for_each(|entry| entry.check(self))
    }
}

impl ConfigurationBuilder {
    fn new(registry: &Registry) -> Self {
        let mut known = registry.default_sections();
        if let Ok(serde_json::Value::Object(settings)) = serde_json::to_value(Settings::default()) {
            known.extend(settings);
        }
        let known = serde_json::Value::Object(known);
        let figment = Figment::new().merge(Layer::defaults(&known));
        Self { figment, registry: registry.clone(), known, error: None }
    }

    /// Adds a TOML file.
    ///
    /// A file that cannot be read or parsed makes [`build`](ConfigurationBuilder::build) fail.
    pub fn file(self, path: &Path) -> Self {
        self.file_read(ConfigurationFile::read(path))
    }

    /// Adds a TOML file that was read before.
    ///
    /// One that could not be read, or cannot be parsed, makes
    /// [`build`](ConfigurationBuilder::build) fail.
    pub fn file_read(self, file: Result<ConfigurationFile>) -> Self {
        self.layer(file.and_then(|file| Layer::toml(&file.name, &file.text)))
    }

    /// Adds text in TOML, as if it were in a file of this name.
    ///
    /// Text that is no TOML makes [`build`](ConfigurationBuilder::build) fail.
    pub fn toml(self, name: &str, text: &str) -> Self {
        let layer = Layer::toml(name, text);
        self.layer(layer)
    }

    /// Adds the environment: `BLINK_` and the key, where `__` separates levels and `_` also stands
    /// for `-`.
    ///
    /// A variable that is not UTF-8 makes [`build`](ConfigurationBuilder::build) fail.
    pub fn environment(self) -> Self {
        self.environment_of(std::env::vars_os())
    }

    /// As [`environment`](ConfigurationBuilder::environment), from variables given.
    pub fn environment_of<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        let ours = |(name, _): &(OsString, OsString)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
        let mut variables: Vec<_> = variables.filter(ours).collect();
        variables.sort();
        for (name, value) in variables {
            self = match (name.to_str().and_then(|name| name.strip_prefix(PREFIX)), value.to_str()) {
                (Some(key), Some(value)) => {
                    let source = format!("environment variable {PREFIX}{key}");
                    let key = self.resolve(key);
                    self.layer(Ok(Layer::value(source, &key, value)))
                }
                _ => self.layer(Err(Error::new(ErrorKind::Invalid, "this environment variable is not UTF-8")
                    .with("variable", name.display()))),
            };
        }
        self
    }

    /// Sets one key. `source` names the flag in errors and in [`Configuration::effective`].
    pub fn set(self, source: &str, key: &str, value: impl Into<Value>) -> Self {
        self.layer(Ok(Layer::nested(source.to_owned(), key, value.into())))
    }

    /// Sets one key of a `KEY=VALUE` argument; the value is read like one in the environment.
    pub fn set_argument(self, source: &str, argument: &str) -> Self {
        match argument.split_once('=') {
            // The value is not part of the source's name: it may be a password.
            Some((key, value)) if !key.trim().is_empty() => {
                self.set(&format!("{source} {}", key.trim()), key.trim(), parse_value(value.trim()))
            }
            // Text that is no key may be a password too.
            _ => self.layer(Err(Error::new(ErrorKind::Invalid, "expected KEY=VALUE")
                .with("set in", source)
                .with("argument", key_of(argument)))),
        }
    }

    /// Chooses defaults for this program, such as a transport, below file, environment and flags
    /// that are added later.
    pub fn default_value(self, key: &str, value: impl Into<Value>) -> Self {
        self.layer(Ok(Layer::nested("default".to_owned(), key, value.into())))
    }

    /// Checks the layers and makes a configuration of them.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) or [`NotFound`](ErrorKind::NotFound) in one line that names
    /// the key and its source. Of several errors, the first in the order of the layers.
    pub fn build(self) -> Result<Configuration> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let settings: Settings = self.figment.extract().map_err(|error| explain(&error, 0))?;
        let configuration = Configuration { figment: self.figment, registry: self.registry, settings };
        configuration.check()?;
        Ok(configuration)
    }

    fn layer(mut self, layer: Result<Layer>) -> Self {
        if self.error.is_some() {
            return self;
        }
        match layer.and_then(|layer| layer.check(&self.known).map(|()| layer)) {
            Ok(layer) => self.figment = self.figment.merge(layer),
            Err(error) => self.error = Some(error),
        }
        self
    }

    /// The key of an environment variable: levels split at `__`, each matched to a known key with
    /// `-` read as `_`.
    fn resolve(&self, variable: &str) -> String {
        let mut at = Some(&self.known);
        let mut key = Vec::new();
        for level in variable.to_lowercase().split("__") {
            let object = at.and_then(serde_json::Value::as_object);
            let found = object.and_then(|object| object.iter().find(|(name, _)| name.replace('-', "_") == level));
            key.push(found.map_or_else(|| level.to_owned(), |(name, _)| name.clone()));
            at = found.map(|(_, value)| value);
        }
        key.join(".")
    }
}

/// Reads a value as the environment and `KEY=VALUE` arguments give it: a boolean, number, `[list]`
/// or `{table}` where it looks like one, else text.
pub fn parse_value(text: &str) -> Value {
    match text.parse() {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

fn source_of(figment: &Figment, key: &str) -> String {
    figment.find_metadata(key).map_or_else(|| "default".to_owned(), layers::describe)
}

/// Visits every value that is no table, in the order of the keys.
fn collect(dict: &Dict, prefix: &str, visit: &mut dyn FnMut(&str, &Value)) {
    for (name, value) in dict {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Dict(_, inner) => collect(inner, &key, visit),
            value => visit(&key, value),
        }
    }
}

#[cfg(test)]
mod tests;
