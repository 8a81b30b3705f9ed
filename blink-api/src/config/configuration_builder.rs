//! The layers of a configuration, collected and checked.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use figment::Figment;
use figment::value::Value;

use super::explain::{explain, key_of};
use super::layers::Layer;
use super::{Configuration, ConfigurationFile, Settings};
use crate::{Error, ErrorKind, Registry, Result};

/// Prefix of this program's environment variables.
const PREFIX: &str = "BLINK_";

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

impl ConfigurationBuilder {
    pub(super) fn new(registry: &Registry) -> Self {
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

    /// Adds a TOML file, if it exists. One that exists is as with
    /// [`file`](ConfigurationBuilder::file).
    pub fn optional_file(self, path: &Path) -> Self {
        match ConfigurationFile::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => self,
            read => self.file_read(read),
        }
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
