//! The command `provod`.

mod bench;
mod connect;
mod escape;
mod listen;
mod options;
mod process;
mod secure;
mod serve;

use std::io::Write as _;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};

/// WebSocket as one tool: a realtime server for chats, games and notifications, and helpers to
/// debug WebSockets.
#[derive(Debug, Parser)]
#[command(name = "provod", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Listen(listen::Listen),
    Connect(Box<connect::Connect>),
    Bench(Box<bench::Bench>),
}

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|e| discreet(e).exit());
    let result = match cli.command {
        Command::Serve(command) => command.run(),
        Command::Listen(command) => command.run(),
        Command::Connect(command) => return command.run(),
        Command::Bench(command) => return command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            complain(&e.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Flags whose values may hold a password or a token.
const SECRET: [&str; 3] = ["--header", "--proxy", "--user"];

/// What is wrong with the command line, without a value that is a secret.
fn discreet(mut e: clap::Error) -> clap::Error {
    let is_secret = match e.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) => SECRET.iter().any(|flag| name.starts_with(flag)),
        _ => false,
    };
    if is_secret {
        e.insert(ContextKind::InvalidValue, ContextValue::String("...".to_owned()));
    }
    e
}

/// Says in one line why the command fails; what a peer has put into it cannot reach the terminal.
fn complain(why: &str) {
    // Where standard error is closed, the exit code still tells.
    let _ = writeln!(std::io::stderr(), "provod: {}", escape::line(why.as_bytes()));
}
