//! Tests that the code and configuration in documents match the repository.

use blink_api::{AudioCodec, Configuration, Entry, Registry, Result};
use blink_engine::{Blink, METRICS};
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
fn the_guide_for_programs_has_every_metric_and_no_other() {
    let (_, rest) = INTEGRATORS.split_once("\n## Metrics\n").expect("there is such a section");
    let (section, _) = rest.split_once("\n## ").expect("another one follows");
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| `blink_")).collect();
    let row = |metric: &blink_engine::Metric| {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        let labels = match metric.labels {
            [] => "–".to_owned(),
            labels => labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", "),
        };
        format!("| `{}` | {kind} | {labels} | {} |", metric.name, metric.help)
    };
    assert_eq!(rows, METRICS.iter().map(row).collect::<Vec<_>>());
}

/// Packages that another workspace should optimize are those that the demo's profile optimizes.
#[test]
fn the_readme_of_the_crate_names_the_packages_to_optimize() {
    let readme = include_str!("../../blink/README.md");
    let manifest = include_str!("../../Cargo.toml");
    let (_, packages) = manifest.split_once("[profile.demo.package]\n").expect("there is such a profile");
    let optimized = packages.lines().filter_map(|line| line.strip_suffix(" = { opt-level = 2 }"));
    for package in optimized.filter(|name| !["blink-media-synthetic", "pesq"].contains(name)) {
        let is_named = readme.contains(&format!("{package} = {{ opt-level = 2 }}"))
            || readme.contains(&format!("`{package}`"))
            || (package.starts_with("sonora-") && readme.contains("that begin with `sonora-`"));
        assert!(is_named, "{package} is not in blink/README.md");
    }
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
