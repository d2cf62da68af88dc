//! The rules in the tables: reading all of them, and every way to change them.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use systemprompt_database::DbPool;
use systemprompt_model::{AccessGroupId, AccessRuleId, Ambient, EntityKind, UserId};

use super::authored::Authored;
use super::decision::{DEFAULT_DEPARTMENT, ROLE, USER};
use super::documents::{departments, ids_of, kinds_of, open_entities, rules_about};
use super::group::{Group, GroupKind};
use super::patience::{Unavailable, in_time};
use super::queries;
use super::rule::Rule;
use super::rule_set::RuleSet;
use super::source::{SOURCE_API, SOURCE_YAML};
use crate::config::{AccessControlConfig, AccessRuleConfig, GroupConfig};

/// How documents and edits made by hand go together at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootstrapOptions {
    /// Whether a document's rule replaces one somebody made by hand about the same entity, type and value. Off by default:
    /// what was denied in an emergency stays denied over a restart.
    pub override_existing: bool,
    /// Whether rules that came from a document and are in none any more are deleted. On by default.
    pub delete_orphans: bool,
}

impl Default for BootstrapOptions {
    fn default() -> Self {
        Self { override_existing: false, delete_orphans: true }
    }
}

/// A rule or a group cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// There is no such entity.
    #[error("there is no {kind} `{id}`; `{kind}` entities exist once their feature has registered them")]
    UnknownEntity {
        /// The kind.
        kind: EntityKind,
        /// The id.
        id: String,
    },
    /// A rule cannot be about this.
    #[error("`{given}` is not a type of rule; use one of {known}")]
    UnknownType {
        /// What was given.
        given: String,
        /// What there is.
        known: String,
    },
    /// A group or department has this name already.
    #[error("there is a group or department `{0}` already")]
    NameTaken(String),
    /// The department of whoever has no other must stay.
    #[error("`{DEFAULT_DEPARTMENT}` holds whoever has no other department, and stays")]
    DefaultStays,
    /// The database cannot be written at present.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<sqlx::Error> for RuleError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.into())
    }
}

/// The rules of an installation as they are stored.
pub struct RuleStore {
    pub(super) db: DbPool,
    pub(super) ambient: Ambient,
    dimensions: Arc<[String]>,
    /// A start or a reload puts others here.
    authored: ArcSwap<Authored>,
    /// The rules of documents that are about a glob, for entities that are registered later.
    globs: Mutex<Vec<AccessRuleConfig>>,
    /// Entities that are open unless a rule speaks of them, whatever documents say.
    open: Mutex<Vec<(EntityKind, String)>>,
}

impl RuleStore {
    /// The rules in the tables of `db`. `dimensions` are the attributes of people rules may be about, strongest first.
    pub fn new(db: DbPool, ambient: Ambient, dimensions: Vec<String>) -> Self {
        Self {
            db,
            ambient,
            dimensions: dimensions.into(),
            authored: ArcSwap::default(),
            globs: Mutex::default(),
            open: Mutex::default(),
        }
    }

    /// From the next reading on these policies take part.
    pub fn put_authored(&self, authored: Authored) {
        self.authored.store(Arc::new(authored));
    }

    /// All rules as they are now.
    pub async fn rule_set(&self) -> Result<RuleSet, Unavailable> {
        in_time(self.load()).await
    }

    async fn load(&self) -> sqlx::Result<RuleSet> {
        // What belongs together is read as of one moment.
        let mut transaction = self.db.write().begin().await?;
        sqlx::query!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(&mut *transaction).await?;
        let entities = queries::load_entities(&mut *transaction).await?;
        let groups = queries::load_groups(&mut transaction).await?;
        transaction.commit().await?;
        Ok(RuleSet::new(entities, groups, Arc::clone(&self.dimensions), self.authored.load_full()))
    }

