//! What the start of a server changes: the configuration that is in force from now on, and the access rules its documents
//! bring. Both are recorded when they are other ones than at the last start.

use std::convert::Infallible;
use std::fmt::Display;

use serde_json::json;
use systemprompt_config::Configuration;
use systemprompt_database::DbPool;
use systemprompt_model::{Ambient, Attribution};

use crate::access::{AccessRules, BootstrapOptions};
use crate::administer::{About, Change, Changed, StateDigest};
use crate::changes::{Changes, last_state};
use crate::config::AccessControlConfig;
use crate::gate::Gate;
use crate::ledger::Ledger;

/// A start that may not be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("what is in force cannot be compared with the last start: {0}")]
    Unknown(String),
    #[error("the change of the {what} could not be recorded: {why}")]
    Refused { what: &'static str, why: String },
}

/// Records the configuration of this installation, and brings its access rules into the database.
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
    ledger.projector().catch_up_one(Changes::NAME).await.map_err(|error| unknown(&error))?;
    let pool = database.read();

    let configured = StateDigest::of(&configuration.to_value());
    let about = About::new("configuration", ledger.name());
    let before = last_state(pool, "configuration.load", &about.id).await.map_err(|error| unknown(&error))?;
    if before != Some(configured) {
        let request = json!({"profile": configuration.profile_file, "services": configuration.services.root});
        let change = Change::new("configuration.load", about, &request);
        let by = Attribution::system(ambient);
        let loaded = gate
            .change(by, change, async || Ok::<_, Infallible>(Changed { value: (), before, after: Some(configured) }));
        loaded.await.map_err(|error| StartError::Refused { what: "configuration", why: error.to_string() })?;
    }

    let written = StateDigest::of(access);
    let about = About::new("access_rules", "documents");
    let before = last_state(pool, "access_rules.load", &about.id).await.map_err(|error| unknown(&error))?;
    let refused = |why: &dyn Display| StartError::Refused { what: "access rules", why: why.to_string() };
    if before == Some(written) {
        // Entities that came since may fit a rule.
        return rules.bootstrap(access, BootstrapOptions::default()).await.map_err(|error| refused(&error));
    }
    let change = Change::new("access_rules.load", about, access);
    let bootstrap = gate.change(Attribution::system(ambient), change, async || {
        rules.bootstrap(access, BootstrapOptions::default()).await?;
        Ok::<_, crate::access::Unavailable>(Changed { value: (), before, after: Some(written) })
    });
    bootstrap.await.map_err(|error| refused(&error))
}
