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
    let result = match Cli::parse().command {
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

/// Says in one line why the command fails; what a peer has put into it cannot reach the terminal.
fn complain(why: &str) {
    // Where standard error is closed, the exit code still tells.
    let _ = writeln!(std::io::stderr(), "provod: {}", escape::line(why.as_bytes()));
}
