//! Who is in which department: it is written down with each account, so that it is the account that changes.

use systemprompt_governance::access::DEPARTMENT;
use systemprompt_identity::User;
use systemprompt_model::UserId;

use crate::accounts::{accounts, refused};
use crate::change::{About, Change, altered};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// Puts an account into a department, or takes it out of the one it is in.
pub(super) async fn put(
    invocation: &Invocation,
    database: &OpenDatabase,
    id: UserId,
    department: Option<&str>,
) -> CliResult<User> {
    let work = async || {
        let set = accounts(invocation, &database.db).set_department(id, department).await;
        let (before, after) = set.map_err(refused)?;
        Ok(altered(&before, after))
    };
    let request = serde_json::json!({"attributes": {DEPARTMENT: department}});
    invocation.change(database, Change::new("user.update", About::new("user", id), &request), work).await
}
