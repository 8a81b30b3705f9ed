//! The configuration of a command: this program's choices, then the file, the environment and the options.

use std::path::Path;

use blink_api::{Configuration, ConfigurationBuilder, LogSettings, Registry};

use crate::args::Global;
use crate::failure::Failure;
use crate::{backends, files};

/// Read where no other file is named.
const FILE: &str = "blink.toml";

/// Everything below the options.
pub(crate) fn base(registry: &Registry, global: &Global) -> ConfigurationBuilder {
    file_and_environment(backends::configuration(registry), global)
}

/// The file and the environment on top of a program's defaults.
pub(crate) fn file_and_environment(builder: ConfigurationBuilder, global: &Global) -> ConfigurationBuilder {
    let builder = match &global.config {
        Some(file) => builder.file(file),
        None if Path::new(FILE).exists() => builder.file(Path::new(FILE)),
        None => builder,
    };
    builder.environment()
}

/// What may stand in the log. A configuration that cannot be used is not complained about here: the command does that.
pub(crate) fn log(global: &Global) -> LogSettings {
    let settings = || Some(options(base(&Registry::discovered().ok()?, global), global).build().ok()?.settings().log);
    settings().unwrap_or_default()
}

/// The options `--set`.
pub(crate) fn options(builder: ConfigurationBuilder, global: &Global) -> ConfigurationBuilder {
    global.set.iter().fold(builder, |builder, argument| builder.set_argument("--set", argument))
}

/// The configuration of one person on this machine: what is said from a file, what is heard into one, where the options name them.
///
/// # Errors
/// An input failure that names what is wrong and where it was set.
pub(crate) fn person(global: &Global, input: Option<&Path>, heard: Option<&Path>) -> Result<Configuration, Failure> {
    let registry = Registry::discovered()?;
    let mut builder = options(base(&registry, global), global);
    if let Some(input) = input {
        builder = builder.set("--in", "media_host", backends::FILES).set("--in", "microphone", files::device(input));
    }
    if let Some(heard) = heard {
        builder = builder.set("--out", "media_host", backends::FILES).set("--out", "speaker", files::device(heard));
    }
    Ok(builder.build()?)
}
