//! Configuration: files, the environment, arguments.

use std::sync::LazyLock;

use blink_api::{Configuration, Registry};
use {
    blink_media_cpal_opus as _, blink_media_synthetic as _, blink_signaling_memory as _, blink_transport_memory as _,
};

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry::discovered().expect("no name is taken twice"));

/// Text is understood or refused in one line. The first byte says where it stands: in a file, in the environment, in arguments.
pub fn run(data: &[u8]) {
    let Some((how, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let builder = Configuration::builder(&REGISTRY);
    let built = match how % 3 {
        0 => builder.toml("a file", text),
        1 => {
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            builder.environment_of(pairs.map(|(name, value)| (format!("BLINK_{name}"), value.to_owned())))
        }
        _ => text.lines().fold(builder, |builder, line| builder.set_argument("--set", line)),
    };
    match built.build() {
        Ok(configuration) => {
            let values = configuration.effective();
            assert!(!values.is_empty(), "there are keys with values");
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "one line: {error}"),
    }
}
