//! `infra logs audit keys`: the keys that sign checkpoints of this home.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use systemprompt_governance::command::checkpoint_directory;
use systemprompt_governance::ledger::keys::{self, KeyError, PublicKey};

use crate::change::{About, Change, altered};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Page, Row, Text, View, time};

/// The keys that sign checkpoints of this home.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    List(List),
    Rotate(Rotate),
}

/// The public halves of all keys that ever signed here; what an auditor needs to verify without this home.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// As lines of JSON, for `--key` of `audit verify` and of `systemprompt-verify`.
    #[arg(long)]
    jsonl: bool,
}

/// Exchange the key that signs. The old one signs the new one and is deleted; its public half verifies what it signed. A
/// running server takes the new one at its next checkpoint.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Keys {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match self {
            Self::List(command) => command.run(invocation),
            Self::Rotate(command) => command.run(invocation, database).await,
        }
    }
}

impl List {
    fn run(self, invocation: &Invocation) -> CliResult {
        let directory = checkpoint_directory(&invocation.project()?.configuration);
        let keys = keys::public_keys(&directory).map_err(|error| failed(&error))?;
        if self.jsonl {
            invocation.printer.show(&Lines(keys));
            return Ok(());
        }
        invocation.printer.show(&Page::whole(keys));
        Ok(())
    }
}

impl Rotate {
    async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let directory = checkpoint_directory(&invocation.project()?.configuration);
        invocation.confirm(self.yes, "Exchange the key that signs checkpoints of this home?").await?;
        let now = invocation.ambient.now();
        let change = Change::new("checkpoint_key.rotate", About::new("checkpoint_key", "home"), &json!({}));
        let rotate = async || {
            let (before, after) = keys::rotate(&directory, now).map_err(|error| failed(&error))?;
            Ok(altered(&before, after))
        };
        let key = invocation.change(database, change, rotate).await?;
        invocation.printer.show(&Rotated(key));
        Ok(())
    }
}

fn failed(error: &KeyError) -> CliError {
    CliError::from_error("keys_unreadable", error)
}

impl Row for PublicKey {
    const COLUMNS: &'static [&'static str] = &["key", "state", "since", "until", "public key"];
    const NONE: &'static str = "No keys. The first start of the server makes one.";

    fn cells(&self) -> Vec<String> {
        let state = if self.until.is_some() { "verifies only" } else { "signs" };
        vec![
            self.key.clone(),
            state.to_owned(),
            self.since.map(time).unwrap_or_default(),
            self.until.map(time).unwrap_or_default(),
            self.public_key.clone(),
        ]
    }
}

/// Lines that are data themselves.
#[derive(Serialize)]
struct Lines(Vec<PublicKey>);

impl View for Lines {
    fn text(&self, _: Layout) -> Text {
        let lines = self.0.iter().map(|key| serde_json::to_string(key).unwrap_or_default());
        Text::lines(lines.collect::<Vec<_>>().join("\n"))
    }
}

#[derive(Serialize)]
struct Rotated(PublicKey);

impl View for Rotated {
    fn text(&self, _: Layout) -> Text {
        Text::line(format!("The key {} signs from now on. Give its public half to whoever verifies.", self.0.key))
    }
}
