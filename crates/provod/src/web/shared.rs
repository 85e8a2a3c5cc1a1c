//! The browser's WebSocket, what it has told so far, and who waits for more.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use provod_proto::{Cause, CloseCode, CloseFrame, Closed, Message, Utf8Bytes};
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, CloseEvent, Event, MessageEvent};

use super::config::Config;
use super::error::{Error, Kind};
use super::timer::{sleep, timeout};
use crate::try_send::TrySendError;

/// What this end closes with when the application takes nothing: pages may not use 1009 or 1013.
const TOO_MUCH: u16 = 4009;
/// What a message that waits costs beside its bytes.
const MESSAGE_COST: usize = 64;
/// How often a full queue of the browser is looked at: it tells nobody when it runs low.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// What is known of a connection.
#[derive(Default)]
struct State {
    is_open: bool,
    inbox: VecDeque<Message>,
    /// What `inbox` takes.
    held: usize,
    /// This end's Close, if it asked first.
    asked: Option<CloseFrame>,
    too_much: bool,
    closed: Option<Closed>,
    wakers: Vec<Waker>,
}

impl State {
    /// Everyone looks anew: they are few.
    fn wake(state: &RefCell<Self>) {
        let wakers = std::mem::take(&mut state.borrow_mut().wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn wait(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|known| known.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }
}

/// What the browser calls. They hold the state only weakly, so a connection that nobody has a
/// handle of goes.
struct Calls {
    _open: Closure<dyn FnMut(Event)>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _close: Closure<dyn FnMut(CloseEvent)>,
}

/// A connection, behind all of its handles.
pub(crate) struct Shared {
    raw: web_sys::WebSocket,
    state: Rc<RefCell<State>>,
    config: Config,
    _calls: Calls,
}

impl Shared {
    /// Starts to connect.
    pub(crate) fn start(
        url: &str,
        subprotocols: &[String],
        config: Config,
    ) -> Result<Rc<Self>, Error> {
        let names: js_sys::Array =
            subprotocols.iter().map(|name| JsValue::from_str(name)).collect();
        let raw = web_sys::WebSocket::new_with_str_sequence(url, &names).map_err(refused)?;
        raw.set_binary_type(BinaryType::Arraybuffer);
        let state = Rc::new(RefCell::new(State::default()));
        let calls = listen(&raw, &state, config.receive_limit);
        Ok(Rc::new(Self { raw, state, config, _calls: calls }))
    }

    /// Waits until it is open; `false` when it has ended first.
    pub(crate) async fn opened(&self) -> bool {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if state.is_open || state.closed.is_some() {
                return Poll::Ready(state.is_open);
            }
            state.wait(cx.waker());
            Poll::Pending
        })
        .await
    }

    pub(crate) fn poll_recv(&self, waker: &Waker) -> Poll<Result<Option<Message>, Error>> {
        let mut state = self.state.borrow_mut();
        if let Some(message) = state.inbox.pop_front() {
            state.held = state.held.saturating_sub(message.len() + MESSAGE_COST);
            return Poll::Ready(Ok(Some(message)));
        }
        if state.too_much {
            return Poll::Ready(Err(Error::new(Kind::TooMuch(self.config.receive_limit))));
        }
        match &state.closed {
            Some(closed) if closed.received.is_some() => Poll::Ready(Ok(None)),
            Some(_) => Poll::Ready(Err(Error::new(Kind::Lost))),
            None => {
                state.wait(waker);
                Poll::Pending
            }
        }
    }

    pub(crate) fn can_send(&self) -> bool {
        self.raw.ready_state() == web_sys::WebSocket::OPEN
    }

    pub(crate) fn buffered_amount(&self) -> usize {
        self.raw.buffered_amount() as usize
    }

    /// Waits until so little is queued that `send` would not wait, or the connection ends.
    pub(crate) async fn drained(&self) {
        while self.can_send() && self.buffered_amount() > self.config.high_water {
            sleep(LOOK).await;
        }
    }

    /// Hands a message to the browser.
    pub(crate) fn send(&self, message: &Message) -> Result<(), Error> {
        let sent = match message {
            _ if !self.can_send() => return Err(Error::new(Kind::Closed)),
            Message::Text(text) => self.raw.send_with_str(text.as_str()),
            other => self.raw.send_with_u8_array(other.as_bytes()),
        };
        sent.map_err(|_| Error::new(Kind::Closed))
    }

    pub(crate) fn try_send(&self, message: Message) -> Result<(), TrySendError<Message>> {
        if self.can_send() && self.buffered_amount() >= self.config.hard_limit {
            return Err(TrySendError::Full(message));
        }
        self.send(&message).map_err(|_| TrySendError::Closed(message))
    }

    /// Closes behind everything queued; nothing happens on a connection that is closing already.
    pub(crate) fn close(&self, frame: CloseFrame) {
        close(&self.raw, &self.state, frame);
    }

    /// Throws away what was received and was not taken.
    pub(crate) fn discard(&self) {
        let mut state = self.state.borrow_mut();
        state.inbox.clear();
        state.held = 0;
    }

    pub(crate) fn close_timeout(&self) -> Duration {
        self.config.close_timeout
    }

