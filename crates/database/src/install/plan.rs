//! Reading everything the modules declare, before the database is asked anything: what each statement is, whether it
//! belongs where it stands, and who owns which table.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Component, Path};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::problem::Problem;
use crate::schema::{Migration, Module, SchemaDefinition, SchemaSource};
use crate::sql::{self, Kind, ObjectName, Position, Statement};

/// A relation with the schema it is in.
pub(crate) type Table = (String, String);

/// What will be installed, checked.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) modules: Vec<ModulePlan<'a>>,
    pub(crate) owners: HashMap<Table, String>,
    pub(crate) warnings: Vec<String>,
}

/// One module's statements.
#[derive(Debug)]
pub(crate) struct ModulePlan<'a> {
    pub(crate) module: &'a Module,
    pub(crate) structural: Vec<Step>,
    pub(crate) dependent: Vec<Step>,
    pub(crate) migrations: Vec<MigrationPlan<'a>>,
    pub(crate) seeds: Vec<SeedPlan>,
    /// Tables of the declarative schema.
    pub(crate) tables: Vec<Table>,
    pub(crate) required_columns: Vec<(Table, String)>,
    /// Digest of the declarative schema.
    pub(crate) digest: String,
}

impl ModulePlan<'_> {
    pub(crate) fn schema_is_empty(&self) -> bool {
        self.structural.is_empty() && self.dependent.is_empty()
    }
}

#[derive(Debug)]
pub(crate) struct MigrationPlan<'a> {
    pub(crate) migration: &'a Migration,
    pub(crate) steps: Vec<Step>,
    pub(crate) down: Option<Vec<Step>>,
}

#[derive(Debug)]
pub(crate) struct SeedPlan {
    pub(crate) id: &'static str,
    pub(crate) steps: Vec<Step>,
}

/// One statement, where it was written, and the schema its plain names are in.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) sql: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) schema: String,
    file: String,
    position: Position,
}

impl Step {
    fn of(statement: &Statement<'_>, file: &str, schema: &str) -> Self {
        Self {
            sql: statement.text.into(),
            kind: statement.kind(),
            schema: schema.to_owned(),
            file: file.to_owned(),
            position: statement.position,
        }
    }

    fn create_schema(name: &str, file: &str) -> Self {
        let quoted = name.replace('"', "\"\"");
        Self {
            sql: format!("CREATE SCHEMA IF NOT EXISTS \"{quoted}\"").into(),
            kind: Kind::CreateSchema(ObjectName { schema: None, name: name.to_owned() }),
            schema: "public".to_owned(),
            file: file.to_owned(),
            position: Position { line: 1, column: 1 },
        }
    }

    /// `file:line:column` of the statement, or of the place in it that `error` points at.
    pub(crate) fn location(&self, error: Option<&sqlx::Error>) -> String {
        let offset = error
            .and_then(sqlx::Error::as_database_error)
            .and_then(|error| error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>())
            .and_then(|error| match error.position() {
                Some(sqlx::postgres::PgErrorPosition::Original(offset)) => Some(offset),
                _ => None,
            });
        let position = match offset {
            Some(offset) => sql::advance(self.position, &self.sql, offset),
            None => self.position,
        };
        format!("{}:{position}", self.file)
    }

    /// The qualified form of a name this statement mentions.
    pub(crate) fn resolve(&self, name: &ObjectName) -> Table {
        (name.schema.clone().unwrap_or_else(|| self.schema.clone()), name.name.clone())
    }
}

impl<'a> Plan<'a> {
    /// Reads and checks all modules; every problem is reported.
    pub(crate) fn read(modules: &'a [Module], system_dir: Option<&Path>) -> Result<Self, Vec<Problem>> {
        let (plan, problems) = Self::read_anyway(modules, system_dir);
        if problems.is_empty() { Ok(plan) } else { Err(problems) }
    }

    /// What can be read, for those who only look, and what is wrong with it.
    pub(crate) fn read_anyway(modules: &'a [Module], system_dir: Option<&Path>) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        let modules: Vec<ModulePlan<'a>> =
            modules.iter().map(|module| read_module(module, system_dir, &mut problems, &mut warnings)).collect();
        let owners = check_ownership(&modules, &mut problems);
        (Self { modules, owners, warnings }, problems)
    }
}

