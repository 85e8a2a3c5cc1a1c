//! What a document points to is there.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::markdown::{Document, documents};
use crate::root;

/// Words of a text that are paths in this repository: they begin with the name of a folder of its
/// root.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    const FOLDERS: &str = ".ci/ bench/ conformance/ crates/ docs/ fuzz/ packaging/ testdata/";
    text.split(|c: char| c.is_whitespace() || "`()[]<>\"',;:#".contains(c))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| FOLDERS.split(' ').any(|folder| word.starts_with(folder)))
        // A pattern stands for the folder that it begins with.
        .map(|word| word.split_once('*').map_or(word, |(folder, _)| folder))
}

#[test]
fn every_path_that_a_document_names_exists() {
    let mut found = 0;
    let mut missing = Vec::new();
    for document in documents().iter().filter(|document| document.is_general()) {
        let (links, spans) = (document.links(), document.spans());
        // A link is looked up from its document's folder: `links_lead_somewhere` does that.
        let words = document.prose.split(char::is_whitespace);
        let text = words.filter(|word| !links.iter().any(|link| word.contains(&**link)));
        for path in text.flat_map(paths).chain(spans.iter().copied().flat_map(paths)) {
            found += 1;
            if !root().join(path).exists() {
                missing.push(format!("{}: {path}", document.path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(found > 20, "only {found} paths were found: is the search right?");
}

#[test]
fn links_lead_somewhere() {
    let documents = documents();
    let known: BTreeMap<&Path, &Document> = documents.iter().map(|d| (&*d.path, d)).collect();
    let mut found = 0;
    let mut wrong = Vec::new();
    for document in &documents {
        for link in document.links() {
            if link.contains("://") {
                continue;
            }
            found += 1;
            if let Err(why) = follow(document, &link, &known) {
                wrong.push(format!("{}: {link}: {why}", document.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(found > 20, "only {found} links were found: is the search right?");
}

fn follow(
    document: &Document,
    link: &str,
    known: &BTreeMap<&Path, &Document>,
) -> Result<(), &'static str> {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(p, a)| (p, Some(a)));
    let folder = document.path.parent().unwrap_or(Path::new(""));
    let path = if path.is_empty() { document.path.clone() } else { normal(&folder.join(path)) };
    if !root().join(&path).exists() {
        return Err("there is no such file");
    }
    let Some(anchor) = anchor else { return Ok(()) };
    let target = known.get(&*path).ok_or("an anchor, in what is no document")?;
    let there = target.headings.iter().any(|heading| heading.anchor == anchor);
    there.then_some(()).ok_or("there is no such heading")
}

/// Without `.` and `..`, as the documents' own paths are.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
        path
    })
}

#[test]
fn every_page_of_the_guide_is_in_the_index() {
    let index = Document::load(Path::new("docs/README.md")).links();
    for document in documents() {
        let Ok(page) = document.path.strip_prefix("docs") else { continue };
        let page = page.to_str().expect("a name");
        if page != "README.md" && !page.starts_with("decisions/") {
            assert!(index.iter().any(|link| link == page), "docs/README.md does not list {page}");
        }
    }
}
