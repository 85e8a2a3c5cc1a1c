//! Replays the committed corpora through the fuzz bodies.

use std::fs;
use std::path::Path;

use provod_testkit::fuzz::{Body, TARGETS};

/// Runs every file of one corpus; gives how many there were.
fn replay(name: &str, body: Body) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    for file in &files {
        let bytes = fs::read(file).expect("a readable file");
        // A panic names the file: the test's output is all one has.
        let result = std::panic::catch_unwind(|| body(&bytes));
        assert!(result.is_ok(), "{} fails", file.display());
    }
    files.len()
}

#[test]
fn head() {
    run("head");
}

#[test]
fn frames() {
    run("frames");
}

#[test]
fn inflate() {
    run("inflate");
}

#[test]
fn operations() {
    run("operations");
}

#[test]
fn conversation() {
    run("conversation");
}

fn run(name: &str) {
    let (_, body) = TARGETS.into_iter().find(|t| t.0 == name).expect("a target of that name");
    assert!(replay(name, body) >= 20, "the corpus of {name} is committed");
}

/// Every body takes any bytes: a short run over noise, in every build.
#[test]
fn noise() {
    let mut state = 1u64;
    for (name, body) in TARGETS {
        for len in 0..300usize {
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            let result = std::panic::catch_unwind(|| body(&bytes));
            assert!(result.is_ok(), "{name} fails on {bytes:x?}");
        }
    }
}