fn read_module<'a>(
    module: &'a Module,
    system_dir: Option<&Path>,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> ModulePlan<'a> {
    let mut plan = ModulePlan {
        module,
        structural: Vec::new(),
        dependent: Vec::new(),
        migrations: Vec::new(),
        seeds: Vec::new(),
        tables: Vec::new(),
        required_columns: Vec::new(),
        digest: String::new(),
    };
    let mut digest = Sha256::new();
    let mut schemas = HashSet::from(["public"]);
    for definition in &module.schemas {
        let (file, text) = match text_of(module, definition, system_dir) {
            Ok(found) => found,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        digest.update(definition.schema_name());
        digest.update([0]);
        digest.update(&text);
        digest.update([0]);
        if schemas.insert(definition.schema_name()) {
            plan.structural.push(Step::create_schema(definition.schema_name(), &file));
        }
        read_schema(&mut plan, definition, &file, &text, problems, warnings);
    }
    plan.digest = format!("sha256:{}", hex::encode(digest.finalize()));
    read_migrations(&mut plan, problems);
    read_seeds(&mut plan, problems);
    plan
}

fn text_of(
    module: &Module,
    definition: &SchemaDefinition,
    system_dir: Option<&Path>,
) -> Result<(String, String), Problem> {
    let path = match &definition.sql {
        SchemaSource::Inline(sql) => {
            let table = &definition.table;
            return Ok((format!("{}/schema/{table}.sql", module.id), sql.clone()));
        }
        SchemaSource::File(path) => path,
    };
    let refuse = |message: String| Problem::Schema {
        extension: module.id.clone(),
        location: path.display().to_string(),
        message,
    };
    let stays_below = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !stays_below {
        return Err(refuse("the path must stay below paths.system".to_owned()));
    }
    let Some(system_dir) = system_dir else {
        return Err(refuse("schema files need paths.system, which is not set".to_owned()));
    };
    let full = system_dir.join(path);
    let text = std::fs::read_to_string(&full).map_err(|error| refuse(error.to_string()))?;
    // A link may still lead elsewhere.
    let inside = full.canonicalize().ok().zip(system_dir.canonicalize().ok());
    if !inside.is_some_and(|(file, directory)| file.starts_with(directory)) {
        return Err(refuse("the path must stay below paths.system".to_owned()));
    }
    Ok((full.display().to_string(), text))
}

fn read_schema(
    plan: &mut ModulePlan<'_>,
    definition: &SchemaDefinition,
    file: &str,
    text: &str,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) {
    let extension = &plan.module.id;
    let problem =
        |location: String, message: String| Problem::Schema { extension: extension.clone(), location, message };
    let statements = match sql::split(text) {
        Ok(statements) => statements,
        Err(error) => return problems.push(problem(format!("{file}:{}", error.position), error.message)),
    };
    let mut tables: HashSet<Table> = HashSet::new();
    for statement in &statements {
        let step = Step::of(statement, file, definition.schema_name());
        let location = step.location(None);
        match &step.kind {
            Kind::CreateTable(table) if table.temporary => {
                problems.push(problem(location, "a temporary table has no place in a schema".to_owned()));
            }
            Kind::CreateTable(table) => {
                if !table.if_not_exists {
                    warnings.push(format!("{location}: CREATE TABLE {} without IF NOT EXISTS", table.name));
                }
                let name = step.resolve(&table.name);
                tables.insert(name.clone());
                plan.tables.push(name);
                plan.structural.push(step);
            }
            Kind::CreateExtension { name, if_not_exists } => {
                if !if_not_exists {
                    warnings.push(format!("{location}: CREATE EXTENSION {name} without IF NOT EXISTS"));
                }
                plan.structural.push(step);
            }
            Kind::CreateSchema(_) | Kind::CreateType(_) | Kind::CreateSequence(_) => plan.structural.push(step),
            Kind::CreateIndex(index) => {
                if index.concurrently {
                    problems.push(problem(
                        location.clone(),
                        "CREATE INDEX CONCURRENTLY belongs in a migration with `-- @no-transaction`".to_owned(),
                    ));
                }
                if index.name.is_none() {
                    problems.push(problem(
                        location.clone(),
                        "an index without a name would be created again on every start; name it".to_owned(),
                    ));
                }
                plan.dependent.push(step);
            }
            Kind::Dependent { .. } | Kind::DropDependent => plan.dependent.push(step),
            Kind::Change { verb, .. } => problems.push(problem(location, not_declarative(verb))),
            Kind::TransactionControl | Kind::Query => {
                let word = statement.first_word().unwrap_or("(").to_uppercase();
                problems.push(problem(location, not_declarative(&word)));
            }
            Kind::Other(words) => problems.push(problem(location, not_declarative(words))),
        }
    }
    if definition.required_columns.is_empty() {
        return;
    }
    let labelled = (definition.schema_name().to_owned(), definition.table.clone());
    if tables.contains(&labelled) {
        let required = definition.required_columns.iter().map(|column| (labelled.clone(), column.clone()));
        plan.required_columns.extend(required);
    } else {
        problems.push(problem(
            file.to_owned(),
            format!("columns are required of `{}`, which this SQL does not create as a table", definition.table),
        ));
    }
}

