//! Running the statements of a plan.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::error::InstallError;
use super::options::InstallOptions;
use super::plan::{MigrationPlan, ModulePlan, Plan, Step};
use super::report::{AppliedMigration, InstallReport, ModuleReport};
use super::session::Session;
use super::state::{BOOKKEEPING, State};
use crate::error::sqlstate;
use crate::schema::Migration;
use crate::sql::Kind;

/// A transaction that could not get its locks within the session's `lock_timeout` lets the others through and tries
/// again, this often.
const LOCK_ATTEMPTS: u32 = 4;

/// Carries out a plan on a locked session.
pub(crate) struct Applier<'s> {
    session: &'s mut Session,
    state: State,
    options: &'s InstallOptions,
    report: InstallReport,
    reports: BTreeMap<String, ModuleReport>,
    /// Dependent DDL must run: its text, or what it stands on, has changed.
    changed: BTreeMap<String, bool>,
}

impl<'s> Applier<'s> {
    pub(crate) fn new(
        session: &'s mut Session,
        state: State,
        options: &'s InstallOptions,
        warnings: Vec<String>,
    ) -> Self {
        let report = InstallReport { warnings, ..InstallReport::default() };
        Self { session, state, options, report, reports: BTreeMap::new(), changed: BTreeMap::new() }
    }

    /// Makes our own tables and remembers durably which modules are fresh, so that an installation that is interrupted
    /// after it created the tables still knows that their migrations must not run.
    pub(crate) async fn prepare(&mut self, plan: &Plan<'_>) -> Result<(), InstallError> {
        let doing = InstallError::while_doing("preparing the installation's own tables");
        let mut fresh = Vec::new();
        for module in &plan.modules {
            let id = &module.module.id;
            let is_fresh = self.state.is_fresh(module);
            if is_fresh && !self.state.has_digest(module) {
                fresh.push(id.clone());
            }
            self.changed.insert(id.clone(), !self.state.has_digest(module));
            let report = ModuleReport { extension: id.clone(), fresh: is_fresh, ..ModuleReport::default() };
            self.reports.insert(id.clone(), report);
            self.report.modules.push(ModuleReport { extension: id.clone(), ..ModuleReport::default() });
        }
        let connection = &mut self.session.connection;
        if !super::state::BOOKKEEPING_TABLES
            .iter()
            .all(|table| self.state.relations.contains(&("public".into(), (*table).into())))
        {
            connection.execute(BOOKKEEPING).await.map_err(&doing)?;
        }
        if !fresh.is_empty() {
            sqlx::query(
                "INSERT INTO public.extension_schemas (extension_id, digest, fresh)
                 SELECT id, '', true FROM unnest($1::text[]) AS id
                     ON CONFLICT (extension_id) DO UPDATE SET fresh = true",
            )
            .bind(fresh)
            .execute(connection)
            .await
            .map_err(&doing)?;
        }
        Ok(())
    }

