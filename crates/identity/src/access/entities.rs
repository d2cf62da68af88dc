//! What there is, which rules are about it, and who may use it: the routes that only read.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_extension::api::ApiResult;
use systemprompt_extension::{Access, RouteTable};
use systemprompt_governance::access::{AccessDecision, EntityRules, GroupKind, StoredRule};
use systemprompt_governance::config::{Access as Effect, AccessControlConfig, GroupConfig};
use systemprompt_model::{AccessRuleId, EntityKind, UserId};

use super::desk::{Desk, Known, kind};
use super::error::AccessError;

/// Adds the endpoints.
pub(super) fn add_to(table: RouteTable<Desk>) -> RouteTable<Desk> {
    const ROOT: &str = "/api/public/admin/access-control";
    let at = |path: &str| format!("{ROOT}{path}");
    table
        .get(
            ROOT,
            Access::Admin,
            "What access rules are about and which there are; `entity_type` and `entity_id` in the query.",
            list,
        )
        .answers::<EntityList>(200)
        .get(
            &at("/entity-access/all"),
            Access::Admin,
            "The same of all entities of a kind; `entity_type` in the query.",
            list,
        )
        .answers::<EntityList>(200)
        .get(&at("/entity/{type}/{id}/access"), Access::Admin, "One entity and the rules about it.", show)
        .answers::<EntityAnswer>(200)
        .get(&at("/users/{id}/matrix"), Access::Admin, "What an account may use, and why.", matrix)
        .answers::<Matrix>(200)
        .get(
            &at("/yaml-snapshot"),
            Access::Admin,
            "All rules, departments, groups and roles, as a document of `services/access-control` says them.",
            snapshot,
        )
        .answers::<AccessControlConfig>(200)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    entity_type: Option<String>,
    entity_id: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct EntityList {
    /// What was found.
    entities: Vec<EntityAnswer>,
    /// The digest of all rules.
    version: String,
}

/// An entity and the rules about it.
#[derive(Clone, Serialize, JsonSchema)]
pub(super) struct EntityAnswer {
    entity_type: EntityKind,
    entity_id: String,
    /// Whether everybody may use it for as long as it has no rules.
    default_included: bool,
    rules: Vec<RuleAnswer>,
}

/// A rule.
#[derive(Clone, Serialize, JsonSchema)]
pub(super) struct RuleAnswer {
    id: AccessRuleId,
    /// `user`, `role`, or a dimension such as `department`.
    rule_type: String,
    /// The account's id, the role's name, the value of the dimension.
    rule_value: String,
    access: Effect,
    #[serde(skip_serializing_if = "Option::is_none")]
    justification: Option<String>,
    /// Who made it: `yaml` for a document, `api` for an edit by hand.
    source: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<StoredRule> for RuleAnswer {
    fn from(StoredRule { id, rule, created_at, updated_at, .. }: StoredRule) -> Self {
        Self {
            id,
            rule_type: rule.rule_type,
            rule_value: rule.rule_value,
            access: rule.access,
            justification: rule.justification,
            source: rule.source,
            created_at,
            updated_at,
        }
    }
}

impl EntityAnswer {
    fn new(kind: EntityKind, id: &str, entity: &EntityRules, rules: Vec<StoredRule>) -> Self {
        Self {
            entity_type: kind,
            entity_id: id.to_owned(),
            default_included: entity.default_included,
            rules: rules.into_iter().map(RuleAnswer::from).collect(),
        }
    }
}

/// An entity as it is now, with the ids of its rules.
pub(super) async fn entity(desk: &Desk, kind: EntityKind, id: &str) -> Result<EntityAnswer, AccessError> {
    let known = desk.known().await?;
    known.names().check_entity(kind, id)?;
    let entity = known.rules.entity(kind, id).cloned().unwrap_or_default();
    let rules = desk.rules.store().stored_rules(Some(kind), Some(id)).await?;
    Ok(EntityAnswer::new(kind, id, &entity, rules))
}

async fn list(
    State(desk): State<Desk>,
    which: Result<Query<Which>, QueryRejection>,
) -> ApiResult<Json<EntityList>, AccessError> {
    let Query(Which { entity_type, entity_id }) = which.map_err(AccessError::from)?;
    let of = entity_type.as_deref().map(kind).transpose()?;
    let Known { rules, .. } = desk.known().await?;
    let stored = desk.rules.store().stored_rules(of, entity_id.as_deref()).await.map_err(AccessError::from)?;
    let mut by_entity: BTreeMap<(String, String), Vec<StoredRule>> = BTreeMap::new();
    for rule in stored {
        by_entity.entry((rule.entity_type.clone(), rule.entity_id.clone())).or_default().push(rule);
    }
    let is_wanted = |kind: EntityKind, id: &str| {
        of.is_none_or(|of| of == kind) && entity_id.as_deref().is_none_or(|wanted| wanted == id)
    };
    let entities = rules.entities().into_iter().filter(|((kind, id), _)| is_wanted(*kind, id));
    let entities = entities.map(|((kind, id), entity)| {
        let rules = by_entity.remove(&(kind.as_str().to_owned(), id.to_owned())).unwrap_or_default();
        EntityAnswer::new(kind, id, entity, rules)
    });
    Ok(Json(EntityList { entities: entities.collect(), version: rules.version().to_string() }))
}

async fn show(
    State(desk): State<Desk>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> ApiResult<Json<EntityAnswer>, AccessError> {
    let Path((of, id)) = path.map_err(AccessError::from)?;
    Ok(Json(entity(&desk, kind(&of)?, &id).await?))
}

#[derive(Serialize, JsonSchema)]
struct Matrix {
    user_id: UserId,
    name: String,
    /// Every entity there is.
    entities: Vec<MatrixCell>,
    /// The digest of the rules that decided.
    version: String,
}

#[derive(Serialize, JsonSchema)]
struct MatrixCell {
    entity_type: EntityKind,
    entity_id: String,
    /// Whether the rules allow it; an authorizer may refuse it all the same.
    may: bool,
    /// The kind of refusal in records.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// What decides, in words.
    because: String,
}

async fn matrix(
    State(desk): State<Desk>,
    path: Result<Path<UserId>, PathRejection>,
) -> ApiResult<Json<Matrix>, AccessError> {
    let Path(id) = path.map_err(|_| AccessError::NotFound("there is no such account".to_owned()))?;
    let user = desk.user(id).await?;
    let rules = desk.rules.rules().await.map_err(AccessError::from)?;
    let described = desk.rules.describe(&user.to_principal()).await.map_err(AccessError::from)?;
    let mut entities = Vec::new();
    for (entity_type, entity_id) in rules.entities().into_keys() {
        let (may, reason, because) = match described.decide(&rules, entity_type, entity_id) {
            Ok(AccessDecision::Allowed(basis)) => (true, None, basis.to_string()),
            Ok(AccessDecision::Denied(reason)) => (false, Some(reason.kind()), reason.to_string()),
            Err(untold) => (false, Some("authz_unavailable"), untold.to_string()),
        };
        entities.push(MatrixCell { entity_type, entity_id: entity_id.to_owned(), may, reason, because });
    }
    Ok(Json(Matrix { user_id: user.id, name: user.name, entities, version: rules.version().to_string() }))
}

/// JSON, which is YAML as well.
async fn snapshot(State(desk): State<Desk>) -> ApiResult<Json<AccessControlConfig>, AccessError> {
    let known = desk.known().await?;
    let of_kind = |kind| {
        let groups = known.groups.iter().filter(move |group| group.kind == kind);
        let written = groups.map(|group| GroupConfig {
            name: group.name.clone(),
            description: group.description.clone(),
            parent: group.parent.clone(),
        });
        written.collect::<Vec<_>>()
    };
    let declared: Arc<_> = desk.declared();
    Ok(Json(AccessControlConfig {
        rules: known.rules.as_documents(),
        departments: of_kind(GroupKind::Department),
        groups: of_kind(GroupKind::Group),
        roles: declared.documents.roles.clone(),
    }))
}
