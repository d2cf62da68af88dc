//! The access rules of an installation: decisions, documents, edits by hand.

use std::sync::{Arc, Mutex, PoisonError};

use systemprompt_database::DbPool;
use systemprompt_database::notify::NotificationHub;
use systemprompt_model::pattern::Pattern;
use systemprompt_model::{AccessRuleId, Ambient, DepartmentId, EntityKind, Principal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cache::{self, Cache};
use super::patience::{Unavailable, in_time};
use super::queries;
use super::resolve::{AccessDecision, DEFAULT_DEPARTMENT, DEPARTMENT, resolve};
use super::rule::Rule;
use crate::config::{Access, AccessControlConfig, AccessRuleConfig, DepartmentConfig};

/// The source of rules that come from documents. Start-up changes and deletes rules of this source only.
pub const SOURCE_YAML: &str = "yaml";
/// The source of rules somebody made by hand.
pub const SOURCE_API: &str = "api";

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

/// A rule cannot be made.
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
    /// The database cannot be written at present.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The access rules of an installation. One for each server; shared by all requests.
pub struct AccessRules {
    db: DbPool,
    ambient: Ambient,
    hub: NotificationHub,
    dimensions: Vec<String>,
    cache: Arc<Cache>,
    /// The rules of documents that are about a glob, for entities that are registered later.
    globs: Mutex<Vec<AccessRuleConfig>>,
    /// Entities that are open unless a rule speaks of them, whatever documents say.
    open: Mutex<Vec<(EntityKind, String)>>,
}

impl AccessRules {
    /// Rules from the tables in `db`. `dimensions` are the attributes of people rules may be about, strongest first. The
    /// task that follows changes belongs to `tracker` and ends with `cancel`.
    pub fn start(
        db: DbPool,
        ambient: Ambient,
        hub: &NotificationHub,
        dimensions: Vec<String>,
        tracker: &TaskTracker,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        let rules = Arc::new(Self {
            db,
            ambient,
            hub: hub.clone(),
            dimensions,
            cache: Arc::default(),
            globs: Mutex::default(),
            open: Mutex::default(),
        });
        let (cache, events) = (Arc::clone(&rules.cache), hub.subscribe(cache::CHANNEL));
        tracker.spawn(cache::follow(cache, Arc::clone(&rules.db), events, cancel));
        rules
    }

    /// Whether `principal` may use the entity now.
    pub async fn decide(
        &self,
        principal: &Principal,
        kind: EntityKind,
        id: &str,
    ) -> Result<AccessDecision, Unavailable> {
        if self.hub.is_live()
            && let Some(entities) = self.cache.current()
        {
            return Ok(resolve(entities.get(kind, id), &[], &self.dimensions, principal));
        }
        let entity = in_time(queries::find_entity(self.db.write(), kind, id)).await?;
        Ok(resolve(entity.as_ref(), &[], &self.dimensions, principal))
    }

    /// Makes entities known, and brings rules about globs to them. What is known already stays as it is. `source` is the id
    /// of the feature they belong to.
    pub async fn register_entities(&self, kind: EntityKind, ids: &[String], source: &str) -> Result<(), Unavailable> {
        if ids.is_empty() {
            return Ok(());
        }
        let globs = self.globs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let entities: Vec<(EntityKind, String)> = ids.iter().map(|id| (kind, id.clone())).collect();
        let open = open_entities(&globs, &entities);
        let rules = rules_about(&globs, &entities);
        let now = self.ambient.now();
        let columns = self.columns(&rules);

        let mut transaction = self.db.write().begin().await?;
        queries::lock_bootstrap(&mut transaction).await?;
        let kinds = vec![kind.as_str(); ids.len()];
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        queries::insert_entities(&mut transaction, &kinds, &ids, source, now).await?;
        queries::set_default_included(&mut transaction, &kinds_of(&open), &ids_of(&open), false, false, now).await?;
        queries::upsert_rules(&mut transaction, &columns, SOURCE_YAML, false, now).await?;
        transaction.commit().await?;
        self.cache.changed(cache::Change::All);
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
        self.cache.changed(cache::Change::All);
        Ok(())
    }

    /// Brings the documents into the database. An explicit `entity_id` makes the entity known; a glob is about the entities
    /// there are, and about those that are registered later. Of two rules about the same entity, type and value the one
    /// that refuses counts.
    pub async fn bootstrap(&self, config: &AccessControlConfig, options: BootstrapOptions) -> Result<(), Unavailable> {
        *self.globs.lock().unwrap_or_else(PoisonError::into_inner) =
            config.rules.iter().filter(|rule| rule.entity_match.is_some()).cloned().collect();
        let now = self.ambient.now();
        let mut departments = config.departments.clone();
        if departments.iter().all(|department| department.name != DEFAULT_DEPARTMENT) {
            let description = "Whoever has no other department.".to_owned();
            departments.push(DepartmentConfig { name: DEFAULT_DEPARTMENT.to_owned(), description });
        }
        let department_ids: Vec<DepartmentId> =
            departments.iter().map(|_| DepartmentId::generate(&self.ambient)).collect();
        let named: Vec<(EntityKind, &str)> =
            config.rules.iter().filter_map(|rule| Some((rule.entity_type, rule.entity_id.as_deref()?))).collect();

        let mut transaction = self.db.write().begin().await?;
        queries::lock_bootstrap(&mut transaction).await?;
        queries::upsert_departments(&mut transaction, &department_ids, &departments, now).await?;
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
            queries::delete_other_rules(&mut transaction, &columns, SOURCE_YAML).await?;
        }
        transaction.commit().await?;
        self.cache.changed(cache::Change::All);
        Ok(())
    }

    /// Makes or changes a rule by hand. It counts for every decision that begins after this returns, here, and within the
    /// time of a notification on other replicas.
    pub async fn upsert_rule(&self, rule: &Rule) -> Result<(), RuleError> {
        let known = ["user", "role"].into_iter().chain(self.dimensions.iter().map(String::as_str));
        if known.clone().all(|known| known != rule.rule_type) {
            let known = known.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            return Err(RuleError::UnknownType { given: rule.rule_type.clone(), known });
        }
        let columns = self.columns(std::slice::from_ref(rule));
        let mut connection = self.db.write().acquire().await.map_err(Unavailable::from)?;
        let written = queries::upsert_rules(&mut connection, &columns, SOURCE_API, true, self.ambient.now()).await;
        match written {
            Ok(()) => {}
            Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
                return Err(RuleError::UnknownEntity { kind: rule.kind, id: rule.entity_id.clone() });
            }
            Err(error) => return Err(Unavailable::from(error).into()),
        }
        self.cache.changed(cache::Change::Entity(rule.kind, rule.entity_id.clone()));
        Ok(())
    }

    /// Deletes a rule; whether there was one. One that is in a document comes back with the next start.
    pub async fn delete_rule(
        &self,
        kind: EntityKind,
        entity_id: &str,
        rule_type: &str,
        rule_value: &str,
    ) -> Result<bool, Unavailable> {
        let deleted = queries::delete_rule(self.db.write(), kind, entity_id, rule_type, rule_value).await?;
        self.cache.changed(cache::Change::Entity(kind, entity_id.to_owned()));
        Ok(deleted)
    }

    fn columns<'a>(&self, rules: &'a [Rule]) -> queries::RuleColumns<'a> {
        let mut columns = queries::RuleColumns::default();
        for rule in rules {
            columns.push(AccessRuleId::generate(&self.ambient), rule);
        }
        columns
    }
}

