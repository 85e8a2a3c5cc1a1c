//! Commands that documents show can be typed: their flags, packages and examples exist.

use std::collections::BTreeSet;

use crate::markdown::{Block, documents};
use crate::root;
use crate::tool::{all_flags, flags_of};

/// What is wrong with a line of a shell, as far as it runs this project's tool or cargo.
fn check(line: &str) -> Result<usize, String> {
    let mut checked = 0;
    for command in split(line) {
        let mut words = command.iter().map(String::as_str).peekable();
        // A pinned core, or a variable, in front of the program.
        while words.next_if(|w| w.contains('=') || ["taskset", "-c", "1"].contains(w)).is_some() {}
        let name = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        match name.rsplit('/').next() {
            Some("provod") => provod(&rest)?,
            Some("cargo") => cargo(&rest)?,
            _ => continue,
        }
        checked += 1;
    }
    Ok(checked)
}

/// The commands of a line, which pipes and the like divide, as words without quotes.
fn split(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![vec![String::new()]];
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let command = commands.last_mut().expect("there is always one");
        let word = command.last_mut().expect("and a word in it");
        match c {
            _ if quote == Some(c) => quote = None,
            _ if quote.is_some() => word.push(c),
            '\'' | '"' => quote = Some(c),
            '#' if word.is_empty() => break,
            '|' | ';' | '&' => {
                while chars.next_if(|c| "|&".contains(*c)).is_some() {}
                commands.push(vec![String::new()]);
            }
            _ if c.is_whitespace() => command.push(String::new()),
            _ => word.push(c),
        }
    }
    commands.iter_mut().for_each(|words| words.retain(|word| !word.is_empty()));
    commands
}

fn provod(words: &[&str]) -> Result<(), String> {
    let Some(command) = words.first() else { return Err("provod alone does nothing".into()) };
    if ["--help", "--version", "help"].contains(command) {
        return Ok(());
    }
    let flags = flags_of(command).ok_or_else(|| format!("there is no provod {command}"))?;
    let used = words.iter().filter(|word| word.starts_with('-') && word.len() > 1);
    unknown(used, &flags).map_or(Ok(()), |flag| Err(format!("provod {command} has no {flag}")))
}

fn unknown<'a>(
    used: impl Iterator<Item = &'a &'a str>,
    flags: &BTreeSet<String>,
) -> Option<&'a str> {
    let name = |word: &'a str| word.split('=').next().unwrap_or_default();
    used.map(|word| name(word)).find(|flag| !flags.contains(*flag))
}

fn cargo(words: &[&str]) -> Result<(), String> {
    const COMMANDS: &str = "add build clippy doc fetch fmt fuzz install new run test tree";
    const FLAGS: &str = "--all --all-features --all-targets --check --example --examples --features \
                         --fuzz-dir --lib --no-deps --open --path --release --test --workspace -e -p";
    let listed = |list: &str, word: &str| list.split(' ').any(|known| known == word);
    let mut words = words.iter().copied().filter(|word| !word.starts_with('+')).peekable();
    let command = words.next().unwrap_or_default();
    if !listed(COMMANDS, command) {
        return Err(format!("cargo {command}: is that a command?"));
    }
    // What `cargo run` runs is the tool, unless something else is named.
    let mut runs_tool = command == "run";
    let mut package = "provod-cli";
    while let Some(word) = words.next() {
        match word {
            "--" if runs_tool => return provod(&words.collect::<Vec<_>>()),
            "--" => return Ok(()),
            "-p" => {
                package = words.next().unwrap_or_default();
                runs_tool &= package == "provod-cli";
                if !root().join("crates").join(package).exists() {
                    return Err(format!("there is no package {package:?}"));
                }
            }
            "--example" => {
                runs_tool = false;
                let name = words.next().unwrap_or_default();
                let folder = root().join("crates").join(package).join("examples");
                let file = folder.join(format!("{name}.rs"));
                if !file.exists() && !folder.join(name).join("main.rs").exists() {
                    return Err(format!("{package} has no example {name:?}"));
                }
            }
            "--manifest-path" => {
                runs_tool = false;
                let path = words.next().unwrap_or_default();
                if !root().join(path).exists() {
                    return Err(format!("there is no {path}"));
                }
            }
            flag if flag.starts_with('-') && !listed(FLAGS, flag) => {
                return Err(format!("cargo {flag}: is that a flag?"));
            }
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn commands_can_be_typed() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for document in documents() {
        let lines = document.blocks.iter().flat_map(typed);
        let spans = document.spans();
        let spans = spans.iter().copied().filter(|span| runs(span)).map(str::to_owned);
        for line in lines.chain(spans) {
            match check(&line) {
                Ok(commands) => checked += commands,
                Err(why) => wrong.push(format!("{}: {line}: {why}", document.path.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 20, "only {checked} commands were found: is the search right?");
}

/// The lines of a block that are typed: all of `sh`, and of a `console` those behind the prompt.
fn typed(block: &Block) -> Vec<String> {
    let text = block.text.replace("\\\n", " ");
    let line = |line: &str| match block.language() {
        "sh" => Some(line.to_owned()),
        "console" => line.strip_prefix("$ ").map(str::to_owned),
        _ => None,
    };
    text.lines().filter_map(line).collect()
}

/// Whether code in a sentence is a command to be typed: it has a flag. `provod serve` alone, or
/// with a placeholder, is a name.
fn runs(span: &str) -> bool {
    ["provod ", "cargo "].iter().any(|name| span.starts_with(name))
        && span.contains(" -")
        && !span.contains(['[', '…'])
}

/// A flag alone in a sentence, such as `--allow-origin ORIGIN`, is one of the tool's.
#[test]
fn flags_in_sentences_exist() {
    let flags = all_flags();
    let mut found = 0;
    for document in documents().iter().filter(|document| document.is_for_users()) {
        for span in document.spans() {
            if span.starts_with("--") {
                let flag = span.split([' ', '=', '[']).next().unwrap_or_default();
                found += 1;
                assert!(flags.contains(flag), "{}: {span}", document.path.display());
            }
        }
    }
    assert!(found > 40, "only {found} flags were found: is the search right?");
}

#[test]
fn what_cannot_be_typed_is_noticed() {
    for good in [
        "provod serve 0.0.0.0:80 --compress=off",
        "echo '{\"a\":\"--x\"}' | provod connect -s chat --one example.com/api # --nothing",
        "cargo run --release -- serve --workers 2",
        "taskset -c 1 cargo run --release -p provod-proto --example deflate_cost",
        "./target/release/provod connect --unix-socket /run/x.sock /chat < in | grep -v --line x",
    ] {
        assert_eq!(check(good).map(|n| n > 0), Ok(true), "{good}");
    }
    for bad in [
        "provod serve --historie 5",
        "provod speak",
        "provod connect --workers 2 example.com",
        "true && provod connect -z",
        "cargo run --release -- serve --worker 2",
        "cargo run -p provod --example chat",
        "cargo run -p provodd --example chat_client",
        "cargo tset --workspace",
        "cargo test --workspaces",
    ] {
        assert!(check(bad).is_err(), "{bad}");
    }
}
