//! `provod connect` on a terminal.

use std::fs::{File, OpenOptions};
use std::io::Read as _;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::visitor::{Host, binary, command, ended, text};

/// A terminal: the end that shows, and the end that a program writes to.
fn terminal() -> (File, File) {
    let shown = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&shown).unwrap();
    unlockpt(&shown).unwrap();
    let name = ptsname(&shown, Vec::new()).unwrap();
    let written = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    (shown.into(), written)
}

#[tokio::test]
async fn on_a_terminal_control_characters_are_escaped() {
    let host = Host::new().await;
    let (mut shown, written) = terminal();
    let mut command = command(&[&host.url()]);
    command.stdout(written);
    let mut child = command.spawn().unwrap();
    drop(command);
    drop(child.stdin.take());
    let screen = tokio::task::spawn_blocking(move || {
        let mut screen = Vec::new();
        // It ends with an error once the last writer has gone.
        let _ = shown.read_to_end(&mut screen);
        screen
    });
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.send(text("\x1b]0;title\x07\x1b[2Jred\u{9b}31m\u{202e}\rПривет\tmir\n2")).await;
        guest.send(binary(b"\x00\xff\xc2\x9b bin\x7f")).await;
        guest.send(text(&"\x1b".repeat(100_000))).await;
        guest.bye().await;
    };
    let (seen, ()) = tokio::join!(ended(child), server);
    seen.expect_ok("");
    let screen = String::from_utf8(screen.await.unwrap()).unwrap();
    // The terminal itself makes \r\n of \n.
    let mut lines = screen.split_terminator("\r\n");
    let first = r"\u{1b}]0;title\u{7}\u{1b}[2Jred\u{9b}31m\u{202e}\rПривет";
    assert_eq!(lines.next(), Some(&*format!("{first}\tmir")));
    assert_eq!(lines.next(), Some("2"));
    assert_eq!(lines.next(), Some(r"\u{0}\xff\u{9b} bin\u{7f}"));
    assert_eq!(lines.next(), Some(&*r"\u{1b}".repeat(100_000)));
    assert_eq!(lines.next(), None);
}
