//! An open connection between standard input and standard output, until one of the three ends.

use std::io;
use std::pin::pin;
use std::time::Duration;

use provod::{CloseCode, Error, Sender, WebSocket};
use tokio::time::timeout;

use super::Connect;
use super::failure::Failure;
use super::input::Input;
use super::output::Output;
use crate::process::Signals;

/// Runs until the connection is over, or a signal ends it.
pub(super) async fn run(
    mut ws: WebSocket,
    options: &Connect,
    mut signals: Signals,
) -> Result<(), Failure> {
    let limit = options.common.close_timeout();
    let ended = tokio::select! {
        ended = talk(&mut ws, options, limit) => Ok(ended),
        signal = signals.next() => Err(signal),
    };
    let signal = match ended {
        Ok(result) => return result,
        Err(signal) => signal,
    };
    tokio::select! {
        _ = leave(&mut ws, CloseCode::GOING_AWAY, limit) => Err(Failure::signal(signal)),
        second = signals.next() => Err(Failure::signal(second)),
    }
}

async fn talk(ws: &mut WebSocket, options: &Connect, limit: Duration) -> Result<(), Failure> {
    let mut input = Input::new(options.binary, options.common.max_message());
    let mut output = Output::new();
    let talked = if options.one {
        ask(ws, &mut input, &mut output).await
    } else {
        stream(ws, &mut input, &mut output, options.no_close, limit).await
    };
    match talked {
        Ok(Talked::Over(end)) => outcome(ws, end).await,
        Ok(Talked::Answered) => leave(ws, CloseCode::NORMAL, limit).await,
        Ok(Talked::Failed(failure)) => {
            let _ = leave(ws, CloseCode::GOING_AWAY, limit).await;
            Err(failure)
        }
        // Whoever read the messages has all that he wanted, as `head` has.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
            let _ = leave(ws, CloseCode::NORMAL, limit).await;
            Ok(())
        }
        Err(e) => {
            let _ = leave(ws, CloseCode::GOING_AWAY, limit).await;
            Err(Failure::other(format!("cannot write to standard output: {e}")))
        }
    }
}

/// How it went, unless standard output failed.
enum Talked {
    /// The connection is over.
    Over(Result<(), Error>),
    /// All that was wanted is there.
    Answered,
    /// Something here failed; the connection may be open.
    Failed(Failure),
}

/// Sends all lines and prints all messages, both at once.
async fn stream(
    ws: &mut WebSocket,
    input: &mut Input,
    output: &mut Output,
    no_close: bool,
    limit: Duration,
) -> io::Result<Talked> {
    let sender = ws.sender();
    let mut sending = pin!(send_all(&sender, input));
    let mut printing = pin!(output.print_all(ws));
    let sent = tokio::select! {
        end = &mut printing => return end.map(Talked::Over),
        sent = &mut sending => sent,
    };
    match sent {
        Ok(()) => {
            if !no_close {
                close(&sender, CloseCode::NORMAL);
            }
            printing.await.map(Talked::Over)
        }
        Err(failure) => {
            close(&sender, CloseCode::GOING_AWAY);
            // Answers to the lines before are printed all the same, not for ever.
            let _ = timeout(limit, printing).await;
            Ok(Talked::Failed(failure))
        }
    }
}

async fn send_all(sender: &Sender, input: &mut Input) -> Result<(), Failure> {
    while let Some(message) = input.next().await? {
        if sender.send(message).await.is_err() {
            // How the connection ended is told to whoever receives.
            std::future::pending::<()>().await;
        }
    }
    Ok(())
}

/// Sends one line and prints one message.
async fn ask(ws: &mut WebSocket, input: &mut Input, output: &mut Output) -> io::Result<Talked> {
    let sender = ws.sender();
    let line = tokio::select! {
        line = input.next() => line,
        _ = sender.closed() => Ok(None),
    };
    match line {
        Ok(Some(message)) => {
            // How the connection ended is told below.
            let _ = sender.send(message).await;
        }
        Ok(None) => {}
        Err(failure) => return Ok(Talked::Failed(failure)),
    }
    match ws.recv().await {
        Ok(Some(message)) => {
            output.print(&message).await?;
            Ok(Talked::Answered)
        }
        Ok(None) => Ok(match outcome(ws, Ok(())).await {
            Ok(()) => Talked::Failed(Failure::other("the peer closed before it sent a message")),
            Err(failure) => Talked::Failed(failure),
        }),
        Err(e) => Ok(Talked::Over(Err(e))),
    }
}

/// Closes, behind all that was queued, unless that was done before.
fn close(sender: &Sender, code: CloseCode) {
    // Neither the code nor the reason can be wrong.
    let _ = sender.close(code, "");
}

/// Closes and waits for the end. What still arrives is thrown away, and however much that is, it
/// does not take longer than `limit`.
async fn leave(ws: &mut WebSocket, code: CloseCode, limit: Duration) -> Result<(), Failure> {
    close(&ws.sender(), code);
    let over = async {
        loop {
            match ws.recv().await {
                Ok(Some(_)) => {}
                Ok(None) => return outcome(ws, Ok(())).await,
                Err(e) => return outcome(ws, Err(e)).await,
            }
        }
    };
    timeout(limit, over).await.unwrap_or_else(|_| Err(Failure::close_timeout()))
}

/// What the end of the connection means, once this end's last words are on their way.
async fn outcome(ws: &mut WebSocket, end: Result<(), Error>) -> Result<(), Failure> {
    let closed = ws.closed().await;
    let (code, clean, unsent) = (closed.code(), closed.is_clean(), closed.unsent);
    tracing::info!(%code, clean, unsent, "closed");
    end?;
    match closed.received.flatten() {
        Some(frame) if !matches!(frame.code, CloseCode::NORMAL | CloseCode::GOING_AWAY) => {
            Err(Failure::closed(&frame))
        }
        _ => Ok(()),
    }
}
