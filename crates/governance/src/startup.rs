//! What the start of a server changes: the schema it brought up to date, the configuration that is in force from now on,
//! and the access rules its documents bring. Each is recorded when it is another one than at the last start. Before them
//! comes what was changed while there was no ledger.

use std::convert::Infallible;
use std::fmt::Display;

use serde_json::json;
use systemprompt_config::Configuration;
use systemprompt_database::DbPool;
use systemprompt_database::install::history;
use systemprompt_model::{Ambient, Attribution};

use crate::access::{AccessRules, Authored, BootstrapOptions};
use crate::administer::{About, Change, Changed, StateDigest};
use crate::backlog::{Backlog, BacklogError};
use crate::changes::{Changes, last_state};
use crate::config::AccessControlConfig;
use crate::gate::Gate;
use crate::ledger::{CatchUpError, Ledger};

/// A start that may not be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("what is in force cannot be compared with the last start: {0}")]
    Unknown(String),
    #[error("the change of the {what} could not be recorded: {why}")]
    Refused { what: &'static str, why: String },
    #[error("changes that wait to be recorded")]
    Backlog(#[from] BacklogError),
}

/// Records the schema and the configuration of this installation, and brings its access rules into the database.
pub(crate) async fn load(
    gate: &Gate,
    ledger: &Ledger,
    rules: &AccessRules,
    database: &DbPool,
    configuration: &Configuration,
    access: &AccessControlConfig,
    ambient: &Ambient,
) -> Result<(), StartError> {
    let unknown = |error: &dyn Display| StartError::Unknown(error.to_string());
    // The only one that is read here: whatever else cannot be applied holds up no start.
    match ledger.projector().catch_up_one(Changes::NAME).await {
        // What was loaded last may not be known. Then it is recorded once more, which is no reason not to serve.
        Err(error @ CatchUpError::Failed { .. }) => tracing::error!(
            %error,
            "what is in force is compared with the last start that is known, for the list of changes stands still; \
             `systemprompt infra db projections rebuild governance_changes` fills it anew"
        ),
        known => known.map_err(|error| unknown(&error))?,
    }
    let pool = database.read();
    Backlog::of(&configuration.home).record(gate, ledger, database).await?;

    let schema = history::recorded(database).await.map_err(|error| unknown(&error))?;
    let installed = StateDigest::of(&schema);
    let about = About::new("database", &database.target().database);
    let before = last_state(pool, "schema.load", &about.id).await.map_err(|error| unknown(&error))?;
    if before != Some(installed) {
        let change = Change::new("schema.load", about, &schema);
        record(gate, change, before, installed, "schema", ambient).await?;
    }

    let configured = StateDigest::of(&configuration.to_value());
    let about = About::new("configuration", ledger.name());
    let before = last_state(pool, "configuration.load", &about.id).await.map_err(|error| unknown(&error))?;
    if before != Some(configured) {
        let request = json!({"profile": configuration.profile_file, "services": configuration.services.root});
        let change = Change::new("configuration.load", about, &request);
        record(gate, change, before, configured, "configuration", ambient).await?;
    }

    let authored = Authored::read(&configuration.services.root).map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        StartError::Refused { what: "access rules", why: problems.join("; ") }
    })?;
    let policies: Vec<&str> = authored.policies.iter().map(|policy| policy.text.as_str()).collect();
    let request = json!({"documents": access, "policies": policies});
    let written = StateDigest::of(&request);
    let about = About::new("access_rules", "documents");
    let before = last_state(pool, "access_rules.load", &about.id).await.map_err(|error| unknown(&error))?;
    let refused = |why: &dyn Display| StartError::Refused { what: "access rules", why: why.to_string() };
    if before == Some(written) {
        // Entities that came since may fit a rule.
        return rules.bootstrap(access, authored, BootstrapOptions::default()).await.map_err(|error| refused(&error));
    }
    let change = Change::new("access_rules.load", about, &request);
    let bootstrap = gate.change(Attribution::system(ambient), change, async || {
        rules.bootstrap(access, authored, BootstrapOptions::default()).await?;
        Ok::<_, crate::access::Unavailable>(Changed { value: (), before, after: Some(written) })
    });
    bootstrap.await.map_err(|error| refused(&error))
}

/// Records what is in force already.
async fn record(
    gate: &Gate,
    change: Change,
    before: Option<StateDigest>,
    after: StateDigest,
    what: &'static str,
    ambient: &Ambient,
) -> Result<(), StartError> {
    let done = async || Ok::<_, Infallible>(Changed { value: (), before, after: Some(after) });
    let recorded = gate.change(Attribution::system(ambient), change, done).await;
    recorded.map_err(|error| StartError::Refused { what, why: error.to_string() })
}
