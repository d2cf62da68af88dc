//! `infra db doctor`: where the live database differs from what the modules declare.
//!
//! What they declare is found out by installing it into a throw-away database and reading that one's catalog: only the
//! server knows what type `serial` becomes. When we may not create a database, the names in the text are compared.

mod findings;
mod triggers;

use std::collections::BTreeMap;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use systemprompt_database::install::{self, BOOKKEEPING_TABLES, DeclaredTable, declared_tables, history, install_with};
use systemprompt_database::{Database, InstallError, InstallOptions, Module};
use systemprompt_model::Ambient;

pub(crate) use self::findings::{Comparison, Doctor};
use self::findings::{Difference, NamedColumn, NamedIndex, NamedTable, Table, display};
use self::triggers::Guards;
use super::InspectError;

/// Compares the live database with what `modules` declare.
pub(crate) async fn doctor(
    database: &Database,
    modules: &[Module],
    options: &InstallOptions,
) -> Result<Doctor, InspectError> {
    let problems = install::check(modules, options.system_dir.as_deref());
    if !problems.is_empty() {
        return Err(InspectError::Install(InstallError::Refused(problems)));
    }
    let owners = declared_tables(modules, options.system_dir.as_deref());
    let doing = InspectError::while_doing("reading the live catalog");
    let live = {
        let mut connection = database.write().acquire().await.map_err(&doing)?;
        Catalog::read(&mut connection).await.map_err(&doing)?
    };
    let mut found = Doctor::default();
    let declared = match declared_catalog(database, modules, options).await? {
        Ok(catalog) => catalog,
        Err(reason) => {
            found.comparison = Comparison::NamesOnly { reason };
            Catalog::of_text(&owners)
        }
    };
    compare(&mut found, &owners, &declared, &live);
    let is_full = found.comparison == Comparison::Full;
    triggers::compare(&mut found, &owners, is_full.then_some(&declared.guards), &live.guards);
    for extension in history::status(database, modules, options, None).await?.extensions {
        found.pending_migrations += extension.pending.len();
        found.drifted_migrations += extension.drifted.len();
    }
    Ok(found)
}

#[derive(Debug, Default)]
struct Catalog {
    tables: BTreeMap<Table, BTreeMap<String, Option<ColumnShape>>>,
    /// By schema and name.
    indexes: BTreeMap<Table, IndexShape>,
    guards: Guards,
}

/// A table with one of its columns, or with none when it has none.
#[derive(sqlx::FromRow)]
struct ColumnRow {
    schema: String,
    table: String,
    column: Option<String>,
    type_name: Option<String>,
    not_null: Option<bool>,
}

#[derive(Debug)]
struct ColumnShape {
    type_name: String,
    not_null: bool,
}

#[derive(Debug)]
struct IndexShape {
    table: String,
    definition: String,
    valid: bool,
}

impl Catalog {
    /// Partitions are left out: they come and go with time, and are what their table is.
    async fn read(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let mut catalog = Self::default();
        let columns: Vec<ColumnRow> = sqlx::query_as(
            "SELECT n.nspname::text AS schema,
                    c.relname::text AS table,
                    a.attname::text AS column,
                    format_type(a.atttypid, a.atttypmod) AS type_name,
                    a.attnotnull AS not_null
               FROM pg_class c
               JOIN pg_namespace n ON n.oid = c.relnamespace
               LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              WHERE c.relkind IN ('r', 'p')
                AND NOT c.relispartition
                AND n.nspname <> 'information_schema'
                AND n.nspname NOT LIKE 'pg\\_%'
                AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')",
        )
        .fetch_all(&mut *connection)
        .await?;
        for row in columns {
            let shapes = catalog.tables.entry((row.schema, row.table)).or_default();
            if let (Some(column), Some(type_name), Some(not_null)) = (row.column, row.type_name, row.not_null) {
                shapes.insert(column, Some(ColumnShape { type_name, not_null }));
            }
        }
        let indexes: Vec<(String, String, String, String, bool)> = sqlx::query_as(
            "SELECT n.nspname::text,
                    c.relname::text,
                    t.relname::text,
                    pg_get_indexdef(i.indexrelid),
                    i.indisvalid
               FROM pg_index i
               JOIN pg_class c ON c.oid = i.indexrelid
               JOIN pg_class t ON t.oid = i.indrelid
               JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE NOT t.relispartition
                AND n.nspname <> 'information_schema'
                AND n.nspname NOT LIKE 'pg\\_%'",
        )
        .fetch_all(&mut *connection)
        .await?;
        for (schema, name, table, definition, valid) in indexes {
            catalog.indexes.insert((schema, name), IndexShape { table, definition, valid });
        }
        catalog.guards = Guards::read(connection).await?;
        Ok(catalog)
    }

