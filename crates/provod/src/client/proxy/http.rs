//! A tunnel through a proxy of HTTP (RFC 9110 section 9.3.6).

use provod_proto::handshake::HeadLimits;
use tokio::time::Instant;

use super::{Hop, fault};
use crate::client::address::Address;
use crate::client::exchange::{Exchange, Trouble};
use crate::client::stream::Stream;
use crate::client::{HttpResponse, body};
use crate::error::{Error, Kind};

/// Asks for the tunnel. What is read ends with the head of the answer, so that nothing of the
/// tunnel is lost.
pub(super) async fn connect(
    io: &mut Stream,
    hop: &Hop,
    address: &Address,
    until: Instant,
) -> Result<(), Error> {
    // The port is always there, also where the scheme has one.
    let to = format!("{}:{}", address.host(), address.port());
    let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
    if let Some(basic) = hop.basic() {
        request.push_str("Proxy-Authorization: ");
        request.push_str(&basic);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let mut exchange = Exchange::new(request.as_bytes(), HeadLimits::default());
    let answered = exchange.answer(io).await;
    let (head, more) = answered.map_err(|trouble| match trouble {
        Trouble::Invalid(why) => fault(hop, format!("gave an answer that is not valid: {why}")),
        Trouble::Tls => fault(hop, "speaks TLS on this port, which https:// is for"),
        Trouble::HungUp => fault(hop, "hung up without an answer"),
        // Only now it may be known that it wants a certificate of the client.
        #[cfg(feature = "tls")]
        Trouble::Broken(e) if crate::tls::is_tls(&e) => {
            Error::new(Kind::AtProxy(crate::tls::failed(e, &hop.place())))
        }
        Trouble::Broken(e) => fault(hop, format!("hung up: {e}")),
    })?;
    if !(200..=299).contains(&head.status()) {
        let body = body::read(io, &head, &more, until).await;
        let what = format!("refused a tunnel to {to}");
        let response = Some(HttpResponse::new(head, body));
        return Err(Error::new(Kind::Proxy { place: hop.place(), what, response }));
    }
    // Nobody speaks in the tunnel before this end has.
    if !more.is_empty() {
        return Err(fault(hop, "sent more than its answer, which belongs to no one"));
    }
    if !exchange.unsent.is_empty() {
        return Err(fault(hop, "answered before it had the request"));
    }
    Ok(())
}
