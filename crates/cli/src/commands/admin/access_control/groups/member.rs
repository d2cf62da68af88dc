//! Who is put where, as `groups add` and `groups remove` say it.

use serde::Serialize;
use systemprompt_governance::access::{DEPARTMENT, Group, GroupKind};
use systemprompt_identity::User;

use super::department::put;
use crate::access::{Access, unavailable};
use crate::change::{About, Change, Changed};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Record, Text, View, yes};

/// An account and a group, and whether it is in it now.
#[derive(Debug, Serialize)]
pub(super) struct Membership {
    user: String,
    kind: GroupKind,
    group: String,
    member: bool,
    /// Whether it was otherwise before.
    #[serde(rename = "was_otherwise")]
    changed: bool,
}

/// Puts `user` into `group`, or takes it out.
pub(super) async fn set(
    invocation: &Invocation,
    database: &OpenDatabase,
    access: &Access,
    group: &Group,
    user: &User,
    member: bool,
) -> CliResult<Membership> {
    let membership =
        |changed| Membership { user: user.name.clone(), kind: group.kind, group: group.name.clone(), member, changed };
    if group.kind == GroupKind::Department {
        let is_in = user.attributes.get(DEPARTMENT) == Some(&group.name);
        if member || is_in {
            put(invocation, database, user.id, member.then_some(group.name.as_str())).await?;
        }
        return Ok(membership(is_in != member));
    }
    let work = async || {
        let changed = if member {
            access.store.add_member(group.id, user.id).await
        } else {
            access.store.remove_member(group.id, user.id).await
        };
        Ok(Changed::unseen(membership(changed.map_err(unavailable)?)))
    };
    let operation = if member { "access_group.add" } else { "access_group.remove" };
    let request = serde_json::json!({"group": group.name, "user_id": user.id});
    let change = Change::new(operation, About::new(group.kind.as_str(), &group.name), &request);
    invocation.change(database, change, work).await
}

impl View for Membership {
    fn text(&self, layout: Layout) -> Text {
        layout.record(
            &Record::new()
                .with("user", self.user.clone())
                .with(self.kind.as_str(), self.group.clone())
                .with("is in it", yes(self.member))
                .with("changed", yes(self.changed)),
        )
    }
}
