//! The house of crates: dependencies point one way, `proto <- provod <- hub <- cli`, and the
//! protocol core stays pure. A dev-dependency may point anywhere.

use std::process::Command;

use serde_json::Value;

/// Each crate and those of ours that it may use.
const MAY_USE: [(&str, &[&str]); 5] = [
    ("provod-proto", &[]),
    ("provod", &["provod-proto"]),
    ("provod-hub", &["provod-proto", "provod"]),
    ("provod-cli", &["provod-proto", "provod", "provod-hub"]),
    ("provod-testkit", &["provod-proto"]),
];

/// What the core may use: no I/O, no clock, no randomness, no HTTP types.
const CORE_MAY_USE: [&str; 6] = ["base64", "bytes", "flate2", "httparse", "sha1", "simdutf8"];

/// Crate and dependency, for each dependency that is no dev-dependency.
fn arrows() -> Vec<(String, String)> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .args(["--manifest-path", manifest])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let mut arrows = Vec::new();
    for package in metadata["packages"].as_array().expect("a list of packages") {
        for dependency in package["dependencies"].as_array().expect("a list of dependencies") {
            if dependency["kind"] != "dev" {
                arrows.push((text(&package["name"]), text(&dependency["name"])));
            }
        }
    }
    arrows
}

fn wrong(arrows: &[(String, String)]) -> Vec<String> {
    let is_wrong = |from: &str, to: &str| {
        let ours = to == "provod" || to.starts_with("provod-");
        let listed = MAY_USE.iter().find(|(name, _)| *name == from);
        let allowed = listed.is_some_and(|(_, may)| may.contains(&to));
        let pure = from != "provod-proto" || CORE_MAY_USE.contains(&to);
        listed.is_none() || (ours && !allowed) || !pure
    };
    let wrong = arrows.iter().filter(|(from, to)| is_wrong(from, to));
    wrong.map(|(from, to)| format!("{from} -> {to}")).collect()
}

#[test]
fn dependencies_point_one_way() {
    let arrows = arrows();
    assert!(arrows.contains(&("provod".to_owned(), "provod-proto".to_owned())), "{arrows:?}");
    assert_eq!(wrong(&arrows), Vec::<String>::new());
}

#[test]
fn a_wrong_arrow_is_seen() {
    for (from, to) in [
        ("provod-proto", "provod"),
        ("provod-proto", "tokio"),
        ("provod", "provod-cli"),
        ("provod", "provod-hub"),
        ("provod", "provod-testkit"),
        ("provod-cli", "provod-testkit"),
        ("provod-hub", "provod-cli"),
        ("provod-new", "provod-proto"),
    ] {
        let arrow = [(from.to_owned(), to.to_owned())];
        assert_eq!(wrong(&arrow).len(), 1, "{from} -> {to}");
    }
}
