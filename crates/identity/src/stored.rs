//! Times as PostgreSQL stores them, so that what is recorded of a change is the digest of what is read back later.

use chrono::{DateTime, SubsecRound as _, Utc};
use systemprompt_model::Ambient;

/// The current time, in whole microseconds.
pub(crate) fn now(ambient: &Ambient) -> DateTime<Utc> {
    micros(ambient.now())
}

/// This time, in whole microseconds.
pub(crate) fn micros(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}
