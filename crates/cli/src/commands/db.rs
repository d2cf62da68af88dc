//! `infra db`: the database, as operators see and change it.

use std::time::Duration;

use serde_json::{Value, json};
use systemprompt_database::install::history::{self, PlannedAction, RepairAction, RepairMode, Run};
use systemprompt_database::{InstallError, InstallOptions, Module, install};
use systemprompt_extension::ExtensionRegistry;

use crate::args::Db;
use crate::database::execute::ExecuteOptions;
use crate::database::query::QueryOptions;
use crate::database::{InspectError, catalog, doctor, execute as execution, qualified, query};
use crate::error::{CliError, CliResult, Exit};
use crate::printer::{Printer, Record, Table, bytes, time};
use crate::project::{Invocation, OpenDatabase};

/// Runs an `infra db` command.
pub(crate) async fn run(invocation: &Invocation, command: Db) -> CliResult {
    let modules = ExtensionRegistry::discover().modules();
    let database = match invocation.database().await {
        Ok(database) => database,
        // For `status` an unreachable database is a result.
        Err(error) if matches!(command, Db::Status) && error.exit == Exit::Unavailable => {
            let value = json!({"connected": false, "error": error.message, "help": error.help});
            invocation.printer.result(&value, || {
                format!("not connected: {}\n{}", error.message, error.help.as_deref().unwrap_or_default())
            });
            return Err(CliError::status(Exit::Failure));
        }
        Err(error) => return Err(error),
    };
    let outcome = execute(invocation, &database, &modules, command).await;
    database.close().await;
    outcome
}

