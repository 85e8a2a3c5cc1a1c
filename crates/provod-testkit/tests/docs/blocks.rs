//! Blocks of code that need no program to be checked, and that the others are checked elsewhere.

use serde_json::Value;

use crate::markdown::{Block, Document, documents};
use crate::read;

/// What blocks may hold. This file reads `json` and `toml`; doc tests compile `rust`; `commands.rs`
/// reads what `console` and `sh` type for the tool and for cargo; `docs.test.mjs` reads `js` and runs
/// the pages in `html`; the tests of proxies run `haproxy` and `nginx`. Nobody checks `caddyfile`,
/// which is tried by hand, `yaml`, for which there is no parser here, and `text`, which is shown.
const LANGUAGES: &str = "caddyfile console haproxy html js json nginx rust sh text toml yaml";

fn blocks(documents: &[Document]) -> impl Iterator<Item = (&Document, &Block)> {
    documents.iter().flat_map(|document| document.blocks.iter().map(move |block| (document, block)))
}

fn place(document: &Document, block: &Block) -> String {
    format!("{}:{}", document.path.display(), block.line)
}

#[test]
fn toml_and_json_can_be_read() {
    let (mut toml, mut json) = (0, 0);
    for (document, block) in blocks(&documents()) {
        let place = place(document, block);
        match block.language() {
            "toml" => {
                toml += 1;
                let read = block.text.parse::<toml::Table>();
                assert!(read.is_ok(), "{place}: {read:?}");
            }
            // One value, or one after the other.
            "json" => {
                json += 1;
                let values = serde_json::Deserializer::from_str(&block.text).into_iter::<Value>();
                for value in values {
                    assert!(value.is_ok(), "{place}: {value:?}");
                }
            }
            _ => {}
        }
    }
    assert!(toml > 0 && json > 0, "{toml} and {json} blocks were found");
}

#[test]
fn every_block_has_a_known_language() {
    for (document, block) in blocks(&documents()) {
        let known = LANGUAGES.split(' ').any(|language| language == block.language());
        assert!(known, "{}: {:?}", place(document, block), block.info);
    }
}

#[test]
fn rust_is_never_skipped_and_is_all_in_doc_tests() {
    let list = read("crates/provod/src/documents.rs");
    let mut found = 0;
    for (document, block) in blocks(&documents()) {
        if block.language() == "rust" {
            found += 1;
            let place = place(document, block);
            assert!(!block.info.contains("ignore"), "{place} is ignored");
            let include = format!("include_str!(\"../../../{}\")", document.path.display());
            assert!(list.contains(&include), "{place} is in no doc test: {include} is missing");
        }
    }
    assert!(found > 10, "only {found} blocks of Rust were found");
}

#[test]
fn lines_of_documents_are_not_longer_than_120_columns() {
    let mut long = Vec::new();
    for document in documents() {
        // A table's row cannot be broken, and a block of code is a quote.
        for line in document.prose.lines().filter(|line| !line.starts_with('|')) {
            if line.chars().count() > 120 {
                long.push(format!("{}: {line}", document.path.display()));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn the_picture_has_words() {
    for name in ["README.md", "README.ru.md"] {
        let prose = Document::load(name.as_ref()).prose;
        let (_, tag) = prose.split_once("<img ").expect("a picture");
        let words = tag.split('>').next().unwrap_or_default().split("alt=\"").nth(1);
        assert!(words.is_some_and(|words| !words.starts_with('"')), "{name}: {tag}");
    }
}
