//! Changes an operator makes: each command that changes something goes through [`Invocation::change`], the one place
//! where a change is attributed to the person at the keyboard.

use std::fmt::Display;

use rustix::process::getuid;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// A change that is about to be made.
#[derive(Debug)]
pub(crate) struct Change {
    operation: &'static str,
    about: About,
    request: Value,
}

/// What is changed.
#[derive(Debug)]
pub(crate) struct About {
    kind: &'static str,
    id: String,
}

/// What a change came to.
#[derive(Debug)]
pub(crate) struct Changed<T> {
    /// The result of the command.
    pub(crate) value: T,
    /// What was changed, as it was; absent if it did not exist or is too large to be read.
    pub(crate) before: Option<StateDigest>,
    /// What was changed, as it is now; absent if it is gone or too large to be read.
    pub(crate) after: Option<StateDigest>,
}

/// The digest of a state.
#[derive(Debug)]
pub(crate) struct StateDigest(String);

impl About {
    /// The thing of this kind and id.
    pub(crate) fn new(kind: &'static str, id: impl Display) -> Self {
        Self { kind, id: id.to_string() }
    }
}

impl Change {
    /// A change of this kind to this; `request` is what is asked for, without secrets.
    pub(crate) fn new(operation: &'static str, about: About, request: &impl Serialize) -> Self {
        Self { operation, about, request: serde_json::to_value(request).unwrap_or_default() }
    }
}

impl<T> Changed<T> {
    /// A change of which the states are not told.
    pub(crate) fn unseen(value: T) -> Self {
        Self { value, before: None, after: None }
    }
}

impl StateDigest {
    /// Of this state.
    pub(crate) fn of(state: &impl Serialize) -> Self {
        let state = serde_json::to_value(state).unwrap_or_default();
        Self(hex::encode(Sha256::digest(state.to_string())))
    }
}

/// Something that was made, and is the result.
pub(crate) fn made<T: Serialize>(value: T) -> Changed<T> {
    Changed { before: None, after: Some(StateDigest::of(&value)), value }
}

/// Something that was otherwise before, and is the result.
pub(crate) fn altered<T: Serialize>(before: &impl Serialize, value: T) -> Changed<T> {
    Changed { before: Some(StateDigest::of(before)), after: Some(StateDigest::of(&value)), value }
}

/// Who is at the keyboard, as the operating system knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operator {
    /// The user id.
    pub(crate) uid: u32,
    /// The user's name, or the id of one without.
    pub(crate) name: String,
}

impl Operator {
    /// Whoever runs this process.
    pub(crate) fn of_this_process() -> Self {
        let uid = getuid().as_raw();
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self { uid, name: name_of(uid, &accounts).unwrap_or_else(|| uid.to_string()) }
    }
}

impl Invocation {
    /// Makes a change: `work` does it. `database` is where it is made, unless it is made to files.
    pub(crate) async fn change<T>(
        &self,
        database: Option<&OpenDatabase>,
        change: Change,
        work: impl AsyncFnOnce() -> CliResult<Changed<T>>,
    ) -> CliResult<T> {
        let operator = Operator::of_this_process();
        let outcome = work().await;
        let changed = outcome.as_ref().ok();
        tracing::info!(
            operation = change.operation,
            about.kind = change.about.kind,
            about.id = change.about.id,
            user.name = operator.name,
            user.uid = operator.uid,
            database = database.map(|database| database.db.target().database),
            request_sha256 = StateDigest::of(&change.request).0,
            before_sha256 = changed.and_then(|changed| changed.before.as_ref()).map(|state| state.0.as_str()),
            after_sha256 = changed.and_then(|changed| changed.after.as_ref()).map(|state| state.0.as_str()),
            succeeded = changed.is_some(),
            "an operator's change"
        );
        Ok(outcome?.value)
    }
}

/// The name of a user in the text of `/etc/passwd`.
fn name_of(uid: u32, accounts: &str) -> Option<String> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_known_by_name() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\n# comment\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(name_of(1000, accounts).as_deref(), Some("ada"));
        assert_eq!(name_of(0, accounts).as_deref(), Some("root"));
        assert_eq!(name_of(7, accounts), None);
    }
}
