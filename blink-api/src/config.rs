//! Configuration in layers: defaults, files, environment variables, flags. Every value knows the
//! layer that set it.

mod audio;
mod configuration_builder;
mod explain;
mod file;
mod ice;
mod layers;
mod metrics_settings;
mod path;
mod quality;
mod recording;
mod settings;
mod ui_settings;

pub use audio::AudioSettings;
pub use configuration_builder::{ConfigurationBuilder, parse_value};
pub use file::ConfigurationFile;
pub use ice::{HostCandidates, IceConfig, IceServer, ServerScheme, ServerUri};
pub use metrics_settings::MetricsSettings;
pub use path::{expand_path, optional_path};
pub use quality::{Preference, QualitySettings};
pub use recording::RecordingSettings;
pub use settings::{BusyPolicy, CallSettings, CallTimers, Invitations, LogSettings, Settings};
pub use ui_settings::UiSettings;

use std::fmt;

use figment::Figment;
use figment::value::{Dict, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Context, Entry, Error, ErrorKind, Kind, Registry, Result};
use explain::{explain, hide_secrets};

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
                shorten(&mut value);
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

/// Replaces a number that was `f32` by its shortest decimal: `0.05`, not `0.05000000074505806`.
fn shorten(value: &mut serde_json::Value) {
    let Some(number) = value.as_f64().filter(|_| value.is_f64()) else { return };
    let single = number as f32;
    if f64::from(single) == number
        && let Ok(short) = single.to_string().parse::<f64>()
    {
        *value = short.into();
    }
}

#[cfg(test)]
mod tests;
