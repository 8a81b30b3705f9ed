//! Errors of configuration in one line that shows no credential.

use figment::error::{Actual, Kind, OneOf};

use super::layers;
use crate::nearest::did_you_mean;
use crate::{Error, ErrorKind};

/// Keys whose values are passwords.
const SECRETS: [&str; 1] = ["credential"];
/// Sections in which a value may be a password, or text with a password in it that was written in
/// the wrong place.
const WITH_SECRETS: [&str; 2] = ["ice", "ice.servers"];

/// Converts an error of figment to one that names the key and its source.
///
/// The last `prefix` levels of its path are moved to the front: figment appends the path of the
/// extracted section behind the path within it.
pub(super) fn explain(error: &figment::Error, prefix: usize) -> Error {
    let mut path = error.path.clone();
    path.rotate_right(prefix.min(error.path.len()));
    let key = path.join(".");
    let what = if may_hold_secrets(&key) { without_value(&error.kind) } else { with_value(&error.kind) };
    let mut explained = Error::new(ErrorKind::Invalid, one_line(&what));
    if !key.is_empty() {
        explained = explained.with("key", key);
    }
    match &error.metadata {
        Some(metadata) => explained.with("set in", layers::describe(metadata)),
        None => explained,
    }
}

/// Hides the values of passwords that are in force.
pub(super) fn hide_secrets(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Array(values) => values.iter_mut().for_each(hide_secrets),
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str() {
                    Some(secret) if SECRETS.contains(&name.as_str()) && !secret.is_empty() => {
                        *field = "(hidden)".into();
                    }
                    _ => hide_secrets(field),
                }
            }
        }
        _ => {}
    }
}

/// The beginning of an argument that has the form of a key. The rest may be a password.
pub(super) fn key_of(argument: &str) -> &str {
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    argument.split(|c| !is_key(c)).next().unwrap_or_default()
}

/// Text as one line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn may_hold_secrets(key: &str) -> bool {
    key.is_empty() || WITH_SECRETS.contains(&key) || key.starts_with("ice.servers.")
}

/// Message with the refused value. figment encloses alternatives in backticks twice.
fn with_value(kind: &Kind) -> String {
    match kind {
        Kind::UnknownVariant(found, known) => {
            let nearest = did_you_mean(found, known.iter().copied());
            format!("unknown variant: found `{found}`, expected {}{nearest}", OneOf(known))
        }
        Kind::UnknownField(found, known) => {
            let nearest = did_you_mean(found, known.iter().copied());
            format!("unknown field: found `{found}`, expected {}{nearest}", OneOf(known))
        }
        kind => kind.to_string(),
    }
}

/// Message without the refused value, which may be a password.
fn without_value(kind: &Kind) -> String {
    match kind {
        Kind::InvalidType(found, expected) => format!("invalid type: found {}, expected {expected}", type_of(found)),
        Kind::InvalidValue(_, expected) => format!("invalid value, expected {expected}"),
        Kind::UnknownVariant(_, known) => format!("unknown value; known here: {}", known.join(", ")),
        // Names of keys, and types without their values.
        kind @ Kind::UnknownField(..) => with_value(kind),
        kind @ (Kind::MissingField(_)
        | Kind::DuplicateField(_)
        | Kind::InvalidLength(..)
        | Kind::UnsupportedKey(..)) => kind.to_string(),
        Kind::Message(_) | Kind::Unsupported(_) | Kind::ISizeOutOfRange(_) | Kind::USizeOutOfRange(_) => {
            "the value cannot be used".to_owned()
        }
    }
}

fn type_of(found: &Actual) -> &'static str {
    match found {
        Actual::Bool(_) => "a boolean",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) | Actual::Bytes(_) => "text",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "another type",
    }
}