    /// Makes entities known, and brings rules about globs to them. What is known already stays as it is. `source` is the id
    /// of the feature they belong to.
    pub async fn register_entities(&self, kind: EntityKind, ids: &[String], source: &str) -> Result<(), Unavailable> {
        if ids.is_empty() {
            return Ok(());
        }
        let entities: Vec<(EntityKind, String)> = ids.iter().map(|id| (kind, id.clone())).collect();
        let now = self.ambient.now();

        let mut transaction = self.db.write().begin().await?;
        // Whoever brings documents puts their globs here before it gives the lock back.
        queries::lock_bootstrap(&mut transaction).await?;
        let globs = self.globs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let open = open_entities(&globs, &entities);
        let rules = rules_about(&globs, &entities);
        let columns = self.columns(&rules);
        let kinds = vec![kind.as_str(); ids.len()];
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        queries::insert_entities(&mut transaction, &kinds, &ids, source, now).await?;
        queries::set_default_included(&mut transaction, &kinds_of(&open), &ids_of(&open), false, false, now).await?;
        queries::upsert_rules(&mut transaction, &columns, SOURCE_YAML, false, now).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The same for entities that are open to everybody for as long as no rule speaks of them.
    pub async fn register_open_entities(
        &self,
        kind: EntityKind,
        ids: &[String],
        source: &str,
    ) -> Result<(), Unavailable> {
        let entities = ids.iter().map(|id| (kind, id.clone()));
        self.open.lock().unwrap_or_else(PoisonError::into_inner).extend(entities);
        self.register_entities(kind, ids, source).await?;
        let kinds = vec![kind.as_str(); ids.len()];
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut connection = self.db.write().acquire().await?;
        queries::set_default_included(&mut connection, &kinds, &ids, false, false, self.ambient.now()).await?;
        Ok(())
    }

    /// Brings the documents into the database. An explicit `entity_id` makes the entity known; a glob is about the entities
    /// there are, and about those that are registered later. Of two rules about the same entity, type and value the one
    /// that refuses counts.
    pub async fn bootstrap(&self, config: &AccessControlConfig, options: BootstrapOptions) -> Result<(), Unavailable> {
        let now = self.ambient.now();
        let named: Vec<(EntityKind, &str)> =
            config.rules.iter().filter_map(|rule| Some((rule.entity_type, rule.entity_id.as_deref()?))).collect();

        let mut transaction = self.db.write().begin().await?;
        queries::lock_bootstrap(&mut transaction).await?;
        for (kind, groups) in [(GroupKind::Department, departments(config)), (GroupKind::Group, config.groups.clone())]
        {
            let ids = self.group_ids(&groups);
            queries::upsert_groups(&mut transaction, kind, &ids, &groups, SOURCE_YAML, now).await?;
        }
        let kinds: Vec<&str> = named.iter().map(|(kind, _)| kind.as_str()).collect();
        let ids: Vec<&str> = named.iter().map(|(_, id)| *id).collect();
        queries::insert_entities(&mut transaction, &kinds, &ids, SOURCE_YAML, now).await?;

        let entities = queries::entity_ids(&mut transaction).await?;
        let always = self.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut open = open_entities(&config.rules, &entities);
        open.extend(always);
        let BootstrapOptions { override_existing, delete_orphans } = options;
        queries::set_default_included(
            &mut transaction,
            &kinds_of(&open),
            &ids_of(&open),
            override_existing,
            delete_orphans,
            now,
        )
        .await?;
        let rules = rules_about(&config.rules, &entities);
        let columns = self.columns(&rules);
        queries::upsert_rules(&mut transaction, &columns, SOURCE_YAML, override_existing, now).await?;
        if delete_orphans {
            queries::delete_other_rules(&mut transaction, &columns, Some(SOURCE_YAML)).await?;
        }
        let globs = config.rules.iter().filter(|rule| rule.entity_match.is_some()).cloned().collect();
        let before = std::mem::replace(&mut *self.globs.lock().unwrap_or_else(PoisonError::into_inner), globs);
        if let Err(error) = transaction.commit().await {
            *self.globs.lock().unwrap_or_else(PoisonError::into_inner) = before;
            return Err(error.into());
        }
        Ok(())
    }

    /// Has the tables say what `config` does, and nothing else about entities. Rules that stay as they are keep their
    /// source; the others count as made by hand. Gives how many were made or changed, and how many deleted.
    pub async fn replace(&self, config: &AccessControlConfig) -> Result<(usize, u64), Unavailable> {
        let now = self.ambient.now();
        let mut transaction = self.db.write().begin().await?;
        queries::lock_bootstrap(&mut transaction).await?;
        for (kind, groups) in [(GroupKind::Department, &config.departments), (GroupKind::Group, &config.groups)] {
            let ids = self.group_ids(groups);
            queries::upsert_groups(&mut transaction, kind, &ids, groups, SOURCE_API, now).await?;
        }
        let present = queries::load_entities(&mut *transaction).await?;
        let entities: Vec<(EntityKind, String)> = present.keys().cloned().collect();
        let open = open_entities(&config.rules, &entities);
        queries::set_default_included(&mut transaction, &kinds_of(&open), &ids_of(&open), true, true, now).await?;
        let rules = rules_about(&config.rules, &entities);
        let is_there = |rule: &Rule| {
            let entity = present.get(&(rule.kind, rule.entity_id.clone()));
            entity.is_some_and(|entity| entity.rules.iter().any(|known| rule.says(known)))
        };
        let changed: Vec<Rule> = rules.iter().filter(|rule| !is_there(rule)).cloned().collect();
        queries::upsert_rules(&mut transaction, &self.columns(&changed), SOURCE_API, true, now).await?;
        let deleted = queries::delete_other_rules(&mut transaction, &self.columns(&rules), None).await?;
        transaction.commit().await?;
        Ok((changed.len(), deleted))
    }

    /// Makes or changes a rule by hand.
    pub async fn upsert_rule(&self, rule: &Rule) -> Result<(), RuleError> {
        let known = [USER, ROLE].into_iter().chain(self.dimensions.iter().map(String::as_str));
        if known.clone().all(|known| known != rule.rule_type) {
            let known = known.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            return Err(RuleError::UnknownType { given: rule.rule_type.clone(), known });
        }
        let columns = self.columns(std::slice::from_ref(rule));
        let mut connection = self.db.write().acquire().await?;
        match queries::upsert_rules(&mut connection, &columns, SOURCE_API, true, self.ambient.now()).await {
            Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
                Err(RuleError::UnknownEntity { kind: rule.kind, id: rule.entity_id.clone() })
            }
            written => Ok(written?),
        }
    }

