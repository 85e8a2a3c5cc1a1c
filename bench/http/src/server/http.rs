//! HTTP/1.1, and HTTP/2 for those who begin with its preface: axum, which is hyper.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::net::TcpListener;

use super::feed::Feed;
use super::publish_from;
use crate::Error;

pub(super) async fn run() -> Result<(), Error> {
    let feed = Arc::new(Feed::new());
    let router = Router::new()
        .route("/echo", post(async |body: Bytes| body))
        .route("/events", get(events))
        .route("/poll", get(poll))
        .with_state(feed.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // As Provod's server does for its connections.
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    tokio::select! {
        served = axum::serve(listener, router) => Ok(served?),
        published = publish_from(address, |text| feed.publish(text)) => published,
    }
}

async fn events(
    State(feed): State<Arc<Feed>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(unfold(feed.listen(), async |mut live| {
        let text = live.recv().await.ok()?;
        Some((Ok(Event::default().data(text)), live))
    }))
}

/// A long poll: the answer waits for something to say.
async fn poll(
    State(feed): State<Arc<Feed>>,
    RawQuery(query): RawQuery,
) -> Result<String, StatusCode> {
    let after = query.as_deref().and_then(|query| query.strip_prefix("after="));
    let after = after.and_then(|number| number.parse().ok()).ok_or(StatusCode::BAD_REQUEST)?;
    Ok(feed.after(after).await)
}
