//! Tables, columns, indexes and sizes, from the catalog.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;
use systemprompt_database::install::{declared_tables, history};
use systemprompt_database::{Database, InstallOptions, Module};

use super::{InspectError, qualified, similar};

/// How long `status` waits for a sign of life.
const PING_LIMIT: Duration = Duration::from_secs(5);
/// Tables named by [`size`].
const LARGEST_TABLES: i64 = 20;

/// The three facts of `infra db status`, and what stands behind them.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct Status {
    /// Whether the database answers.
    pub(crate) connected: bool,
    /// Why not.
    pub(crate) error: Option<String>,
    /// `host:port` or socket.
    pub(crate) server: String,
    /// The database's name.
    pub(crate) database: String,
    /// The server's release.
    pub(crate) version: String,
    /// Tables outside the system schemas.
    pub(crate) tables: Option<i64>,
    /// Migrations recorded for the loaded extensions.
    pub(crate) applied_migrations: Option<usize>,
    /// Migrations waiting to run.
    pub(crate) pending_migrations: Option<usize>,
    /// Applied migrations whose text has changed.
    pub(crate) drifted_migrations: Option<usize>,
    /// How far the read server is behind, in seconds, when reads go to a replica.
    pub(crate) replica_lag_secs: Option<f64>,
}

/// What `infra db info` shows.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct Info {
    /// The server's release.
    pub(crate) version: String,
    /// The database's name.
    pub(crate) database: String,
    /// `host:port` or socket.
    pub(crate) server: String,
    /// The user we connect as.
    pub(crate) user: String,
    /// Its size on disk, in bytes.
    pub(crate) size_bytes: i64,
    /// When the server was started.
    pub(crate) started_at: DateTime<Utc>,
    /// Sessions on this server right now.
    pub(crate) connections: i64,
    /// The most it allows.
    pub(crate) max_connections: u32,
    /// Our own pools.
    pub(crate) pools: Vec<PoolInfo>,
}

/// A pool of this process.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct PoolInfo {
    /// `read`, `write`, or `shared` when they are the same.
    pub(crate) name: &'static str,
    /// Open connections.
    pub(crate) size: u32,
    /// Open connections nobody uses.
    pub(crate) idle: usize,
    /// The most there may be.
    pub(crate) max_connections: u32,
}

/// A table in a list.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub(crate) struct TableInfo {
    /// Its name.
    pub(crate) name: String,
    /// The PostgreSQL schema it is in.
    pub(crate) schema: String,
    /// The server's estimate; nothing before the table was first analysed.
    pub(crate) row_count: Option<i64>,
    /// Its size on disk with indexes, in bytes.
    pub(crate) size_bytes: i64,
    /// The extension that declares it.
    #[sqlx(skip)]
    pub(crate) owner_extension: Option<String>,
}

/// What `infra db describe` shows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct TableDescription {
    /// Its name.
    pub(crate) name: String,
    /// The PostgreSQL schema it is in.
    pub(crate) schema: String,
    /// Its columns, in order.
    pub(crate) columns: Vec<Column>,
    /// Its indexes, by name.
    pub(crate) indexes: Vec<Index>,
    /// Its references to other tables, by name.
    pub(crate) foreign_keys: Vec<ForeignKey>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// Its type as PostgreSQL writes it.
    #[serde(rename = "type")]
    #[sqlx(rename = "type")]
    pub(crate) type_name: String,
    /// Whether it may be null.
    pub(crate) nullable: bool,
    /// Its default expression.
    pub(crate) default: Option<String>,
    /// Whether it is part of the primary key.
    pub(crate) primary_key: bool,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub(crate) struct Index {
    /// Its name.
    pub(crate) name: String,
    /// The PostgreSQL schema it is in.
    pub(crate) schema: String,
    /// The table it is on.
    pub(crate) table: String,
    /// What it covers, in order: columns and expressions.
    pub(crate) columns: Vec<String>,
    /// Whether it refuses duplicates.
    pub(crate) unique: bool,
    /// False when building it was interrupted; then it only costs.
    pub(crate) valid: bool,
    /// Its size on disk, in bytes.
    pub(crate) size_bytes: i64,
    /// The statement that makes it.
    pub(crate) definition: String,
}

