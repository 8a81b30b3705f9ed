//! A layer of configuration: values and their source.

use figment::providers::Serialized;
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::explain::one_line;
use crate::nearest::did_you_mean;
use crate::{Error, ErrorKind, Result};

/// Values with the name of their source.
pub(super) struct Layer {
    metadata: Metadata,
    values: Dict,
}

impl Layer {
    /// The defaults of everything.
    pub(super) fn defaults(known: &serde_json::Value) -> Self {
        let values = Serialized::defaults(known).data().ok().and_then(|mut data| data.remove(&Profile::Default));
        Self { metadata: Metadata::named("default"), values: values.unwrap_or_default() }
    }

    /// The text of a TOML file.
    pub(super) fn toml(name: &str, text: &str) -> Result<Self> {
        let values = toml::from_str(text).map_err(|error| {
            // The error's own text shows the line, with what may be a password.
            let before = &text[..error.span().map_or(0, |span| text.floor_char_boundary(span.start))];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            Error::new(ErrorKind::Invalid, "the configuration file is not TOML")
                .with("file", name)
                .with("line", line)
                .with("column", column)
                .source(one_line(error.message()))
        })?;
        Ok(Self { metadata: Metadata::named(name.to_owned()), values })
    }

    /// One key from text.
    pub(super) fn value(source: String, key: &str, text: &str) -> Self {
        Self::nested(source, key, super::parse_value(text))
    }

    /// One key.
    pub(super) fn nested(source: String, key: &str, value: Value) -> Self {
        let values = match figment::util::nest(key, value) {
            Value::Dict(_, values) => values,
            _ => Dict::new(),
        };
        Self { metadata: Metadata::named(source), values }
    }

    /// Rejects unknown keys.
    pub(super) fn check(&self, known: &serde_json::Value) -> Result<()> {
        self.check_level(&self.values, known, "")
    }

    fn check_level(&self, values: &Dict, known: &serde_json::Value, prefix: &str) -> Result<()> {
        // A table in place of a value is an error of type, which deserialization reports.
        let Some(known) = known.as_object() else { return Ok(()) };
        for (name, value) in values {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            let Some(inner) = known.get(name) else {
                let names: Vec<_> = known.keys().map(String::as_str).collect();
                let nearest = did_you_mean(name, names.iter().copied());
                let known = names.join(", ");
                // In the environment, `_` is part of a name.
                let levels = match self.metadata.name.contains("environment") {
                    true => "; two underscores separate levels: BLINK_CALL__RING_TIME is call.ring_time",
                    false => "",
                };
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("unknown key; known here: {known}{nearest}{levels}"),
                )
                .with("key", key)
                .with("set in", &self.metadata.name));
            };
            if let Value::Dict(_, values) = value {
                self.check_level(values, inner, &key)?;
            }
        }
        Ok(())
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// A source's name for people.
pub(super) fn describe(metadata: &Metadata) -> String {
    metadata.name.to_string()
}
