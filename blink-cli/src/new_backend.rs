//! `blink new-backend`: writes the crate of a backend that compiles, registers, and fails the
//! conformance suite with what is to be done first.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::failure::Failure;
use crate::output::Output;

pub(crate) const ABOUT: &str = "\
Writes a crate for a backend of your own: a manifest outside of any workspace, the registration, the trait with every method to be \
implemented, and the conformance tests.

It compiles as it is. `cargo test` in it then names the first method that is missing, the step of the test, and the clause of the contract.";

/// Arguments of `blink new-backend`
#[derive(Debug, Args)]
pub(crate) struct NewBackendArguments {
    /// Kind of the backend
    kind: BackendKind,
    /// Name of the crate and of the backend: lower case, digits and `-`; also the directory
    name: String,
    /// Checkout of Blink that the crate depends on [default: that of this program's build, or the
    /// current directory]
    #[arg(long, value_name = "DIR", value_parser = crate::files::path())]
    blink: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BackendKind {
    Transport,
    Signaling,
    Codec,
    MediaHost,
    Processor,
    Recorder,
}

/// Texts of a kind.
struct Template {
    /// Trait, its capabilities, and the section of the configuration.
    kind: &'static str,
    capabilities: &'static str,
    section: &'static str,
    summary: &'static str,
    declared: &'static str,
    implementation: &'static str,
    tests: &'static str,
}

impl BackendKind {
    fn template(self) -> Template {
        match self {
            Self::Transport => Template {
                kind: "Transport",
                capabilities: "TransportCapabilities",
                section: "transports",
                summary: "A transport",
                declared: "audio: true, ",
                implementation: include_str!("new_backend/transport.rs.in"),
                tests: include_str!("new_backend/tests-transport.rs.in"),
            },
            Self::Signaling => Template {
                kind: "Signaling",
                capabilities: "SignalingCapabilities",
                section: "signalings",
                summary: "A signaling backend",
                declared: "",
                implementation: include_str!("new_backend/signaling.rs.in"),
                tests: include_str!("new_backend/tests-signaling.rs.in"),
            },
            Self::Codec => Template {
                kind: "AudioCodec",
                capabilities: "AudioCodecCapabilities",
                section: "codecs",
                summary: "An audio codec",
                declared: "max_channels: 1, ",
                implementation: include_str!("new_backend/codec.rs.in"),
                tests: include_str!("new_backend/tests-codec.rs.in"),
            },
            Self::MediaHost => Template {
                kind: "MediaHost",
                capabilities: "MediaCapabilities",
                section: "media_hosts",
                summary: "A media host",
                declared: "audio_sources: true, audio_sinks: true, ",
                implementation: include_str!("new_backend/media-host.rs.in"),
                tests: include_str!("new_backend/tests-media-host.rs.in"),
            },
            Self::Processor => Template {
                kind: "AudioProcessorFactory",
                capabilities: "ProcessorCapabilities",
                section: "processors",
                summary: "An audio processor",
                declared: "",
                implementation: include_str!("new_backend/processor.rs.in"),
                tests: include_str!("new_backend/tests-processor.rs.in"),
            },
            Self::Recorder => Template {
                kind: "Recorder",
                capabilities: "RecorderCapabilities",
                section: "recorders",
                summary: "A recorder",
                declared: "samples: true, ",
                implementation: include_str!("new_backend/recorder.rs.in"),
                tests: include_str!("new_backend/tests-recorder.rs.in"),
            },
        }
    }
}

/// Writes the crate into a new directory below the current one.
pub(crate) fn run(arguments: &NewBackendArguments, output: &Output) -> Result<(), Failure> {
    let NewBackendArguments { kind, name, blink } = arguments;
    if !is_name(name) {
        return Err(Failure::input("a name has lower-case letters, digits and `-`, and begins with a letter"));
    }
    let blink = checkout(blink.as_deref())?;
    let directory = Path::new(name);
    fs::create_dir(directory)
        .map_err(|error| Failure::input(format!("cannot create the directory {name}: {error}")))?;
    for (file, text) in files(*kind, name, &blink) {
        let path = directory.join(file);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        written.map_err(|error| Failure::input(format!("cannot write {}: {error}", path.display())))?;
    }
    output.result(&format!(
        "{name}: compiles, and fails its tests with what is to be done first: cd {name} && cargo test"
    ));
    Ok(())
}

/// Paths and texts of the crate.
fn files(kind: BackendKind, name: &str, blink: &str) -> [(&'static str, String); 3] {
    let Template { kind, capabilities, section, summary, declared, implementation, tests } = kind.template();
    let fill = |text: &str| {
        let values = [
            ("name", name),
            ("crate", &name.replace('-', "_")),
            ("type", &type_name(name)),
            ("blink", blink),
            ("kind", kind),
            ("capabilities", capabilities),
            ("section", section),
            ("summary", summary),
            ("declared", declared),
        ];
        values.iter().fold(text.to_owned(), |text, (key, value)| text.replace(&format!("{{{{{key}}}}}"), value))
    };
    let source = include_str!("new_backend/head.rs.in").to_owned() + implementation;
    [
        ("Cargo.toml", fill(include_str!("new_backend/crate.toml.in"))),
        ("src/lib.rs", fill(&source)),
        ("tests/conformance.rs", fill(tests)),
    ]
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase()) && name.bytes().all(is_part)
}

/// `My` for `my`, `MyOwn` for `my-own`.
fn type_name(name: &str) -> String {
    let part = |part: &str| part[..1].to_ascii_uppercase() + &part[1..];
    name.split('-').filter(|part| !part.is_empty()).map(part).collect()
}

/// Absolute path of a checkout, for a manifest.
fn checkout(given: Option<&Path>) -> Result<String, Failure> {
    let has_blink = |path: &Path| path.join("blink-api/Cargo.toml").is_file();
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let candidates = match given {
        Some(path) => vec![path],
        None => vec![built_from, Path::new(".")],
    };
    let found = candidates.into_iter().find(|path| has_blink(path));
    let found = found.ok_or_else(|| Failure::input("no checkout of Blink is there; --blink DIR names one"))?;
    let path =
        found.canonicalize().map_err(|error| Failure::input(format!("cannot read {}: {error}", found.display())))?;
    // TOML's basic strings escape backslashes and quotes.
    Ok(path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_filled_in_whole() {
        for kind in BackendKind::value_variants() {
            for (file, text) in files(*kind, "my-own", "/checkout") {
                assert!(!text.contains("{{") || file == "src/lib.rs", "{kind:?}: {file} has a placeholder left");
                assert!(!text.contains("{{name}}") && !text.contains("{{type}}") && !text.contains("{{kind}}"));
            }
            let [(_, manifest), (_, source), (_, tests)] = files(*kind, "my-own", "/checkout");
            assert!(manifest.contains(r#"name = "my-own""#) && manifest.contains("/checkout/blink-api"));
            assert!(source.contains("pub struct MyOwn;") && tests.contains("use my_own::MyOwn;"), "{kind:?}");
        }
    }

    #[test]
    fn names_are_those_of_crates() {
        assert!(is_name("a-1") && !is_name("1a") && !is_name("A") && !is_name("../a") && !is_name(""));
        assert_eq!(type_name("my-own--2"), "MyOwn2");
    }
}