/// A reference to another table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub(crate) struct ForeignKey {
    /// The constraint's name.
    pub(crate) name: String,
    /// The referring columns.
    pub(crate) columns: Vec<String>,
    /// The table referred to.
    pub(crate) references_table: String,
    /// The columns referred to.
    pub(crate) references_columns: Vec<String>,
    /// The constraint as PostgreSQL writes it.
    pub(crate) definition: String,
}

/// What `infra db count` shows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Counted {
    /// The table.
    pub(crate) table: String,
    /// Its rows, counted.
    pub(crate) row_count: i64,
    /// How long counting took, in milliseconds.
    pub(crate) execution_time_ms: u64,
}

/// What `infra db size` shows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct DatabaseSize {
    /// The database's name.
    pub(crate) database: String,
    /// Its size on disk, in bytes.
    pub(crate) size_bytes: i64,
    /// The largest tables, largest first.
    pub(crate) tables: Vec<TableSize>,
}

/// The size of a table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub(crate) struct TableSize {
    /// Its name.
    pub(crate) name: String,
    /// The PostgreSQL schema it is in.
    pub(crate) schema: String,
    /// Everything, in bytes.
    pub(crate) size_bytes: i64,
    /// The rows, with what is stored out of line, in bytes.
    pub(crate) table_bytes: i64,
    /// The indexes, in bytes.
    pub(crate) index_bytes: i64,
}

/// Whether the database answers, and whether it is up to date. A database that does not answer is an answer too.
pub(crate) async fn status(
    database: &Database,
    modules: &[Module],
    options: &InstallOptions,
) -> Result<Status, InspectError> {
    let target = database.target();
    let mut status = Status {
        connected: false,
        error: None,
        server: target.server,
        database: target.database,
        version: database.server().version.clone(),
        tables: None,
        applied_migrations: None,
        pending_migrations: None,
        drifted_migrations: None,
        replica_lag_secs: None,
    };
    if let Err(error) = database.ping(PING_LIMIT).await {
        status.error = Some(error.to_string());
        return Ok(status);
    }
    status.connected = true;
    let doing = InspectError::while_doing("asking for the status");
    let tables: i64 = sqlx::query_scalar(
        "SELECT count(*)
           FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind IN ('r', 'p')
            AND n.nspname <> 'information_schema'
            AND n.nspname NOT LIKE 'pg\\_%'",
    )
    .fetch_one(database.write())
    .await
    .map_err(&doing)?;
    status.tables = Some(tables);
    if database.is_split() {
        status.replica_lag_secs = sqlx::query_scalar(
            "SELECT CASE
                        WHEN NOT pg_is_in_recovery() THEN NULL
                        WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
                        ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp())
                    END::float8",
        )
        .fetch_one(database.read())
        .await
        .map_err(&doing)?;
    }
    let migrations = history::status(database, modules, options, None).await?;
    status.applied_migrations = Some(migrations.extensions.iter().map(|extension| extension.applied.len()).sum());
    status.pending_migrations = Some(migrations.extensions.iter().map(|extension| extension.pending.len()).sum());
    status.drifted_migrations = Some(migrations.extensions.iter().map(|extension| extension.drifted.len()).sum());
    Ok(status)
}

