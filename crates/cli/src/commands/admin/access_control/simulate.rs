//! `admin access-control simulate`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use systemprompt_governance::decisions::{Asked, asked_for};
use systemprompt_identity::{User, UserReference};
use systemprompt_model::{EntityKind, UserId};

use crate::access::{Access, unknown};
use crate::accounts::accounts;
use crate::error::{CliError, CliResult};
use crate::ledger::catch_up;
use crate::moment::{Moment, span};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Table, Text, View, time};

/// Who would gain and who would lose what, if a document were the rules: what was asked for is decided anew by it.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// A document of rules that is complete in itself, as `export` prints one.
    file: PathBuf,
    /// What was asked for since then.
    #[arg(long, default_value = "30d")]
    since: Moment,
}

impl Simulate {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let access = Access::open(invocation, &database.db)?;
        let config = access.read_document(&self.file)?;
        let (since, _) = span(Some(self.since), None, invocation.ambient.now())?;
        catch_up(&database.db).await?;
        let asked = asked_for(database.db.write(), since).await.map_err(CliError::database)?;
        let now = access.rules().await?;
        let then = now.replaced_by(&config);
        let mut users: HashMap<UserId, Option<User>> = HashMap::new();
        let accounts = accounts(invocation, &database.db);
        let mut result = Simulated {
            since,
            pairs: asked.len(),
            requests: 0,
            version_now: Arc::clone(now.version()),
            version_then: Arc::clone(then.version()),
            gains: Vec::new(),
            losses: Vec::new(),
            left_out: access.authorizers()?.map(|hook| {
                format!(
                    "Only the rules are compared; `governance.authz.hook.mode: {}` of the profile is left out.",
                    hook.mode.as_str()
                )
            }),
        };
        for Asked { user, kind, id, count, last } in asked {
            result.requests += count;
            let known = if let Some(known) = users.get(&user) {
                known.clone()
            } else {
                let found = accounts.find(&UserReference::Id(user)).await.map_err(CliError::database)?;
                users.insert(user, found.clone());
                found
            };
            // Whoever is gone gains and loses nothing.
            let Some(account) = known else { continue };
            let (before, after) = (access.describe(&now, &account).await, access.describe(&then, &account).await);
            let before = before.decide(&now, kind, &id).map_err(|untold| unknown(&untold))?;
            let after = after.decide(&then, kind, &id).map_err(|untold| unknown(&untold))?;
            let row = Difference {
                user: account.name,
                entity_type: kind,
                entity_id: id,
                requests: count,
                last,
                now: before.to_string(),
                then: after.to_string(),
            };
            match (before.is_allowed(), after.is_allowed()) {
                (false, true) => result.gains.push(row),
                (true, false) => result.losses.push(row),
                _ => {}
            }
        }
        invocation.printer.show(&result);
        Ok(())
    }
}

#[derive(Serialize)]
struct Simulated {
    since: Option<DateTime<Utc>>,
    /// How many accounts asked for how many things.
    pairs: usize,
    requests: i64,
    version_now: Arc<str>,
    version_then: Arc<str>,
    gains: Vec<Difference>,
    losses: Vec<Difference>,
    /// What decides beside the rules and was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<String>,
}

#[derive(Serialize)]
struct Difference {
    user: String,
    entity_type: EntityKind,
    entity_id: String,
    requests: i64,
    last: DateTime<Utc>,
    now: String,
    then: String,
}

impl View for Simulated {
    fn text(&self, layout: Layout) -> Text {
        let since = self.since.map(|since| format!(" since {}", time(since))).unwrap_or_default();
        let mut parts = vec![Text::line(format!(
            "{} requests{since}, of {} accounts and entities: {} would gain, {} would lose.",
            self.requests,
            self.pairs,
            self.gains.len(),
            self.losses.len()
        ))];
        parts.extend(self.left_out.as_deref().map(Text::line));
        for (word, rows) in [("gains", &self.gains), ("loses", &self.losses)] {
            if rows.is_empty() {
                continue;
            }
            let mut table = Table::new(&[word, "entity", "#requests", "now", "then"]);
            for row in rows {
                table.row([
                    row.user.clone(),
                    format!("{}:{}", row.entity_type, row.entity_id),
                    row.requests.to_string(),
                    row.now.clone(),
                    row.then.clone(),
                ]);
            }
            parts.push(layout.table(&table));
        }
        Text::apart(parts)
    }
}
