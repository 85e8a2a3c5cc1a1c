//! Notifications: a page shows what happens to its user, the moment it happens. Another program
//! says so with one HTTP request.
//!
//! ```text
//! cargo run --release -p provod --example notifications -- 127.0.0.1:8080 127.0.0.1:8081
//! ```
//!
//! Open the address that it prints, in as many tabs as you like, and tell them something:
//!
//! ```text
//! curl -d 'Your order has left' http://127.0.0.1:8081/notify/anna
//! curl -d 'Back in five minutes' http://127.0.0.1:8081/notify
//! ```
//!
//! The answer to both, `{"delivered":2}`, says to how many connections it goes; 0 is no error.
//!
//! # How it works
//!
//! There are two ports. The first is for users: Provod answers it, the page too. The second is for
//! your own programs: it takes bodies, which Provod does not, so axum answers it.
//!
//! Every connection is in two [`Group`]s, that of its user and that of everybody. A POST puts a
//! [`Notice`] into a queue, and one task takes them out and publishes each to a group. Everything
//! has a limit: a notice 4 KiB (413 above), the queue 1,024 notices (503 when it is full), and what
//! waits for a page that reads too slowly the send queue of 16 KiB, and 64 KiB for each of its two
//! groups; beyond that the oldest is left out.
//!
//! # For real use
//!
//! - Find out who the user is: see [`decide`].
//! - Nothing is kept for those who are away. When `delivered` is 0, send an e-mail; or keep notices
//!   in your database, and let the page fetch those that it has missed when it connects.
//! - A message here is the text itself. Make it JSON with an identifier: the page can say then what
//!   its user has seen, which nobody else knows.
//! - Keep the internal port internal, and give it a password and a deadline for slow callers where
//!   others share its network.

use std::collections::HashMap;
use std::future::ready;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response as Answer};
use axum::routing::post;
use provod::group::{Member, SlowPolicy};
use provod::server::{Accept, Drain, Request, Response};
use provod::{BoxError, Config, Group, Sender, Server, WebSocket};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

#[path = "../shared/pages.rs"]
mod pages;
#[path = "../shared/signals.rs"]
mod signals;

const FILES: [(&str, &str); 5] = [
    ("/", include_str!("page/index.html")),
    ("/page.js", include_str!("page/page.js")),
    ("/page.css", include_str!("page/page.css")),
    ("/reconnect.js", pages::RECONNECT),
    ("/shared.css", pages::STYLE),
];

/// The longest notice, in bytes.
const MOST_BYTES: usize = 4 << 10;
/// The longest name of a user, in bytes.
const MOST_NAME: usize = 64;
/// Notices that may wait to be published.
const QUEUE: usize = 1024;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("notifications: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let internal = args.next().unwrap_or_else(|| "127.0.0.1:8081".to_owned());

    let users = Arc::new(Users::default());
    let (queue, notices) = mpsc::channel(QUEUE);
    tokio::spawn(publish(notices, users.clone()));

    let listener = TcpListener::bind(&internal)
        .await
        .map_err(|e| format!("cannot listen on {internal}: {e}"))?;
    let internal = listener.local_addr()?;
    let router = Router::new()
        .route("/notify", post(notify))
        .route("/notify/{user}", post(notify))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state(queue);

    let mut config = Config::default();
    config.limits.max_message = 1 << 10; // pages have nothing to say
    config.high_water = 16 << 10;
    config.hard_limit = 64 << 10;
    let running = Server::new()
        .origin(pages::origin(&address))
        .listen(address)
        .config(config)
        .on_request(|request| ready(decide(&request)))
        .start_with(move |ws, user| hear(ws, user, users.clone()))
        .await?;

    let end = signals::end_asked();
    for address in running.addresses() {
        println!("notifications: open {}?user=anna", pages::link(address));
    }
    println!("notifications: curl -d 'Your order has left' http://{internal}/notify/anna");
    tokio::select! {
        result = axum::serve(listener, router).into_future() => result?,
        () = end => {}
    }
    running.drain(Drain::default()).await;
    Ok(())
}

