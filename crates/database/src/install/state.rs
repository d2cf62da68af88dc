//! What the live database already has.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::error::InstallError;
use super::plan::{ModulePlan, Plan, Step, Table};
use super::problem::Problem;
use crate::schema::Migration;
use crate::sql::Kind;

/// Our own tables and the trigger function every module may use.
pub(crate) const BOOKKEEPING: &str = include_str!("bookkeeping.sql");

/// The tables an installation keeps for itself, in the schema `public`.
pub const BOOKKEEPING_TABLES: [&str; 3] = ["extension_migrations", "extension_migration_progress", "extension_schemas"];

/// Names in the catalog, and what our bookkeeping says.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) relations: HashSet<Table>,
    types: HashSet<Table>,
    schemas: HashSet<String>,
    extensions: HashSet<String>,
    pub(crate) applied: HashMap<String, BTreeMap<u32, Applied>>,
    pub(crate) digests: HashMap<String, (String, bool)>,
}

/// A row of `extension_migrations`.
#[derive(Debug, Clone, sqlx::FromRow)]
#[expect(clippy::struct_field_names, reason = "the names of the columns")]
pub(crate) struct Applied {
    pub(crate) extension_id: String,
    pub(crate) version: i32,
    pub(crate) name: String,
    pub(crate) checksum: String,
    pub(crate) applied_at: DateTime<Utc>,
    pub(crate) duration_ms: i64,
    pub(crate) applied_by: String,
    pub(crate) stamped: bool,
    pub(crate) compatible: bool,
}

