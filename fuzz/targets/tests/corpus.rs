//! Runs every committed input of `fuzz/corpus` through its target, as a regression test without a
//! fuzzer.

use std::fs;
use std::path::{Path, PathBuf};

use blink_fuzz_targets::TARGETS;

/// Maximum size of all inputs together in bytes, since they are part of the repository.
const LARGEST: u64 = 400_000;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_target_takes_its_corpus() {
    for (name, target) in TARGETS {
        let files = files(&corpus().join(name));
        assert!(!files.is_empty(), "{name} has inputs");
        for file in files {
            let data = fs::read(&file).unwrap();
            // The panic does not name the input.
            if std::panic::catch_unwind(|| target(&data)).is_err() {
                panic!("{name} fails with {}", file.display());
            }
        }
    }
}

#[test]
fn every_target_takes_nothing_and_noise() {
    for (_, target) in TARGETS {
        target(&[]);
        for first in 0..=255u8 {
            let noise: Vec<_> = (0..200u32).map(|n| (n * n * 31 + u32::from(first)) as u8).collect();
            target(&noise);
        }
    }
}

#[test]
fn corpora_are_small_and_each_belongs_to_a_target_with_a_fuzzer() {
    let mut bytes = 0;
    for directory in files(&corpus()) {
        let name = directory.file_name().unwrap().to_str().unwrap();
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name} is the corpus of nothing");
        bytes += files(&directory).iter().map(|file| fs::metadata(file).unwrap().len()).sum::<u64>();
    }
    assert!(bytes <= LARGEST, "{bytes} bytes");
    for (name, _) in TARGETS {
        let fuzzer = corpus().join(format!("../fuzz_targets/{name}.rs"));
        assert!(fs::read_to_string(&fuzzer).unwrap().contains(&format!("blink_fuzz_targets::{name}")), "{name}");
    }
}