    pub(crate) async fn structural(&mut self, module: &ModulePlan<'_>) -> Result<(), InstallError> {
        let missing: Vec<&Step> = module.structural.iter().filter(|step| !self.state.satisfies(step)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.run_schema(module, &missing).await?;
        self.changed.insert(module.module.id.clone(), true);
        Ok(())
    }

    pub(crate) async fn migrations(&mut self, module: &ModulePlan<'_>) -> Result<(), InstallError> {
        let id = module.module.id.clone();
        let fresh = self.reports[&id].fresh;
        let pending: Vec<&MigrationPlan<'_>> =
            module.migrations.iter().filter(|plan| self.state.row(&id, plan.migration.version).is_none()).collect();
        let (stamp, run): (Vec<_>, Vec<_>) = pending.into_iter().partition(|plan| fresh && !plan.migration.is_data());
        if !stamp.is_empty() {
            let migrations: Vec<&Migration> = stamp.iter().map(|plan| plan.migration).collect();
            record_stamped(&mut self.session.connection, &id, &migrations, &self.options.applied_by).await?;
        }
        for plan in &run {
            self.changed.insert(id.clone(), true);
            let started = Instant::now();
            tracing::info!(extension = id, version = plan.migration.version, name = plan.migration.name, "migrating");
            let connection = &mut self.session.connection;
            if plan.migration.no_transaction {
                run_outside_transaction(connection, &id, plan, &self.options.applied_by, started).await?;
            } else {
                run_migration_in_transaction(connection, &id, plan, &self.options.applied_by).await?;
            }
            let applied = AppliedMigration {
                version: plan.migration.version,
                name: plan.migration.name.to_owned(),
                duration_ms: started.elapsed().as_millis() as u64,
            };
            self.module_report(&id).applied.push(applied);
        }
        self.module_report(&id).stamped = stamp.iter().map(|plan| plan.migration.version).collect();
        Ok(())
    }

    pub(crate) async fn dependent(&mut self, module: &ModulePlan<'_>) -> Result<(), InstallError> {
        let id = &module.module.id;
        let changed = self.changed[id];
        // A migration may have made or removed anything.
        if changed {
            self.state = State::read(&mut self.session.connection).await?;
        }
        // What is dropped first is made again, so nothing may be left out then.
        let drops = changed && module.dependent.iter().any(|step| step.kind == Kind::DropDependent);
        let missing: Vec<&Step> = module
            .dependent
            .iter()
            .filter(|step| {
                let makes_relation =
                    matches!(step.kind, Kind::CreateIndex(_) | Kind::Dependent { relation: Some(_), .. });
                drops || ((changed || makes_relation) && !self.state.satisfies(step))
            })
            .collect();
        if !missing.is_empty() {
            self.run_schema(module, &missing).await?;
        }
        if changed {
            sqlx::query(
                "INSERT INTO public.extension_schemas (extension_id, digest, fresh, applied_at, applied_by)
                 VALUES ($1, $2, false, now(), $3)
                     ON CONFLICT (extension_id) DO UPDATE
                    SET digest = excluded.digest,
                        fresh = false,
                        applied_at = excluded.applied_at,
                        applied_by = excluded.applied_by",
            )
            .bind(id)
            .bind(&module.digest)
            .bind(&self.options.applied_by)
            .execute(&mut self.session.connection)
            .await
            .map_err(InstallError::while_doing("recording the installed schema"))?;
        }
        Ok(())
    }

    pub(crate) async fn required_columns(&mut self, plan: &Plan<'_>) -> Result<(), InstallError> {
        let required: Vec<_> = plan
            .modules
            .iter()
            .flat_map(|module| module.required_columns.iter().map(|(table, column)| (&module.module.id, table, column)))
            .collect();
        if required.is_empty() {
            return Ok(());
        }
        let missing: Vec<(i64,)> = sqlx::query_as(
            "SELECT wanted.position
               FROM unnest($1::text[], $2::text[], $3::text[])
                    WITH ORDINALITY AS wanted (schema_name, table_name, column_name, position)
              WHERE NOT EXISTS (
                        SELECT
                          FROM pg_attribute a
                          JOIN pg_class c ON c.oid = a.attrelid
                          JOIN pg_namespace n ON n.oid = c.relnamespace
                         WHERE n.nspname = wanted.schema_name
                           AND c.relname = wanted.table_name
                           AND a.attname = wanted.column_name
                           AND a.attnum > 0
                           AND NOT a.attisdropped
                    )
              ORDER BY wanted.position",
        )
        .bind(required.iter().map(|(_, (schema, _), _)| schema.clone()).collect::<Vec<_>>())
        .bind(required.iter().map(|(_, (_, table), _)| table.clone()).collect::<Vec<_>>())
        .bind(required.iter().map(|(_, _, column)| (*column).clone()).collect::<Vec<_>>())
        .fetch_all(&mut self.session.connection)
        .await
        .map_err(InstallError::while_doing("looking for required columns"))?;
        if missing.is_empty() {
            return Ok(());
        }
        let named = missing.into_iter().map(|(position,)| {
            let (extension, (schema, table), column) = required[position as usize - 1];
            (extension.clone(), format!("{schema}.{table}.{column}"))
        });
        Err(InstallError::MissingColumns(named.collect()))
    }

    pub(crate) async fn seeds(&mut self, module: &ModulePlan<'_>) -> Result<(), InstallError> {
        let id = &module.module.id;
        for seed in &module.seeds {
            let failed = |step: &Step, source: sqlx::Error| InstallError::Seed {
                extension: id.clone(),
                seed: seed.id.to_owned(),
                location: step.location(Some(&source)),
                source,
            };
            let doing = InstallError::while_doing("running seeds");
            let mut transaction = self.session.connection.begin().await.map_err(&doing)?;
            for step in &seed.steps {
                transaction.execute(statement(step)).await.map_err(|source| failed(step, source))?;
            }
            transaction.commit().await.map_err(&doing)?;
        }
        self.module_report(id).seeds = module.seeds.len();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> InstallReport {
        for module in &mut self.report.modules {
            if let Some(report) = self.reports.remove(&module.extension) {
                *module = report;
            }
        }
        self.report
    }

    fn module_report(&mut self, id: &str) -> &mut ModuleReport {
        self.reports.entry(id.to_owned()).or_default()
    }

    /// Runs statements of a declarative schema in one transaction.
    async fn run_schema(&mut self, module: &ModulePlan<'_>, steps: &[&Step]) -> Result<(), InstallError> {
        let id = &module.module.id;
        let mut attempt = 1;
        let kept = loop {
            match run_schema_once(&mut self.session.connection, id, steps).await {
                Err(InstallError::Schema { source, location, .. })
                    if attempt < LOCK_ATTEMPTS && is_lock_timeout(&source) =>
                {
                    tracing::warn!(extension = id, location, attempt, "a table is in use, trying again");
                    attempt += 1;
                }
                outcome => break outcome?,
            }
        };
        for location in kept {
            self.report.warnings.push(format!(
                "{location}: this exists already and was not replaced; say OR REPLACE, or drop it first"
            ));
        }
        self.module_report(id).schema_statements += steps.len();
        Ok(())
    }
}

/// Returns the locations of statements whose object existed already.
async fn run_schema_once(
    connection: &mut PgConnection,
    extension: &str,
    steps: &[&Step],
) -> Result<Vec<String>, InstallError> {
    let doing = InstallError::while_doing("installing a schema");
    let mut kept = Vec::new();
    let mut transaction = connection.begin().await.map_err(&doing)?;
    let mut current = "public";
    for step in steps {
        if step.schema != current {
            set_search_path(&mut transaction, &step.schema).await.map_err(&doing)?;
            current = &step.schema;
        }
        let mut savepoint = transaction.begin().await.map_err(&doing)?;
        match savepoint.execute(statement(step)).await {
            Ok(_) => savepoint.commit().await.map_err(&doing)?,
            Err(source) if is_duplicate(&source) => {
                savepoint.rollback().await.map_err(&doing)?;
                kept.push(step.location(None));
            }
            Err(source) => {
                let location = step.location(Some(&source));
                return Err(InstallError::Schema { extension: extension.to_owned(), location, source });
            }
        }
    }
    transaction.commit().await.map_err(&doing)?;
    Ok(kept)
}

/// Runs a migration and its bookkeeping in one transaction. Re-running one that is recorded replaces its row.
pub(crate) async fn run_migration_in_transaction(
    connection: &mut PgConnection,
    extension: &str,
    plan: &MigrationPlan<'_>,
    applied_by: &str,
) -> Result<(), InstallError> {
    let doing = InstallError::while_doing("running a migration");
    let mut attempt = 1;
    'attempts: loop {
        let started = Instant::now();
        let mut transaction = connection.begin().await.map_err(&doing)?;
        for (index, step) in plan.steps.iter().enumerate() {
            if let Err(source) = transaction.execute(statement(step)).await {
                transaction.rollback().await.map_err(&doing)?;
                if attempt < LOCK_ATTEMPTS && is_lock_timeout(&source) {
                    tracing::warn!(
                        extension,
                        version = plan.migration.version,
                        attempt,
                        "a table is in use, trying again"
                    );
                    attempt += 1;
                    continue 'attempts;
                }
                return Err(failed(extension, plan, index, source));
            }
        }
        // The migration may have changed it.
        transaction.execute("SET search_path = public").await.map_err(&doing)?;
        record_applied(&mut transaction, extension, plan.migration, applied_by, started.elapsed()).await?;
        return transaction.commit().await.map_err(&doing);
    }
}

/// Runs a migration statement by statement, keeping count, so that a second run resumes where the first one stopped.
async fn run_outside_transaction(
    connection: &mut PgConnection,
    extension: &str,
    plan: &MigrationPlan<'_>,
    applied_by: &str,
    started: Instant,
) -> Result<(), InstallError> {
    let doing = InstallError::while_doing("recording the progress of a migration");
    let checksum = plan.migration.checksum();
    let version = plan.migration.version as i32;
    let done: Option<i32> = sqlx::query_scalar(
        "SELECT statements_done
           FROM public.extension_migration_progress
          WHERE extension_id = $1 AND version = $2 AND checksum = $3",
    )
    .bind(extension)
    .bind(version)
    .bind(&checksum)
    .fetch_optional(&mut *connection)
    .await
    .map_err(&doing)?;
    let done = done.unwrap_or(0) as usize;
    for (index, step) in plan.steps.iter().enumerate().skip(done) {
        if !already_built(connection, step).await? {
            connection.execute(statement(step)).await.map_err(|source| failed(extension, plan, index, source))?;
        }
        sqlx::query(
            "INSERT INTO public.extension_migration_progress (extension_id, version, checksum, statements_done)
             VALUES ($1, $2, $3, $4)
                 ON CONFLICT (extension_id, version) DO UPDATE
                SET checksum = excluded.checksum,
                    statements_done = excluded.statements_done",
        )
        .bind(extension)
        .bind(version)
        .bind(&checksum)
        .bind(index as i32 + 1)
        .execute(&mut *connection)
        .await
        .map_err(&doing)?;
    }
    let mut transaction = connection.begin().await.map_err(&doing)?;
    record_applied(&mut transaction, extension, plan.migration, applied_by, started.elapsed()).await?;
    sqlx::query("DELETE FROM public.extension_migration_progress WHERE extension_id = $1 AND version = $2")
        .bind(extension)
        .bind(version)
        .execute(&mut *transaction)
        .await
        .map_err(&doing)?;
    transaction.commit().await.map_err(&doing)
}

/// Whether an index that is built concurrently exists. One that was interrupted is left behind invalid by the server and
/// is dropped here, so that it can be built again.
async fn already_built(connection: &mut PgConnection, step: &Step) -> Result<bool, InstallError> {
    let Kind::CreateIndex(index) = &step.kind else { return Ok(false) };
    let Some(name) = &index.name else { return Ok(false) };
    let doing = InstallError::while_doing("looking for an unfinished index");
    let (schema, _) = step.resolve(&index.table);
    let found: Option<(bool, String)> = sqlx::query_as(
        "SELECT i.indisvalid, format('DROP INDEX CONCURRENTLY %I.%I', n.nspname, c.relname)
           FROM pg_index i
           JOIN pg_class c ON c.oid = i.indexrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = $1 AND c.relname = $2",
    )
    .bind(schema)
    .bind(name)
    .fetch_optional(&mut *connection)
    .await
    .map_err(&doing)?;
    match found {
        None => Ok(false),
        Some((true, _)) => Ok(true),
        Some((false, drop)) => {
            connection.execute(AssertSqlSafe(drop)).await.map_err(&doing)?;
            Ok(false)
        }
    }
}

pub(crate) async fn record_applied(
    connection: &mut PgConnection,
    extension: &str,
    migration: &Migration,
    applied_by: &str,
    duration: Duration,
) -> Result<(), InstallError> {
    sqlx::query(
        "INSERT INTO public.extension_migrations
             (id, extension_id, version, name, checksum, duration_ms, applied_by, compatible)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (extension_id, version) DO UPDATE
            SET name = excluded.name,
                checksum = excluded.checksum,
                applied_at = now(),
                duration_ms = excluded.duration_ms,
                applied_by = excluded.applied_by,
                stamped = false,
                compatible = excluded.compatible",
    )
    .bind(migration.row_id(extension))
    .bind(extension)
    .bind(migration.version as i32)
    .bind(migration.name)
    .bind(migration.checksum())
    .bind(duration.as_millis() as i64)
    .bind(applied_by)
    .bind(migration.is_compatible())
    .execute(connection)
    .await
    .map_err(InstallError::while_doing("recording a migration"))?;
    Ok(())
}

/// Records migrations without running them.
pub(crate) async fn record_stamped(
    connection: &mut PgConnection,
    extension: &str,
    migrations: &[&Migration],
    applied_by: &str,
) -> Result<(), InstallError> {
    sqlx::query(
        "INSERT INTO public.extension_migrations
             (id, extension_id, version, name, checksum, applied_by, compatible, stamped)
         SELECT id, $2, version, name, checksum, $7, compatible, true
           FROM unnest($1::text[], $3::int[], $4::text[], $5::text[], $6::bool[])
                AS stamped (id, version, name, checksum, compatible)",
    )
    .bind(migrations.iter().map(|migration| migration.row_id(extension)).collect::<Vec<_>>())
    .bind(extension)
    .bind(migrations.iter().map(|migration| migration.version as i32).collect::<Vec<_>>())
    .bind(migrations.iter().map(|migration| migration.name).collect::<Vec<_>>())
    .bind(migrations.iter().map(|migration| migration.checksum()).collect::<Vec<_>>())
    .bind(migrations.iter().map(|migration| migration.is_compatible()).collect::<Vec<_>>())
    .bind(applied_by)
    .execute(connection)
    .await
    .map_err(InstallError::while_doing("recording migrations"))?;
    Ok(())
}

pub(crate) fn failed(extension: &str, plan: &MigrationPlan<'_>, index: usize, source: sqlx::Error) -> InstallError {
    InstallError::Migration {
        extension: extension.to_owned(),
        version: plan.migration.version,
        name: plan.migration.name.to_owned(),
        statement: index + 1,
        location: plan.steps.get(index).map(|step| step.location(Some(&source))).unwrap_or_default(),
        source: Box::new(source),
    }
}

/// The text of a step as the driver takes it: part of a binary or of the operator's own files, never of a request.
pub(crate) fn statement(step: &Step) -> sqlx::RawSql {
    sqlx::raw_sql(AssertSqlSafe(std::sync::Arc::clone(&step.sql)))
}

async fn set_search_path(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT set_config('search_path', quote_ident($1) || ', public', true)")
        .bind(schema)
        .execute(connection)
        .await?;
    Ok(())
}

fn is_duplicate(error: &sqlx::Error) -> bool {
    has_code(error, &["42P07", "42710", "42723", "42P06"])
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    has_code(error, &["55P03"])
}

fn has_code(error: &sqlx::Error, codes: &[&str]) -> bool {
    sqlstate(error).is_some_and(|code| codes.contains(&&*code))
}
