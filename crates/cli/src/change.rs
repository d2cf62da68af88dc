//! Changes an operator makes: each command that changes something goes through [`Invocation::change`], the one place
//! where a change is attributed to the person at the keyboard.

use rustix::process::getuid;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// A change that is about to be made.
#[derive(Debug)]
pub(crate) struct Change {
    /// What is done, as `noun.verb`.
    pub(crate) operation: &'static str,
    /// What it is done to.
    pub(crate) about: String,
    /// What was asked for, without secrets.
    pub(crate) request: Value,
    /// What is changed, as it was; nothing if it did not exist or is too large to be read.
    pub(crate) before: Option<Value>,
}

/// What a change came to.
#[derive(Debug)]
pub(crate) struct Changed<T> {
    /// The result of the command.
    pub(crate) result: T,
    /// What was changed, as it is now, without secrets; nothing if it is gone or too large to be read.
    pub(crate) after: Option<Value>,
}

/// Who is at the keyboard, as the operating system knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operator {
    /// The user id.
    pub(crate) uid: u32,
    /// The user's name, or the id of one without.
    pub(crate) name: String,
}

impl Change {
    /// A change of this kind to this.
    pub(crate) fn new(operation: &'static str, about: impl ToString) -> Self {
        Self { operation, about: about.to_string(), request: Value::Null, before: None }
    }

    /// Adds what was asked for, without secrets.
    #[must_use]
    pub(crate) fn request(mut self, request: impl Serialize) -> Self {
        self.request = value(&request);
        self
    }

    /// Adds what is changed, as it is before.
    #[must_use]
    pub(crate) fn before(mut self, before: &impl Serialize) -> Self {
        self.before = Some(value(before));
        self
    }
}

impl<T> Changed<T> {
    /// A change whose result is what was changed.
    pub(crate) fn to(result: T) -> Self
    where
        T: Serialize,
    {
        Self { after: Some(value(&result)), result }
    }

    /// A change after which there is nothing, or too much, to look at.
    pub(crate) fn with(result: T) -> Self {
        Self { result, after: None }
    }
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
        tracing::info!(
            operation = change.operation,
            about = change.about,
            "user.name" = operator.name,
            "user.uid" = operator.uid,
            database = database.map(|database| database.db.target().database),
            request_sha256 = digest(&change.request),
            before_sha256 = change.before.as_ref().map(digest),
            after_sha256 = outcome.as_ref().ok().and_then(|changed| changed.after.as_ref()).map(digest),
            succeeded = outcome.is_ok(),
            "an operator's change"
        );
        Ok(outcome?.result)
    }
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

/// Objects are ordered by key, so equal values have equal digests.
fn digest(value: &Value) -> String {
    hex::encode(Sha256::digest(value.to_string()))
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