fn not_declarative(verb: &str) -> String {
    format!("`{verb}` is not declarative; a schema holds idempotent CREATE statements, put changes into a migration")
}

fn read_migrations(plan: &mut ModulePlan<'_>, problems: &mut Vec<Problem>) {
    let module = plan.module;
    let mut migrations: Vec<&Migration> = module.migrations.iter().collect();
    migrations.sort_by_key(|migration| migration.version);
    for pair in migrations.windows(2) {
        if pair[0].version == pair[1].version {
            problems.push(Problem::Migration {
                extension: module.id.clone(),
                location: migration_file(module, pair[1]),
                message: format!("version {} is taken by `{}`", pair[1].version, pair[0].name),
            });
        }
    }
    for migration in migrations {
        let file = migration_file(module, migration);
        let steps = read_migration_text(module, migration, &file, migration.sql, problems);
        let down = migration
            .down
            .map(|down| read_migration_text(module, migration, &file.replace(".sql", ".down.sql"), down, problems));
        plan.migrations.push(MigrationPlan { migration, steps, down });
    }
}

fn migration_file(module: &Module, migration: &Migration) -> String {
    format!("{}/schema/migrations/{:03}_{}.sql", module.id, migration.version, migration.name)
}

fn read_migration_text(
    module: &Module,
    migration: &Migration,
    file: &str,
    text: &str,
    problems: &mut Vec<Problem>,
) -> Vec<Step> {
    let mut problem = |location: String, message: &str| {
        problems.push(Problem::Migration { extension: module.id.clone(), location, message: message.to_owned() });
    };
    let statements = match sql::split(text) {
        Ok(statements) => statements,
        Err(error) => {
            problem(format!("{file}:{}", error.position), &error.message);
            return Vec::new();
        }
    };
    let mut steps = Vec::new();
    for statement in &statements {
        let step = Step::of(statement, file, "public");
        if step.kind == Kind::TransactionControl {
            problem(step.location(None), "transactions are managed for you; remove this statement");
        }
        let alone = statement.says(&["index", "concurrently"])
            || statement.says(&["alter", "system"])
            || statement.says(&["create", "database"])
            || statement.says(&["drop", "database"])
            || (statement.first_word() == Some("reindex") && statement.says(&["concurrently"]))
            || statement.first_word() == Some("vacuum");
        if alone && !migration.no_transaction {
            problem(step.location(None), "this cannot run in a transaction; begin the file with `-- @no-transaction`");
        }
        steps.push(step);
    }
    steps
}

