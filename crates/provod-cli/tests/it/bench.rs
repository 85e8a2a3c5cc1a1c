//! `provod bench` against real servers, and against servers that lie. Whether a run is valid
//! depends on how busy the machine is, so both answers are taken where that is not the question.

use std::process::Output;

use provod_testkit::peer::{Listener, Peer, raw};
use serde_json::Value;

use crate::process::{Provod, run};

/// Runs it; returns the exit code and the report.
fn bench(scenario: &str, url: &str, options: &[&str]) -> (i32, Value) {
    let fixed = ["bench", scenario, url, "--json", "-", "--warm-up", "50ms", "--seed", "7"];
    let brief = if options.contains(&"--duration") { vec![] } else { vec!["--duration", "300ms"] };
    let output = run(&[&fixed[..], &brief, options].concat());
    let code = output.status.code().expect("no signal");
    match serde_json::from_slice(&output.stdout) {
        Ok(report) => (code, report),
        Err(e) => panic!("{e}: exit code {code}, {}", said(&output)),
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn number(report: &Value, path: &str) -> u64 {
    report.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path}: {report:#}"))
}

/// A run in which nothing went wrong.
fn good(scenario: &str, url: &str, options: &[&str]) -> Value {
    let (code, report) = bench(scenario, url, options);
    assert!([0, 13].contains(&code), "{code}: {report:#}");
    assert_eq!(report["valid"], code == 0, "{report:#}");
    assert_eq!(number(&report, "/failures/total"), 0, "{report:#}");
    assert_eq!(report["scenario"], scenario);
    report
}

fn url(server: &Provod, path: &str) -> String {
    format!("ws://{}{path}", server.address)
}

#[test]
fn echoes_are_counted_and_compared() {
    let server = Provod::start("listen", &[]);
    let url = url(&server, "/");
    for options in [
        &["-c", "8", "-k", "4"][..],
        &["-c", "8", "--rate", "500"],
        &["-c", "6", "-k", "3", "--threads", "3", "--content", "binary", "-s", "0"],
        &["-c", "2", "--content", "json", "-s", "300", "--verify-every", "1"],
        &["-c", "2", "-k", "2", "-s", "70000", "--verify-every", "2"],
    ] {
        let report = good("echo", &url, options);
        let received = number(&report, "/messages/received");
        assert!(received > 0 && number(&report, "/messages/verified") > 0, "{report:#}");
        assert_eq!(
            number(&report, "/connections/opened"),
            number(&report, "/settings/connections")
        );
        if report["settings"]["rate"].is_null() {
            assert!(report["open_loop"].is_null(), "{report:#}");
        } else {
            // A rate is kept whatever the machine does: what is late leaves all the same.
            let due = number(&report, "/open_loop/due");
            assert!((149..=151).contains(&due), "{report:#}");
            assert_eq!(number(&report, "/latency_us/count"), due);
        }
    }
}

#[test]
fn compressed_echoes_are_inflated_and_their_size_on_the_wire_is_told() {
    let keeps = "--compress=takeover";
    for (how, its) in [("--compress", "--compress"), (keeps, "--compress"), (keeps, keeps)] {
        let server = Provod::start("listen", &[its, "--compress-threshold=0"]);
        let options = ["-c", "4", "-s", "10000", "--content", "json", how];
        let report = good("echo", &url(&server, "/"), &options);
        assert!(number(&report, "/messages/compressed") > 0, "{report:#}");
        assert!(number(&report, "/messages/verified") > 0, "{report:#}");
        let wire = report["messages"]["wire_bytes_per_reply"].as_f64().expect("a number");
        assert!(wire < 8000.0, "{report:#}");
    }
    let plain = Provod::start("listen", &[]);
    let (code, report) = bench("echo", &url(&plain, "/"), &["-c", "1", "--compress"]);
    assert_eq!((code, number(&report, "/failures/by_kind/handshake")), (1, 1), "{report:#}");
}

#[test]
fn every_member_of_a_room_hears_every_publisher_in_order() {
    let server = Provod::serve(&[]);
    for options in [
        &["-c", "10", "-k", "3"][..],
        &["-c", "12", "--rooms", "3", "--publishers", "2", "--threads", "2", "--rate", "200"],
        &["-c", "6", "--compress", "-s", "2000"],
        &["-c", "4", "--content", "json", "--publishers", "4"],
    ] {
        let report = good("fanout", &url(&server, "/bench"), options);
        assert!(number(&report, "/messages/received") > 0, "{report:#}");
        assert!(number(&report, "/latency_us/count") > 0, "{report:#}");
        assert!(number(&report, "/messages/verified") > 0, "{report:#}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn idle_connections_have_a_price_before_and_after_traffic() {
    let server = Provod::start("listen", &[]);
    let pid = server.child.id().to_string();
    let options = ["-c", "40", "--traffic", "20K", "-s", "4096", "--pid", &pid];
    let report = good("idle", &url(&server, "/"), &options);
    assert_eq!(number(&report, "/messages/received"), 40 * 5, "{report:#}");
    for field in ["rss_before", "rss_open", "rss_end"] {
        assert!(number(&report, &format!("/server/{field}")) > 1 << 20, "{report:#}");
    }
    assert!(report["server"]["rss_per_connection"].is_number(), "{report:#}");
    let report = good("idle", &url(&server, "/"), &["-c", "20"]);
    assert_eq!(number(&report, "/connections/opened"), 20);
    assert!(report["server"].is_null(), "{report:#}");
}

#[test]
fn connections_come_and_go() {
    let server = Provod::start("listen", &[]);
    let url = url(&server, "/");
    let report = good("connect", &url, &["-c", "4"]);
    assert!(number(&report, "/messages/received") > 0, "{report:#}");
    let report = good("connect", &url, &["-c", "50", "--rate", "100"]);
    assert!((29..=31).contains(&number(&report, "/open_loop/due")), "{report:#}");
    let report = good("churn", &url, &["-c", "4", "--churn-rate", "100"]);
    assert!(number(&report, "/connections/handshakes") > 0, "{report:#}");
    assert!(number(&report, "/messages/received") > 0, "{report:#}");
    let report = good("storm", &url, &["-c", "50", "--threads", "2"]);
    assert_eq!(number(&report, "/messages/received"), 50, "{report:#}");
    assert_eq!(number(&report, "/latency_us/count"), 50, "{report:#}");
}

#[test]
fn others_are_echoed_to_beside_those_that_do_not_read() {
    let server = Provod::start("listen", &[]);
    let report = good("slow-reader", &url(&server, "/"), &["-c", "4", "--slow", "3", "-s", "4096"]);
    assert_eq!(number(&report, "/connections/opened"), 7, "{report:#}");
    // A busy machine may answer too late for the measured time; of the whole run these count.
    assert!(number(&report, "/messages/verified") > 0, "{report:#}");
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_a_server_too() {
    let path = std::env::temp_dir().join(format!("provod-bench-{}.sock", std::process::id()));
    let path = path.to_str().expect("a name").to_owned();
    let mut child = std::process::Command::new(crate::process::BINARY);
    let child = child.args(["listen", &format!("unix:{path}"), "--workers=1"]);
    let mut child = child.stdout(std::process::Stdio::piped()).spawn().expect("starts");
    let mut ready = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    std::io::BufRead::read_line(&mut out, &mut ready).expect("a line");
    let report =
        std::panic::catch_unwind(|| good("echo", "/x", &["-c", "3", "--unix-socket", &path]));
    child.kill().expect("it runs");
    child.wait().expect("a child");
    let _ = std::fs::remove_file(&path);
    assert!(number(&report.expect("all well"), "/messages/received") > 0);
}

#[cfg(target_os = "linux")]
#[test]
fn connections_come_from_the_addresses_that_are_given() {
    let server = Provod::start("listen", &["--log", "debug"]);
    let sources = ["-c", "4", "--source", "127.0.0.2,127.0.0.3"];
    good("echo", &url(&server, "/"), &sources);
}

/// Returns what it receives, of one connection after the other, with one bit turned in a byte
/// of the first.
fn bare_echo(spoilt: Option<usize>) -> std::net::SocketAddr {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut spoilt = spoilt;
            let mut buffer = [0; 1000];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                if let Some(at) = spoilt.take_if(|at| *at < n) {
                    buffer[at] ^= 1;
                }
                if stream.write_all(&buffer[..n]).is_err() {
                    break;
                }
            }
        }
    });
    address
}

#[test]
fn without_a_handshake_the_same_bytes_come_back() {
    let url = format!("ws://{}/", bare_echo(None));
    for size in ["0", "20", "70000"] {
        let report = good("echo", &url, &["-c", "1", "-k", "3", "-s", size, "--raw"]);
        assert_eq!(report["settings"]["raw"], true);
        assert!(number(&report, "/messages/received") > 0, "{report:#}");
        assert!(number(&report, "/messages/verified") > 0, "{report:#}");
    }
    let url = format!("ws://{}/", bare_echo(Some(7)));
    let (code, report) = bench("echo", &url, &["-c", "1", "--raw"]);
    assert_eq!((code, number(&report, "/failures/by_kind/content")), (1, 1), "{report:#}");
    let server = Provod::start("listen", &[]);
    let (code, report) = bench("echo", &self::url(&server, "/"), &["-c", "1", "--raw"]);
    assert_eq!(code, 1, "{report:#}");
    let refused = run(&["bench", "fanout", "9001", "--raw"]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
}

/// What a server does to every tenth message.
#[derive(Debug, Clone, Copy)]
enum Lie {
    Byte,
    Length,
    Opcode,
    Missing,
    Swapped,
    Twice,
    Masked,
    Close,
}

/// Echoes, and lies.
async fn lie(mut peer: Peer, how: Lie) {
    let mut held = None;
    let mut n = 0;
    while let Some(frame) = peer.frame().await {
        n += 1;
        let mut reply = raw(frame.opcode, frame.payload.clone());
        if n % 10 == 0 {
            match how {
                Lie::Byte => reply.payload[33] ^= 1,
                Lie::Length => {
                    reply.payload.pop();
                }
                Lie::Opcode => reply.opcode = 3 - reply.opcode,
                Lie::Missing => continue,
                Lie::Swapped => {
                    held = Some(reply);
                    continue;
                }
                Lie::Twice => peer.send(reply.clone()).await,
                Lie::Masked => reply = reply.masked([1, 2, 3, 4]),
                Lie::Close => reply = provod_testkit::peer::close(1011),
            }
        }
        if !peer.try_send(reply).await {
            return;
        }
        if let Some(held) = held.take()
            && !peer.try_send(held).await
        {
            return;
        }
    }
}

#[tokio::test]
async fn a_server_that_lies_is_found_out() {
    for (how, kind) in [
        (Lie::Byte, "content"),
        (Lie::Length, "length"),
        (Lie::Opcode, "opcode"),
        (Lie::Missing, "missing"),
        (Lie::Swapped, "order"),
        (Lie::Twice, "order"),
        (Lie::Masked, "protocol"),
        (Lie::Close, "closed"),
    ] {
        let listener = Listener::bind().await;
        let url = listener.url();
        let options = ["-c", "1", "-k", "4", "--timeout", "1s"];
        let ran = tokio::task::spawn_blocking(move || bench("echo", &url, &options));
        let peer = listener.open().await;
        let liar = tokio::spawn(lie(peer, how));
        let (code, report) = ran.await.expect("it ends");
        liar.abort();
        assert_eq!(code, 1, "{how:?}: {report:#}");
        assert!(number(&report, &format!("/failures/by_kind/{kind}")) > 0, "{how:?}: {report:#}");
        assert!(!report["failures"]["first"].as_array().expect("a list").is_empty());
    }
}

#[test]
fn a_rate_that_cannot_be_reached_is_not_valid() {
    let server = Provod::start("listen", &[]);
    let options = ["-c", "2", "--rate", "50000000", "--timeout", "200ms"];
    let (code, report) = bench("echo", &url(&server, "/"), &options);
    // What could not be sent in time is missing too, perhaps.
    assert!([1, 13].contains(&code), "{report:#}");
    assert_eq!(report["valid"], false);
    let reasons = report["reasons"].to_string();
    assert!(reasons.contains("the generator was the limit"), "{report:#}");
}

#[cfg(unix)]
#[tokio::test]
async fn what_was_measured_until_ctrl_c_is_reported() {
    let server = Provod::serve(&[]);
    let mut command = std::process::Command::new(crate::process::BINARY);
    command.args(["bench", "fanout", &url(&server, "/x"), "-c", "5", "--duration", "1h"]);
    command.args(["--json", "-", "--warm-up", "0"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let child = command.spawn().expect("starts");
    // It runs once messages have come.
    server.until_counter("messages_in", |n| n > 0).await;
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["interrupted"], true, "{report:#}");
    assert_eq!(number(&report, "/connections/opened"), 5, "{report:#}");
}

#[test]
fn thresholds_and_comparisons_are_told() {
    let server = Provod::start("listen", &[]);
    let url = url(&server, "/");
    let folder = std::env::temp_dir().join(format!("provod-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("old.json").to_str().expect("a name").to_owned();
    let brief = ["bench", "echo", &url, "-c", "2", "--duration", "200ms", "--warm-up", "0"];
    let output = run(&[&brief[..], &["--json", &file]].concat());
    assert!([0, 13].contains(&output.status.code().expect("a code")), "{}", said(&output));
    let output = run(&[
        &brief[..],
        &["--compare", &file, "--threshold", "p50<1ns", "--threshold", "errors<1"],
    ]
    .concat());
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in ["new/old", "p50<1ns: NOT MET", "errors<1: met", "rate"] {
        assert!(table.contains(part), "no {part:?} in {table}");
    }
    let code = output.status.code();
    assert_eq!(code, Some(if table.contains("NOT VALID") { 13 } else { 3 }), "{table}");
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn what_cannot_be_measured_says_why() {
    for (arguments, code, says) in [
        (&["echo", "wss://127.0.0.1:1"][..], 6, "TLS"),
        (&["echo", "http://127.0.0.1:1"], 2, "the scheme is ws"),
        (&["echo", "ws://me:hunter2@127.0.0.1:1"], 2, "Authorization"),
        (&["echo", "ws://name.invalid/"], 4, "cannot resolve"),
        (&["echo", "1", "--pid", "4000000000"], 2, "no such process"),
        (&["echo", "1", "--threshold", "rss<1M"], 2, "needs --pid"),
        (&["echo", "1", "--threshold", "p98<1ms"], 2, "p99.99"),
        (&["echo", "1", "--compare", "/nowhere/x.json"], 1, "cannot read"),
        (&["fanout", "1", "-s", "8"], 2, "at least 32"),
        (&["fanout", "1", "-c", "10", "--rooms", "3"], 2, "multiple"),
        (&["storm", "1", "--rate", "5"], 2, "no --rate"),
        (&["dance", "1"], 2, "slow-reader"),
        (&["echo", "1", "--rate", "5", "--in-flight", "2"], 2, "cannot be used with"),
    ] {
        let output = run(&[&["bench"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(says), "{arguments:?}: {}", said(&output));
    }
    // A port that was just free.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}", free.local_addr().expect("an address"));
    drop(free);
    let (code, report) = bench("echo", &url, &["-c", "2"]);
    assert_eq!((code, number(&report, "/failures/by_kind/connect")), (5, 2), "{report:#}");
}
