//! The flags and exit codes of the tool, as its source has them and as `docs/tool.md` lists them.

use std::collections::BTreeSet;

use crate::read;

const PAGE: &str = "docs/tool.md";

/// The flags in the tables of a section of the page.
fn listed(heading: &str) -> BTreeSet<String> {
    let page = read(PAGE);
    let (_, section) = page.split_once(&format!("\n{heading}\n")).expect("the heading");
    let section = section.split_once("\n#").map_or(section, |(section, _)| section);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `-"));
    let cells = rows.filter_map(|row| row.split_once(" | ").map(|(cell, _)| cell));
    let names = cells.map(|cell| {
        // The prefix that was cut off is the first dash of the long name where it stands alone.
        let name = cell.split_once("--").map_or(cell, |(_, long)| long).trim_start_matches('-');
        let part = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(*c);
        name.chars().take_while(part).collect()
    });
    names.collect()
}

/// The long flags that the fields of a struct of the tool stand for, each with its short form where
/// it has one.
fn fields(path: &str, name: &str) -> Vec<(String, Option<char>)> {
    let source = read(path);
    let (_, fields) = source.split_once(&format!("struct {name} {{\n")).expect("the struct");
    let (fields, _) = fields.split_once("\n}").expect("its end");
    let options = fields.split("#[arg(").skip(1).filter_map(|field| field.split_once(")]\n"));
    options
        .filter_map(|(attribute, rest)| {
            let mut words = attribute.split(", ").map(str::trim);
            // `long`, or `long = "name"`.
            let mut longs = words.clone().filter_map(|word| word.strip_prefix("long"));
            let given = longs.find(|rest| rest.is_empty() || rest.starts_with(" ="))?;
            // A `cfg` may stand between the two.
            let field = rest.lines().find(|line| !line.trim_start().starts_with("#["))?;
            let field = field.trim_start().trim_start_matches("pub(super) ");
            let name = match given.split('"').nth(1) {
                Some(name) => name.to_owned(),
                None => field.split(':').next()?.replace('_', "-"),
            };
            let short = words.find_map(|word| match word.strip_prefix("short") {
                Some("") => name.chars().next(),
                Some(given) => given.split('\'').nth(1)?.chars().next(),
                None => None,
            });
            Some((name, short))
        })
        .collect()
}

fn flags(path: &str, name: &str) -> BTreeSet<String> {
    fields(path, name).into_iter().map(|(long, _)| long).collect()
}

const NETWORK: &str = "crates/provod-cli/src/connect/network.rs";
const OPTIONS: &str = "crates/provod-cli/src/options.rs";
const SECURE: &str = "crates/provod-cli/src/secure.rs";
const COMMANDS: [(&str, &str, &str); 4] = [
    ("serve", "crates/provod-cli/src/serve/mod.rs", "Serve"),
    ("listen", "crates/provod-cli/src/listen.rs", "Listen"),
    ("connect", "crates/provod-cli/src/connect/mod.rs", "Connect"),
    ("bench", "crates/provod-cli/src/bench/args.rs", "Bench"),
];

/// The flags of a command as they are written, `--long` and `-s`; `None` where it is no command.
pub(crate) fn flags_of(command: &str) -> Option<BTreeSet<String>> {
    let (_, path, name) = COMMANDS.into_iter().find(|(known, ..)| *known == command)?;
    let mut all = fields(path, name);
    if command != "bench" {
        all.extend(fields(OPTIONS, "Common"));
    }
    if ["serve", "listen"].contains(&command) {
        all.extend(fields(OPTIONS, "Options"));
        all.extend(fields(SECURE, "Secure"));
    }
    if command == "connect" {
        all.extend(fields(NETWORK, "Network"));
    }
    all.extend([("help".to_owned(), Some('h')), ("version".to_owned(), Some('V'))]);
    let written = all.into_iter().flat_map(|(long, short)| {
        std::iter::once(format!("--{long}")).chain(short.map(|c| format!("-{c}")))
    });
    Some(written.collect())
}

/// The flags of all commands.
pub(crate) fn all_flags() -> BTreeSet<String> {
    COMMANDS.iter().filter_map(|(command, ..)| flags_of(command)).flatten().collect()
}

#[test]
fn the_page_lists_every_flag_of_the_tool_and_no_other() {
    let common = flags(OPTIONS, "Common");
    let servers = &flags(OPTIONS, "Options") | &flags(SECURE, "Secure");
    let [(_, serve, _), (_, listen, _), (_, connect, _), (_, bench, _)] = COMMANDS;
    let (serve, listen) = (flags(serve, "Serve"), flags(listen, "Listen"));
    let connect = &flags(connect, "Connect") | &flags(NETWORK, "Network");
    assert!(common.contains("max-message") && common.len() >= 6, "{common:?}");
    assert!(servers.contains("workers") && servers.len() >= 4, "{servers:?}");
    assert!(connect.contains("no-close") && connect.len() >= 8, "{connect:?}");
    assert_eq!(listed("## `provod serve` and `provod listen`"), &servers | &common);
    assert_eq!(listed("## `provod serve` alone"), serve);
    assert_eq!(listen, BTreeSet::new(), "flags of `listen` alone have no table");
    assert_eq!(listed("## `provod connect`"), &connect | &common);
    let bench = flags(bench, "Bench");
    assert!(bench.contains("in-flight") && bench.len() >= 20, "{bench:?}");
    assert_eq!(listed("## `provod bench`"), bench);
}

#[test]
fn short_flags_are_found() {
    let connect = flags_of("connect").expect("a command");
    for flag in [
        "--header",
        "-H",
        "-b",
        "-s",
        "-4",
        "--ipv4",
        "-x",
        "--unix-socket",
        "--compress-threshold",
    ] {
        assert!(connect.contains(flag), "{flag}");
    }
    assert!(!connect.contains("--workers") && !connect.contains("-o"), "{connect:?}");
}

#[test]
fn the_page_and_the_help_list_every_exit_code() {
    let source = read("crates/provod-cli/src/connect/failure.rs");
    let constants =
        source.lines().filter_map(|line| line.strip_prefix("const ")?.split_once(": u8 = "));
    let codes: Vec<&str> = constants.map(|(_, code)| code.trim_end_matches(';')).collect();
    assert!(codes.contains(&"1") && codes.contains(&"12") && codes.len() >= 11, "{codes:?}");
    let (page, help) = (read(PAGE), read("crates/provod-cli/src/connect/mod.rs"));
    for code in codes {
        assert!(page.contains(&format!("\n| {code} | ")), "{code} is not in {PAGE}");
        assert!(help.contains(&format!("\n{code:>4}  ")), "{code} is not in the help");
    }
}

#[test]
fn the_page_and_the_help_list_every_exit_code_of_bench() {
    let source = read("crates/provod-cli/src/bench/mod.rs");
    let constants =
        source.lines().filter_map(|line| line.strip_prefix("const ")?.split_once(": u8 = "));
    let codes: Vec<&str> = constants.map(|(_, code)| code.trim_end_matches(';')).collect();
    assert!(codes.contains(&"3") && codes.contains(&"13"), "{codes:?}");
    let (page, help) = (read(PAGE), read("crates/provod-cli/src/bench/args.rs"));
    let (_, section) = page.split_once("\n| exit code of `provod bench` |").expect("the table");
    let cells = section.lines().filter_map(|row| row.strip_prefix("| ")?.split(" |").next());
    let listed: BTreeSet<&str> = cells.flat_map(|cell| cell.split(", ")).collect();
    for code in codes {
        assert!(listed.contains(code), "{code} is not in {PAGE}");
        assert!(help.contains(&format!("\n{code:>4}  ")), "{code} is not in the help");
    }
}
