//! `admin access-control groups add`.

use clap::Args;

use super::member::set;
use crate::access::Access;
use crate::accounts::{accounts, find};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// Put an account into a group, or into a department instead of the one it is in.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The group or department.
    group: String,
    /// The account: name, e-mail address or id.
    user: String,
}

impl Add {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let access = Access::open(invocation, &database.db)?;
        let group = access.group(&self.group, None).await?;
        let user = find(&accounts(invocation, &database.db), &self.user).await?;
        let membership = set(invocation, database, &access, &group, &user, true).await?;
        invocation.printer.show(&membership);
        Ok(())
    }
}
