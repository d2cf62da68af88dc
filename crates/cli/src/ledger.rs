//! The ledger as commands use it: they read projections, after applying what is missing. They read where it was applied,
//! for a replica of the database may lag behind.

use std::sync::Arc;

use systemprompt_database::DbPool;
use systemprompt_extension::facet::Projections;
use systemprompt_extension::ledger::Projection;
use systemprompt_extension::{ExtensionRegistry, Metrics};
use systemprompt_governance::ledger::{CatchUpError, Projector};

use crate::error::{CliError, CliResult, Exit};

/// The projections of all linked extensions.
pub(crate) fn projections() -> Vec<Arc<dyn Projection>> {
    let registry = ExtensionRegistry::discover();
    registry.declared::<Projections>().iter().flat_map(|declared| declared.contributions).cloned().collect()
}

/// What applies the log to them.
pub(crate) fn projector(db: &DbPool) -> Projector {
    Projector::new(db, projections(), &Metrics::new())
}

/// Applies what is missing, so that a command sees everything that was recorded before it.
pub(crate) async fn catch_up(db: &DbPool) -> CliResult {
    projector(db).catch_up().await.map_err(failure)
}

/// Whether the ledger's tables are there.
pub(crate) async fn exists(db: &DbPool) -> CliResult<bool> {
    let found = sqlx::query_scalar(
        "SELECT to_regclass('ledger_chains') IS NOT NULL AND to_regclass('governance_changes') IS NOT NULL",
    );
    found.fetch_one(db.write()).await.map_err(CliError::database)
}

pub(crate) fn failure(error: CatchUpError) -> CliError {
    let failed = CliError::from_error("projection_failed", &error);
    match error {
        CatchUpError::Unknown(_) => {
            failed.help("systemprompt infra db projections list   shows them").exit(Exit::Usage)
        }
        CatchUpError::Failed { name, .. } => {
            failed.help(format!("systemprompt infra db projections rebuild {name}   fills it anew from the log"))
        }
        CatchUpError::Database(_) => failed,
    }
}