/// Says who connects, or answers with the page.
///
/// Here everybody is who he says he is. A real program takes the user from what only it can have
/// given out: `request.header("Cookie")` with a session, or `request.header("Authorization")` with
/// a token, and answers 401 otherwise. Pages of other sites are refused before this is called, so
/// that none of them can use a visitor's cookie.
fn decide(request: &Request) -> Result<Accept<String>, Response> {
    if !request.is_upgrade() || request.path() != "/" {
        return Err(pages::answer(request, &FILES));
    }
    let query = request.query().unwrap_or_default().as_bytes();
    let user = url::form_urlencoded::parse(query).find(|(name, _)| name == "user");
    match user {
        Some((_, user)) if (1..=MOST_NAME).contains(&user.len()) => {
            Ok(Accept::new(user.into_owned()))
        }
        _ => Err(Response::text(400, "connect to /?user=NAME, of at most 64 bytes")),
    }
}

/// One connection of a user.
async fn hear(mut ws: WebSocket, user: String, users: Arc<Users>) -> Result<(), BoxError> {
    let _here = users.join(user, &ws.sender());
    while ws.recv().await?.is_some() {}
    Ok(())
}

/// The users who are here.
#[derive(Default)]
struct Users {
    everybody: Group,
    each: Mutex<HashMap<String, Group>>,
}

impl Users {
    fn each(&self) -> MutexGuard<'_, HashMap<String, Group>> {
        self.each.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, user: String, sender: &Sender) -> Here {
        // Of notices the recent count; for a conversation it would be `SlowPolicy::Close`.
        let policy = SlowPolicy::DropOldest;
        let own = self.each().entry(user.clone()).or_default().join(sender, policy);
        let all = self.everybody.join(sender, policy);
        Here { users: self.clone(), user, members: Some((own, all)) }
    }

    fn group(&self, user: Option<&str>) -> Option<Group> {
        match user {
            Some(user) => self.each().get(user).cloned(),
            None => Some(self.everybody.clone()),
        }
    }
}

/// A connection's place among the users; dropping it takes the user along who has no other.
struct Here {
    users: Arc<Users>,
    user: String,
    members: Option<(Member, Member)>,
}

impl Drop for Here {
    fn drop(&mut self) {
        self.members.take();
        let mut each = self.users.each();
        if each.get(&self.user).is_some_and(Group::is_empty) {
            each.remove(&self.user);
        }
    }
}

/// What is to be told, and to whom: one user or all.
struct Notice {
    user: Option<String>,
    text: String,
    /// Told to how many connections it goes.
    delivered: oneshot::Sender<usize>,
}

/// The background task. In your program it may as well listen to a database or a broker.
async fn publish(mut notices: mpsc::Receiver<Notice>, users: Arc<Users>) {
    while let Some(notice) = notices.recv().await {
        let group = users.group(notice.user.as_deref());
        // Never waits, however slowly somebody reads.
        let published = group.map(|group| group.publish(notice.text)).unwrap_or_default();
        // Whoever asked may have hung up.
        let _ = notice.delivered.send(published.queued);
    }
}

/// Answers a POST to the internal port.
async fn notify(
    State(queue): State<mpsc::Sender<Notice>>,
    user: Option<Path<String>>,
    headers: HeaderMap,
    text: String,
) -> Answer {
    // A page of any site can let its visitor's browser POST to a port of this machine, but not
    // without this header.
    if headers.contains_key(header::ORIGIN) {
        return (StatusCode::FORBIDDEN, "not for pages\n").into_response();
    }
    if text.is_empty() {
        return (StatusCode::BAD_REQUEST, "the body is the notice: it is empty\n").into_response();
    }
    let (delivered, answer) = oneshot::channel();
    let notice = Notice { user: user.map(|Path(user)| user), text, delivered };
    if queue.try_send(notice).is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many at once, try again\n").into_response();
    }
    match answer.await {
        Ok(n) => {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (json, format!("{{\"delivered\":{n}}}\n")).into_response()
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "it got lost\n").into_response(),
    }
}
