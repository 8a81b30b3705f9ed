//! Tests of the book in `docs` and of links in all documents: what `mdbook build` does not check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the repository").to_owned()
}

/// All Markdown files below a directory, without hidden and built ones.
fn documents(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with('.') || ["target", "book", "corpus"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            documents(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// Lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// Anchors of a document's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
        kept.collect::<String>().replace(' ', "-")
    };
    let numbered = headings.map(anchor).map(|anchor| {
        let count = seen.entry(anchor.clone()).or_default();
        *count += 1;
        if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
    });
    numbered.collect()
}

/// Targets of links and pictures, in Markdown and in HTML, without those to other sites.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(text) {
        let without_code: String = line.split('`').step_by(2).collect::<Vec<_>>().join("");
        for part in without_code.split("](").skip(1) {
            links.extend(part.split(')').next().map(str::to_owned));
        }
        for part in line.split("src=\"").skip(1) {
            links.extend(part.split('"').next().map(str::to_owned));
        }
    }
    links.retain(|link| !link.contains("://") && !link.starts_with("mailto:"));
    links
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut all = Vec::new();
    documents(&root(), &mut all);
    assert!(all.len() > 60, "{}", all.len());
    let mut broken = Vec::new();
    let mut count = 0;
    for document in &all {
        let text = fs::read_to_string(document).unwrap();
        for link in links(&text) {
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => document.clone(),
                file => plain(&document.parent().unwrap().join(file)),
            };
            let is_there = match fs::read_to_string(&target) {
                Ok(text) => anchor.is_empty() || anchors(&text).contains(anchor),
                // A directory, or a file that is no text.
                Err(_) => anchor.is_empty() && target.exists(),
            };
            if !is_there {
                broken.push(format!("{}: {link}", document.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(count > 200, "only {count} links");
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

#[test]
fn the_book_has_every_document_once_under_its_title() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let mut chapters = BTreeMap::new();
    for line in summary.lines() {
        let Some((title, path)) =
            line.trim_start_matches([' ', '-']).strip_prefix('[').and_then(|l| l.split_once("]("))
        else {
            continue;
        };
        let path = path.trim_end_matches(')');
        assert!(chapters.insert(docs.join(path), title).is_none(), "{path} is in the summary twice");
    }
    let mut all = Vec::new();
    documents(&docs, &mut all);
    all.retain(|path| !path.ends_with("SUMMARY.md"));
    let missing: Vec<_> = all.iter().filter(|path| !chapters.contains_key(*path)).collect();
    assert!(missing.is_empty(), "not in docs/SUMMARY.md: {missing:?}");
    for (path, title) in chapters {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(text.lines().next(), Some(format!("# {title}").as_str()), "{}", path.display());
    }
}

#[test]
fn the_list_of_decisions_is_complete() {
    let directory = root().join("docs/decisions");
    let list = fs::read_to_string(directory.join("README.md")).unwrap();
    for entry in fs::read_dir(&directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "README.md" || list.contains(&format!("]({name})")), "{name} is not in decisions/README.md");
    }
}

#[test]
fn anchors_are_made_as_github_makes_them() {
    let text = "# A `b`: c, d\n```\n# no heading\n```\n## Same\n## Same\n";
    let expected = ["a-b-c-d", "same", "same-1"].map(str::to_owned);
    assert_eq!(anchors(text), BTreeSet::from(expected));
}