async fn execute(invocation: &Invocation, database: &OpenDatabase, modules: &[Module], command: Db) -> CliResult {
    let printer = &invocation.printer;
    let db = &database.db;
    let options = |drift: bool, out_of_order: bool| InstallOptions {
        allow_checksum_drift: drift,
        allow_out_of_order: out_of_order,
        system_dir: invocation.project().ok().map(|project| project.configuration.profile.paths.system.clone()),
        applied_by: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstallOptions::default()
    };
    match command {
        Db::Status => {
            let status = catalog::status(db, modules, &options(false, false)).await.map_err(failure)?;
            printer.record(&status, || {
                let number = |value: Option<usize>| value.map(|value| value.to_string());
                Record::new()
                    .with("connected", if status.connected { "yes" } else { "no" }.to_owned())
                    .with("error", status.error.clone())
                    .with("server", format!("{} (PostgreSQL {})", status.server, status.version))
                    .with("database", status.database.clone())
                    .with("tables", status.tables.map(|tables| tables.to_string()))
                    .with("migrations applied", number(status.applied_migrations))
                    .with("migrations pending", number(status.pending_migrations))
                    .with("migrations drifted", number(status.drifted_migrations.filter(|count| *count > 0)))
                    .with("replica lag", status.replica_lag_secs.map(|seconds| format!("{seconds:.1} s")))
            });
            if !status.connected {
                return Err(CliError::status(Exit::Failure));
            }
        }
        Db::Info => {
            let info = catalog::info(db).await.map_err(failure)?;
            printer.record(&info, || {
                let pool = |pool: &catalog::PoolInfo| {
                    format!("{}: {} open, {} idle, at most {}", pool.name, pool.size, pool.idle, pool.max_connections)
                };
                Record::new()
                    .with("server", format!("{} (PostgreSQL {})", info.server, info.version))
                    .with("database", info.database.clone())
                    .with("user", info.user.clone())
                    .with("size", bytes(info.size_bytes))
                    .with("started", time(info.started_at))
                    .with("connections", format!("{} of {}", info.connections, info.max_connections))
                    .with("pools", info.pools.iter().map(pool).collect::<Vec<_>>().join("\n"))
            });
        }
        Db::Tables { filter } => {
            let tables =
                catalog::tables(db, modules, &options(false, false), filter.as_deref()).await.map_err(failure)?;
            let layout = || {
                let mut table = Table::new(&["table", "extension", "#rows (about)", "#size"]);
                for row in &tables {
                    let rows = row.row_count.map_or("?".to_owned(), |count| count.to_string());
                    table.row([
                        qualified(&row.schema, &row.name),
                        row.owner_extension.clone().unwrap_or_default(),
                        rows,
                        bytes(row.size_bytes),
                    ]);
                }
                table
            };
            printer.list(&json!({"tables": tables}), layout, "No tables.");
        }
        Db::Describe { table } => describe(printer, &catalog::describe(db, &table).await.map_err(failure)?),
        Db::Count { table } => {
            let count = catalog::count(db, &table).await.map_err(failure)?;
            printer.result(&count, || count.row_count.to_string());
        }
        Db::Size => {
            let size = catalog::size(db).await.map_err(failure)?;
            printer.result(&size, || {
                let mut table = Table::new(&["table", "#total", "#rows", "#indexes"]);
                for row in &size.tables {
                    table.row([
                        qualified(&row.schema, &row.name),
                        bytes(row.size_bytes),
                        bytes(row.table_bytes),
                        bytes(row.index_bytes),
                    ]);
                }
                format!("{} in all\n\n{}", bytes(size.size_bytes), printer.table(&table))
            });
        }
        Db::Indexes { table } => {
            let indexes = catalog::indexes(db, table.as_deref()).await.map_err(failure)?;
            let layout = || {
                let mut table = Table::new(&["index", "table", "columns", "unique", "#size"]);
                for index in &indexes {
                    let unique = match (index.unique, index.valid) {
                        (_, false) => "invalid",
                        (true, true) => "yes",
                        (false, true) => "no",
                    };
                    table.row([
                        index.name.clone(),
                        index.table.clone(),
                        index.columns.join(", "),
                        unique.to_owned(),
                        bytes(index.size_bytes),
                    ]);
                }
                table
            };
            printer.list(&json!({"indexes": indexes}), layout, "No indexes.");
        }
        Db::Query { sql, limit, offset } => {
            let options = QueryOptions {
                limit: limit as usize,
                offset: offset as usize,
                statement_timeout: Duration::from_secs(30),
            };
            let result = query::query(db, &sql, &options).await.map_err(failure)?;
            printer.result(&result, || {
                let mut text = rows(printer, &result);
                let more = if result.truncated { ", more were left out (--limit)" } else { "" };
                text.push_str(&format!("\n({} rows{more}, {} ms)", result.row_count, result.execution_time_ms));
                text
            });
        }
        Db::Execute { sql, dry_run, yes } => {
            if !dry_run {
                invocation.confirm(yes, "Execute this statement? It cannot be undone.")?;
            }
            let result = execution::execute(db, &sql, ExecuteOptions { dry_run, statement_timeout: None })
                .await
                .map_err(failure)?;
            tracing::warn!(
                statement_sha256 = digest(&sql),
                rows_affected = result.rows_affected,
                dry_run,
                "an operator executed a statement"
            );
            let how = if dry_run { ", rolled back" } else { "" };
            printer.result(&result, || {
                format!("{} rows affected{how} ({} ms)", result.rows_affected, result.execution_time_ms)
            });
        }
        Db::Migrate { allow_checksum_drift, allow_out_of_order } => {
            let report = install(db, modules, &options(allow_checksum_drift, allow_out_of_order))
                .await
                .map_err(|error| failure(InspectError::Install(error)))?;
            let installed: Vec<_> = report.modules.iter().map(|module| module.extension.as_str()).collect();
            let message = match report.migrations() {
                0 => "The schema is up to date.".to_owned(),
                count => format!("{count} migrations applied."),
            };
            let value = json!({"modules_installed": installed, "message": message, "modules": report.modules, "warnings": report.warnings});
            printer.result(&value, || {
                let mut table = Table::new(&["extension", "fresh", "#statements", "#stamped", "#applied", "#seeds"]);
                for module in &report.modules {
                    table.row([
                        module.extension.clone(),
                        if module.fresh { "yes" } else { "no" }.to_owned(),
                        module.schema_statements.to_string(),
                        module.stamped.len().to_string(),
                        module.applied.len().to_string(),
                        module.seeds.to_string(),
                    ]);
                }
                let warnings: String = report.warnings.iter().map(|warning| format!("\nwarning: {warning}")).collect();
                format!("{}\n\n{message}{warnings}", printer.table(&table))
            });
        }
        Db::MigratePlan { extension } => {
            let plan = history::plan(db, modules, &options(false, false), extension.as_deref())
                .await
                .map_err(|error| failure(error.into()))?;
            printer.result(&plan, || {
                if plan.extensions.is_empty() && plan.problems.is_empty() {
                    return "Nothing to do.".to_owned();
                }
                let mut lines = Vec::new();
                for extension in &plan.extensions {
                    lines.push(format!("{}{}", extension.extension, if extension.fresh { " (new)" } else { "" }));
                    if extension.schema_changed {
                        lines.push("  apply the declarative schema".to_owned());
                    }
                    lines.extend(extension.migrations.iter().map(|migration| {
                        let action = match migration.action {
                            PlannedAction::Run => "run",
                            PlannedAction::Stamp => "record",
                        };
                        format!("  {action} {:03} {}", migration.version, migration.name)
                    }));
                }
                lines.extend(plan.problems.iter().map(|problem| format!("problem: {problem}")));
                lines.join("\n")
            });
        }
        Db::MigrateStatus { extension } => {
            let status = history::status(db, modules, &options(false, false), extension.as_deref())
                .await
                .map_err(|error| failure(error.into()))?;
            printer.result(&status, || {
                let mut table = Table::new(&["extension", "#applied", "#pending", "#drifted", "#orphaned"]);
                for extension in &status.extensions {
                    let counts = [
                        extension.applied.len(),
                        extension.pending.len(),
                        extension.drifted.len(),
                        extension.orphaned.len(),
                    ];
                    table
                        .row(std::iter::once(extension.extension.clone()).chain(counts.map(|count| count.to_string())));
                }
                printer.table(&table)
            });
        }
        Db::MigrateRepair { extension, apply, reconcile_only } => {
            let mode = if reconcile_only { RepairMode::Reconcile } else { RepairMode::Reexecute };
            let run = if apply { Run::Apply } else { Run::Plan };
            let repairs = history::repair(db, modules, &options(true, false), extension.as_deref(), mode, run)
                .await
                .map_err(|error| failure(error.into()))?;
            let layout = || {
                let mut table = Table::new(&["extension", "migration", "stored", "current", "action", "done"]);
                for repair in &repairs {
                    let action = match repair.action {
                        RepairAction::Reexecute => "run again",
                        RepairAction::Reconcile => "record checksum",
                        RepairAction::Skip => "skip: not transactional",
                    };
                    let short = |checksum: &str| checksum.chars().take(19).collect::<String>();
                    let done = if repair.applied { "yes" } else { "no" };
                    table.row([
                        repair.extension.clone(),
                        format!("{:03} {}", repair.drift.version, repair.drift.name),
                        short(&repair.drift.stored),
                        short(&repair.drift.current),
                        action.to_owned(),
                        done.to_owned(),
                    ]);
                }
                table
            };
            printer.list(&repairs, layout, "No migration has changed since it was applied.");
        }
        Db::Doctor { strict } => {
            let found = doctor::doctor(db, modules, &options(false, false)).await.map_err(failure)?;
            printer.result(&found, || {
                if found.is_healthy() {
                    return "The live schema is the declared one.".to_owned();
                }
                let value = serde_json::to_value(&found).unwrap_or_default();
                let findings: serde_json::Map<_, _> = value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter(|(_, finding)| {
                        !matches!(finding, Value::Array(items) if items.is_empty()) && **finding != json!(0)
                    })
                    .map(|(key, finding)| (key.clone(), finding.clone()))
                    .collect();
                crate::yaml::to_string(&Value::Object(findings))
            });
            if strict && !found.is_healthy() {
                printer.note("systemprompt infra db migrate   applies what is missing");
                return Err(CliError::status(Exit::Failure));
            }
        }
    }
    Ok(())
}

