//! The vectors of `testdata/*.toml`, each answered by the core fed in every way that bytes can arrive:
//! whole, one by one, cut in three at every pair of offsets, and read straight into the message's buffer.
//! The notation of a vector is explained in `testdata/README.md`.

mod format;
mod runner;

use format::File;

/// Runs one file in both roles; gives the number of vectors so that a test can say how many it expects.
fn run(name: &str) -> usize {
    let path = format!("{}/../../testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let file: File = toml::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"));
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
