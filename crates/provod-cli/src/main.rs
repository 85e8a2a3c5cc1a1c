//! The command `provod`.

mod listen;
mod options;
mod process;
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
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(command) => command.run(),
        Command::Listen(command) => command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // Where standard error is closed, the exit code still tells.
            let _ = writeln!(std::io::stderr(), "provod: {e}");
            ExitCode::FAILURE
        }
    }
}
