//! Configuration: files, the environment, arguments.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::LazyLock;

use blink_api::{Configuration, Registry, ServerUri};
use {
    blink_media_cpal_opus as _, blink_media_synthetic as _, blink_signaling_memory as _, blink_transport_memory as _,
};

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry::discovered().expect("no name is taken twice"));

/// Input is parsed or refused with a one-line error. The first byte selects the source: file,
/// environment, arguments, or the URI of a server.
pub fn run(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let text = str::from_utf8(bytes);
    let builder = Configuration::builder(&REGISTRY);
    let built = match (how % 4, text) {
        (0, Ok(text)) => builder.toml("a file", text),
        (1, _) => builder.environment_of(bytes.split(|byte| *byte == b'\n').filter_map(variable)),
        (2, Ok(text)) => text.lines().fold(builder, |builder, line| builder.set_argument("--set", line)),
        (3, Ok(text)) => {
            uri(text);
            return;
        }
        _ => return,
    };
    match built.build() {
        Ok(configuration) => {
            let values = configuration.effective();
            assert!(!values.is_empty(), "there are keys with values");
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "one line: {error}"),
    }
}

/// Parses a line `NAME=VALUE` into an environment variable, UTF-8 or not.
fn variable(line: &[u8]) -> Option<(OsString, OsString)> {
    let split = line.iter().position(|byte| *byte == b'=')?;
    let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    Some((text(&[b"BLINK_", &line[..split]].concat()), text(&line[split + 1..])))
}

/// A parsed URI survives formatting and parsing; an error contains nothing of the user information
/// before an `@`.
fn uri(text: &str) {
    match ServerUri::parse(text) {
        Ok(uri) => assert_eq!(ServerUri::parse(&uri.to_string()).ok(), Some(uri), "the canonical form means the same"),
        Err(error) => {
            let error = error.to_string();
            let secret = text.rsplit_once('@').map_or("", |(secret, _)| secret);
            // The same text may also occur after the `@`, as a host.
            assert!(secret.len() < 20 || !error.contains(&format!("{secret}@")), "{error}");
        }
    }
}
