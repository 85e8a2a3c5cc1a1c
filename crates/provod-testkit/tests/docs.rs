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

/// The flags in the tables of a section of the README.
fn listed(heading: &str) -> BTreeSet<String> {
    let readme = read("README.md");
    let (_, section) = readme.split_once(heading).expect("the heading");
    let (section, _) = section.split_once("\n#").expect("another heading after it");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `-"));
    let cells = rows.filter_map(|row| row.split_once(" | ").map(|(cell, _)| cell));
    let names = cells.map(|cell| {
        // The prefix that was cut off is the first dash of the long name where it stands alone.
        let name = cell.split_once("--").map_or(cell, |(_, long)| long).trim_start_matches('-');
        name.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect()
    });
    names.collect()
}

/// The long flags that the fields of a struct of the tool stand for.
fn flags(path: &str, name: &str) -> BTreeSet<String> {
    let source = read(path);
    let (_, fields) = source.split_once(&format!("struct {name} {{\n")).expect("the struct");
    let (fields, _) = fields.split_once("\n}").expect("its end");
    let options = fields.split("#[arg(").skip(1).filter_map(|field| field.split_once(")]\n"));
    options
        .filter(|(attribute, _)| attribute.split([',', ' ']).any(|word| word == "long"))
        .map(|(_, rest)| {
            let name = rest.trim_start().split(':').next().expect("split gives something");
            name.replace('_', "-")
        })
        .collect()
}

#[test]
fn the_readme_lists_every_flag_of_the_tool_and_no_other() {
    let options = "crates/provod-cli/src/options.rs";
    let common = flags(options, "Common");
    let servers = flags(options, "Options");
    let client = flags("crates/provod-cli/src/connect/mod.rs", "Connect");
    assert!(common.contains("max-message") && common.len() >= 6, "{common:?}");
    assert!(servers.contains("workers") && servers.len() >= 4, "{servers:?}");
    assert!(client.contains("no-close") && client.len() >= 8, "{client:?}");
    assert_eq!(listed("### `provod serve` and `provod listen`"), &servers | &common);
    assert_eq!(listed("### `provod connect`"), &client | &common);
}

#[test]
fn the_readme_and_the_help_list_every_exit_code() {
    let source = read("crates/provod-cli/src/connect/failure.rs");
    let constants =
        source.lines().filter_map(|line| line.strip_prefix("const ")?.split_once(": u8 = "));
    let codes: Vec<&str> = constants.map(|(_, code)| code.trim_end_matches(';')).collect();
    assert!(codes.contains(&"1") && codes.contains(&"12") && codes.len() >= 11, "{codes:?}");
    let (readme, help) = (read("README.md"), read("crates/provod-cli/src/connect/mod.rs"));
    for code in codes {
        assert!(readme.contains(&format!("\n| {code} | ")), "{code} is not in the README");
        assert!(help.contains(&format!("\n{code:>4}  ")), "{code} is not in the help");
    }
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
