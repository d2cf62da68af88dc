//! `admin users api-key list`.

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use systemprompt_identity::ApiKey;

use super::keys::keys;
use crate::accounts::{accounts, find};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Page, Row, time};

/// The keys of an account.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Whose.
    user: String,
}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let user = find(&accounts(invocation, &database.db), &self.user).await?;
        let found = keys(invocation, &database.db).list(user.id).await.map_err(CliError::database)?;
        let now = invocation.ambient.now();
        invocation.printer.show(&Page::whole(found.into_iter().map(|key| Listed::new(key, now)).collect()));
        Ok(())
    }
}

/// A key, and whether it opens anything.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    key: ApiKey,
    state: &'static str,
}

impl Listed {
    fn new(key: ApiKey, now: DateTime<Utc>) -> Self {
        let state = match key.revoked_at {
            Some(_) => "revoked",
            None if key.is_live(now) => "live",
            None => "expired",
        };
        Self { key, state }
    }
}

impl Row for Listed {
    const COLUMNS: &'static [&'static str] = &["id", "name", "prefix", "created", "last used", "expires", "state"];
    const NONE: &'static str = "No keys.";

    fn cells(&self) -> Vec<String> {
        let at = |moment: Option<DateTime<Utc>>| moment.map_or("never".to_owned(), time);
        vec![
            self.key.id.to_string(),
            self.key.name.clone(),
            self.key.prefix.clone(),
            time(self.key.created_at),
            at(self.key.last_used_at),
            at(self.key.expires_at),
            self.state.to_owned(),
        ]
    }
}
