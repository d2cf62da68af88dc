//! Changes an operator makes: each command that changes something goes through [`Invocation::change`], the one place
//! where a change is attributed to the person at the keyboard and passes the Gate.

use std::fmt::Display;

use rustix::process::getuid;
use serde::Serialize;
use systemprompt_config::Home;
use systemprompt_governance::command::CommandGate;
use systemprompt_governance::{Backlog, ChangeError, Refusal};
use systemprompt_model::{Attribution, with_causes};

use crate::error::{CliError, CliResult, Exit};
use crate::ledger;
use crate::project::{Invocation, OpenDatabase, Project};

pub(crate) use systemprompt_governance::{About, Change, Changed, StateDigest};

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
    /// Makes a change: the Gate decides and records who makes it, `work` does it. `database` is where it is made.
    pub(crate) async fn change<T>(
        &self,
        database: &OpenDatabase,
        change: Change,
        work: impl AsyncFnOnce() -> CliResult<Changed<T>>,
    ) -> CliResult<T> {
        let project = self.project()?;
        self.change_in(&project.home, Some((&project, database)), change, work).await
    }

    /// The same in a project that need not be complete.
    ///
    /// Without a ledger the change waits in the home until there is one: whatever opens a Gate next records it. If `work`
    /// makes the ledger, that is at once.
    pub(crate) async fn change_in<T>(
        &self,
        home: &Home,
        ledger: Option<(&Project, &OpenDatabase)>,
        change: Change,
        work: impl AsyncFnOnce() -> CliResult<Changed<T>>,
    ) -> CliResult<T> {
        if let Some((project, database)) = ledger
            && ledger::exists(&database.db).await?
        {
            // Opening a Gate takes a large future: it is boxed here, once for all commands.
            return Box::pin(self.record(project, database, change, work)).await;
        }
        let changed = work().await?;
        let unrecorded = |error: &dyn Display| {
            CliError::new("not_recorded", format!("the change was made, and could not be recorded: {error}"))
        };
        if let Some((project, database)) = ledger
            // A database that is gone again has none: the change waits.
            && ledger::exists(&database.db).await.unwrap_or(false)
        {
            let recorded = Box::pin(self.record(project, database, change, async || Ok(changed))).await;
            return recorded.map_err(|error| unrecorded(&error));
        }
        let operator = Operator::of_this_process();
        let waits = Backlog::of(home).add(change, changed, &operator.name, operator.uid, &self.ambient);
        waits.map_err(|error| unrecorded(&with_causes(&error)))
    }

    async fn record<T>(
        &self,
        project: &Project,
        database: &OpenDatabase,
        change: Change,
        work: impl AsyncFnOnce() -> CliResult<Changed<T>>,
    ) -> CliResult<T> {
        let opened = CommandGate::open(&project.configuration, &database.db, ledger::projections(), &self.ambient);
        let gate = opened.await.map_err(|error| CliError::from_error("ledger_unavailable", &error))?;
        let operator = Operator::of_this_process();
        let by = Attribution::operator(&operator.name, operator.uid, &self.ambient);
        let changed = gate.gate().change(by, change, work).await;
        let all_written = gate.close().await;
        match changed {
            Ok(result) if all_written => Ok(result),
            Ok(_) => Err(CliError::new("not_recorded", "the change was made, and how it ended could not be recorded")),
            Err(ChangeError::Failed(error)) => Err(error),
            Err(ChangeError::Refused(refusal)) => {
                let exit = match refusal {
                    Refusal::Denied(_) => Exit::Denied,
                    Refusal::LedgerUnavailable => Exit::Unavailable,
                };
                Err(CliError::new("change_refused", refusal.to_string()).help("nothing was changed").exit(exit))
            }
        }
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
