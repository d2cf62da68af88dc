//! The access rules of a running server: decisions from memory, and changes that count at once.

use std::sync::Arc;

use systemprompt_database::DbPool;
use systemprompt_database::notify::NotificationHub;
use systemprompt_model::{Ambient, EntityKind, Principal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::authored::Authored;
use super::by_hand::WantedRule;
use super::cache::{self, Cache, Change};
use super::decision::AccessDecision;
use super::dimensions::{Described, Dimensions};
use super::entity::Told;
use super::group::{Group, GroupKind};
use super::patience::Unavailable;
use super::rule::Rule;
use super::rule_set::RuleSet;
use super::store::{BootstrapOptions, RuleError, RuleStore};
use crate::config::{AccessControlConfig, GroupConfig};

/// The access rules of an installation. One for each server; shared by all requests.
pub struct AccessRules {
    store: Arc<RuleStore>,
    hub: NotificationHub,
    cache: Arc<Cache>,
    dimensions: Dimensions,
}

/// What was decided, and by which version of the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What was decided.
    pub decision: AccessDecision,
    /// The digest of the rules.
    pub version: Arc<str>,
}

impl AccessRules {
    /// Rules from the tables in `db`. `dimensions` are what rules may be about besides users and roles. The task that
    /// follows changes belongs to `tracker` and ends with `cancel`.
    pub fn start(
        db: DbPool,
        ambient: Ambient,
        hub: &NotificationHub,
        dimensions: Dimensions,
        tracker: &TaskTracker,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        let store = Arc::new(RuleStore::new(db, ambient, dimensions.names()));
        let rules = Arc::new(Self { store, hub: hub.clone(), cache: Arc::default(), dimensions });
        let (cache, events) = (Arc::clone(&rules.cache), hub.subscribe(cache::CHANNEL));
        tracker.spawn(cache::follow(cache, Arc::clone(&rules.store), events, cancel));
        rules
    }

    /// Whether `principal` may use the entity now.
    pub async fn decide(&self, principal: &Principal, kind: EntityKind, id: &str) -> Result<Decided, Unavailable> {
        let rules = self.current().await?;
        let decision = self.dimensions.decide(&rules, principal, (kind, id), &self.store.db).await?;
        Ok(Decided { decision, version: Arc::clone(rules.version()) })
    }

    /// The same for an account that somebody else tells of.
    pub(crate) async fn decide_told(
        &self,
        told: &Told<'_>,
        kind: EntityKind,
        id: &str,
    ) -> Result<AccessDecision, Unavailable> {
        let rules = self.current().await?;
        Ok(self.dimensions.decide_told(&rules, told, (kind, id), &self.store.db).await?)
    }

    /// What is known of this account now.
    pub async fn describe(&self, principal: &Principal) -> Result<Described, Unavailable> {
        let rules = self.current().await?;
        Ok(self.dimensions.describe(&rules, principal, &self.store.db).await)
    }

    /// All rules as they are now.
    pub async fn rules(&self) -> Result<Arc<RuleSet>, Unavailable> {
        self.current().await
    }

    /// Reads what is in the tables beside the rules.
    pub fn store(&self) -> &RuleStore {
        &self.store
    }

    /// The rules as they are now: those in memory, or in the database while it is not known that these are current.
    async fn current(&self) -> Result<Arc<RuleSet>, Unavailable> {
        if self.hub.is_live()
            && let Some(rules) = self.cache.current()
        {
            return Ok(Arc::clone(&rules));
        }
        Ok(Arc::new(self.store.rule_set().await?))
    }

    /// Makes entities known: see [`RuleStore::register_entities`].
    pub async fn register_entities(&self, kind: EntityKind, ids: &[String], source: &str) -> Result<(), Unavailable> {
        self.edit(async |store| store.register_entities(kind, ids, source).await).await
    }

    /// The same for entities that are open to everybody for as long as no rule speaks of them.
    pub async fn register_open_entities(
        &self,
        kind: EntityKind,
        ids: &[String],
        source: &str,
    ) -> Result<(), Unavailable> {
        self.edit(async |store| store.register_open_entities(kind, ids, source).await).await
    }

    /// Brings the documents into the database, and puts the policies that were written in Cedar into force.
    pub async fn bootstrap(
        &self,
        config: &AccessControlConfig,
        authored: Authored,
        options: BootstrapOptions,
    ) -> Result<(), Unavailable> {
        self.edit(async |store| {
            store.bootstrap(config, options).await?;
            // Whole or not at all: what failed leaves none of its policies behind.
            store.put_authored(authored);
            Ok(())
        })
        .await
    }

    /// Makes or changes a rule by hand. It counts for every decision that begins after this returns, here, and within the
    /// time of a notification on other replicas.
    pub async fn upsert_rule(&self, rule: &Rule) -> Result<(), RuleError> {
        self.edit(async |store| store.upsert_rule(rule).await).await
    }

    /// Deletes a rule; whether there was one. One that is in a document comes back with the next start.
    pub async fn delete_rule(
        &self,
        kind: EntityKind,
        entity_id: &str,
        rule_type: &str,
        rule_value: &str,
    ) -> Result<bool, Unavailable> {
        self.edit(async |store| store.delete_rule(kind, entity_id, rule_type, rule_value).await).await
    }

    /// Has each of `entities` have these rules and no others: see [`RuleStore::replace_rules_of`].
    pub async fn replace_rules_of(
        &self,
        entities: &[(EntityKind, String)],
        rules: &[WantedRule],
    ) -> Result<(), RuleError> {
        self.edit(async |store| store.replace_rules_of(entities, rules).await).await
    }

    /// Has every entity of a kind have this rule, beside others; how many entities those are.
    pub async fn set_rule_of_all(&self, kind: EntityKind, rule: &WantedRule) -> Result<usize, RuleError> {
        self.edit(async |store| store.set_rule_of_all(kind, rule).await).await
    }

    /// Deletes the rule of this type and value of every entity of a kind; how many there were.
    pub async fn clear_rule_of_all(
        &self,
        kind: EntityKind,
        rule_type: &str,
        rule_value: &str,
    ) -> Result<u64, Unavailable> {
        self.edit(async |store| store.clear_rule_of_all(kind, rule_type, rule_value).await).await
    }

    /// Opens an entity to everybody for as long as it has no rules, or closes it; whether there is such an entity.
    pub async fn set_open(&self, kind: EntityKind, id: &str, open: bool) -> Result<bool, Unavailable> {
        self.edit(async |store| store.set_open(kind, id, open).await).await
    }

    /// Makes a group.
    pub async fn create_group(&self, kind: GroupKind, group: &GroupConfig) -> Result<(), RuleError> {
        self.edit(async |store| store.create_group(kind, group).await).await
    }

    /// Says anew what a group is.
    pub async fn describe_group(&self, group: &Group, description: &str) -> Result<(), Unavailable> {
        self.edit(async |store| store.describe_group(group, description).await).await
    }

    /// Deletes a group; whether there was one.
    pub async fn delete_group(&self, name: &str) -> Result<bool, RuleError> {
        self.edit(async |store| store.delete_group(name).await).await
    }

    /// Does something with the tables. Decisions that begin afterwards know of it, whatever came of it.
    async fn edit<T>(&self, work: impl AsyncFnOnce(&RuleStore) -> T) -> T {
        let done = work(&self.store).await;
        self.cache.changed(Change::All);
        done
    }
}

impl std::fmt::Debug for AccessRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessRules").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
