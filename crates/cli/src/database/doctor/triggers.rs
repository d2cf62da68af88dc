//! The triggers that guard tables, and the functions they call: what is missing, switched off, or does something else.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use systemprompt_database::install::DeclaredTable;

use super::findings::{Difference, Doctor, FunctionDifference, NamedTrigger, Table, display};

/// What guards the tables of a database.
#[derive(Debug, Default)]
pub(super) struct Guards {
    /// By table and name.
    triggers: BTreeMap<(Table, String), Trigger>,
    /// By what they are called, with their arguments.
    functions: BTreeMap<String, String>,
    silenced: Vec<String>,
}

#[derive(Debug)]
struct Trigger {
    definition: String,
    /// Whether it fires, here and on every partition.
    fires: bool,
    /// Whether it is of a partition, and the table's own.
    inherited: bool,
}

#[derive(sqlx::FromRow)]
struct TriggerRow {
    schema: String,
    table: String,
    name: String,
    definition: String,
    fires: bool,
    inherited: bool,
}

impl Guards {
    pub(super) async fn read(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let mut guards = Self::default();
        // A trigger of a partition belongs to the one of its table, under whose name it is told.
        let triggers: Vec<TriggerRow> = sqlx::query_as(
            "SELECT n.nspname::text AS schema,
                    c.relname::text AS table,
                    t.tgname::text AS name,
                    pg_get_triggerdef(t.oid) AS definition,
                    t.tgenabled IN ('O', 'A') AS fires,
                    t.tgparentid <> 0 AS inherited
               FROM pg_trigger t
               JOIN pg_class c ON c.oid = t.tgrelid
               JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE NOT t.tgisinternal
                AND n.nspname <> 'information_schema'
                AND n.nspname NOT LIKE 'pg\\_%'
              UNION ALL
             SELECT n.nspname::text,
                    c.relname::text,
                    r.rulename::text,
                    pg_get_ruledef(r.oid),
                    TRUE,
                    FALSE
               FROM pg_rewrite r
               JOIN pg_class c ON c.oid = r.ev_class
               JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind IN ('r', 'p')
                AND n.nspname <> 'information_schema'
                AND n.nspname NOT LIKE 'pg\\_%'",
        )
        .fetch_all(&mut *connection)
        .await?;
        for row in triggers {
            let trigger = Trigger { definition: row.definition, fires: row.fires, inherited: row.inherited };
            guards.triggers.insert(((row.schema, row.table), row.name), trigger);
        }
        let functions: Vec<(String, String)> = sqlx::query_as(
            "SELECT format('%s.%s(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
                    pg_get_functiondef(p.oid)
               FROM pg_proc p
               JOIN pg_namespace n ON n.oid = p.pronamespace
              WHERE p.prokind IN ('f', 'p')
                AND n.nspname <> 'information_schema'
                AND n.nspname NOT LIKE 'pg\\_%'
                AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')",
        )
        .fetch_all(&mut *connection)
        .await?;
        guards.functions.extend(functions);
        guards.silenced = sqlx::query_scalar(
            "SELECT format(
                        '%s%s%s',
                        setting,
                        COALESCE(' for the database ' || d.datname, ''),
                        COALESCE(' for the role ' || r.rolname, '')
                    )
               FROM pg_db_role_setting s
              CROSS JOIN LATERAL unnest(s.setconfig) AS setting
               LEFT JOIN pg_database d ON d.oid = s.setdatabase
               LEFT JOIN pg_roles r ON r.oid = s.setrole
              WHERE (s.setdatabase = 0 OR d.datname = current_database())
                AND (setting ILIKE 'session_replication_role=%' AND setting NOT ILIKE '%=origin'
                     OR setting ILIKE 'systemprompt.ledger_retention=on')
              ORDER BY 1",
        )
        .fetch_all(&mut *connection)
        .await?;
        Ok(guards)
    }
}

/// Adds what is wrong. Without what is declared it is only told what does not fire.
pub(super) fn compare(
    found: &mut Doctor,
    owners: &BTreeMap<Table, DeclaredTable>,
    declared: Option<&Guards>,
    live: &Guards,
) {
    let named = |table: &Table, name: &String| NamedTrigger {
        extension: owners.get(table).map(|table| table.extension.clone()).unwrap_or_default(),
        table: display(table),
        trigger: name.clone(),
    };
    let off = live.triggers.iter().filter(|(_, trigger)| !trigger.fires);
    found.disabled_triggers.extend(off.map(|((table, name), _)| named(table, name)));
    found.silenced_triggers.clone_from(&live.silenced);
    let Some(declared) = declared else { return };
    for ((table, name), trigger) in declared.triggers.iter().filter(|(_, trigger)| !trigger.inherited) {
        match live.triggers.get(&(table.clone(), name.clone())) {
            None => found.missing_triggers.push(named(table, name)),
            Some(live) if live.definition != trigger.definition => found.trigger_differences.push(Difference {
                extension: named(table, name).extension,
                table: display(table),
                name: name.clone(),
                declared: trigger.definition.clone(),
                live: live.definition.clone(),
            }),
            Some(_) => {}
        }
    }
    for ((table, name), trigger) in &live.triggers {
        let is_known = trigger.inherited || declared.triggers.contains_key(&(table.clone(), name.clone()));
        // On tables nobody declares is not ours to judge; a partition is its table's.
        if !is_known && (owners.contains_key(table) || table.1.starts_with("ledger_")) {
            found.undeclared_triggers.push(named(table, name));
        }
    }
    for (function, definition) in &declared.functions {
        let live = live.functions.get(function);
        if live != Some(definition) {
            found.function_differences.push(FunctionDifference {
                function: function.clone(),
                declared: definition.clone(),
                live: live.cloned(),
            });
        }
    }
}