impl std::fmt::Debug for AccessRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessRules").field("dimensions", &self.dimensions).finish_non_exhaustive()
    }
}

/// The rules the documents make about `entities`, one for each entity, type and value.
fn rules_about(documents: &[AccessRuleConfig], entities: &[(EntityKind, String)]) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for document in documents {
        let about = About::of(document);
        let values = (document.roles.iter().map(|role| ("role", role)))
            .chain(document.departments.iter().map(|department| (DEPARTMENT, department)));
        for (rule_type, rule_value) in values {
            rules.extend(entities.iter().filter(|(kind, id)| about.covers(*kind, id)).map(|(kind, id)| Rule {
                kind: *kind,
                entity_id: id.clone(),
                rule_type: rule_type.to_owned(),
                rule_value: rule_value.clone(),
                access: document.access,
                justification: document.justification.clone(),
            }));
        }
    }
    // `Deny` sorts after `Allow`; of equals the last is kept.
    let key = |rule: &Rule| (rule.kind, rule.entity_id.clone(), rule.rule_type.clone(), rule.rule_value.clone());
    rules.sort_by_cached_key(|rule| (key(rule), rule.access == Access::Deny));
    rules.reverse();
    rules.dedup_by_key(|rule| key(rule));
    rules
}

/// Which of `entities` the documents open to everybody.
fn open_entities(documents: &[AccessRuleConfig], entities: &[(EntityKind, String)]) -> Vec<(EntityKind, String)> {
    let opening: Vec<About<'_>> =
        documents.iter().filter(|document| document.default_included).map(About::of).collect();
    entities.iter().filter(|(kind, id)| opening.iter().any(|about| about.covers(*kind, id))).cloned().collect()
}

/// Which entities a document is about.
struct About<'a> {
    kind: EntityKind,
    id: Option<&'a str>,
    /// Of a document without an id.
    pattern: Option<Pattern>,
}

impl<'a> About<'a> {
    fn of(document: &'a AccessRuleConfig) -> Self {
        let id = document.entity_id.as_deref();
        let pattern = document.entity_match.as_deref().filter(|_| id.is_none());
        // What is no pattern was reported when the configuration was checked.
        Self { kind: document.entity_type, id, pattern: pattern.and_then(|pattern| Pattern::new(pattern).ok()) }
    }

    fn covers(&self, kind: EntityKind, id: &str) -> bool {
        self.kind == kind && (self.id == Some(id) || self.pattern.as_ref().is_some_and(|pattern| pattern.fits(id)))
    }
}

fn kinds_of(entities: &[(EntityKind, String)]) -> Vec<&str> {
    entities.iter().map(|(kind, _)| kind.as_str()).collect()
}

fn ids_of(entities: &[(EntityKind, String)]) -> Vec<&str> {
    entities.iter().map(|(_, id)| id.as_str()).collect()
}

#[cfg(test)]
mod tests;