    pub(crate) async fn closed(&self) -> Closed {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if let Some(closed) = &state.closed {
                return Poll::Ready(closed.clone());
            }
            state.wait(cx.waker());
            Poll::Pending
        })
        .await
    }

    /// The outcome; that it is lost, and nothing more is received, where the browser takes too long
    /// to say.
    pub(crate) async fn closed_in_time(&self) -> Closed {
        if let Some(closed) = timeout(self.config.close_timeout, self.closed()).await {
            return closed;
        }
        let lost = Closed::new(Cause::Lost, None, None, self.buffered_amount());
        let closed = self.state.borrow_mut().closed.get_or_insert(lost).clone();
        State::wake(&self.state);
        closed
    }

    /// Ends the connection without a word of the application's.
    pub(crate) fn end(&self) {
        let _ = self.raw.close();
    }

    /// Whether the browser is done with it: it sends nothing more.
    pub(crate) fn is_over(&self) -> bool {
        self.raw.ready_state() == web_sys::WebSocket::CLOSED
    }

    pub(crate) fn subprotocol(&self) -> String {
        self.raw.protocol()
    }

    pub(crate) fn url(&self) -> String {
        self.raw.url()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.raw.set_onopen(None);
        self.raw.set_onmessage(None);
        self.raw.set_onclose(None);
        let _ = self.raw.close();
    }
}

fn close(raw: &web_sys::WebSocket, state: &RefCell<State>, frame: CloseFrame) {
    let open = raw.ready_state() == web_sys::WebSocket::OPEN;
    // A code and a reason that were checked; the browser has nothing to refuse.
    let _ = raw.close_with_code_and_reason(frame.code.as_u16(), frame.reason.as_str());
    if open {
        state.borrow_mut().asked.get_or_insert(frame);
    }
}

/// A Close that a page may send.
pub(crate) fn close_frame(
    code: CloseCode,
    reason: impl Into<Utf8Bytes>,
) -> Result<CloseFrame, Error> {
    if !matches!(code.as_u16(), 1000 | 3000..=4999) {
        return Err(Error::new(Kind::CloseCode(code.as_u16())));
    }
    Ok(CloseFrame::new(code, reason)?)
}

/// Why the browser does not take an address. Its own words repeat the address or the subprotocol,
/// either of which may hold a token, so only the kind of the exception is looked at.
fn refused(thrown: JsValue) -> Error {
    let name = js_sys::Reflect::get(&thrown, &JsValue::from_str("name"));
    Error::new(Kind::Refused(match name.ok().and_then(|name| name.as_string()).as_deref() {
        Some("SyntaxError") => {
            "the URL is not valid, as one of wss://host/path is, or a subprotocol is not"
        }
        Some("SecurityError") => "a page of https must not connect to ws://; use wss://",
        _ => "it gives no reason",
    }))
}

/// A URL without what may be secret: user, password, query.
pub(super) fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

fn listen(raw: &web_sys::WebSocket, state: &Rc<RefCell<State>>, limit: usize) -> Calls {
    let told: Weak<RefCell<State>> = Rc::downgrade(state);
    let open = Closure::<dyn FnMut(Event)>::new({
        let told = told.clone();
        move |_| {
            if let Some(state) = told.upgrade() {
                state.borrow_mut().is_open = true;
                State::wake(&state);
            }
        }
    });
    let message = Closure::<dyn FnMut(MessageEvent)>::new({
        let (told, raw) = (told.clone(), raw.clone());
        move |event: MessageEvent| {
            let Some(state) = told.upgrade() else { return };
            let Some(message) = read(&event.data()) else { return };
            let full = {
                let mut state = state.borrow_mut();
                if state.too_much || state.closed.is_some() {
                    return;
                }
                state.held += message.len() + MESSAGE_COST;
                state.inbox.push_back(message);
                state.too_much = state.held > limit;
                state.too_much
            };
            if full && let Ok(frame) = CloseFrame::new(TOO_MUCH.into(), "too much is not taken") {
                close(&raw, &state, frame);
            }
            State::wake(&state);
        }
    });
    let ended = Closure::<dyn FnMut(CloseEvent)>::new({
        let raw = raw.clone();
        move |event: CloseEvent| {
            let Some(state) = told.upgrade() else { return };
            let unsent = raw.buffered_amount() as usize;
            {
                let mut state = state.borrow_mut();
                let asked = state.asked.take();
                state.closed.get_or_insert_with(|| outcome(&event, asked, unsent));
            }
            State::wake(&state);
        }
    });
    raw.set_onopen(Some(open.as_ref().unchecked_ref()));
    raw.set_onmessage(Some(message.as_ref().unchecked_ref()));
    raw.set_onclose(Some(ended.as_ref().unchecked_ref()));
    Calls { _open: open, _message: message, _close: ended }
}

fn read(data: &JsValue) -> Option<Message> {
    if let Some(text) = data.as_string() {
        return Some(text.into());
    }
    let buffer = data.dyn_ref::<js_sys::ArrayBuffer>()?;
    Some(js_sys::Uint8Array::new(buffer).to_vec().into())
}

/// What the browser says of the end, in our words.
fn outcome(event: &CloseEvent, asked: Option<CloseFrame>, unsent: usize) -> Closed {
    let frame = |code| CloseFrame { code, reason: Utf8Bytes::from(event.reason()) };
    let received = match CloseCode::from(event.code()) {
        CloseCode::ABNORMAL => None,
        CloseCode::NO_STATUS => Some(None),
        code => Some(Some(frame(code))),
    };
    let cause = match (&received, &asked) {
        (None, _) => Cause::Lost,
        (_, Some(_)) => Cause::Local,
        (_, None) => Cause::Peer,
    };
    // The browser answers a Close with its own code.
    let sent = match asked {
        Some(frame) => Some(Some(frame)),
        None => received.clone(),
    };
    Closed::new(cause, received, sent.filter(|_| event.was_clean()), unsent)
}
