//! The built binary as a child process, ended with its test.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::peer::{Answer, Peer, open_with, soon, until};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_provod");

/// Runs to the end; for what ends by itself. What does not is killed.
pub(crate) fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    let command = command.args(arguments).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut out = child.stdout.take().expect("it is piped");
    let mut err = child.stderr.take().expect("it is piped");
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let (done, watch) = mpsc::channel::<()>();
        let child = &mut child;
        // Both pipes end with the child; one that does not end by itself is killed.
        scope.spawn(move || {
            if watch.recv_timeout(Duration::from_secs(30)) == Err(RecvTimeoutError::Timeout) {
                let _ = child.kill();
            }
        });
        let errors = scope.spawn(|| err.read_to_end(&mut stderr));
        out.read_to_end(&mut stdout).expect("a pipe");
        errors.join().expect("no panic").expect("a pipe");
        drop(done);
    });
    let status = child.wait().expect("a child");
    Output { status, stdout, stderr }
}

/// A running `provod serve` or `provod listen`.
pub(crate) struct Provod {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) announced: String,
    log: Arc<Mutex<String>>,
    log_reader: Option<thread::JoinHandle<()>>,
}

impl Provod {
    /// `provod serve` on a free port, with one worker so that it is light.
    pub(crate) fn serve(options: &[&str]) -> Self {
        Self::start("serve", options)
    }

    pub(crate) fn start(command: &str, options: &[&str]) -> Self {
        let mut child = Command::new(BINARY);
        child.args([command, "127.0.0.1:0"]).args(options);
        if !options.iter().any(|o| o.starts_with("--workers")) {
            child.arg("--workers=1");
        }
        Self::spawn(child)
    }

    pub(crate) fn spawn(command: Command) -> Self {
        Self::spawn_with(command, true)
    }

    /// With a standard error whose reader has gone.
    pub(crate) fn spawn_deaf(command: Command) -> Self {
        Self::spawn_with(command, false)
    }

    fn spawn_with(mut command: Command, read_log: bool) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let log = Arc::<Mutex<String>>::default();
        let stderr = child.stderr.take().filter(|_| read_log);
        let written = log.clone();
        let log_reader = thread::spawn(move || {
            let Some(stderr) = stderr else { return };
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut announced = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut announced).expect("a line");
        // Kept open: a program that writes to a closed pipe is another test.
        thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
        let address = announced.split_once("://").and_then(|(_, rest)| rest.split('/').next());
        let address = address.and_then(|a| a.replace("localhost", "127.0.0.1").parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address: {announced:?}"));
        Self { child, address, announced, log, log_reader: Some(log_reader) }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Ends it and returns all that it logged.
    pub(crate) fn whole_log(mut self) -> String {
        let _ = self.child.kill();
        // The pipe ends with the process.
        let _ = self.log_reader.take().map(thread::JoinHandle::join);
        self.log()
    }

    /// A member of a room.
    pub(crate) async fn join(&self, target: &str) -> Peer {
        open_with(self.address, target, &[]).await.0
    }

    /// An answer of plain HTTP.
    pub(crate) async fn get(&self, target: &str, lines: &[&str]) -> Answer {
        let mut head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n");
        for line in lines {
            head.push_str(line);
            head.push_str("\r\n");
        }
        let mut peer = Peer::connect(self.address).await;
        peer.send(format!("{head}\r\n")).await;
        let answer = peer.answer().await;
        peer.expect_end().await;
        answer
    }

    pub(crate) async fn counter(&self, name: &str) -> u64 {
        let answer = self.get("/_provod/counters", &[]).await;
        let counters: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        counters[name].as_u64().unwrap_or_else(|| panic!("{name} in {counters}"))
    }

    /// Waits until a counter is as expected.
    pub(crate) async fn until_counter(&self, name: &str, done: impl Fn(u64) -> bool) {
        soon(async {
            while !done(self.counter(name).await) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// The exit status, once it ends.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until(|| {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        })
        .await;
        status.expect("it has ended")
    }

    /// Resident memory in bytes; 0 where the system does not say.
    pub(crate) fn memory(&self) -> usize {
        let statm = format!("/proc/{}/statm", self.child.id());
        let statm = std::fs::read_to_string(statm).unwrap_or_default();
        statm.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0) * 4096
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it still runs");
    }
}

impl Drop for Provod {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
