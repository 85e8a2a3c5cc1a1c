//! The messages of the room protocol `provod.room.v1`: `docs/room-protocol.md` says what each is
//! for. Here they are read and checked, and written.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The subprotocol by which a client asks for it.
pub(super) const SUBPROTOCOL: &str = "provod.room.v1";
/// The close code for a connection whose client has come back on a newer one.
pub(super) const REPLACED: u16 = 4000;

/// The longest name of a member, and the longest text, in code points.
pub(super) const MAX_NAME: usize = 40;
pub(super) const MAX_TEXT: usize = 4000;
/// The longest message of a client, in bytes: a text whose characters are all escaped, and more.
const MAX_MESSAGE: usize = 64 << 10;
/// Of a longer one not even the id is looked for.
const MAX_LOOKED_AT: usize = 1 << 20;
const ID: RangeInclusive<usize> = 1..=64;
const CLIENT: RangeInclusive<usize> = 16..=64;

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Hello { name: String, client: Option<String>, attempt: u64 },
    Say { id: Option<String>, text: String },
    Rename { name: String },
    Typing,
    Ping { id: Option<String> },
}

/// Why a message is not dealt with; the client is told, and goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    code: &'static str,
    message: Cow<'static, str>,
    id: Option<String>,
    /// Milliseconds after which it may be tried again.
    retry_after: Option<u64>,
}

impl Mistake {
    pub(super) fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), id: None, retry_after: None }
    }

    /// It was made in the message with this id.
    pub(super) fn of(mut self, id: Option<&str>) -> Self {
        self.id = id.map(ToOwned::to_owned);
        self
    }

    pub(super) fn retry_after(mut self, milliseconds: u64) -> Self {
        self.retry_after = Some(milliseconds);
        self
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn to_json(&self) -> String {
        json(&Told::Error {
            code: self.code,
            message: &self.message,
            id: self.id.as_deref(),
            retry_after: self.retry_after,
        })
    }
}

/// A message whose fields are not looked at yet, so that a mistake in one does not hide the id.
/// Others than these are no mistake: a later client may know more.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    client: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    attempt: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Result<Self, Mistake> {
        // Serde would take an array of the fields' values too.
        if !text.trim_ascii_start().starts_with('{') {
            return Err(Mistake::new("bad_json", "a message is a JSON object"));
        }
        serde_json::from_str(text)
            .map_err(|e| Mistake::new("bad_json", format!("a message is a JSON object: {e}")))
    }

    fn id(&self) -> Result<Option<String>, Mistake> {
        let id = string("id", self.id)?;
        if id.as_deref().is_some_and(|id| !is_word(id, ID)) {
            return Err(Mistake::new("bad_field", "id must be 1 to 64 of A-Z a-z 0-9 - _"));
        }
        Ok(id)
    }
}

impl Said {
    /// Reads one text message of a client.
    pub(super) fn read(text: &str) -> Result<Self, Mistake> {
        if text.len() > MAX_MESSAGE {
            let len = text.len();
            let why = format!("a message has at most {MAX_MESSAGE} bytes, this one has {len}");
            let fields = (len <= MAX_LOOKED_AT).then(|| Fields::read(text).ok()).flatten();
            let id = fields.and_then(|fields| fields.id().ok()).flatten();
            return Err(Mistake::new("too_long", why).of(id.as_deref()));
        }
        let fields = Fields::read(text)?;
        let id = fields.id()?;
        Self::from_fields(fields, id.clone()).map_err(|mistake| mistake.of(id.as_deref()))
    }

    fn from_fields(fields: Fields<'_>, id: Option<String>) -> Result<Self, Mistake> {
        Ok(match &*required("type", fields.kind)? {
            "hello" => {
                let client = string("client", fields.client)?;
                if client.as_deref().is_some_and(|client| !is_word(client, CLIENT)) {
                    let why = "client must be 16 to 64 of A-Z a-z 0-9 - _";
                    return Err(Mistake::new("bad_field", why));
                }
                let attempt = fields.attempt.map_or(Ok(0), |n| serde_json::from_str(n.get()));
                let attempt = attempt
                    .map_err(|_| Mistake::new("bad_field", "attempt must be a whole number"))?;
                Self::Hello { name: name(&required("name", fields.name)?)?, client, attempt }
            }
            "say" => Self::Say { id, text: checked(required("text", fields.text)?)? },
            "rename" => Self::Rename { name: name(&required("name", fields.name)?)? },
            "typing" => Self::Typing,
            "ping" => Self::Ping { id },
            _ => return Err(Mistake::new("unknown_type", "there is no message of this type")),
        })
    }

