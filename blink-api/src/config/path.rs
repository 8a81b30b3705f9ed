//! Paths in configuration files, flags and device names.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use crate::{Error, ErrorKind, Result};

/// Reads a path as text: a leading `~/` stands for the home directory, as in a shell.
///
/// Shells expand it at the beginning of a word only: neither in a file, nor after `--in=` or
/// `wav:`.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) for empty text, for `~NAME`, and for `~` without a home
/// directory.
pub fn expand_path(text: &str) -> Result<PathBuf> {
    expand(text, std::env::home_dir())
}

/// Deserializes an optional path of a configuration by [`expand_path`]:
/// `#[serde(deserialize_with = "blink_api::optional_path")]`.
///
/// # Errors
/// Those of [`expand_path`].
pub fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<PathBuf>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| expand_path(&text).map_err(|error| serde::de::Error::custom(error.message()))).transpose()
}

fn expand(text: &str, home: Option<PathBuf>) -> Result<PathBuf> {
    let invalid = |why: &'static str| Err(Error::new(ErrorKind::Invalid, why).with("path", text));
    let Some(rest) = text.strip_prefix('~') else {
        return if text.is_empty() { invalid("the path is empty") } else { Ok(PathBuf::from(text)) };
    };
    let Some(home) = home.filter(|home| home.is_absolute()) else {
        return invalid("there is no home directory for the `~` of this path");
    };
    match rest.strip_prefix('/') {
        Some(below) => Ok(home.join(below.trim_start_matches('/'))),
        None if rest.is_empty() => Ok(home),
        None => invalid("`~NAME` is not expanded here; a file of that name is written ./~NAME"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_tilde_stands_for_the_home_directory_at_the_beginning_only() {
        let home = || Some(PathBuf::from("/home/ada"));
        for (text, path) in [
            ("~", "/home/ada"),
            ("~/", "/home/ada/"),
            ("~/.blink", "/home/ada/.blink"),
            ("~//x", "/home/ada/x"),
            ("./~", "./~"),
            ("a/~/b", "a/~/b"),
            ("/abs", "/abs"),
            ("x", "x"),
        ] {
            assert_eq!(expand(text, home()).unwrap(), Path::new(path), "{text}");
        }
        assert!(expand("", home()).unwrap_err().to_string().contains("empty"));
        assert!(expand("~ada/x", home()).unwrap_err().to_string().contains("./~NAME"));
        for home in [None, Some(PathBuf::new()), Some(PathBuf::from("relative"))] {
            assert!(expand("~/x", home).unwrap_err().to_string().contains("no home directory"));
        }
    }
}
