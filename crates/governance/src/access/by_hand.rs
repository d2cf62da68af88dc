//! Rules as somebody sets them by hand, several at a time.

use systemprompt_model::EntityKind;

use super::documents::{ids_of, kinds_of};
use super::group::Group;
use super::patience::{Unavailable, in_time};
use super::queries;
use super::rule::Rule;
use super::source::SOURCE_API;
use super::store::{RuleError, RuleStore};
use super::stored::{StoredRule, stored_rules};
use crate::config::{Access, GroupConfig};

/// What a rule about some entity shall say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedRule {
    /// `user`, `role`, or a dimension such as `department`.
    pub rule_type: String,
    /// The user's id, the role's name, the value of the dimension.
    pub rule_value: String,
    /// Whether it grants or refuses.
    pub access: Access,
    /// Why.
    pub justification: Option<String>,
}

impl WantedRule {
    /// The rule about this entity.
    #[must_use]
    pub fn about(&self, kind: EntityKind, entity_id: &str) -> Rule {
        Rule {
            kind,
            entity_id: entity_id.to_owned(),
            rule_type: self.rule_type.clone(),
            rule_value: self.rule_value.clone(),
            access: self.access,
            justification: self.justification.clone(),
        }
    }
}

impl RuleStore {
    /// The rules as they are stored: all, those about a kind, or those about an entity.
    pub async fn stored_rules(
        &self,
        kind: Option<EntityKind>,
        entity_id: Option<&str>,
    ) -> Result<Vec<StoredRule>, Unavailable> {
        in_time(stored_rules(self.db.write(), kind, entity_id)).await
    }

    /// Has each of `entities` have these rules and no others. Those that stay as they are keep their source.
    pub async fn replace_rules_of(
        &self,
        entities: &[(EntityKind, String)],
        rules: &[WantedRule],
    ) -> Result<(), RuleError> {
        let mut transaction = self.db.write().begin().await?;
        queries::lock_bootstrap(&mut transaction).await?;
        let present = queries::load_entities(&mut *transaction).await?;
        let is_there = |rule: &Rule| {
            let entity = present.get(&(rule.kind, rule.entity_id.clone()));
            entity.is_some_and(|entity| entity.rules.iter().any(|known| rule.says(known)))
        };
        let of_each = entities.iter().flat_map(|(kind, id)| rules.iter().map(move |rule| rule.about(*kind, id)));
        let changed: Vec<Rule> = of_each.filter(|rule| !is_there(rule)).collect();
        let types: Vec<&str> = rules.iter().map(|rule| rule.rule_type.as_str()).collect();
        let values: Vec<&str> = rules.iter().map(|rule| rule.rule_value.as_str()).collect();
        let (kinds, ids) = (kinds_of(entities), ids_of(entities));
        queries::delete_rules_but(&mut transaction, (&kinds, &ids), (&types, &values)).await?;
        let columns = self.columns(&changed);
        queries::upsert_rules(&mut transaction, &columns, SOURCE_API, true, self.ambient.now()).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Has every entity of a kind have this rule, beside others. Gives how many entities those are.
    pub async fn set_rule_of_all(&self, kind: EntityKind, wanted: &WantedRule) -> Result<usize, RuleError> {
        let mut transaction = self.db.write().begin().await?;
        queries::lock_bootstrap(&mut transaction).await?;
        let entities = queries::entity_ids(&mut transaction).await?.into_iter().filter(|(of, _)| *of == kind);
        let rules: Vec<Rule> = entities.map(|(kind, id)| wanted.about(kind, &id)).collect();
        let columns = self.columns(&rules);
        queries::upsert_rules(&mut transaction, &columns, SOURCE_API, true, self.ambient.now()).await?;
        transaction.commit().await?;
        Ok(rules.len())
    }

    /// Deletes the rule of this type and value of every entity of a kind. Gives how many there were.
    pub async fn clear_rule_of_all(
        &self,
        kind: EntityKind,
        rule_type: &str,
        rule_value: &str,
    ) -> Result<u64, Unavailable> {
        Ok(queries::delete_rule_of_all(self.db.write(), kind, rule_type, rule_value).await?)
    }

    /// Opens an entity to everybody for as long as it has no rules, or closes it; whether there is such an entity. It stays
    /// so, whatever documents say.
    pub async fn set_open(&self, kind: EntityKind, id: &str, open: bool) -> Result<bool, Unavailable> {
        Ok(queries::set_open(self.db.write(), kind, id, open, SOURCE_API, self.ambient.now()).await?)
    }

    /// Says anew what a group is; its name and what it is a part of stay.
    pub async fn describe_group(&self, group: &Group, description: &str) -> Result<(), Unavailable> {
        let config =
            GroupConfig { name: group.name.clone(), description: description.to_owned(), parent: group.parent.clone() };
        let (ids, now) = ([group.id], self.ambient.now());
        let mut transaction = self.db.write().begin().await?;
        queries::lock_bootstrap(&mut transaction).await?;
        queries::upsert_groups(&mut transaction, group.kind, &ids, &[config], SOURCE_API, now).await?;
        transaction.commit().await?;
        Ok(())
    }
}