    /// The id that an error about it bears.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Say { id, .. } | Self::Ping { id } => id.as_deref(),
            _ => None,
        }
    }
}

fn string(field: &str, value: Option<&RawValue>) -> Result<Option<String>, Mistake> {
    let read = value.map(|value| serde_json::from_str(value.get())).transpose();
    read.map_err(|_| Mistake::new("bad_field", format!("{field} must be a string of Unicode")))
}

fn required(field: &str, value: Option<&RawValue>) -> Result<String, Mistake> {
    string(field, value)?.ok_or_else(|| Mistake::new("bad_field", format!("{field} is missing")))
}

fn is_word(text: &str, len: RangeInclusive<usize>) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    len.contains(&text.len()) && text.bytes().all(allowed)
}

fn checked(text: String) -> Result<String, Mistake> {
    match text.chars().count() {
        0 => Err(Mistake::new("bad_field", "text is empty")),
        1..=MAX_TEXT => Ok(text),
        n => {
            let why = format!("a text has at most {MAX_TEXT} characters, this one has {n}");
            Err(Mistake::new("too_long", why))
        }
    }
}

/// A name as others may see it: nobody can take a line of his own in a list, turn the text
/// around it, or have no name at all.
fn name(text: &str) -> Result<String, Mistake> {
    let name = text.trim();
    let why = match name.chars().count() {
        n if n > MAX_NAME => format!("a name has at most {MAX_NAME} characters, this one has {n}"),
        _ if name.chars().any(steers) => {
            "a name has no control characters, nor any that change the direction of text".to_owned()
        }
        _ if name.chars().all(is_invisible) => "a name must show something".to_owned(),
        _ => return Ok(name.to_owned()),
    };
    Err(Mistake::new("bad_name", why))
}

/// Characters that change what stands around them: control characters, separators of lines, and
/// the directional formatting of Unicode's bidirectional algorithm (UAX 9 section 2).
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}')
}

/// Characters of no ink of their own. Some are needed inside names, as the joiner of an emoji is.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// What the server says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Told<'a> {
    Welcome {
        you: MemberId,
        room: &'a str,
        epoch: &'a str,
        seq: u64,
        time: u64,
        members: Option<Vec<Who<'a>>>,
        count: usize,
        plain: usize,
        history: Vec<Told<'a>>,
        limits: Limits,
    },
    Message {
        id: Cow<'a, str>,
        seq: u64,
        time: u64,
        #[serde(flatten)]
        speaker: Option<Speaker<'a>>,
        text: &'a str,
        /// The text was longer.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        cut: bool,
    },
    Joined {
        member: Who<'a>,
        count: usize,
        plain: usize,
    },
    Left {
        member: Who<'a>,
        count: usize,
        plain: usize,
    },
    Renamed {
        member: Who<'a>,
        was: &'a str,
    },
    Members {
        /// Not there: nothing changed. `null`: not known any more.
        #[serde(skip_serializing_if = "Option::is_none")]
        members: Option<Option<Vec<Who<'a>>>>,
        count: usize,
        plain: usize,
    },
    Typing {
        #[serde(flatten)]
        speaker: Speaker<'a>,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        time: u64,
    },
    Error {
        code: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
}

/// What a member is called among the others for as long as it is here, through reconnects too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct MemberId(pub(super) u64);

impl Serialize for MemberId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("m{}", self.0))
    }
}

/// A member.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Who<'a> {
    pub(super) id: MemberId,
    pub(super) name: &'a str,
}

/// A member as the one who says something.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Speaker<'a> {
    pub(super) from: MemberId,
    pub(super) name: &'a str,
}

/// What a client may say.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Limits {
    pub(super) name: usize,
    pub(super) text: usize,
    pub(super) rate: u32,
    pub(super) burst: u32,
}

/// A message of the server.
pub(super) fn json(message: &Told<'_>) -> String {
    // Keys are strings and no value fails to be written, so there is always a text.
    serde_json::to_string(message).unwrap_or_default()
}
