//! `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date in any form of section 5.6.7.

use std::time::Duration;

/// How long a server asks to wait. A date counts from the server's own `date`, where that is
/// given, since the clocks of two machines differ; otherwise from `now`, in seconds since 1970.
pub(super) fn retry_after(value: &[u8], date: Option<&[u8]>, now: u64) -> Option<Duration> {
    let value = std::str::from_utf8(value).ok()?.trim_ascii();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More seconds than fit are as many as fit.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = http_date(value)?;
    let date = date.and_then(|date| http_date(std::str::from_utf8(date).ok()?.trim_ascii()));
    Some(Duration::from_secs(at.saturating_sub(date.unwrap_or(now))))
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` or
/// `Sun Nov  6 08:49:37 1994`. The name of the day is not looked at.
fn http_date(text: &str) -> Option<u64> {
    let (day, month, year, time) = match text.split_once(',') {
        Some((_, rest)) => {
            let rest = rest.trim_ascii().strip_suffix("GMT")?;
            let mut words = rest.split([' ', '-']).filter(|word| !word.is_empty());
            (words.next()?, words.next()?, words.next()?, words.next()?)
        }
        None => {
            let mut words = text.split_ascii_whitespace().skip(1);
            let (month, day, time) = (words.next()?, words.next()?, words.next()?);
            (day, month, words.next()?, time)
        }
    };
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let day: u64 = number(day, 2)?;
    let year = match (year.len(), number(year, 4)?) {
        (4, year) => year,
        // A year of two digits is never more than 50 years ahead; 2070 is far enough.
        (2, year @ 70..) => 1900 + year,
        (2, year) => 2000 + year,
        _ => return None,
    };
    let mut parts = time.split(':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second = number(parts.next()?, 2)?;
    let valid = (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !valid || parts.next().is_some() || year < 1970 {
        return None;
    }
    Some(days(year, month, day)? * 86400 + hour * 3600 + minute * 60 + second)
}

fn number(text: &str, longest: usize) -> Option<u64> {
    let digits = (1..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// Days since 1970 in the Gregorian calendar, whose years are best counted from March.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let before = year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1;
    // The days from 1 March 0000 to 1 January 1970.
    before.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(value: &str, date: Option<&str>, now: u64) -> Option<u64> {
        retry_after(value.as_bytes(), date.map(str::as_bytes), now).map(|d| d.as_secs())
    }

    #[test]
    fn rfc9110_10_2_3_seconds() {
        assert_eq!(secs("120", None, 0), Some(120));
        assert_eq!(secs(" 0 ", None, 7), Some(0));
        assert_eq!(secs("99999999999999999999999", None, 0), Some(u64::MAX));
        for bad in ["", "-1", "1.5", "+3", "soon", "1 2"] {
            assert_eq!(secs(bad, None, 0), None, "{bad}");
        }
        assert_eq!(retry_after(b"\xff", None, 0), None);
    }

    #[test]
    fn rfc9110_5_6_7_dates_in_all_three_forms() {
        let at = 784_111_777;
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(http_date(text), Some(at), "{text}");
            assert_eq!(secs(text, None, at - 30), Some(30));
            assert_eq!(secs(text, None, at + 30), Some(0), "it is past");
        }
        for (text, at) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Tue, 29 Feb 2000 23:59:60 GMT", 951_868_800),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ] {
            assert_eq!(http_date(text), Some(at), "{text}");
        }
    }

    #[test]
    fn dates_that_are_none() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
            "Sun, 06 Nov 12345 08:49:37 GMT",
            "Sun Nov",
            ",",
            ", GMT",
        ] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }

    #[test]
    fn whatever_a_server_sends_is_a_time_or_none() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "86400"] {
            for at in 0..text.len() {
                for byte in 0..=255 {
                    let mut bytes = text.as_bytes().to_vec();
                    bytes[at] = byte;
                    retry_after(&bytes, Some(&bytes), 0);
                    bytes.truncate(at);
                    retry_after(&bytes, None, u64::MAX);
                }
            }
        }
    }

    #[test]
    fn a_date_counts_from_the_servers_clock() {
        let (date, at) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:07 GMT");
        assert_eq!(secs(at, Some(date), 0), Some(30));
        assert_eq!(secs(at, Some("nonsense"), 784_111_777), Some(30));
    }
}
