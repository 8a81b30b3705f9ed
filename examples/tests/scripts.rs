//! Tests of the checks in `script/`: each finds bad input, and accepts good input.

#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes files below a new directory, and runs a script of the repository on a path there.
fn check(script: &str, argument: &str, files: &[(&str, &str)]) -> (bool, String) {
    let name = format!("blink-{script}-{}-{}", std::process::id(), files.len());
    let directory = std::env::temp_dir().join(name);
    for (path, content) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).unwrap();
        fs::write(path, content).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../script").join(script);
    let argument: PathBuf = directory.join(argument);
    let output = Command::new(script).arg(argument).output().unwrap();
    fs::remove_dir_all(&directory).unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.success(), text)
}

#[test]
fn prose_reports_file_and_line_of_every_violation() {
    let comment = format!("// {}\n", "word ".repeat(20));
    let long_file = "\n".repeat(401);
    let (passed, text) = check(
        "prose",
        "",
        &[
            ("one/Cargo.toml", ""),
            ("one/src/lib.rs", "//! What this is for.\n\n/// A name.\n/// So it goes on.\nfn a() {}\n"),
            ("one/src/a/twin.rs", "\n    /// Whoever calls.\n    fn b() {}\n"),
            ("one/src/b/twin.rs", &comment),
            ("one/src/long.rs", &long_file),
            ("README.md", &format!("# Title\n\n{}\n", "word ".repeat(21))),
        ],
    );
    assert!(!passed);
    let places: Vec<_> = text.lines().filter_map(|line| line.split(": ").next()).collect();
    let expected = ["one/src/a/twin.rs:2", "one/src/b/twin.rs:1", "one/src/b/twin.rs:1", "one/src/lib.rs:1"];
    let more = ["one/src/long.rs:401", "README.md:3"];
    let mut expected: Vec<_> = expected.into_iter().chain(more).collect();
    let mut places: Vec<_> = places.into_iter().map(|place| place.replace("a/twin.rs:1", "b/twin.rs:1")).collect();
    expected.sort_unstable();
    places.sort_unstable();
    assert_eq!(places, expected, "{text}");
}

#[test]
fn prose_accepts_tables_code_links_headings_and_repeated_module_roots() {
    let wide = "word ".repeat(30);
    let link = format!("https://example.org/{}", "a".repeat(100));
    let umlauts = format!("/// {}\n", "ü".repeat(96));
    let document = format!("# {wide}\n\n| {wide} |\n\n```\n{wide}\n```\n\n- {link}\n\n[a]: {wide}\n");
    let code = format!("/// Something.\n/// | {wide} |\n/// ```\n/// {wide}\n/// ```\n{umlauts}fn a() {{}}\n");
    let (passed, text) = check(
        "prose",
        "",
        &[
            ("one/Cargo.toml", ""),
            ("one/src/a/mod.rs", &code),
            ("one/src/b/mod.rs", ""),
            ("one/src/a/tests.rs", ""),
            ("one/src/tests.rs", ""),
            ("one/src/calls.rs", ""),
            ("one/tests/calls.rs", ""),
            ("two/Cargo.toml", ""),
            ("two/src/calls.rs", "/// Sound is played.\n/// What follows is the second line.\nfn a() {}\n"),
            ("README.md", &document),
        ],
    );
    assert!(passed, "{text}");
}

#[test]
fn cycles_reports_circles_of_more_than_three_files() {
    let circle = [
        ("src/lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\n"),
        ("src/a.rs", "use crate::b::B;\npub struct A(B);\n"),
        ("src/b.rs", "use super::{c::C};\npub struct B(C);\n"),
        ("src/c.rs", "pub struct C(Box<crate::d::D>);\n"),
        ("src/d.rs", "// use crate::e::E;\nuse crate::a::A;\npub struct D(A);\n"),
    ];
    let (passed, text) = check("cycles", "src", &circle);
    assert!(!passed);
    assert!(text.contains("a circle of 4 files") && text.contains("src/c.rs"), "{text}");
}

#[test]
fn cycles_accepts_small_circles_and_ignores_tests_and_comments() {
    let three = [
        ("src/lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\n"),
        ("src/a.rs", "use crate::b::B;\npub struct A(B);\n"),
        ("src/b.rs", "use super::c::C;\npub struct B(C);\n"),
        ("src/c.rs", "use crate::a::A;\npub struct C(Box<A>);\n// crate::d::D\n"),
        ("src/d.rs", "use crate::a::A;\n\n#[cfg(test)]\nmod tests {\n    use crate::c::C;\n}\n"),
        ("src/e.rs", ""),
    ];
    let (passed, text) = check("cycles", "src", &three);
    assert!(passed, "{text}");
    assert!(text.contains("the largest circle has 3"), "{text}");
}
