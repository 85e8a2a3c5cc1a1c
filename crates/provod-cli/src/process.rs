//! What belongs to the process: its runtime, its signals, its descriptors.

use std::future::Future;
use std::io::{self, Write as _};
use std::time::Duration;

use provod::Error;
use provod::server::{Drain, Running};

/// Runs `main` on a runtime of one thread; the connections have workers of their own.
pub(crate) fn run<F>(main: F) -> Result<(), Box<dyn std::error::Error>>
where
    F: Future<Output = Result<(), Error>>,
{
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(main)?)
}

/// Prints the line that says that the server is ready. A reader that has gone is no reason to stop.
pub(crate) fn announce(line: &str) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A signal that ends a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
}

impl Signal {
    /// The exit code that shells give to whoever such a signal ended.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Waits for Ctrl-C or SIGTERM and drains the server. A second signal cuts the notice short, and
/// ends the process at once when connections are being closed already.
pub(crate) async fn until_signal(
    mut signals: Signals,
    running: Running,
    stop: Drain,
    drain: Drain,
) -> Result<(), Error> {
    let mut drain = match signals.next().await {
        Signal::Interrupt => stop,
        Signal::Terminate => drain,
    };
    // Nobody who asks, nobody who would notice.
    if running.stats().health_checks == 0 {
        drain.notice = Duration::ZERO;
    }
    let open = running.stats().open;
    match drain.notice {
        Duration::ZERO => tracing::info!(open, "closing all connections; a second signal quits"),
        notice => tracing::info!(
            open,
            ?notice,
            "the health answer is 503; all connections are closed after the notice, or at once on \
             a second signal"
        ),
    }
    let noticed = tokio::time::Instant::now() + drain.notice;
    let mut dropped = tokio::select! {
        dropped = running.drain(drain) => Ok(dropped),
        signal = signals.next() => Err(signal),
    };
    if dropped.is_err() && tokio::time::Instant::now() < noticed {
        tracing::info!("the notice is cut short, closing all connections; one more signal quits");
        dropped = tokio::select! {
            dropped = running.drain(stop) => Ok(dropped),
            signal = signals.next() => Err(signal),
        };
    }
    match dropped {
        Ok(0) => {}
        Ok(dropped) => {
            tracing::warn!(dropped, "connections that did not close in time were dropped");
        }
        Err(signal) => std::process::exit(signal.exit_code().into()),
    }
    Ok(())
}

/// The signals that end a command, listened for from the moment this is made: before a server says
/// that it is ready, or one that comes right then would kill the process.
#[cfg(unix)]
pub(crate) struct Signals {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| match signal(kind) {
            Ok(signal) => Some(signal),
            Err(e) => {
                tracing::warn!(error = %e, "cannot listen for a signal");
                None
            }
        };
        Self {
            interrupt: listen(SignalKind::interrupt()),
            terminate: listen(SignalKind::terminate()),
        }
    }

    pub(crate) async fn next(&mut self) -> Signal {
        async fn recv(signal: &mut Option<tokio::signal::unix::Signal>) {
            let got = match signal {
                Some(signal) => signal.recv().await,
                None => None,
            };
            if got.is_none() {
                std::future::pending().await
            }
        }
        tokio::select! {
            () = recv(&mut self.interrupt) => Signal::Interrupt,
            () = recv(&mut self.terminate) => Signal::Terminate,
        }
    }
}

/// The signals that end a command.
#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}

/// Raises the soft limit of descriptors, one of which each connection takes, to the hard one.
pub(crate) fn raise_descriptor_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            // A server with fewer connections is still a server.
            let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
            let _ = setrlimit(Resource::Nofile, raised);
        }
    }
}