impl State {
    /// Reads everything in four statements, two when nothing was ever installed.
    pub(crate) async fn read(connection: &mut PgConnection) -> Result<Self, InstallError> {
        let doing = InstallError::while_doing("reading the catalog");
        let mut state = Self::default();
        let names: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT 'relation', n.nspname::text, c.relname::text
               FROM pg_class c
               JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
              UNION ALL
             SELECT 'type', n.nspname::text, t.typname::text
               FROM pg_type t
               JOIN pg_namespace n ON n.oid = t.typnamespace
              WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
                AND t.typtype IN ('d', 'e', 'r', 'b') AND t.typcategory <> 'A'
              UNION ALL
             SELECT 'schema', '', nspname::text FROM pg_namespace
              UNION ALL
             SELECT 'extension', '', extname::text FROM pg_extension",
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(&doing)?;
        for (kind, schema, name) in names {
            match kind.as_str() {
                "relation" => {
                    state.relations.insert((schema, name));
                }
                "type" => {
                    state.types.insert((schema, name));
                }
                "schema" => {
                    state.schemas.insert(name);
                }
                _ => {
                    state.extensions.insert(name);
                }
            }
        }
        if !BOOKKEEPING_TABLES.iter().all(|table| state.relations.contains(&("public".into(), (*table).into()))) {
            return Ok(state);
        }
        let rows: Vec<Applied> = sqlx::query_as(
            "SELECT extension_id, version, name, checksum, applied_at, duration_ms, applied_by, stamped, compatible
               FROM public.extension_migrations",
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(&doing)?;
        for row in rows {
            state.applied.entry(row.extension_id.clone()).or_default().insert(row.version as u32, row);
        }
        let rows: Vec<(String, String, bool)> =
            sqlx::query_as("SELECT extension_id, digest, fresh FROM public.extension_schemas")
                .fetch_all(&mut *connection)
                .await
                .map_err(&doing)?;
        state.digests = rows.into_iter().map(|(id, digest, fresh)| (id, (digest, fresh))).collect();
        Ok(state)
    }

    /// Whether the declarative schema is the whole truth about this module: it was never installed and none of its tables
    /// exist, or an installation that found it so was interrupted before it could write the history.
    pub(crate) fn is_fresh(&self, plan: &ModulePlan<'_>) -> bool {
        match self.digests.get(&plan.module.id) {
            Some((_, fresh)) => *fresh,
            None => {
                !self.applied.contains_key(&plan.module.id)
                    && !plan.tables.iter().any(|table| self.relations.contains(table))
            }
        }
    }

    /// Whether this module's tables exist although it was never installed by us.
    pub(crate) fn is_established(&self, plan: &ModulePlan<'_>) -> bool {
        let installed = self.digests.contains_key(&plan.module.id) || self.applied.contains_key(&plan.module.id);
        !installed && !self.is_fresh(plan)
    }

    /// Whether the declarative schema, as it reads now, has been applied.
    pub(crate) fn has_digest(&self, plan: &ModulePlan<'_>) -> bool {
        self.digests.get(&plan.module.id).is_some_and(|(digest, _)| *digest == plan.digest)
    }

    /// Whether what a statement creates is already there, so that running it would at best take a lock in vain.
    pub(crate) fn satisfies(&self, step: &Step) -> bool {
        match &step.kind {
            Kind::CreateTable(table) => self.relations.contains(&step.resolve(&table.name)),
            Kind::CreateType(name) => {
                let name = step.resolve(name);
                self.types.contains(&name) || self.relations.contains(&name)
            }
            Kind::CreateSchema(name) => self.schemas.contains(&name.name),
            Kind::CreateExtension { name, .. } => self.extensions.contains(name),
            Kind::CreateIndex(index) => index.name.as_ref().is_some_and(|name| {
                let (schema, _) = step.resolve(&index.table);
                self.relations.contains(&(schema, name.clone()))
            }),
            Kind::CreateSequence(name) | Kind::Dependent { relation: Some(name), .. } => {
                self.relations.contains(&step.resolve(name))
            }
            _ => false,
        }
    }

    /// The row of an applied migration.
    pub(crate) fn row(&self, extension: &str, version: u32) -> Option<&Applied> {
        self.applied.get(extension)?.get(&version)
    }

    /// Migrations of a module that have not been applied, ascending.
    pub(crate) fn pending<'p>(&self, plan: &'p ModulePlan<'_>) -> Vec<&'p Migration> {
        plan.migrations
            .iter()
            .map(|migration| migration.migration)
            .filter(|migration| self.row(&plan.module.id, migration.version).is_none())
            .collect()
    }

    /// Everything in the history that speaks against installing.
    pub(crate) fn problems(&self, plan: &Plan<'_>) -> Vec<Problem> {
        plan.modules.iter().flat_map(|module| self.module_problems(module)).collect()
    }

    fn module_problems(&self, plan: &ModulePlan<'_>) -> Vec<Problem> {
        let extension = &plan.module.id;
        let Some(applied) = self.applied.get(extension) else { return Vec::new() };
        let mut problems = Vec::new();
        let highest_known = plan.migrations.last().map_or(0, |migration| migration.migration.version);
        for migration in plan.migrations.iter().map(|plan| plan.migration) {
            if let Some(row) = applied.get(&migration.version)
                && row.checksum != migration.checksum()
            {
                problems.push(Problem::ChecksumDrift {
                    extension: extension.clone(),
                    version: migration.version,
                    name: migration.name.to_owned(),
                    stored: row.checksum.clone(),
                    current: migration.checksum(),
                });
            }
        }
        let highest = applied.keys().next_back().copied().unwrap_or(0);
        // While a fresh installation is being finished its history has gaps that are about to be filled.
        if !self.is_fresh(plan) {
            for migration in self.pending(plan).iter().filter(|migration| migration.version < highest) {
                problems.push(Problem::OutOfOrderMigration {
                    extension: extension.clone(),
                    version: migration.version,
                    highest,
                });
            }
        }
        for row in applied.values().filter(|row| row.version as u32 > highest_known && !row.compatible) {
            problems.push(Problem::NewerDatabase {
                extension: extension.clone(),
                version: row.version as u32,
                name: row.name.clone(),
            });
        }
        problems
    }

    /// Applied migrations this binary no longer defines.
    pub(crate) fn orphaned<'s>(&'s self, plan: &ModulePlan<'_>) -> Vec<&'s Applied> {
        let defined: HashSet<u32> = plan.migrations.iter().map(|migration| migration.migration.version).collect();
        let rows = self.applied.get(&plan.module.id).into_iter().flat_map(BTreeMap::values);
        rows.filter(|row| !defined.contains(&(row.version as u32))).collect()
    }
}
