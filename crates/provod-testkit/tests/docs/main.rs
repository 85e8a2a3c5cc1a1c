//! The repository's documents name what exists, and what they show works: links, paths, commands,
//! flags, names of the API, blocks of code.
//!
//! Rust is compiled and run as doc tests (`crates/provod/src/documents.rs`), JavaScript by
//! `conformance/browser/docs.test.mjs`.

mod blocks;
mod commands;
mod links;
mod markdown;
mod names;
mod tool;
mod twins;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn decisions_are_numbered_from_one_without_gaps() {
    let entries = fs::read_dir(root().join("docs/decisions")).expect("the folder of decisions");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    for (i, path) in paths.iter().enumerate() {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let number = i + 1;
        assert!(name.starts_with(&format!("{number:04}-")), "{name}");
        let title = format!("# {number}. ");
        assert!(read(path).starts_with(&title), "{name} does not begin with {title:?}");
    }
}
