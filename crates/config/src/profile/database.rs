//! `database`: how many connections, and how long they live.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The database. Its URL is the secret `database_url`; without one, a local profile runs a PostgreSQL cluster of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The kind of database; only PostgreSQL is supported.
    #[serde(rename = "type")]
    pub kind: DatabaseType,
    /// Cloud: the tenant's database may be reached from outside. Local: its port is published beyond the container.
    #[serde(default)]
    pub external_db_access: bool,
    /// The connection pools.
    #[serde(default)]
    pub pool: Pool,
}

/// The kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseType {
    /// PostgreSQL 15 or newer.
    #[serde(alias = "postgresql")]
    Postgres,
}

/// Limits of each connection pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// The most connections at a time.
    #[schemars(range(min = 1, max = 500))]
    pub max_connections: u32,
    /// How long a caller waits for a connection, in seconds.
    #[schemars(range(min = 1, max = 3_600))]
    pub acquire_timeout_secs: u64,
    /// An idle connection is closed after this many seconds.
    #[schemars(range(min = 1, max = 86_400))]
    pub idle_timeout_secs: u64,
    /// A connection is replaced after this many seconds.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub max_lifetime_secs: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Self { max_connections: 50, acquire_timeout_secs: 30, idle_timeout_secs: 300, max_lifetime_secs: 1800 }
    }
}
