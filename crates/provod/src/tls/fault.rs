//! What went wrong with TLS, and what to do about it, in one line.

use std::io;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error as TlsError};

use crate::error::{Error, Kind};

/// Names of a certificate that an error has.
const NAMED: usize = 5;

/// Whether TLS itself is what failed, and not what carries it.
pub(crate) fn is_tls(e: &io::Error) -> bool {
    inner(e).is_some()
}

/// The failure of TLS in `e`, if it is one.
pub(crate) fn inner(e: &io::Error) -> Option<&TlsError> {
    e.get_ref()?.downcast_ref()
}

/// The error for a TLS connection to `place` that did not come about because of `e`.
pub(crate) fn failed(e: io::Error, place: &str) -> Error {
    let (what, lost) = match inner(&e) {
        Some(TlsError::InvalidCertificate(why)) => (certificate(why, place), false),
        Some(TlsError::AlertReceived(alert)) => (alerted(*alert, place), false),
        Some(TlsError::InvalidMessage(_)) => {
            let what = format!(
                "{place} does not speak TLS on this port: if it speaks plain HTTP there, use ws:// \
                 instead of wss://"
            );
            (what, false)
        }
        Some(TlsError::PeerIncompatible(why)) => {
            let what = format!(
                "{place} and this end have no version or cipher of TLS in common: 1.2 or 1.3 is \
                 wanted ({why:?})"
            );
            (what, false)
        }
        Some(TlsError::NoApplicationProtocol) => (no_protocol(place), false),
        Some(e) => (format!("TLS with {place} failed: {e}"), false),
        None if e.kind() == io::ErrorKind::UnexpectedEof => {
            (format!("{place} hung up in the middle of the TLS handshake"), true)
        }
        None => (format!("the connection to {place} broke in the TLS handshake: {e}"), true),
    };
    Error::new(Kind::Tls { what, source: Some(e), lost })
}

fn no_protocol(place: &str) -> String {
    format!("{place} speaks none of the protocols that were offered to it (ALPN, RFC 7301)")
}

/// What is wrong with the certificate of `place`.
fn certificate(why: &CertificateError, place: &str) -> String {
    let what = match why {
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented.iter().take(NAMED).map(|name| plain(name)).collect();
            let more = if presented.len() > NAMED { " and others" } else { "" };
            if names.is_empty() {
                "has no name at all, and so not this one".to_owned()
            } else {
                let names = names.join(", ");
                format!("is for {names}{more}: connect to that name, or set it as the server's name")
            }
        }
        CertificateError::NotValidForName => "is for another name".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "expired on {}: the server needs a new one, unless the clock here is wrong",
            day(*not_after)
        ),
        CertificateError::Expired => "has expired: the server needs a new one".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}: is the clock here right?", day(*not_before))
        }
        CertificateError::NotValidYet => "is not valid yet: is the clock here right?".to_owned(),
        CertificateError::UnknownIssuer => {
            "is from a CA that is not known here: give the file of that CA, or have the server send \
             its whole chain"
                .to_owned()
        }
        CertificateError::Revoked => "has been revoked by its CA".to_owned(),
        // The key of the known one may be of another kind.
        CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is not signed by the CA of that name that is known here: the file of the CA may be an \
             old one"
                .to_owned()
        },
        CertificateError::Other(e) if e.to_string().contains("CaUsedAsEndEntity") => {
            "is that of a CA, which must not be used as a server's: have it issue one for the server"
                .to_owned()
        }
        CertificateError::Other(e) => format!("is not accepted: {e}"),
        e => format!("is not accepted: {e}"),
    };
    format!("the certificate of {place} {what}")
}

/// What the other end's alert means (RFC 8446 section 6.2).
fn alerted(alert: AlertDescription, place: &str) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            format!("{place} wants a certificate of the client, and none is set")
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            format!("{place} does not accept the client's certificate ({alert:?})")
        }
        AlertDescription::CertificateExpired | AlertDescription::CertificateRevoked => {
            format!("{place} does not accept the client's certificate any more ({alert:?})")
        }
        AlertDescription::ProtocolVersion => {
            format!("{place} speaks another version of TLS: 1.2 or 1.3 is wanted")
        }
        AlertDescription::HandshakeFailure => format!(
            "{place} refused the TLS handshake: it may want a certificate of the client, or a \
             cipher that is not offered"
        ),
        AlertDescription::UnrecognisedName => {
            format!("{place} does not know the name that it was asked for (SNI, RFC 6066)")
        }
        AlertDescription::NoApplicationProtocol => no_protocol(place),
        alert => format!("{place} ended TLS with an alert: {alert:?}"),
    }
}

/// A name without what the verifier has put around it, as in `DnsName("example.com")`.
fn plain(name: &str) -> &str {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(name).trim_matches('"')
}

/// The day in UTC, as `2024-02-29`.
fn day(time: UnixTime) -> String {
    // Days since 0000-03-01 of the proleptic Gregorian calendar, whose 400 years are 146,097 days.
    let seconds = Duration::from_secs(time.as_secs()).as_secs();
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // March is month 0.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = (year + era * 400, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{day:02}", if month <= 2 { year + 1 } else { year })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_709_251_199, "2024-02-29"),
            (1_735_689_599, "2024-12-31"),
            (1_735_689_600, "2025-01-01"),
            (4_107_542_400, "2100-03-01"),
        ] {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            assert_eq!(day(time), text);
        }
    }

    #[test]
    fn each_fault_has_its_own_line() {
        let certificate = |e| TlsError::InvalidCertificate(e);
        let faults = [
            (certificate(CertificateError::Revoked), "revoked"),
            (certificate(CertificateError::NotValidForName), "another name"),
            (certificate(CertificateError::Expired), "expired"),
            (certificate(CertificateError::NotValidYet), "clock"),
            (certificate(CertificateError::UnknownIssuer), "file of that CA"),
            (certificate(CertificateError::BadSignature), "signed"),
            (TlsError::AlertReceived(AlertDescription::ProtocolVersion), "another version"),
            (TlsError::AlertReceived(AlertDescription::CertificateRequired), "wants a certificate"),
            (TlsError::AlertReceived(AlertDescription::CertificateExpired), "any more"),
            (TlsError::AlertReceived(AlertDescription::UnknownCA), "does not accept the client's"),
            (TlsError::AlertReceived(AlertDescription::UnrecognisedName), "SNI"),
            (TlsError::NoApplicationProtocol, "ALPN"),
        ];
        let mut lines = Vec::new();
        for (fault, word) in faults {
            let e = failed(io::Error::new(io::ErrorKind::InvalidData, fault), "example.com:443");
            let line = e.to_string();
            assert!(e.is_tls() && !e.is_lost() && line.contains(word), "{word}: {line}");
            assert!(line.contains("example.com"), "{line}");
            lines.push(line);
        }
        lines.sort_unstable();
        let before = lines.len();
        lines.dedup();
        assert_eq!(lines.len(), before);
        let e = failed(io::ErrorKind::ConnectionReset.into(), "example.com");
        assert!(e.is_tls() && e.is_lost(), "{e}");
    }
}
