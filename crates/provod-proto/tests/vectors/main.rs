//! The vectors of `testdata/*.toml`, each answered by the core fed in every way that bytes can
//! arrive: whole, one by one, cut in three at every pair of offsets, and read straight into the
//! message's buffer. The notation of a vector is explained in `testdata/README.md`.

mod format;
mod runner;

use format::File;

fn load(name: &str) -> File {
    let path = format!("{}/../../testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    toml::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Runs one file in both roles; gives the number of vectors so that a test can say how many it
/// expects.
fn run(name: &str) -> usize {
    let file = load(name);
    for vector in &file.vector {
        for receiver in vector.receivers() {
            runner::check(vector, receiver);
        }
    }
    file.vector.len()
}

#[test]
fn frames() {
    assert!(run("frames.toml") >= 60);
}

#[test]
fn messages() {
    assert!(run("messages.toml") >= 50);
}

#[test]
fn close() {
    assert!(run("close.toml") >= 50);
}

#[test]
fn deflate() {
    assert!(run("deflate.toml") >= 30);
}

/// The variants are read from the source: the enum cannot be listed, and a new one must not be
/// forgotten.
#[test]
fn every_violation_and_limit_has_a_vector_in_each_role_that_can_see_it() {
    let source = include_str!("../../src/error.rs");
    let variants_of = |name: &str| {
        let body = source.split(&format!("pub enum {name} {{")).nth(1).expect("the enum is there");
        let body = body.split("\n}").next().unwrap_or_default();
        let names = body.lines().filter(|l| l.starts_with("    ") && !l.starts_with("     "));
        let names = names.map(|l| l.trim().trim_end_matches([',', '{', ' ']).to_owned());
        names.filter(|n| n.starts_with(char::is_uppercase)).collect::<Vec<_>>()
    };
    let variants = [variants_of("ProtocolError"), variants_of("LimitError")].concat();
    assert!(variants.len() >= 19, "{variants:?}");
    let files = ["frames.toml", "messages.toml", "close.toml", "deflate.toml"].map(load);
    let vectors: Vec<_> = files.iter().flat_map(|f| &f.vector).collect();
    // No input breaks it by itself: it depends on what other connections hold.
    let by_input = variants.into_iter().filter(|v| v != "MemoryBudget");
    for variant in by_input {
        for side in [provod_proto::Side::Server, provod_proto::Side::Client] {
            let one_sided = match side {
                provod_proto::Side::Server => "MaskedServerFrame",
                provod_proto::Side::Client => "UnmaskedClientFrame",
            };
            let seen = vectors
                .iter()
                .any(|v| v.error.as_ref() == Some(&variant) && v.receivers().contains(&side));
            assert!(seen || variant == one_sided, "{variant} at the {side:?}");
        }
    }
}
