//! A running example.

use std::path::PathBuf;
use std::process::Stdio;

use provod_testkit::peer::soon;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// It ends with the test.
pub(crate) struct Program {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test is a file");
    let folder = test.ancestors().nth(2).expect("it lies in a folder of one with the examples");
    let path = folder.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    let build = "cargo build -p provod --all-features --examples";
    assert!(path.exists(), "{} is not built: {build}", path.display());
    path
}

impl Program {
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        Self::start_with(name, arguments, &[])
    }

    /// The same with these variables, and nothing else that may be set about proxies.
    pub(crate) fn start_with(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(built(name));
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        let mut child = command
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("it has one");
        Self { child, lines: BufReader::new(stdout).lines() }
    }

    /// The next line that it prints.
    #[track_caller]
    pub(crate) fn line(&mut self) -> impl Future<Output = String> {
        let line = soon(self.lines.next_line());
        async { line.await.expect("it prints text").expect("it goes on") }
    }

    /// Waits for its end; whether that was a good one.
    pub(crate) async fn ends_well(mut self) -> bool {
        soon(self.child.wait()).await.expect("it was started").success()
    }

    /// Tells it to end, as a supervisor does.
    #[cfg(unix)]
    pub(crate) fn terminate(&self) {
        use rustix::process::{Pid, Signal, kill_process};
        let id = self.child.id().expect("it runs");
        let id = Pid::from_raw(id.try_into().expect("a number of a process")).expect("no zero");
        kill_process(id, Signal::TERM).expect("it is ours");
    }
}

/// The word of a line that begins so.
pub(crate) fn word(line: &str, start: &str) -> String {
    let found = line.split_whitespace().find(|word| word.starts_with(start));
    found.unwrap_or_else(|| panic!("no {start} in {line:?}")).to_owned()
}
