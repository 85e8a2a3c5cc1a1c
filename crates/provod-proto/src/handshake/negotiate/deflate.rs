//! The parameters of permessage-deflate (RFC 7692 section 7.1).

use std::fmt;

use super::{Extension, Parameter};

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The window that DEFLATE has where nothing else is agreed, as a power of two.
const FULL_WINDOW: u8 = 15;
/// The smallest window that the deflate libraries can compress with.
const SMALLEST_WINDOW: u8 = 9;

/// How an endpoint wants messages compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateConfig {
    /// The server forgets its window after each message: less memory, less compression. A server
    /// decides this, and agrees if a client asks; a client asks for it.
    pub server_no_context_takeover: bool,
    /// The client forgets its window after each message. A server demands it; a client promises
    /// it.
    pub client_no_context_takeover: bool,
    /// The largest window of the server, as a power of two: 9 to 15; values outside are taken as
    /// the nearest inside. With context takeover each side keeps as many bytes of the connection:
    /// a server that says 12 keeps 4 KiB, and may do so whatever the client offers. A client that
    /// says less than 15 is refused compression by servers that cannot.
    pub server_max_window_bits: u8,
    /// The largest window of the client, likewise. A server can only demand less than 15 from a
    /// client that offers `client_max_window_bits`; others keep 15.
    pub client_max_window_bits: u8,
}

impl Default for DeflateConfig {
    /// Context takeover and full windows on both sides.
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: FULL_WINDOW,
            client_max_window_bits: FULL_WINDOW,
        }
    }
}

/// What both sides agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateParams {
    /// The server compresses each message on its own (RFC 7692 section 7.1.1.1).
    pub server_no_context_takeover: bool,
    /// The client compresses each message on its own (RFC 7692 section 7.1.1.2).
    pub client_no_context_takeover: bool,
    /// The window of the server's compressor, as a power of two: 9 to 15. The client inflates
    /// with at least that.
    pub server_max_window_bits: u8,
    /// The window of the client's compressor, as a power of two: 9 to 15. The server inflates
    /// with at least that.
    pub client_max_window_bits: u8,
}

/// A server's answer to an offer of permessage-deflate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeflateAnswer {
    params: DeflateParams,
    header: String,
}

impl DeflateAnswer {
    /// What is agreed once the answer is sent.
    #[must_use]
    pub fn params(&self) -> DeflateParams {
        self.params
    }

    /// The value of `Sec-WebSocket-Extensions` in the answer.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.header
    }
}

/// Why a client cannot accept a server's answer about permessage-deflate: it must fail the
/// connection (RFC 7692 section 7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeflateError {
    /// A parameter that RFC 7692 does not define.
    UnknownParameter(String),
    /// A parameter that appears twice.
    RepeatedParameter(&'static str),
    /// A parameter whose value its definition does not allow.
    InvalidValue(&'static str),
    /// A window larger than the client asked for (RFC 7692 section 7.1.2.1), or larger than its
    /// own that it offered (section 7.1.2.2).
    WindowTooLarge(&'static str),
    /// A parameter that the client asked for and that the answer therefore must repeat
    /// (RFC 7692 sections 7.1.1.1 and 7.1.2.1).
    NotHonoured(&'static str),
}

impl fmt::Display for DeflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownParameter(name) => {
                write!(f, "an unknown parameter {name:?} (RFC 7692 section 7.1)")
            }
            Self::RepeatedParameter(name) => {
                write!(f, "{name} appears twice (RFC 7692 section 7.1)")
            }
            Self::InvalidValue(name) => {
                write!(f, "{name} has a wrong value (RFC 7692 section 7.1)")
            }
            Self::WindowTooLarge(name) => {
                write!(f, "{name} is larger than offered (RFC 7692 section 7.1.2)")
            }
            Self::NotHonoured(name) => {
                write!(f, "{name} was asked for and not answered (RFC 7692 section 7.1)")
            }
        }
    }
}

impl std::error::Error for DeflateError {}

impl Extension {
    /// Whether this is permessage-deflate (RFC 7692 section 7).
    #[must_use]
    pub fn is_deflate(&self) -> bool {
        self.name == NAME
    }
}

