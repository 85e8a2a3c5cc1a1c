//! What is asked of tokio without the panics that it would answer with.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::error::{Error, Kind};

/// `limit` from now; for a limit that the clock cannot hold, some thirty years.
pub(crate) fn deadline(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or_else(|| now + Duration::from_secs(86400 * 365 * 30))
}

/// Whether a task can be started here.
pub(crate) fn check() -> Result<(), Error> {
    Handle::try_current().map(drop).map_err(|_| {
        let what = "a connection needs a tokio runtime: call this inside one";
        Error::new(Kind::Setting(what.to_owned()))
    })
}
