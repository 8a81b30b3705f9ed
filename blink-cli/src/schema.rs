//! Comparison of `docs/json.md` with the program: neither may know what the other does not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const PAGE: &str = include_str!("../../docs/json.md");
const EVENTS: &str = include_str!("../../blink-proto/src/call/event.rs");
const REPLIES: &str = include_str!("commands/reply.rs");
const COMMANDS: &str = include_str!("commands.rs");

/// Names with their fields.
type Entries = BTreeMap<String, BTreeSet<String>>;

/// Rows of the table under a heading: `| name | fields | text |`.
fn documented(heading: &str) -> Entries {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(heading)).expect("the page has this section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let mut cells = row.split(" | ");
        let name = cells.next().and_then(|name| name.strip_suffix('`')).expect("the first cell is a name").to_owned();
        let fields = cells.next().expect("the second cell has the fields");
        let fields = fields.split(", ").filter(|field| *field != "none");
        (name, fields.map(|field| field.trim_matches('`').to_owned()).collect())
    })
    .collect()
}

/// Variants of an enum in source text, with the names of their fields.
fn variants(source: &str, name: &str, separator: char) -> Entries {
    let (_, body) = source.split_once(&format!("enum {name} {{")).expect("the source has this enum");
    let (body, _) = body.split_once("\n}\n").expect("an enum ends");
    let mut entries = Entries::new();
    let mut last = None;
    for line in body.lines() {
        let text = line.trim_start();
        if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if line.starts_with("        ") {
            let fields: &mut BTreeSet<String> =
                last.as_ref().and_then(|name| entries.get_mut(name)).expect("a field follows its variant");
            fields.insert(word);
        } else {
            let name = separated(&word, separator);
            entries.insert(name.clone(), BTreeSet::new());
            last = Some(name);
        }
    }
    entries
}

/// `ParticipantLeft` as `participant_left`.
fn separated(name: &str, separator: char) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push(separator);
        }
        out.extend(c.to_lowercase());
    }
    out
}

#[test]
fn every_event_of_the_engine_is_documented_with_its_fields() {
    assert_eq!(documented("Events of the engine"), variants(EVENTS, "Event", '_'));
}

#[test]
fn every_command_and_reply_is_documented_with_its_fields() {
    assert_eq!(documented("Commands"), variants(COMMANDS, "Command", '-'));
    let mut replies = variants(REPLIES, "Reply", '_');
    let (_, state) = REPLIES.split_once("pub(crate) struct State {").expect("there is a state");
    let (state, _) = state.split_once("\n}\n").expect("a struct ends");
    let fields = state.lines().filter_map(|line| line.trim().strip_prefix("pub(crate) ")?.split(':').next());
    replies.insert("state".to_owned(), fields.map(str::to_owned).collect());
    assert_eq!(documented("Replies"), replies);
}

#[test]
fn every_event_in_the_source_of_this_program_is_documented() {
    let mut known: BTreeSet<String> = documented("Events of the program").into_keys().collect();
    known.extend(documented("Replies").into_keys());
    known.extend(documented("Events of the engine").into_keys());
    let mut found = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.contains("listening") && found.contains("check"), "{found:?}");
    assert_eq!(found.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
}

fn collect(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        for start in [r#""event": ""#, r#"["event"] = ""#] {
            let names = source.split(start).skip(1).filter_map(|rest| rest.split('"').next());
            let is_name = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            found.extend(names.filter(is_name).map(str::to_owned));
        }
    }
}
