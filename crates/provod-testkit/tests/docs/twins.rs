//! The README and its Russian twin say the same.

use std::path::Path;

use crate::markdown::{Block, Document};

/// What must be equal in both. A block of code is equal when it is so without its comments, and has
/// as many of them: everything else, text in quotes too, is code and the same in every language.
fn outline(document: &Document) -> Vec<String> {
    let mut outline = Vec::new();
    outline.extend(document.headings.iter().map(|h| format!("a heading of level {}", h.level)));
    outline.extend(document.blocks.iter().map(code));
    outline.extend(document.tables().iter().map(|table| format!("a table with cells {table:?}")));
    let mut links = document.links();
    for link in &mut links {
        if link.starts_with('#') {
            *link = "a heading of its own".to_owned();
        } else if link.starts_with("README.") {
            *link = "the twin".to_owned();
        }
    }
    links.sort();
    outline.extend(links);
    outline
}

fn code(block: &Block) -> String {
    let mark = match block.language() {
        "rust" | "js" => "//",
        "sh" | "toml" => "#",
        // Output and the like has no comments.
        _ => "\0",
    };
    let lines = block.text.lines().map(|line| match comment(line, mark) {
        Some(at) => format!("{}{mark}\n", &line[..at]),
        None => format!("{line}\n"),
    });
    format!("```{}\n{}", block.info, lines.collect::<String>())
}

/// Where a comment begins: at the start of a line or behind a space, so not in `ws://`.
fn comment(line: &str, mark: &str) -> Option<usize> {
    let begins = |at: &usize| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    line.match_indices(mark).map(|(at, _)| at).find(begins)
}

fn difference(one: &str, other: &str) -> Option<String> {
    let (one, other) = (parse(one), parse(other));
    let (one, other) = (outline(&one), outline(&other));
    let different = one.iter().zip(&other).find(|(a, b)| a != b);
    different.map(|(a, b)| format!("{a}\n---\n{b}")).or_else(|| {
        let (n, m) = (one.len(), other.len());
        (n != m).then(|| format!("{n} parts and {m}"))
    })
}

fn parse(text: &str) -> Document {
    Document::parse(Path::new("a twin"), text)
}

#[test]
fn the_readme_and_its_russian_twin_have_the_same_outline() {
    let (english, russian) = (crate::read("README.md"), crate::read("README.ru.md"));
    assert_eq!(difference(&english, &russian), None);
    let outline = outline(&parse(&english));
    assert!(outline.len() > 20, "only {} parts are compared", outline.len());
    let cyrillic = |c: &char| ('а'..='я').contains(c);
    assert!(russian.chars().filter(cyrillic).count() > russian.len() / 8, "it is not in Russian");
}

#[test]
fn twins_may_differ_in_words_and_comments_alone() {
    const TWIN: &str = "# A\n[x](b.md)\n```rust\nlet url = \"ws://x\"; // so\n```\n| a |\n|---|\n";
    let with = |from: &str, to: &str| difference(TWIN, &TWIN.replace(from, to));
    assert_eq!(with("# A", "# Б"), None);
    assert_eq!(with("[x]", "[ы]"), None);
    assert_eq!(with("// so", "// так"), None);
    for (from, to) in [
        ("# A", "## A"),
        ("# A\n", ""),
        ("b.md", "c.md"),
        ("ws://x", "ws://y"),
        (" // so", ""),
        ("let url", "let uri"),
        ("```rust", "```js"),
        ("| a |", "| a | b |"),
        ("|---|\n", "|---|\n| 1 |\n"),
    ] {
        assert!(with(from, to).is_some(), "{from:?} and {to:?} pass for the same");
    }
}
