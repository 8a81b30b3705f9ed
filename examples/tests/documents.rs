//! Tests that the code and configuration in documents match the repository.

use blink_api::{AudioCodec, Configuration, Entry, Registry, Result};
use blink_engine::Blink;
use blink_media_cpal_opus::OpusCodec;
use {blink_media_synthetic as _, blink_signaling_libp2p as _, blink_transport_str0m as _};

const README: &str = include_str!("../../README.md");
const INTEGRATORS: &str = include_str!("../../docs/integrators.md");
const BACKENDS: &str = include_str!("../../docs/backends.md");

/// Source of a program without its leading doc comment.
fn program(source: &str) -> String {
    source.lines().skip_while(|line| line.starts_with("//!") || line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Content of a document's first code block in a language.
fn block<'a>(document: &'a str, language: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("```{language}\n")).expect("the document has such a block");
    rest.split_once("```").expect("a block ends").0
}

#[test]
fn the_readme_shows_the_example() {
    assert_eq!(block(README, "rust").trim(), program(include_str!("../place_call.rs")));
}

#[test]
fn the_guide_for_programs_shows_how_to_record() {
    assert!(INTEGRATORS.contains(&program(include_str!("../record_call.rs"))));
}

#[test]
fn the_guide_for_backends_shows_the_example_and_the_suites() {
    assert_eq!(block(BACKENDS, "rust").trim(), program(include_str!("../own_media_host.rs")));
    let transports = include_str!("../../conformance-tests/tests/memory_transport.rs");
    assert!(BACKENDS.contains(&program(transports)));
    assert!(
        include_str!("../../conformance-tests/tests/signalings.rs")
            .contains("signaling_tests!(memory, MemoryNetwork::default());")
    );
}

#[test]
fn the_configuration_of_the_readme_is_understood() {
    let file = std::env::temp_dir().join(format!("blink-readme-{}.toml", std::process::id()));
    std::fs::write(&file, block(README, "toml")).unwrap();
    let result = Configuration::builder(&Registry::discovered().unwrap()).file(&file).build();
    std::fs::remove_file(&file).unwrap();
    result.unwrap();
}

#[test]
fn an_entry_can_be_registered_by_hand() {
    static ENTRY: Entry<dyn AudioCodec> = Entry::<dyn AudioCodec>::of::<OpusCodec>();
    assert!(Registry::empty().with(&ENTRY).unwrap().entry::<dyn AudioCodec>("opus").is_ok());
}

/// The example of `docs/integrators.md`.
#[expect(dead_code, reason = "that it compiles is the test")]
async fn lifecycle() -> Result<Blink> {
    let registry = Registry::discovered()?;
    let configuration = Configuration::builder(&registry).file("blink.toml".as_ref()).environment().build()?;
    let blink = Blink::start(&configuration).await?;
    Ok(blink)
}
