//! The repository's documents name what exists: files, flags and decisions.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn decisions() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("docs/decisions")).expect("the folder of decisions");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    paths
}

/// Words of a text that are paths in this repository: they begin with the name of a folder of its
/// root.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    const FOLDERS: [&str; 7] =
        [".ci/", "bench/", "conformance/", "crates/", "docs/", "fuzz/", "testdata/"];
    text.split(|c: char| c.is_whitespace() || "`()[]<>\"',;:#".contains(c))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)))
        // A pattern stands for the folder that it begins with.
        .map(|word| word.split_once('*').map_or(word, |(folder, _)| folder))
}

#[test]
fn every_path_that_a_document_names_exists() {
    let mut documents: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
            .map(PathBuf::from)
            .into();
    documents.extend(decisions());
    let mut found = 0;
    let mut missing = Vec::new();
    for document in &documents {
        for path in paths(&read(document)) {
            found += 1;
            if !root().join(path).exists() {
                missing.push(format!("{}: {path}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(found > 20, "only {found} paths were found: is the search right?");
}

#[test]
fn the_readme_lists_every_flag_of_the_tool_and_no_other() {
    let readme = read("README.md");
    let listed: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `--"))
        .map(|row| row.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect())
        .collect();
    let source = read("crates/provod-cli/src/options.rs");
    let (_, options) = source.split_once("struct Options {").expect("the struct of options");
    let (options, _) = options.split_once("\n}").expect("its end");
    let flags: BTreeSet<String> = options
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(": ").map(|(name, _)| name))
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .map(|name| name.replace('_', "-"))
        .collect();
    assert_eq!(listed, flags);
    assert!(flags.contains("workers") && flags.len() >= 10, "{flags:?}");
}

#[test]
fn decisions_are_numbered_from_one_without_gaps() {
    for (i, path) in decisions().iter().enumerate() {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let number = i + 1;
        assert!(name.starts_with(&format!("{number:04}-")), "{name}");
        let title = format!("# {number}. ");
        assert!(read(path).starts_with(&title), "{name} does not begin with {title:?}");
    }
}