impl DeflateConfig {
    /// A server's choice: the first offer of permessage-deflate that it can accept, answered with
    /// what the offer and this configuration have in common. Other extensions are ignored, and an
    /// offer with a parameter that is unknown, repeated, or has a wrong value is declined
    /// (RFC 7692 section 7.1), as is one that wants a server window of 8 bits, which the deflate
    /// libraries cannot make. `None`: nothing is compressed.
    #[must_use]
    pub fn accept(&self, offers: &[Extension]) -> Option<DeflateAnswer> {
        offers
            .iter()
            .filter(|offer| offer.is_deflate())
            .filter_map(|offer| Parameters::parse(&offer.parameters, true).ok())
            .find_map(|offer| self.answer(&offer))
    }

    fn answer(&self, offer: &Parameters) -> Option<DeflateAnswer> {
        let mut header = NAME.to_owned();
        let mut add = |parameter: &str| {
            header.push_str("; ");
            header.push_str(parameter);
        };

        // A server may use both without being asked, and must repeat the first when asked
        // (section 7.1.1).
        let server_no_context_takeover =
            self.server_no_context_takeover || offer.server_no_context_takeover;
        let client_no_context_takeover =
            self.client_no_context_takeover || offer.client_no_context_takeover;
        if server_no_context_takeover {
            add(SERVER_NO_CONTEXT_TAKEOVER);
        }
        if client_no_context_takeover {
            add(CLIENT_NO_CONTEXT_TAKEOVER);
        }

        // Section 7.1.2.1: accepted by repeating it "with the same or smaller value"; a server may
        // say it without being asked, too.
        let server_max_window_bits = window(self.server_max_window_bits)
            .min(offer.server_max_window_bits.unwrap_or(FULL_WINDOW));
        if server_max_window_bits < SMALLEST_WINDOW {
            return None;
        }
        if server_max_window_bits < FULL_WINDOW || offer.server_max_window_bits.is_some() {
            add(&format!("{SERVER_MAX_WINDOW_BITS}={server_max_window_bits}"));
        }

        // Section 7.1.2.2: only a client that offers it may be told, and nothing larger than its
        // own hint, which binds it once it is repeated. We inflate with 9 bits what was made with
        // 8: a larger window is always right.
        let client_max_window_bits = match offer.client_max_window_bits {
            Offered::No => FULL_WINDOW,
            Offered::Any => window(self.client_max_window_bits),
            Offered::Bits(hint) => window(self.client_max_window_bits).min(hint),
        };
        if client_max_window_bits < FULL_WINDOW {
            add(&format!("{CLIENT_MAX_WINDOW_BITS}={client_max_window_bits}"));
        }

        let params = DeflateParams {
            server_no_context_takeover,
            client_no_context_takeover,
            server_max_window_bits,
            client_max_window_bits: window(client_max_window_bits),
        };
        Some(DeflateAnswer { params, header })
    }

    /// A client's offer: the value of `Sec-WebSocket-Extensions`. It always says that the client
    /// understands `client_max_window_bits`, with its own limit if that is less than 15.
    #[must_use]
    pub fn offer(&self) -> String {
        let mut header = NAME.to_owned();
        if self.server_no_context_takeover {
            header.push_str("; ");
            header.push_str(SERVER_NO_CONTEXT_TAKEOVER);
        }
        if self.client_no_context_takeover {
            header.push_str("; ");
            header.push_str(CLIENT_NO_CONTEXT_TAKEOVER);
        }
        let bits = window(self.server_max_window_bits);
        if bits < FULL_WINDOW {
            header.push_str(&format!("; {SERVER_MAX_WINDOW_BITS}={bits}"));
        }
        let bits = window(self.client_max_window_bits);
        header.push_str("; ");
        header.push_str(CLIENT_MAX_WINDOW_BITS);
        if bits < FULL_WINDOW {
            header.push_str(&format!("={bits}"));
        }
        header
    }

