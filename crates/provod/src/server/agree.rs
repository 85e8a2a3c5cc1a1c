//! What a server agrees to, and the connection that comes of it: the half of an opening handshake
//! that does not depend on how the request came.

use std::sync::Arc;

use provod_proto::handshake::{
    Accept as ProtoAccept, DeflateAnswer, DeflateParams, FieldError, Upgrade,
};
use provod_proto::{Connection, DeflateSetup, Role};

use super::settings::Settings;
use crate::counters::Counters;
use crate::driver::{Info, Shared, pool};

/// What both ends agree on.
pub(super) struct Terms {
    subprotocol: Option<String>,
    deflate: Option<DeflateParams>,
}

/// Chooses what a WebSocket is opened with, and what `write` makes of the answer that says so. Without a
/// subprotocol that the application has chosen, the first of the client's that it speaks is agreed.
///
/// # Errors
///
/// What the application gave cannot be written, or agrees to a subprotocol that was not offered.
pub(super) fn agree<W>(
    settings: &Settings,
    upgrade: &Upgrade,
    chosen: Option<&str>,
    spoken: &[String],
    headers: &[(String, Vec<u8>)],
    write: impl FnOnce(&ProtoAccept<'_>) -> W,
) -> Result<(Terms, W), FieldError> {
    let deflate = settings.deflate.as_ref().and_then(|config| upgrade.accept_deflate(config));
    let subprotocol = chosen.or_else(|| upgrade.choose_subprotocol(spoken));
    let mut answer = ProtoAccept::new(upgrade);
    if let Some(name) = subprotocol {
        answer = answer.subprotocol(name)?;
    }
    if let Some(deflate) = &deflate {
        answer = answer.deflate(deflate);
    }
    for (name, value) in headers {
        answer = answer.header(name, value)?;
    }
    let written = write(&answer);
    let subprotocol = subprotocol.map(str::to_owned);
    let deflate = deflate.as_ref().map(DeflateAnswer::params);
    Ok((Terms { subprotocol, deflate }, written))
}

/// The connection of a request that was answered with these terms.
pub(super) fn connection(
    settings: &Settings,
    counters: &Arc<Counters>,
    peer: &str,
    target: &str,
    terms: &Terms,
) -> Arc<Shared> {
    let info = Info::new(peer, target, terms.subprotocol.as_deref(), terms.deflate, None);
    let setup = info.deflate().map(|params| DeflateSetup { params, compress: true, pool: pool() });
    let config = settings.core_config();
    let shared = Shared::new(
        |now| Connection::new(Role::Server, config, setup, now),
        info,
        settings.config.clone(),
        counters.clone(),
    );
    if let Some(budget) = &settings.budget {
        budget.watch(&shared);
    }
    shared
}
