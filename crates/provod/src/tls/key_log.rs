//! The secrets of TLS sessions, written out for a program that looks into recorded traffic.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A file of the form that `SSLKEYLOGFILE` names: one line for each secret.
pub(crate) struct KeyLog(Mutex<File>);

impl KeyLog {
    /// Appends to the file at `path`, which only its owner may read where it is made here.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self(Mutex::new(options.open(path)?)))
    }
}

impl fmt::Debug for KeyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyLog")
    }
}

impl rustls::KeyLog for KeyLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = format!("{label} ");
        let hex = |line: &mut String, bytes: &[u8]| {
            for byte in bytes {
                // A String takes whatever is written to it.
                let _ = write!(line, "{byte:02x}");
            }
        };
        hex(&mut line, client_random);
        line.push(' ');
        hex(&mut line, secret);
        line.push('\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One write, so that lines of several processes do not mix. A full disk must not end
        // connections.
        let _ = file.write_all(line.as_bytes());
    }
}