    /// A client's check of the answer to [`DeflateConfig::offer`]: what is agreed, and whether the
    /// client may compress at all. It may not when told a window of 8 bits, which it has agreed to
    /// keep to and which the deflate libraries cannot make; it still inflates.
    pub(in crate::handshake) fn check(
        &self,
        answer: &Extension,
    ) -> Result<(DeflateParams, bool), DeflateError> {
        let answer = Parameters::parse(&answer.parameters, false)?;
        if self.server_no_context_takeover && !answer.server_no_context_takeover {
            return Err(DeflateError::NotHonoured(SERVER_NO_CONTEXT_TAKEOVER));
        }
        let asked = window(self.server_max_window_bits);
        let server = match answer.server_max_window_bits {
            Some(bits) if bits > asked => {
                return Err(DeflateError::WindowTooLarge(SERVER_MAX_WINDOW_BITS));
            }
            Some(bits) => bits,
            None if asked < FULL_WINDOW => {
                return Err(DeflateError::NotHonoured(SERVER_MAX_WINDOW_BITS));
            }
            None => FULL_WINDOW,
        };
        let own = window(self.client_max_window_bits);
        let client = match answer.client_max_window_bits {
            Offered::Bits(bits) if bits > own => {
                return Err(DeflateError::WindowTooLarge(CLIENT_MAX_WINDOW_BITS));
            }
            Offered::Bits(bits) => bits,
            // In an answer the parser wants a value.
            Offered::No | Offered::Any => own,
        };
        let params = DeflateParams {
            server_no_context_takeover: answer.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover
                || answer.client_no_context_takeover,
            server_max_window_bits: window(server),
            client_max_window_bits: window(client),
        };
        Ok((params, client >= SMALLEST_WINDOW))
    }
}

/// The nearest window that the deflate libraries have.
fn window(bits: u8) -> u8 {
    bits.clamp(SMALLEST_WINDOW, FULL_WINDOW)
}

/// `client_max_window_bits`, which an offer may leave without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offered {
    No,
    Any,
    Bits(u8),
}

/// The four parameters as one side sent them, each at most once and with a legal value.
#[derive(Debug)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Offered,
}

impl Parameters {
    fn parse(parameters: &[Parameter], offer: bool) -> Result<Self, DeflateError> {
        let mut parsed = Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: None,
            client_max_window_bits: Offered::No,
        };
        for Parameter { name, value } in parameters {
            let value = value.as_deref();
            match name.as_str() {
                SERVER_NO_CONTEXT_TAKEOVER => {
                    let flag = &mut parsed.server_no_context_takeover;
                    set_flag(flag, SERVER_NO_CONTEXT_TAKEOVER, value)?;
                }
                CLIENT_NO_CONTEXT_TAKEOVER => {
                    let flag = &mut parsed.client_no_context_takeover;
                    set_flag(flag, CLIENT_NO_CONTEXT_TAKEOVER, value)?;
                }
                SERVER_MAX_WINDOW_BITS => {
                    if parsed.server_max_window_bits.is_some() {
                        return Err(DeflateError::RepeatedParameter(SERVER_MAX_WINDOW_BITS));
                    }
                    let bits = value
                        .and_then(window_bits)
                        .ok_or(DeflateError::InvalidValue(SERVER_MAX_WINDOW_BITS))?;
                    parsed.server_max_window_bits = Some(bits);
                }
                CLIENT_MAX_WINDOW_BITS => {
                    if parsed.client_max_window_bits != Offered::No {
                        return Err(DeflateError::RepeatedParameter(CLIENT_MAX_WINDOW_BITS));
                    }
                    parsed.client_max_window_bits = match value {
                        None if offer => Offered::Any,
                        value => value
                            .and_then(window_bits)
                            .map(Offered::Bits)
                            .ok_or(DeflateError::InvalidValue(CLIENT_MAX_WINDOW_BITS))?,
                    };
                }
                unknown => return Err(DeflateError::UnknownParameter(unknown.to_owned())),
            }
        }
        Ok(parsed)
    }
}

fn set_flag(flag: &mut bool, name: &'static str, value: Option<&str>) -> Result<(), DeflateError> {
    if *flag {
        return Err(DeflateError::RepeatedParameter(name));
    }
    if value.is_some() {
        return Err(DeflateError::InvalidValue(name));
    }
    *flag = true;
    Ok(())
}

/// "A decimal integer value without leading zeroes between 8 to 15 inclusive" (section 7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    match value {
        "8" => Some(8),
        "9" => Some(9),
        "10" => Some(10),
        "11" => Some(11),
        "12" => Some(12),
        "13" => Some(13),
        "14" => Some(14),
        "15" => Some(15),
        _ => None,
    }
}