    /// Deletes a rule; whether there was one. One that is in a document comes back with the next start.
    pub async fn delete_rule(
        &self,
        kind: EntityKind,
        entity_id: &str,
        rule_type: &str,
        rule_value: &str,
    ) -> Result<bool, Unavailable> {
        Ok(queries::delete_rule(self.db.write(), kind, entity_id, rule_type, rule_value).await?)
    }

    /// Every group, by kind and name.
    pub async fn groups(&self) -> Result<Vec<Group>, Unavailable> {
        in_time(queries::list_groups(self.db.write())).await
    }

    /// Makes a group.
    pub async fn create_group(&self, kind: GroupKind, group: &GroupConfig) -> Result<(), RuleError> {
        let mut transaction = self.db.write().begin().await?;
        queries::lock_bootstrap(&mut transaction).await?;
        if queries::list_groups(&mut *transaction).await?.iter().any(|known| known.name == group.name) {
            return Err(RuleError::NameTaken(group.name.clone()));
        }
        let (ids, now) = (self.group_ids(std::slice::from_ref(group)), self.ambient.now());
        queries::upsert_groups(&mut transaction, kind, &ids, std::slice::from_ref(group), SOURCE_API, now).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Deletes a group; whether there was one. One that is in a document comes back with the next start.
    pub async fn delete_group(&self, name: &str) -> Result<bool, RuleError> {
        if name == DEFAULT_DEPARTMENT {
            return Err(RuleError::DefaultStays);
        }
        Ok(queries::delete_group(self.db.write(), name).await?)
    }

    /// Puts an account into a group; whether it was not in it.
    pub async fn add_member(&self, group: AccessGroupId, user: UserId) -> Result<bool, Unavailable> {
        Ok(queries::add_member(self.db.write(), group, user, self.ambient.now()).await?)
    }

    /// Takes an account out of a group; whether it was in it.
    pub async fn remove_member(&self, group: AccessGroupId, user: UserId) -> Result<bool, Unavailable> {
        Ok(queries::remove_member(self.db.write(), group, user).await?)
    }

    pub(super) fn columns<'a>(&self, rules: &'a [Rule]) -> queries::RuleColumns<'a> {
        let mut columns = queries::RuleColumns::default();
        for rule in rules {
            columns.push(AccessRuleId::generate(&self.ambient), rule);
        }
        columns
    }

    fn group_ids(&self, groups: &[GroupConfig]) -> Vec<AccessGroupId> {
        groups.iter().map(|_| AccessGroupId::generate(&self.ambient)).collect()
    }
}
