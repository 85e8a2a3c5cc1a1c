//! What the command says when it is called wrongly, and when it is asked.

use crate::process::{Provod, run};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn wrong_values_name_the_flag_and_what_it_accepts() {
    for (arguments, says) in [
        (&["--workers=0"][..], &["--workers", "1..=1024"][..]),
        (&["--workers=x"], &["--workers", "invalid digit"]),
        (&["--max-message=x"], &["--max-message", "K, M or G"]),
        (&["--max-message=-1"], &["--max-message", "K, M or G"]),
        (&["--max-connections=0"], &["--max-connections", "1.."]),
        (&["--handshake-timeout=fast"], &["--handshake-timeout", "500ms"]),
        (&["--handshake-timeout=0"], &["--handshake-timeout", "above 0"]),
        (&["--close-timeout=1y"], &["--close-timeout", "500ms"]),
        (&["--allow-origin=a b"], &["--allow-origin", "https://example.com"]),
        (&["--compress=maybe"], &["--compress", "on, takeover, off"]),
        (&["--compress-threshold=1X"], &["--compress-threshold", "K, M or G"]),
        (&["--drain=-5s"], &["--drain", "500ms"]),
        (&["--log=verbose"], &["--log", "error, warn, info"]),
        (&["--log=provod=loud"], &["--log", "error, warn, info"]),
        (&["nonsense"], &["[ADDR", "HOST:PORT, PORT, or unix:PATH"]),
        (&["::1:80"], &["[ADDR", "[::1]:8080"]),
        (&["--unknown"], &["--unknown"]),
        (&["8080", "8081"], &["8081"]),
    ] {
        for command in ["serve", "listen"] {
            let output = run(&[&[command], arguments].concat());
            let stderr = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{command} {arguments:?}: {stderr}");
            for part in says {
                assert!(stderr.contains(part), "{command} {arguments:?}: no {part:?} in {stderr}");
            }
            assert!(output.stdout.is_empty());
        }
    }
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["dance"]).status.code(), Some(2));
}

#[test]
fn help_explains_every_option_and_its_default() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    let help = text(&help.stdout);
    assert!(
        ["serve", "listen", "connect", "bench"].iter().all(|name| help.contains(name)),
        "{help}"
    );
    for command in ["serve", "listen"] {
        let output = run(&[command, "--help"]);
        assert!(output.status.success());
        let help = text(&output.stdout);
        for option in [
            "--workers",
            "--max-message",
            "--max-connections",
            "--handshake-timeout",
            "--close-timeout",
            "--allow-origin",
            "--compress",
            "--compress-threshold",
            "--drain",
            "--log",
        ] {
            assert!(help.contains(option), "no {option} in {help}");
        }
        for default in ["16M", "10s", "5s", "1K", "one for each core"] {
            assert!(help.contains(default), "no {default} in {help}");
        }
    }
    assert!(text(&run(&["serve", "--help"]).stdout).contains("127.0.0.1:8080"));
    assert!(text(&run(&["listen", "--help"]).stdout).contains("127.0.0.1:9001"));
    let help = text(&run(&["connect", "--help"]).stdout);
    for option in [
        "-b, --binary",
        "-H, --header",
        "-s, --subprotocol",
        "--origin",
        "--one",
        "--no-close",
        "--reconnect",
        "--compress[=<WHEN>]",
        "--compress-threshold",
        "--max-message",
        "--connect-timeout",
        "--handshake-timeout",
        "--close-timeout",
        "--log",
        "Exit codes:",
        "Examples:",
    ] {
        assert!(help.contains(option), "no {option} in {help}");
    }
    assert!(run(&["--version"]).status.success());
}

#[tokio::test]
async fn an_address_in_use_has_its_own_message() {
    let first = Provod::serve(&[]);
    let address = first.address.to_string();
    for command in ["serve", "listen"] {
        let output = run(&[command, &address]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(&address) && stderr.contains("the address is in use"), "{stderr}");
    }
}

#[test]
fn an_address_that_is_not_here_says_so() {
    // TEST-NET-1 (RFC 5737) is nobody's address.
    let output = run(&["serve", "192.0.2.1:8080"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot listen on 192.0.2.1:8080"), "{stderr}");
}

#[tokio::test]
async fn the_ready_line_names_the_address() {
    let serve = Provod::serve(&[]);
    assert_eq!(serve.announced, format!("provod serve: open http://{}/\n", serve.address));
    let listen = Provod::start("listen", &[]);
    let line = format!("provod listen: echoing on ws://{}/\n", listen.address);
    assert_eq!(listen.announced, line);
}

#[tokio::test]
async fn who_listens_everywhere_says_where_others_find_it() {
    let mut command = std::process::Command::new(crate::process::BINARY);
    command.args(["serve", "0.0.0.0:0", "--workers=1"]);
    let server = Provod::spawn(command);
    let line = server.announced.trim_end();
    let port = server.announced.split("localhost:").nth(1).and_then(|rest| rest.split('/').next());
    let port = port.unwrap_or_else(|| panic!("no port: {line}"));
    let (here, elsewhere) = line.split_once("/, from elsewhere ").expect("both");
    assert_eq!(here, format!("provod serve: open http://localhost:{port}"));
    // A machine without a network has only its name.
    let is_address = elsewhere.starts_with("http://") && elsewhere.ends_with(&format!(":{port}/"));
    assert!(is_address || elsewhere == "with this machine's name", "{line}");
}
