//! As much of Markdown as these documents use: headings, fenced code, code spans, links and tables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{read, root};

/// A document of the repository, taken apart.
pub(crate) struct Document {
    /// From the repository's root.
    pub(crate) path: PathBuf,
    pub(crate) headings: Vec<Heading>,
    pub(crate) blocks: Vec<Block>,
    /// Everything but fenced code.
    pub(crate) prose: String,
}

pub(crate) struct Heading {
    pub(crate) level: usize,
    /// What a link to it has behind the `#`.
    pub(crate) anchor: String,
}

/// Fenced code.
pub(crate) struct Block {
    /// What stands behind the fence, such as `rust,no_run`.
    pub(crate) info: String,
    pub(crate) text: String,
    /// Of its first fence, counted from 1.
    pub(crate) line: usize,
}

impl Block {
    pub(crate) fn language(&self) -> &str {
        self.info.split([',', ' ']).next().unwrap_or_default()
    }
}

impl Document {
    /// Whether it is one of the root or of `docs`: the others are about what they lie beside, and
    /// name what is made there, or flags of other programs.
    pub(crate) fn is_general(&self) -> bool {
        self.path.components().count() == 1 || self.path.starts_with("docs")
    }

    /// Whether it is for those who use the crates and the tool.
    pub(crate) fn is_for_users(&self) -> bool {
        let internal = ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/decisions"];
        self.is_general() && !internal.iter().any(|path| self.path.starts_with(path))
    }

    pub(crate) fn load(path: &Path) -> Self {
        Self::parse(path, &read(path))
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Self {
        let mut document = Self {
            path: path.to_owned(),
            headings: Vec::new(),
            blocks: Vec::new(),
            prose: String::new(),
        };
        let mut taken = BTreeMap::new();
        let mut open: Option<Block> = None;
        for (i, line) in text.lines().enumerate() {
            let fence = line.trim_start().strip_prefix("```");
            match (&mut open, fence) {
                (None, Some(info)) => {
                    let info = info.trim().to_owned();
                    open = Some(Block { info, text: String::new(), line: i + 1 });
                }
                (Some(_), Some("")) => document.blocks.extend(open.take()),
                (Some(block), _) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {
                    document.headings.extend(heading(line, &mut taken));
                    document.prose.push_str(line);
                    document.prose.push('\n');
                }
            }
        }
        assert!(open.is_none(), "{}: code without an end", path.display());
        document
    }

    /// The text of each code span, and the prose with their places left empty.
    fn split_spans(&self) -> (Vec<&str>, String) {
        let (mut spans, mut rest) = (Vec::new(), String::new());
        let mut text = &*self.prose;
        while let Some(at) = text.find('`') {
            let (before, from) = text.split_at(at);
            let ticks = from.len() - from.trim_start_matches('`').len();
            let (fence, inside) = from.split_at(ticks);
            rest.push_str(before);
            let end = inside.find(fence).unwrap_or_else(|| {
                let line = inside.lines().next();
                panic!("{}: a code span without an end: {line:?}", self.path.display())
            });
            spans.push(&inside[..end]);
            text = &inside[end + ticks..];
        }
        rest.push_str(text);
        (spans, rest)
    }

    pub(crate) fn spans(&self) -> Vec<&str> {
        self.split_spans().0
    }

    /// Where links and pictures lead, those of HTML included.
    pub(crate) fn links(&self) -> Vec<String> {
        let (_, prose) = self.split_spans();
        let between = |open: &str, close: char| {
            let parts: Vec<String> = prose
                .split(open)
                .skip(1)
                .filter_map(|rest| rest.split(close).next())
                .map(|target| target.trim_matches(['<', '>']).to_owned())
                .collect();
            parts
        };
        let mut links = between("](", ')');
        for attribute in ["src=\"", "srcset=\"", "href=\""] {
            links.extend(between(attribute, '"'));
        }
        links
    }

    /// Each table's rows, the separator left out, as numbers of cells.
    pub(crate) fn tables(&self) -> Vec<Vec<usize>> {
        let mut tables: Vec<Vec<usize>> = Vec::new();
        let mut inside = false;
        for line in self.prose.lines() {
            let row = line.starts_with('|');
            if row && !inside {
                tables.push(Vec::new());
            }
            if let Some(table) = tables.last_mut().filter(|_| row) {
                table.push(line.replace("\\|", "").matches('|').count() - 1);
            }
            inside = row;
        }
        tables
    }
}

/// The heading in this line. Anchors are made as GitHub makes them; `taken` are those that came
/// before.
fn heading(line: &str, taken: &mut BTreeMap<String, usize>) -> Option<Heading> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    let text = text.strip_prefix(' ').filter(|_| level > 0)?;
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    let slug: String = kept.flat_map(char::to_lowercase).collect::<String>().replace(' ', "-");
    let count = taken.entry(slug.clone()).or_default();
    let anchor = if *count == 0 { slug } else { format!("{slug}-{count}") };
    *count += 1;
    Some(Heading { level, anchor })
}

/// All documents of the repository.
pub(crate) fn documents() -> Vec<Document> {
    let mut found = Vec::new();
    collect(&root(), &mut found);
    found.sort();
    assert!(found.len() > 20, "only {} documents: is the search right?", found.len());
    let root = root();
    let relative = found.iter().map(|path| path.strip_prefix(&root).expect("it is below"));
    relative.map(Document::load).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    /// What tools put there.
    const FOREIGN: [&str; 7] =
        [".cache", ".git", "__pycache__", "artifacts", "node_modules", "reports", "target"];
    for entry in std::fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !FOREIGN.contains(&name) {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

#[test]
fn documents_are_taken_apart() {
    let text = "# A `b` c\n[x](y.md#z) `[no](link)`\n## A, B\n```rust,no_run\n# fn\n```\n\
                | a | b |\n|---|---|\n| `x\\|y` | <img src=\"p.png\"> |\n## A b\n";
    let document = Document::parse(Path::new("test.md"), text);
    let headings = document.headings.iter().map(|h| (h.level, &*h.anchor));
    assert_eq!(headings.collect::<Vec<_>>(), [(1, "a-b-c"), (2, "a-b"), (2, "a-b-1")]);
    assert_eq!(document.links(), ["y.md#z", "p.png"]);
    assert_eq!(document.spans(), ["b", "[no](link)", "x\\|y"]);
    assert_eq!(document.tables(), [[2, 2, 2]]);
    assert_eq!(document.blocks.len(), 1);
    assert_eq!((document.blocks[0].language(), &*document.blocks[0].text), ("rust", "# fn\n"));
}
