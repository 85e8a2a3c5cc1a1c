//! Names of the API that documents mention exist.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::markdown::documents;
use crate::root;

/// Names of others, which documents may mention.
const FOREIGN: [&str; 9] =
    ["AsyncFd", "Bytes", "RawFd", "SinkExt", "mem", "mio", "std", "tokio", "tracing"];

/// The source of the crates that have an API, without their tests.
struct Sources(String);

impl Sources {
    fn load() -> Self {
        let mut all = String::new();
        for name in ["provod", "provod-proto", "provod-testkit"] {
            collect(&root().join("crates").join(name).join("src"), &mut all);
        }
        Self(all)
    }

    /// Whether the last of the names is a member of the one before it, or a free item behind a
    /// module.
    fn has(&self, owner: &str, name: &str) -> bool {
        if owner.starts_with(char::is_lowercase) {
            return self.item(name);
        }
        self.bodies(owner).any(|(of_trait, body)| member(body, name, of_trait))
    }

    fn item(&self, name: &str) -> bool {
        let kinds = ["fn", "async fn", "struct", "enum", "mod", "trait", "const"];
        kinds.iter().any(|kind| {
            self.0.split(&format!("pub {kind} {name}")).skip(1).any(|rest| !continues(rest))
        })
    }

    /// The definition of a type and its `impl` blocks, each up to the brace at the start of a line,
    /// with whether it is that of a trait.
    fn bodies<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = (bool, &'a str)> {
        self.0.match_indices(owner).filter_map(move |(at, _)| {
            let before = self.0[..at].rsplit('\n').next().unwrap_or_default();
            let rest = &self.0[at + owner.len()..];
            let defines = ["pub struct ", "pub enum "].contains(&before);
            // Behind `for`, or where no `for` follows: otherwise it is a trait, or its parameter.
            let of_trait = before.ends_with(" for ");
            let last = of_trait || !rest.lines().next().is_some_and(|line| line.contains(" for "));
            let implements = before.starts_with("impl") && last;
            ((defines || implements) && !continues(rest))
                .then(|| (of_trait, rest.split("\n}").next().unwrap_or_default()))
        })
    }
}

/// Whether a name goes on: `Server` is not in `ServerName`.
fn continues(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

fn member(body: &str, name: &str, of_trait: bool) -> bool {
    let lines = body.lines().map(str::trim_start);
    let mut heads = lines.flat_map(|line| {
        let forms = ["pub fn ", "pub async fn ", "pub const fn ", "pub const ", "pub "];
        let public = forms.into_iter().filter_map(move |form| line.strip_prefix(form));
        // Neither a variant nor a trait's function has `pub`.
        let variant = name.starts_with(char::is_uppercase).then_some(line);
        public.chain(variant).chain(line.strip_prefix("fn ").filter(|_| of_trait))
    });
    heads.any(|head| head.strip_prefix(name).is_some_and(|rest| !continues(rest)))
}

fn collect(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "tests") {
            collect(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(&path).expect("a source file"));
        }
    }
}

#[test]
fn names_of_the_api_exist() {
    let sources = Sources::load();
    let mut seen = BTreeMap::new();
    for document in documents().iter().filter(|document| document.is_for_users()) {
        for span in document.spans() {
            let name = span.split(['(', ' ', '<']).next().unwrap_or_default();
            let parts: Vec<&str> = name.split("::").collect();
            let [.., owner, last] = parts[..] else { continue };
            let valid = |c: char| c.is_alphanumeric() || c == '_';
            let is_name = parts.iter().all(|part| !part.is_empty() && part.chars().all(valid));
            if is_name && !FOREIGN.contains(&parts[0]) && !FOREIGN.contains(&owner) {
                let known = seen.entry(name.to_owned()).or_insert_with(|| sources.has(owner, last));
                assert!(*known, "{}: there is no {name}", document.path.display());
            }
        }
    }
    assert!(seen.len() > 20, "only {} names were found: is the search right?", seen.len());
}

#[test]
fn names_that_do_not_exist_are_noticed() {
    let sources = Sources::load();
    for (owner, name) in [
        ("Group", "publish"),
        ("SlowPolicy", "Latest"),
        ("Config", "high_water"),
        ("CloseCode", "GOING_AWAY"),
        ("Closed", "unsent"),
        ("DeflateConfig", "default"),
        ("provod", "connect"),
        ("server", "Drain"),
    ] {
        assert!(sources.has(owner, name), "{owner}::{name}");
    }
    for (owner, name) in [
        ("Group", "publis"),
        ("Group", "high_water"),
        ("SlowPolicy", "Newest"),
        ("Grou", "publish"),
        ("Group", "inner"),
        ("Default", "publish"),
        ("provod", "conect"),
    ] {
        assert!(!sources.has(owner, name), "{owner}::{name}");
    }
}
