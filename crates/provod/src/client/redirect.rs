//! Where redirects lead, and where they are not followed (RFC 9110 section 15.4).

use super::HttpResponse;
use super::address::Address;
use crate::error::{Error, Kind};

/// The places that a client has been sent to.
pub(super) struct Trail {
    /// The first is where the application wanted to go.
    places: Vec<Address>,
    most: u32,
    /// All of them are of one origin.
    is_own: bool,
    last: Option<HttpResponse>,
}

impl Trail {
    pub(super) fn new(start: &Address, most: u32) -> Self {
        Self { places: vec![start.clone()], most, is_own: true, last: None }
    }

    /// Whether the next place is of the application's own origin, and each before it was: once a
    /// foreign one has decided where to go, it could name any place of the own.
    pub(super) fn is_own(&self) -> bool {
        self.is_own
    }

    /// Where the answer at `from` leads; the error itself where it is no redirect, or none are to
    /// be followed.
    pub(super) fn follow(&mut self, from: &Address, e: Error) -> Result<Address, Error> {
        if self.most == 0 || e.is_proxy() {
            return Err(e);
        }
        let Some(response) = e.http_response() else { return Err(e) };
        if !matches!(response.status(), 301 | 302 | 303 | 307 | 308) {
            return Err(e);
        }
        let response = response.clone();
        let shown = from.shown();
        let no = |why: String| Error::new(Kind::Redirect { why, response: response.clone() });
        let Some(location) = response.header("Location") else {
            return Err(no(format!("{shown} answered {} without a Location", response.status())));
        };
        let Ok(location) = str::from_utf8(location) else {
            return Err(no(format!("the Location of {shown} is not text")));
        };
        let mut to = from
            .redirected(location)
            .map_err(|e| no(format!("{shown} names a place that is none: {e}")))?;
        if from.is_secure() && !to.is_secure() {
            let to = to.shown();
            return Err(no(format!("{shown} leads to {to}, which would give up TLS")));
        }
        if self.places.iter().any(|place| place.is_same(&to)) {
            let to = to.shown();
            return Err(no(format!("{shown} leads back to {to}, and so in a circle")));
        }
        if self.places.len() > self.most as usize {
            let (to, most) = (to.shown(), self.most);
            return Err(no(format!("{shown} leads on to {to}, after the {most} that are allowed")));
        }
        self.is_own &= from.is_same_origin(&to);
        if !self.is_own {
            to = to.without_credentials();
        }
        tracing::debug!(from = shown, to = to.shown(), "redirected");
        self.places.push(to.clone());
        self.last = Some(response);
        Ok(to)
    }

    /// The error where `to` is not what a Unix socket was named for.
    #[cfg(unix)]
    pub(super) fn leaves_the_socket(&mut self, to: &Address) -> Error {
        let why = format!("it leads to {}, away from the Unix socket", to.shown());
        match self.last.take() {
            Some(response) => Error::new(Kind::Redirect { why, response }),
            None => Error::new(Kind::Setting(why)),
        }
    }
}