fn describe(printer: &Printer, table: &catalog::TableDescription) {
    printer.result(table, || {
        let mut columns = Table::new(&["column", "type", "null", "default", "key"]);
        for column in &table.columns {
            columns.row([
                column.name.clone(),
                column.type_name.clone(),
                if column.nullable { "yes" } else { "no" }.to_owned(),
                column.default.clone().unwrap_or_default(),
                if column.primary_key { "primary" } else { "" }.to_owned(),
            ]);
        }
        let mut text = format!("{}\n\n{}", qualified(&table.schema, &table.name), printer.table(&columns));
        for index in &table.indexes {
            text.push_str(&format!("\nindex {}: {}", index.name, index.definition));
        }
        for key in &table.foreign_keys {
            text.push_str(&format!("\nforeign key {}: {}", key.name, key.definition));
        }
        text
    });
}

fn rows(printer: &Printer, result: &query::QueryResult) -> String {
    let names: Vec<&str> = result.columns.iter().map(|column| column.name.as_str()).collect();
    let mut table = Table::new(&names);
    for row in &result.rows {
        table.row(row.iter().map(|value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }));
    }
    printer.table(&table)
}

fn digest(sql: &str) -> String {
    use sha2::{Digest as _, Sha256};
    hex::encode(Sha256::digest(sql))
}

fn failure(error: InspectError) -> CliError {
    let exit = match &error {
        InspectError::InvalidIdentifier { .. }
        | InspectError::NotOneStatement { .. }
        | InspectError::NotReading { .. } => Exit::Usage,
        InspectError::Install(InstallError::Refused(_)) => Exit::Conflict,
        _ => Exit::Failure,
    };
    let help = match &error {
        InspectError::NotReading { .. } => Some("systemprompt infra db execute   changes things"),
        InspectError::Install(_) => Some(
            "systemprompt infra db migrate-status   shows what is applied; migrate-repair deals with changed migrations",
        ),
        _ => None,
    };
    let failure = CliError::from_error("db_failed", &error).exit(exit);
    match help {
        Some(help) => failure.help(help),
        None => failure,
    }
}
