//! The Gate of a command: how the operator at the command line changes something without a running server.
//!
//! A command writes to the ledger of its installation, in a chain that all commands of the installation share, waits for the
//! disk whatever the server's mode, and asks the built-in policies. Access rules and policies of extensions need a server;
//! being able to run the command is the authority.

use std::sync::Arc;
use std::time::Duration;

use systemprompt_config::Configuration;
use systemprompt_database::DbPool;
use systemprompt_database::lease::Leases;
use systemprompt_extension::Metrics;
use systemprompt_extension::ledger::Projection;
use systemprompt_model::{Ambient, InstanceId};
use tokio_util::task::TaskTracker;

use crate::backlog::{Backlog, BacklogError};
use crate::config::PolicyConfig;
use crate::extension::{Sections, checkpoints_dir, installation_id, known_installation_id};
use crate::gate::Gate;
use crate::ledger::checkpoint::{CheckpointError, Remembered};
use crate::ledger::{AuditProfile, Durability, Ledger, LedgerError, LedgerOptions, LedgerSettings};
use crate::policy::{PolicyChain, PolicyError};

/// How long a command waits for what it wrote last.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// A Gate for the time of one command.
pub struct CommandGate {
    gate: Gate,
    ledger: Arc<Ledger>,
}

/// The Gate of a command could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum CommandGateError {
    /// The configuration.
    #[error("the configuration of governance: {0}")]
    Configuration(String),
    /// The policies.
    #[error("the policies")]
    Policies(#[from] PolicyError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Changes that were made before there was a ledger.
    #[error("changes that wait to be recorded")]
    Backlog(#[from] BacklogError),
}

impl CommandGate {
    /// Opens it, and records what was changed while there was no ledger. `projections` are those of all extensions.
    pub async fn open(
        configuration: &Configuration,
        database: &DbPool,
        projections: Vec<Arc<dyn Projection>>,
        ambient: &Ambient,
    ) -> Result<Self, CommandGateError> {
        let sections = Sections::read(configuration).map_err(CommandGateError::Configuration)?;
        let installation = installation_id(configuration, ambient).map_err(CommandGateError::Configuration)?;
        let options = LedgerOptions {
            instance_id: InstanceId::generate(ambient),
            name: format!("{installation}/commands"),
            exclusive: false,
            settings: LedgerSettings { durability: Durability::Durable, ..sections.profile.ledger.clone() },
            audit: AuditProfile::default(),
            retention: sections.retention(configuration),
            journal: None,
            checkpoints: None,
        };
        let mut policies = sections.policies;
        // They have no server here, and judge no changes.
        let is_given =
            |policy: &PolicyConfig| matches!(policy, PolicyConfig::Registered(_) | PolicyConfig::RequireApproval(_));
        policies.policies.retain(|policy| !is_given(policy));
        // A command counts nothing: changes have no limit.
        let leases = Leases::new(Arc::clone(database), ambient.clone());
        let policies = PolicyChain::new(&policies, Vec::new(), &leases, None)?;
        let metrics = Metrics::new();
        let ledger = Ledger::start(database, options, projections, ambient, &TaskTracker::new(), &metrics).await?;
        let gate = Gate::new(None, policies, Arc::clone(&ledger), &metrics);
        Backlog::of(&configuration.home).record(&gate, &ledger, database).await?;
        Ok(Self { gate, ledger })
    }

    /// The Gate.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The ledger.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Writes what is left. Gives whether everything was written.
    pub async fn close(self) -> bool {
        self.ledger.drain(DRAIN_WITHIN).await
    }
}

/// What the home of this installation remembers of the ledger, for verification. Reads files, and makes none.
pub fn remembered(configuration: &Configuration) -> Result<Remembered, CheckpointError> {
    Remembered::read(&checkpoints_dir(configuration), known_installation_id(configuration).as_deref())
}

/// Where the home of this installation has its checkpoints and the keys that sign them.
pub fn checkpoint_directory(configuration: &Configuration) -> std::path::PathBuf {
    checkpoints_dir(configuration)
}
