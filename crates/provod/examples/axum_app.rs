//! WebSockets in an axum application: state, users with a token or a cookie, rooms, and an end that
//! leaves nobody hanging.
//!
//! ```text
//! cargo run -p provod --features axum --example axum_app -- 127.0.0.1:8080
//! ```
//!
//! Programs send a token with each request, and get a WebSocket with the same header:
//!
//! ```text
//! curl -H 'Authorization: Bearer anna-s3cret' -d 'dinner is ready' http://127.0.0.1:8080/kitchen
//! ```
//!
//! A browser cannot set a header for a WebSocket, but it sends cookies. Open the address, log in
//! with `ben-s3cret`, and the page's `new WebSocket('/kitchen')` is Ben's.
//!
//! # How it works
//!
//! [`User`] is an extractor like any other: what it refuses never becomes a WebSocket.
//! [`WebSocketUpgrade`] is one, too; what is set for all WebSockets is in the [`Upgrader`] in the
//! state. Pages of other sites are refused (403) before anything is opened, so that none of them can
//! use a visitor's cookie.
//!
//! # For real use
//!
//! - Tokens come from your database, and are compared in constant time; a session is a random number
//!   that ends, not the token.
//! - Behind TLS the cookie gets `Secure`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{FromRef, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get, post};
use provod::axum::WebSocketUpgrade;
use provod::group::SlowPolicy;
use provod::hyper::Upgrader;
use provod::server::{Drain, OriginPolicy};
use provod::{BoxError, Config, Group, Server, WebSocket};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

#[path = "shared/signals.rs"]
mod signals;

const USERS: [(&str, &str); 2] = [("anna-s3cret", "Anna"), ("ben-s3cret", "Ben")];

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8">
<title>Kitchen</title>
<form id="login"><input placeholder="token" aria-label="Token"><button>Log in</button></form>
<form id="talk"><input placeholder="say something" aria-label="Message"></form>
<script>
  const show = (text) => document.body.append(Object.assign(document.createElement('p'), { textContent: text }));
  let ws;
  login.onsubmit = async (event) => {
    event.preventDefault();
    const response = await fetch('/login', { method: 'POST', body: login[0].value });
    if (!response.ok) return show('No such token.');
    ws = new WebSocket(location.origin.replace('http', 'ws') + '/kitchen');
    ws.onmessage = (event) => show(event.data);
    ws.onclose = (event) => show('The connection is closed: ' + event.code);
  };
  talk.onsubmit = (event) => { event.preventDefault(); ws?.send(talk[0].value); talk.reset(); };
</script>
"#;

/// The state of the application. Cloning gives handles to the same.
#[derive(Clone)]
struct App {
    upgrader: Upgrader,
    rooms: Arc<Mutex<HashMap<String, Group>>>,
}

impl App {
    fn room(&self, name: String) -> Group {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.retain(|_, room| !room.is_empty());
        rooms.entry(name).or_default().clone()
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(&address).await?;
    let local = listener.local_addr()?;

    let mut config = Config::default();
    config.limits.max_message = 4 << 10;
    let upgrader = Server::new()
        .config(config)
        .max_connections(10_000)
        // Here a page of this machine may connect to a loopback address, and nothing else to that.
        .origin(OriginPolicy::same_host().on_loopback(local.ip().is_loopback()))
        .upgrader()?;
    let app = App { upgrader: upgrader.clone(), rooms: Arc::default() };
    let router = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/login", post(login))
        .route("/{room}", any(enter).post(publish)) // `any`: over HTTP/2 it is no GET
        .with_state(app);

    let end = signals::end_asked();
    println!("axum_app: open http://{local}/ and log in with ben-s3cret");
    // axum does not know of the WebSockets that it has handed over: both are told to end.
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let ending = async {
        end.await;
        let _ = stop.send(());
        upgrader.drain(Drain::default()).await
    };
    let (served, dropped) = tokio::join!(serving, ending);
    println!("axum_app: {dropped} WebSockets had to be dropped");
    Ok(served?)
}

/// A WebSocket in a room.
async fn enter(
    user: User,
    Path(room): Path<String>,
    State(app): State<App>,
    ws: WebSocketUpgrade,
) -> Response {
    let room = app.room(room);
    ws.with(&app.upgrader).on_upgrade(move |ws| talk(ws, user, room))
}

async fn talk(mut ws: WebSocket, user: User, room: Group) -> Result<(), BoxError> {
    // It is in the room for as long as this lives.
    let _member = room.join(&ws.sender(), SlowPolicy::Close);
    ws.send(format!("Welcome, {}", user.0)).await?;
    while let Some(message) = ws.recv().await? {
        if let Some(text) = message.as_text() {
            room.publish(format!("{}: {text}", user.0));
        }
    }
    Ok(())
}

/// The same with one request of HTTP, for programs that have something to say now and then.
async fn publish(
    user: User,
    Path(room): Path<String>,
    State(app): State<App>,
    text: String,
) -> String {
    let published = app.room(room).publish(format!("{}: {text}", user.0));
    format!("told to {}\n", published.queued)
}

/// Gives a page its cookie. Scripts cannot read it, and other sites' requests do not have it.
async fn login(token: String) -> Response {
    match User::of(&token) {
        Some(_) => {
            let cookie = format!("session={token}; HttpOnly; SameSite=Strict; Path=/");
            (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// Who sends a request.
struct User(&'static str);

impl User {
    fn of(token: &str) -> Option<Self> {
        USERS.iter().find(|(known, _)| *known == token).map(|(_, name)| Self(name))
    }

    fn of_request(parts: &Parts) -> Option<Self> {
        if let Some(header) = parts.headers.get(header::AUTHORIZATION) {
            return Self::of(header.to_str().ok()?.strip_prefix("Bearer ")?);
        }
        let cookies = parts.headers.get(header::COOKIE)?.to_str().ok()?;
        cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session=")).and_then(Self::of)
    }
}

impl<S: Sync> FromRequestParts<S> for User
where
    App: FromRef<S>,
{
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Self::of_request(parts).ok_or((StatusCode::UNAUTHORIZED, "who are you?\n"))
    }
}