    /// What can be told from the text alone.
    fn of_text(declared: &BTreeMap<Table, DeclaredTable>) -> Self {
        let mut catalog = Self::default();
        for (table, declared) in declared {
            if let Some(columns) = &declared.columns {
                let columns = columns.iter().map(|column| (column.clone(), None)).collect();
                catalog.tables.insert(table.clone(), columns);
            }
        }
        catalog
    }
}

fn compare(found: &mut Doctor, owners: &BTreeMap<Table, DeclaredTable>, declared: &Catalog, live: &Catalog) {
    let ours = |(schema, table): &Table| schema == "public" && BOOKKEEPING_TABLES.contains(&table.as_str());
    let owner = |table: &Table| owners.get(table).map(|table| table.extension.clone()).unwrap_or_default();
    for table in live.tables.keys() {
        if !ours(table) && !declared.tables.contains_key(table) && !owners.contains_key(table) {
            found.undeclared_tables.push(display(table));
        }
    }
    for (table, columns) in declared.tables.iter().filter(|(table, _)| !ours(table)) {
        let extension = owner(table);
        let Some(live_columns) = live.tables.get(table) else {
            found.missing_tables.push(NamedTable { extension, table: display(table) });
            continue;
        };
        let named = |column: &String| NamedColumn {
            extension: extension.clone(),
            table: display(table),
            column: column.clone(),
        };
        for (column, shape) in columns {
            let Some(live_shape) = live_columns.get(column) else {
                found.missing_columns.push(named(column));
                continue;
            };
            let (Some(shape), Some(live_shape)) = (shape, live_shape) else { continue };
            let difference = |declared: &str, live: &str| Difference {
                extension: extension.clone(),
                table: display(table),
                name: column.clone(),
                declared: declared.to_owned(),
                live: live.to_owned(),
            };
            if shape.type_name != live_shape.type_name {
                found.type_differences.push(difference(&shape.type_name, &live_shape.type_name));
            }
            if shape.not_null != live_shape.not_null {
                let say = |not_null| if not_null { "NOT NULL" } else { "NULL" };
                found.nullability_differences.push(difference(say(shape.not_null), say(live_shape.not_null)));
            }
        }
        // A table whose columns are not all written out declares none by name.
        if !columns.is_empty() {
            found.undeclared_columns.extend(live_columns.keys().filter(|name| !columns.contains_key(*name)).map(named));
        }
    }
    for ((schema, name), index) in &declared.indexes {
        let table = (schema.clone(), index.table.clone());
        let extension = owner(&table);
        match live.indexes.get(&(schema.clone(), name.clone())) {
            _ if ours(&table) || !live.tables.contains_key(&table) => {}
            None => {
                found.missing_indexes.push(NamedIndex { extension, table: display(&table), index: name.clone() });
            }
            Some(live) if live.definition != index.definition => found.index_differences.push(Difference {
                extension,
                table: display(&table),
                name: name.clone(),
                declared: index.definition.clone(),
                live: live.definition.clone(),
            }),
            Some(_) => {}
        }
    }
    found.invalid_indexes =
        live.indexes.iter().filter(|(_, index)| !index.valid).map(|(name, _)| display(name)).collect();
}

/// Installs the modules into a database of their own and reads its catalog. The inner error says why we may not.
async fn declared_catalog(
    database: &Database,
    modules: &[Module],
    options: &InstallOptions,
) -> Result<Result<Catalog, String>, InspectError> {
    let doing = InspectError::while_doing("examining a throw-away database");
    let mut admin = database.dedicated("doctor").await.map_err(&doing)?;
    let name = format!("systemprompt_doctor_{}", hex::encode(Ambient::system().bytes::<6>()));
    if let Err(error) = admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"))).await {
        return Ok(Err(error.to_string()));
    }
    let options = InstallOptions { system_dir: options.system_dir.clone(), ..InstallOptions::default() };
    let examined = examine(&database.dedicated_options("doctor").database(&name), modules, &options).await;
    let dropped = admin.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await;
    // The session ends either way.
    let _ = admin.close().await;
    let catalog = examined?;
    dropped.map_err(&doing)?;
    Ok(Ok(catalog))
}

async fn examine(
    target: &PgConnectOptions,
    modules: &[Module],
    options: &InstallOptions,
) -> Result<Catalog, InspectError> {
    let doing = InspectError::while_doing("connecting to the throw-away database");
    let connection = PgConnection::connect_with(target).await.map_err(&doing)?;
    let (_, mut connection) = install_with(connection, modules, options).await?;
    let catalog = Catalog::read(&mut connection).await;
    // The session ends either way.
    let _ = connection.close().await;
    catalog.map_err(InspectError::while_doing("reading the throw-away catalog"))
}
