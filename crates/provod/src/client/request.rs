//! From the settings to the request that is sent (RFC 6455 section 4.1).

use provod_proto::handshake::{ClientRequest, FieldError, Origin};

use super::Client;
use super::address::Address;
use crate::error::{Error, Kind};

/// Headers of which a request has one.
const SINGLE: [&str; 5] = ["Authorization", "Cookie", "Host", "Proxy-Authorization", "User-Agent"];

/// Headers that are sent to other origins, too, when a redirect leads there. Any other may be a
/// secret, whatever its name.
const PUBLIC: [&str; 3] = ["Accept", "Accept-Language", "User-Agent"];

/// The request, with all of the settings checked. `is_own` says that it goes to the origin that the
/// application named, and not to another that a redirect led to.
pub(super) fn request(
    client: &Client,
    address: &Address,
    is_own: bool,
) -> Result<ClientRequest, Error> {
    let setting = |what: String| Error::new(Kind::Setting(what));
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|e| Error::new(Kind::Random(e.to_string())))?;
    if let Some(what) = client.headers.iter().find_map(|(name, _)| reserved(name)) {
        return Err(setting(what));
    }
    for name in SINGLE {
        if given(client, name).count() > 1 {
            return Err(setting(format!("the header {name} is set twice; set it once")));
        }
    }
    if let Some(origin) = &client.origin
        && Origin::parse(origin.as_bytes()).is_err()
    {
        return Err(setting(format!(
            "the origin {origin:?} is not scheme://host or scheme://host:port"
        )));
    }
    let host = match given(client, "Host").next().filter(|_| is_own) {
        None => address.authority(),
        Some(host) => str::from_utf8(host)
            .map_err(|_| setting("the header Host is not a name or an address".to_owned()))?,
    };
    let build = || {
        let mut request = ClientRequest::new(host, address.target(), key)?;
        for name in &client.subprotocols {
            request = request.subprotocol(name)?;
        }
        if let Some(config) = client.deflate {
            request = request.deflate(config);
        }
        if let Some(origin) = &client.origin {
            request = request.origin(origin)?;
        }
        if let Some(value) = address.authorization()
            && given(client, "Authorization").next().is_none()
        {
            request = request.header("Authorization", value.as_bytes())?;
        }
        for (name, value) in &client.headers {
            let public = || PUBLIC.iter().any(|known| name.eq_ignore_ascii_case(known));
            if !name.eq_ignore_ascii_case("Host") && (is_own || public()) {
                request = request.header(name, value)?;
            }
        }
        Ok::<_, FieldError>(request)
    };
    build().map_err(|e| setting(e.to_string()))
}

/// The values that were set for a header.
fn given<'a>(client: &'a Client, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    client
        .headers
        .iter()
        .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_slice())
}

/// What to do instead of setting this header.
fn reserved(name: &str) -> Option<String> {
    let instead = match name.to_ascii_lowercase().as_str() {
        "origin" => "Client::origin",
        "sec-websocket-protocol" => "Client::subprotocol",
        "sec-websocket-extensions" => "Client::compression",
        "upgrade" | "connection" | "sec-websocket-key" | "sec-websocket-version" => {
            return Some(format!("the header {name} is set by the handshake itself: leave it out"));
        }
        "content-length" | "transfer-encoding" | "trailer" | "expect" => {
            return Some(format!("the header {name} has no place in a request without a body"));
        }
        _ => return None,
    };
    Some(format!("the header {name} is set with {instead}"))
}
