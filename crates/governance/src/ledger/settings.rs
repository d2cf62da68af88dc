//! How the ledger is written: the key `governance` of the profile.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_config::{Configuration, Place, SectionError};

use crate::config::{AuthzProfile, ShipmentConfig};

/// The key `governance` of the profile: how this server keeps its records. Which rules apply is decided in the services
/// tree, the same for every server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GovernanceProfile {
    /// The audit ledger.
    pub ledger: LedgerSettings,
    /// Where it is shipped to.
    pub shipping: Vec<ShipmentConfig>,
    /// Who is asked beside the access rules.
    pub authz: AuthzProfile,
}

impl GovernanceProfile {
    /// Where it stands.
    pub const PLACE: Place = Place::Profile { key: "governance" };

    /// What the profile says.
    pub fn read(config: &Configuration) -> Result<Self, SectionError> {
        config.section_at(&Self::PLACE)
    }
}

/// How the audit ledger is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerSettings {
    /// `durable`: a request is carried out after its decision is on disk. `asynchronous`: it is carried out at once and
    /// its decision is written within milliseconds; what was decided in that time is lost when the server is killed.
    pub durability: Durability,
    /// How many requests may wait for their decision to be written. Further ones wait before that, and are refused
    /// after two seconds.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queue_limit: u32,
    /// How often it is remembered outside of the database where the chains end, in seconds, if something was written since;
    /// and at every shutdown. What was written since the last time can be taken away again by whoever has the database.
    #[schemars(range(min = 5, max = 86_400))]
    pub checkpoint_secs: u32,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self { durability: Durability::Durable, queue_limit: 4096, checkpoint_secs: 600 }
    }
}

/// The key `audit` of the profile: what happens while the ledger cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditProfile {
    /// `deny`: requests are refused. `spool`: decisions and ends are written to an encrypted log in the home, synced to its
    /// disk before anything is done, and brought into the ledger in order when that can be written again. What nobody can
    /// decide without the database is refused all the same.
    pub on_store_failure: OnStoreFailure,
    /// How much waits in the home at most, in MiB. Beyond that requests are refused.
    #[schemars(range(min = 1, max = 4096))]
    pub spool_limit_mib: u32,
}

impl Default for AuditProfile {
    fn default() -> Self {
        Self { on_store_failure: OnStoreFailure::Deny, spool_limit_mib: 64 }
    }
}

/// What happens while the ledger cannot be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreFailure {
    /// Requests are refused.
    #[default]
    Deny,
    /// They are recorded in the home first.
    Spool,
}

/// When a request may be carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When its decision is on disk.
    #[default]
    Durable,
    /// When its decision waits to be written.
    Asynchronous,
}
