//! The tables of configuration keys in the documents, compared with the program: neither may have
//! a key or a default that the other does not.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::program::run;

const README: &str = include_str!("../../../README.md");
const GUIDE: &str = include_str!("../../../docs/integrators.md");

/// Keys of the program with their defaults; without a default where the test sets the key.
fn keys_of_the_program() -> BTreeMap<String, Option<Value>> {
    let directory = tempfile::tempdir().unwrap();
    let ended = run(directory.path(), &["config", "--json"]);
    assert_eq!(ended.status, 0, "{ended:?}");
    let keys = ended.objects();
    let key = |entry: &Value| {
        let default = (entry["source"] == "default").then(|| entry["value"].clone());
        (entry["key"].as_str().unwrap().to_owned(), default)
    };
    keys.as_array().unwrap().iter().map(key).collect()
}

/// The part of a document from one heading to another.
fn section<'a>(document: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = document.split_once(from).unwrap_or_else(|| panic!("no {from}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to}")).0
}

/// Cells of all rows of tables whose header begins with `key`.
fn rows(section: &str) -> Vec<Vec<&str>> {
    let mut rows = Vec::new();
    let mut is_table_of_keys = false;
    for line in section.lines() {
        let Some(inner) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            is_table_of_keys = false;
            continue;
        };
        let cells: Vec<_> = inner.split('|').map(str::trim).collect();
        match cells[0] {
            "key" => is_table_of_keys = true,
            text if is_table_of_keys && !text.starts_with("---") => rows.push(cells),
            _ => {}
        }
    }
    rows
}

/// Texts between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// `a.{b, c}` stands for `a.b` and `a.c`.
fn expanded(key: &str) -> Vec<String> {
    let Some((prefix, names)) = key.split_once(".{") else { return vec![key.to_owned()] };
    names.trim_end_matches('}').split(',').map(|name| format!("{prefix}.{}", name.trim())).collect()
}

/// Keys of a document with the text of their default.
fn documented(section: &str) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    let mut add = |key: String, default: &str| {
        assert!(keys.insert(key.clone(), default.to_owned()).is_none(), "{key} is documented twice");
    };
    for row in rows(section) {
        // Several pairs of a key and a default in a row are timers.
        let timers = row.len() > 3;
        if timers {
            for pair in row.chunks(2) {
                quoted(pair[0]).for_each(|key| add(format!("call.timers.{key}"), pair[1]));
            }
            continue;
        }
        let names: Vec<_> = quoted(row[0]).flat_map(expanded).collect();
        let defaults: Vec<_> = quoted(row[1]).collect();
        for (n, name) in names.iter().enumerate() {
            let default = if defaults.len() == names.len() { format!("`{}`", defaults[n]) } else { row[1].to_owned() };
            add(name.clone(), &default);
        }
    }
    keys
}

/// Whether a documented default is this value. Texts without a literal, such as "as for `libp2p`",
/// are not compared.
fn is_default(text: &str, value: &Value) -> bool {
    let literal = text.strip_prefix('`').and_then(|text| text.strip_suffix('`')).filter(|text| !text.contains('`'));
    match literal {
        Some(literal) => serde_json::from_str::<Value>(literal).is_ok_and(|literal| same(&literal, value)),
        None if text == "none" => value.is_null() || value.is_string(),
        None => true,
    }
}

fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => (one - other).abs() < 1e-6,
        _ => one == other,
    }
}

#[test]
fn the_guide_has_every_key_and_no_other() {
    let program = keys_of_the_program();
    let documented = documented(section(GUIDE, "\n## Configuration\n", "\n## The data directory\n"));
    let missing: Vec<_> = program.keys().filter(|key| !documented.contains_key(*key)).collect();
    let unknown: Vec<_> = documented.keys().filter(|key| !program.contains_key(*key)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}, unknown: {unknown:?}");
    // The program sets backends and devices by itself: the guide has the defaults of the library.
    let own = ["transport", "signaling", "codec", "media_host", "processor", "recorder", "data_dir"];
    for (key, value) in program.iter().filter(|(key, _)| !own.contains(&key.as_str())) {
        let default = quoted_timer(&documented[key]);
        let fits = value.as_ref().is_none_or(|value| is_default(&default, value));
        assert!(fits, "{key}: {default} in the guide, {value:?} in the program");
    }
}

/// Durations of timers are written without quotes.
fn quoted_timer(default: &str) -> String {
    let inner = default.trim_matches('`');
    match inner.chars().next().is_some_and(|first| first.is_ascii_digit()) && inner.ends_with(['s', 'm', 'h']) {
        true => format!("`\"{inner}\"`"),
        false => default.to_owned(),
    }
}

#[test]
fn the_readme_has_every_key_of_the_program_and_its_default() {
    let program = keys_of_the_program();
    let documented = documented(section(README, "\n## Configuration\n", "\n## Measurements\n"));
    let of_backends = ["transports.", "signalings.", "codecs.", "media_hosts.", "processors.", "recorders."];
    for (key, value) in &program {
        if of_backends.iter().any(|prefix| key.starts_with(prefix)) || key.starts_with("call.timers.") {
            continue;
        }
        let default = documented.get(key).unwrap_or_else(|| panic!("the README has no {key}"));
        let fits = value.as_ref().is_none_or(|value| is_default(default, value)) || key == "data_dir";
        assert!(fits, "{key}: {default} in the README, {value:?} in the program");
    }
    let unknown: Vec<_> =
        documented.keys().filter(|key| !program.contains_key(*key) && *key != "call.timers.*").collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