fn read_seeds(plan: &mut ModulePlan<'_>, problems: &mut Vec<Problem>) {
    let extension = &plan.module.id;
    for seed in &plan.module.seeds {
        let file = format!("{extension}/seeds/{}.sql", seed.id);
        let statements = match sql::split(seed.sql) {
            Ok(statements) => statements,
            Err(error) => {
                problems.push(Problem::InvalidSeedStatement {
                    extension: extension.clone(),
                    seed: seed.id.to_owned(),
                    statement: error.message,
                    location: format!("{file}:{}", error.position),
                });
                continue;
            }
        };
        let mut steps = Vec::new();
        for statement in &statements {
            let step = Step::of(statement, &file, "public");
            let commands = statement.commands();
            let starts_well = matches!(statement.first_word(), Some("insert" | "update" | "merge" | "with"));
            let changes = commands.iter().any(|command| matches!(*command, "insert" | "update" | "merge"));
            if !starts_well || !changes || commands.contains(&"delete") {
                problems.push(Problem::InvalidSeedStatement {
                    extension: extension.clone(),
                    seed: seed.id.to_owned(),
                    statement: statement.text.chars().take(60).collect(),
                    location: step.location(None),
                });
            } else if commands.contains(&"insert") && !statement.says(&["on", "conflict"]) {
                problems.push(Problem::SeedInsertNotIdempotent {
                    extension: extension.clone(),
                    seed: seed.id.to_owned(),
                    location: step.location(None),
                });
            }
            steps.push(step);
        }
        plan.seeds.push(SeedPlan { id: seed.id, steps });
    }
}

/// Who owns which table, and who touches whose.
///
/// A table that no module declares any more (an old name, a dropped table) may be changed by any migration: it has no
/// owner to ask.
fn check_ownership(modules: &[ModulePlan<'_>], problems: &mut Vec<Problem>) -> HashMap<Table, String> {
    let mut owners: HashMap<Table, String> = HashMap::new();
    let mut duplicates = BTreeMap::new();
    for plan in modules {
        let created =
            plan.migrations.iter().flat_map(|migration| &migration.steps).filter_map(|step| match &step.kind {
                Kind::CreateTable(table) if !table.temporary => Some(step.resolve(&table.name)),
                _ => None,
            });
        for table in plan.tables.iter().cloned().chain(created) {
            let owner = owners.entry(table.clone()).or_insert_with(|| plan.module.id.clone());
            if *owner != plan.module.id {
                duplicates.insert((table, plan.module.id.clone()), owner.clone());
            }
        }
    }
    for ((table, extension_b), extension_a) in duplicates {
        problems.push(Problem::DuplicateTableOwner { table: display(&table), extension_a, extension_b });
    }

    for plan in modules {
        let module = plan.module;
        let declared: Vec<(&String, Option<&String>)> =
            module.cross_tables.iter().map(|name| (name, owners.get(&qualified(name)))).collect();
        for (name, owner) in &declared {
            match owner {
                None => problems.push(Problem::CrossExtensionTableNotOwned {
                    extension: module.id.clone(),
                    table: (*name).clone(),
                }),
                Some(owner) if **owner != module.id && !module.dependencies.contains(owner) => {
                    problems.push(Problem::CrossExtensionOwnerNotDependency {
                        extension: module.id.clone(),
                        table: (*name).clone(),
                        owner: (*owner).clone(),
                    });
                }
                Some(_) => {}
            }
        }
        let mut seen = HashSet::new();
        for step in plan.migrations.iter().flat_map(|migration| &migration.steps) {
            for name in touched(&step.kind) {
                let table = step.resolve(name);
                let Some(owner) = owners.get(&table) else { continue };
                let allowed = *owner == module.id || module.cross_tables.iter().any(|name| qualified(name) == table);
                if !allowed && seen.insert(table.clone()) {
                    problems.push(Problem::CrossExtensionAlterUndeclared {
                        extension: module.id.clone(),
                        table: display(&table),
                        owner: owner.clone(),
                        location: step.location(None),
                    });
                }
            }
        }
    }
    owners
}

/// The tables a statement changes.
fn touched(kind: &Kind) -> Vec<&ObjectName> {
    match kind {
        Kind::Change { tables, .. } => tables.iter().collect(),
        Kind::CreateIndex(index) => vec![&index.table],
        Kind::Dependent { table, .. } => table.iter().collect(),
        _ => Vec::new(),
    }
}

fn qualified(name: &str) -> Table {
    let (schema, table) = name.split_once('.').unwrap_or(("public", name));
    (schema.to_owned(), table.to_owned())
}

/// `table`, or `schema.table` outside `public`.
pub(crate) fn display((schema, table): &Table) -> String {
    if schema == "public" { table.clone() } else { format!("{schema}.{table}") }
}
