//! `admin users api-key issue`.

use chrono::TimeDelta;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use systemprompt_identity::{ApiKey, ApiKeyError, IssuedKey};

use super::keys::keys;
use crate::accounts::{accounts, find};
use crate::bounds::{DAYS, within};
use crate::change::{About, Change, Changed, StateDigest};
use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Record, Text, View, time};

/// Make a key. It is shown once.
#[derive(Debug, Args)]
pub(crate) struct Issue {
    /// Whose.
    user: String,
    /// What it is for.
    #[arg(long, default_value = "api key")]
    name: String,
    /// Days until it expires; never, unless given.
    #[arg(long, value_name = "DAYS", value_parser = within::<u32>(DAYS))]
    expires_in_days: Option<u32>,
}

impl Issue {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let user = find(&accounts(invocation, &database.db), &self.user).await?;
        let expires_at = self.expires_in_days.map(|days| invocation.ambient.now() + TimeDelta::days(days.into()));
        let request = json!({"user_id": user.id, "name": self.name, "expires_at": expires_at});
        let issue = async || {
            let issued = keys(invocation, &database.db).issue(user.id, &self.name, expires_at).await;
            let issued = issued.map_err(|error| {
                let exit = if matches!(error, ApiKeyError::InvalidName) { Exit::Usage } else { Exit::Failure };
                CliError::from_error("key_refused", &error).exit(exit)
            })?;
            Ok(Changed { before: None, after: Some(StateDigest::of(&issued.key)), value: issued })
        };
        let change = Change::new("api_key.issue", About::new("user", user.id), &request);
        let IssuedKey { key, secret } = invocation.change(database, change, issue).await?;
        invocation.printer.show(&Shown { key, api_key: secret.expose() });
        Ok(())
    }
}

/// A key with its secret, the one time it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    key: ApiKey,
    api_key: &'a str,
}

impl View for Shown<'_> {
    fn text(&self, layout: Layout) -> Text {
        layout.record(
            &Record::new()
                .with("id", self.key.id.to_string())
                .with("name", self.key.name.clone())
                .with("expires", self.key.expires_at.map(time))
                .with("API key", format!("{}   (shown once)", self.api_key)),
        )
    }
}
