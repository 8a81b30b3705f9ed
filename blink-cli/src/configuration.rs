//! The configuration of a command: this program's choices, then the file, the environment and the options.

use std::path::Path;

use blink_api::{ConfigurationBuilder, Registry};

use crate::args::Global;
use crate::backends;

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

/// The options `--set`.
pub(crate) fn options(builder: ConfigurationBuilder, global: &Global) -> ConfigurationBuilder {
    global.set.iter().fold(builder, |builder, argument| builder.set_argument("--set", argument))
}