/// The server, the database and our pools.
pub(crate) async fn info(database: &Database) -> Result<Info, InspectError> {
    let (size_bytes, started_at, connections): (i64, DateTime<Utc>, i64) = sqlx::query_as(
        "SELECT pg_database_size(current_database()),
                pg_postmaster_start_time(),
                (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')",
    )
    .fetch_one(database.write())
    .await
    .map_err(InspectError::while_doing("asking for information"))?;
    let pool = |name, pool: &sqlx::PgPool| PoolInfo {
        name,
        size: pool.size(),
        idle: pool.num_idle(),
        max_connections: pool.options().get_max_connections(),
    };
    let pools = if database.is_split() {
        vec![pool("read", database.read()), pool("write", database.write())]
    } else {
        vec![pool("shared", database.write())]
    };
    let target = database.target();
    Ok(Info {
        version: database.server().version.clone(),
        database: target.database,
        server: target.server,
        user: target.user,
        size_bytes,
        started_at,
        connections,
        max_connections: database.server().max_connections,
        pools,
    })
}

/// Tables whose name contains `filter`, with the extension that declares each.
pub(crate) async fn tables(
    database: &Database,
    modules: &[Module],
    options: &InstallOptions,
    filter: Option<&str>,
) -> Result<Vec<TableInfo>, InspectError> {
    let mut tables: Vec<TableInfo> = sqlx::query_as(
        "SELECT c.relname::text AS name,
                n.nspname::text AS schema,
                CASE WHEN c.reltuples < 0 THEN NULL ELSE c.reltuples::bigint END AS row_count,
                pg_total_relation_size(c.oid) AS size_bytes
           FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind IN ('r', 'p')
            AND n.nspname <> 'information_schema'
            AND n.nspname NOT LIKE 'pg\\_%'
            AND position(lower($1) IN lower(c.relname)) > 0
          ORDER BY n.nspname, c.relname",
    )
    .bind(filter.unwrap_or_default())
    .fetch_all(database.read())
    .await
    .map_err(InspectError::while_doing("listing the tables"))?;
    let declared = declared_tables(modules, options.system_dir.as_deref());
    for table in &mut tables {
        let key = (table.schema.clone(), table.name.clone());
        table.owner_extension = declared.get(&key).map(|table| table.extension.clone());
    }
    Ok(tables)
}

/// Columns, indexes and references of a table or view.
pub(crate) async fn describe(database: &Database, name: &str) -> Result<TableDescription, InspectError> {
    let table = resolve(database, name).await?;
    let doing = InspectError::while_doing("describing the table");
    let columns: Vec<Column> = sqlx::query_as(
        "SELECT a.attname::text AS name,
                format_type(a.atttypid, a.atttypmod) AS type,
                NOT a.attnotnull AS nullable,
                pg_get_expr(d.adbin, d.adrelid) AS default,
                coalesce(a.attnum = ANY (i.indkey), false) AS primary_key
           FROM pg_attribute a
           LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
           LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
          WHERE a.attrelid = $1::bigint::oid
            AND a.attnum > 0
            AND NOT a.attisdropped
          ORDER BY a.attnum",
    )
    .bind(table.oid)
    .fetch_all(database.read())
    .await
    .map_err(&doing)?;
    let foreign_keys: Vec<ForeignKey> = sqlx::query_as(
        "SELECT k.conname::text AS name,
                ARRAY(SELECT a.attname::text
                        FROM unnest(k.conkey) WITH ORDINALITY AS key (number, position)
                        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = key.number
                       ORDER BY key.position) AS columns,
                k.confrelid::regclass::text AS references_table,
                ARRAY(SELECT a.attname::text
                        FROM unnest(k.confkey) WITH ORDINALITY AS key (number, position)
                        JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = key.number
                       ORDER BY key.position) AS references_columns,
                pg_get_constraintdef(k.oid) AS definition
           FROM pg_constraint k
          WHERE k.conrelid = $1::bigint::oid AND k.contype = 'f'
          ORDER BY k.conname",
    )
    .bind(table.oid)
    .fetch_all(database.read())
    .await
    .map_err(&doing)?;
    let indexes = indexes_of(database, Some(table.oid)).await?;
    Ok(TableDescription { name: table.name, schema: table.schema, columns, indexes, foreign_keys })
}

/// Counts the rows of a table, one by one.
pub(crate) async fn count(database: &Database, name: &str) -> Result<Counted, InspectError> {
    let table = resolve(database, name).await?;
    let started = Instant::now();
    // The name is the catalog's own spelling, quoted by the server.
    let row_count = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {}", table.quoted)))
        .persistent(false)
        .fetch_one(database.read())
        .await
        .map_err(InspectError::Statement)?;
    Ok(Counted {
        table: qualified(&table.schema, &table.name),
        row_count,
        execution_time_ms: started.elapsed().as_millis() as u64,
    })
}

/// Indexes of one table, or of all.
pub(crate) async fn indexes(database: &Database, table: Option<&str>) -> Result<Vec<Index>, InspectError> {
    let oid = match table {
        Some(name) => Some(resolve(database, name).await?.oid),
        None => None,
    };
    indexes_of(database, oid).await
}

/// The database's size and its largest tables.
pub(crate) async fn size(database: &Database) -> Result<DatabaseSize, InspectError> {
    let doing = InspectError::while_doing("asking for sizes");
    let (name, size_bytes): (String, i64) =
        sqlx::query_as("SELECT current_database()::text, pg_database_size(current_database())")
            .fetch_one(database.read())
            .await
            .map_err(&doing)?;
    let tables = sqlx::query_as(
        "SELECT c.relname::text AS name,
                n.nspname::text AS schema,
                pg_total_relation_size(c.oid) AS size_bytes,
                pg_table_size(c.oid) AS table_bytes,
                pg_indexes_size(c.oid) AS index_bytes
           FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind IN ('r', 'p', 'm')
            AND n.nspname <> 'information_schema'
            AND n.nspname NOT LIKE 'pg\\_%'
          ORDER BY 3 DESC, 1
          LIMIT $1",
    )
    .bind(LARGEST_TABLES)
    .fetch_all(database.read())
    .await
    .map_err(&doing)?;
    Ok(DatabaseSize { database: name, size_bytes, tables })
}

async fn indexes_of(database: &Database, table: Option<i64>) -> Result<Vec<Index>, InspectError> {
    sqlx::query_as(
        "SELECT c.relname::text AS name,
                n.nspname::text AS schema,
                t.relname::text AS table,
                ARRAY(SELECT pg_get_indexdef(i.indexrelid, position, true)
                        FROM generate_series(1, i.indnatts) AS position
                       ORDER BY position) AS columns,
                i.indisunique AS unique,
                i.indisvalid AS valid,
                pg_relation_size(c.oid) AS size_bytes,
                pg_get_indexdef(i.indexrelid) AS definition
           FROM pg_index i
           JOIN pg_class c ON c.oid = i.indexrelid
           JOIN pg_class t ON t.oid = i.indrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname <> 'information_schema'
            AND n.nspname NOT LIKE 'pg\\_%'
            AND ($1::bigint IS NULL OR t.oid = $1::bigint::oid)
          ORDER BY n.nspname, t.relname, c.relname",
    )
    .bind(table)
    .fetch_all(database.read())
    .await
    .map_err(InspectError::while_doing("listing the indexes"))
}

#[derive(sqlx::FromRow)]
struct ResolvedTable {
    oid: i64,
    schema: String,
    name: String,
    quoted: String,
}

/// Finds a table or view by the name an operator typed.
async fn resolve(database: &Database, name: &str) -> Result<ResolvedTable, InspectError> {
    let (schema, table) = name.split_once('.').unwrap_or(("public", name));
    if !is_identifier(schema) || !is_identifier(table) {
        return Err(InspectError::InvalidIdentifier { name: name.to_owned() });
    }
    let doing = InspectError::while_doing("looking for the table");
    let found: Option<ResolvedTable> = sqlx::query_as(
        "SELECT c.oid::bigint AS oid,
                n.nspname::text AS schema,
                c.relname::text AS name,
                format('%I.%I', n.nspname, c.relname) AS quoted
           FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = $1
            AND c.relname = $2
            AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
    )
    .bind(schema)
    .bind(table)
    .fetch_optional(database.read())
    .await
    .map_err(&doing)?;
    if let Some(found) = found {
        return Ok(found);
    }
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT CASE n.nspname WHEN 'public' THEN c.relname::text ELSE n.nspname || '.' || c.relname END
           FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname <> 'information_schema'
            AND n.nspname NOT LIKE 'pg\\_%'
            AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
    )
    .fetch_all(database.read())
    .await
    .map_err(&doing)?;
    Err(InspectError::UnknownTable { name: name.to_owned(), similar: similar(name, names.iter().map(String::as_str)) })
}

fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 63
        && bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
