//! `infra logs request top`.

use std::collections::HashMap;

use clap::{Args, ValueEnum};
use serde::Serialize;
use systemprompt_gateway::request::figures::{Dimension, Measure, Ranked, top};
use systemprompt_identity::{ApiKeys, Origins};
use systemprompt_model::{ApiKeyId, Microdollars, UserId};

use crate::bounds::{ROWS, within};
use crate::error::{CliError, CliResult};
use crate::ledger::catch_up;
use crate::project::{Invocation, OpenDatabase};
use crate::request_filter::Requested;
use crate::view::Row;

/// Who and what used most.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// What is compared.
    #[arg(long, value_enum, default_value_t = By::User)]
    by: By,
    /// What counts.
    #[arg(long, value_enum, default_value_t = Most::Cost)]
    most: Most,
    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 10, value_parser = within::<u32>(ROWS))]
    limit: u32,
    #[command(flatten)]
    requested: Box<Requested>,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// Who asked.
    User,
    /// With which key.
    Key,
    /// In which session.
    Session,
    /// In which conversation.
    Conversation,
    /// Which model.
    Model,
    /// Which provider.
    Provider,
    /// Which policy decided.
    Policy,
    /// How it ended.
    Status,
}

/// What counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Most {
    /// Money.
    Cost,
    /// How many requests.
    Requests,
    /// Tokens in and out.
    Tokens,
}

impl Top {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let filter = self.requested.filter(invocation, database).await?;
        catch_up(&database.db).await?;
        let by = match self.by {
            By::User => Dimension::User,
            By::Key => Dimension::Key,
            By::Session => Dimension::Session,
            By::Conversation => Dimension::Conversation,
            By::Model => Dimension::Model,
            By::Provider => Dimension::Provider,
            By::Policy => Dimension::Policy,
            By::Status => Dimension::Status,
        };
        let most = match self.most {
            Most::Cost => Measure::Cost,
            Most::Requests => Measure::Requests,
            Most::Tokens => Measure::Tokens,
        };
        let found = top(database.db.write(), &filter, by, most, self.limit + 1).await.map_err(CliError::database)?;
        let mut names = names(self.by, invocation, database, &found).await?;
        let items = found.into_iter().map(|ranked| {
            let name = ranked.what.as_ref().and_then(|what| names.remove(what));
            let what =
                ranked.what.clone().map(|what| if self.by == By::Session { format!("sess_{what}") } else { what });
            Place { name, ranked: Ranked { what, ..ranked } }
        });
        invocation.show_first(items.collect(), self.limit);
        Ok(())
    }
}

/// The names of what has an id.
async fn names(
    by: By,
    invocation: &Invocation,
    database: &OpenDatabase,
    found: &[Ranked],
) -> CliResult<HashMap<String, String>> {
    let ids = found.iter().filter_map(|ranked| ranked.what.as_deref());
    match by {
        By::User => {
            let users: Vec<UserId> = ids.filter_map(|id| id.parse().ok()).collect();
            let origins = Origins::find(&database.db, users.iter().copied(), []).await.map_err(CliError::database)?;
            let named =
                users.into_iter().filter_map(|id| Some((id.to_string(), origins.of(Some(id), None).user_name?)));
            Ok(named.collect())
        }
        By::Key => {
            let keys: Vec<ApiKeyId> = ids.filter_map(|id| id.parse().ok()).collect();
            let names = ApiKeys::new(database.db.clone(), invocation.ambient.clone()).names(&keys).await;
            let names = names.map_err(CliError::database)?;
            Ok(names.into_iter().map(|(id, name)| (id.to_string(), name)).collect())
        }
        _ => Ok(HashMap::new()),
    }
}

/// A row of the ranking.
#[derive(Debug, Serialize)]
struct Place {
    name: Option<String>,
    #[serde(flatten)]
    ranked: Ranked,
}

impl Row for Place {
    const COLUMNS: &'static [&'static str] = &["~what", "#requests", "#rejected", "#in", "#out", "#cost"];
    const NONE: &'static str = "No requests.";

    fn cells(&self) -> Vec<String> {
        let Self { name, ranked } = self;
        vec![
            name.clone().or_else(|| ranked.what.clone()).unwrap_or_else(|| "-".to_owned()),
            ranked.requests.to_string(),
            ranked.rejected.to_string(),
            ranked.input_tokens.to_string(),
            ranked.output_tokens.to_string(),
            Microdollars(ranked.cost).to_string(),
        ]
    }
}
