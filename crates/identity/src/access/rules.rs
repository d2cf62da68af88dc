//! Changes of the rules about entities.

use std::collections::HashSet;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_extension::api::{ApiResult, OnBehalfOf};
use systemprompt_extension::{Access, RouteTable};
use systemprompt_governance::access::WantedRule;
use systemprompt_governance::config::Access as Effect;
use systemprompt_governance::{About, Change, Changed, StateDigest};
use systemprompt_model::{AccessRuleId, EntityKind};

use super::desk::{Desk, Known, kind};
use super::entities::{EntityAnswer, entity};
use super::error::AccessError;

/// Most entities, and most rules, that one request changes.
const AT_ONCE: usize = 1_000;
/// Most rules that it makes.
const ROWS_AT_ONCE: usize = 20_000;

/// Adds the endpoints.
pub(super) fn add_to(table: RouteTable<Desk>) -> RouteTable<Desk> {
    let at = |path: &str| format!("/api/public/admin/access-control{path}");
    table
        .put(
            &at("/entity/{type}/{id}"),
            Access::Admin,
            "Has an entity have these rules and no others. They count from the next request, on every server.",
            replace,
        )
        .takes::<Replacement>()
        .answers::<EntityAnswer>(200)
        .put(&at("/bulk"), Access::Admin, "Has each of several entities have these rules and no others.", replace_all)
        .takes::<BulkReplacement>()
        .answers::<Applied>(200)
        .post(&at("/entity/{type}/{id}/rules"), Access::Admin, "Makes a rule about an entity, or changes it.", set)
        .takes::<NewRule>()
        .answers::<EntityAnswer>(200)
        .delete(&at("/entity/{type}/{id}/rules/{rule_id}"), Access::Admin, "Deletes a rule.", delete)
        .answers_bare(204)
        .patch(
            &at("/entity/{type}/{id}/default"),
            Access::Admin,
            "Opens an entity to everybody for as long as it has no rules, or closes it.",
            set_default,
        )
        .takes::<Openness>()
        .answers::<EntityAnswer>(200)
        .post(
            &at("/bulk-template"),
            Access::Admin,
            "Makes the same rule about every entity of a kind, or takes it away.",
            template,
        )
        .takes::<Template>()
        .answers::<Applied>(200)
}

/// A rule that is wanted.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewRule {
    /// `user`, `role`, or a dimension such as `department`.
    rule_type: String,
    /// The account's id, the role's name, the value of the dimension.
    rule_value: String,
    access: Effect,
    /// Why, for whoever reads the rule later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    justification: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Replacement {
    /// All rules it shall have.
    rules: Vec<NewRule>,
    /// Documents are changed by whoever keeps them: only `false` is taken. `yaml-snapshot` has what to write there.
    #[serde(default)]
    sync_yaml: bool,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BulkReplacement {
    /// What the rules shall be about.
    entities: Vec<EntityName>,
    /// All rules each shall have.
    rules: Vec<NewRule>,
    /// Only `false` is taken.
    #[serde(default)]
    sync_yaml: bool,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EntityName {
    entity_type: EntityKind,
    entity_id: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Openness {
    /// Whether everybody may use it for as long as it has no rules.
    default_included: bool,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Template {
    /// The kind of the entities.
    entity_type: EntityKind,
    /// The type of the rule: `user`, `role`, or a dimension.
    subject_type: String,
    /// Whom it is about.
    subject_value: String,
    /// What is done.
    action: TemplateAction,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum TemplateAction {
    /// The rule grants.
    Allow,
    /// It refuses.
    Deny,
    /// There is none.
    Clear,
}

#[derive(Serialize, JsonSchema)]
struct Applied {
    /// About how many entities the rules are as they were wanted.
    applied: usize,
}

async fn replace(
    State(desk): State<Desk>,
    OnBehalfOf(by): OnBehalfOf,
    path: Result<Path<(String, String)>, PathRejection>,
    body: Result<Json<Replacement>, JsonRejection>,
) -> ApiResult<Json<EntityAnswer>, AccessError> {
    let Path((of, id)) = path.map_err(AccessError::from)?;
    let kind = kind(&of)?;
    let before = entity(&desk, kind, &id).await?;
    let Json(wanted) = body.map_err(AccessError::from)?;
    let known = desk.known().await?;
    let rules = check(&desk, &known, &wanted.rules, wanted.sync_yaml).await?;
    let change = Change::new("access_rules.replace", About::new("access_entity", format!("{kind}:{id}")), &wanted);
    let work = async move |desk: Desk| {
        let entities = [(kind, id.clone())];
        desk.rules.replace_rules_of(&entities, &rules).await?;
        altered(&desk, before, kind, &id).await
    };
    Ok(Json(desk.change(by, change, work).await?))
}

async fn replace_all(
    State(desk): State<Desk>,
    OnBehalfOf(by): OnBehalfOf,
    body: Result<Json<BulkReplacement>, JsonRejection>,
) -> ApiResult<Json<Applied>, AccessError> {
    let Json(wanted) = body.map_err(AccessError::from)?;
    if wanted.entities.is_empty() || wanted.entities.len() > AT_ONCE {
        return Err(AccessError::Invalid(format!("`entities` has 1 to {AT_ONCE} entries")).into());
    }
    if wanted.entities.len() * wanted.rules.len() > ROWS_AT_ONCE {
        return Err(AccessError::Invalid(format!("`entities` times `rules` is {ROWS_AT_ONCE} at most")).into());
    }
    let mut seen = HashSet::new();
    if let Some(twice) = wanted.entities.iter().find(|one| !seen.insert((one.entity_type, one.entity_id.as_str()))) {
        let message = format!("{}:{} is there twice", twice.entity_type, twice.entity_id);
        return Err(AccessError::Invalid(message).into());
    }
    let known = desk.known().await?;
    for EntityName { entity_type, entity_id } in &wanted.entities {
        known.names().check_entity(*entity_type, entity_id).map_err(AccessError::from)?;
    }
    let rules = check(&desk, &known, &wanted.rules, wanted.sync_yaml).await?;
    let change = Change::new("access_rules.replace", About::new("access_entity", "several"), &wanted);
    let work = async move |desk: Desk| {
        let entities: Vec<_> =
            wanted.entities.into_iter().map(|entity| (entity.entity_type, entity.entity_id)).collect();
        desk.rules.replace_rules_of(&entities, &rules).await?;
        Ok::<_, AccessError>(Changed::unseen(Applied { applied: entities.len() }))
    };
    Ok(Json(desk.change(by, change, work).await?))
}

async fn set(
    State(desk): State<Desk>,
    OnBehalfOf(by): OnBehalfOf,
    path: Result<Path<(String, String)>, PathRejection>,
    body: Result<Json<NewRule>, JsonRejection>,
) -> ApiResult<Json<EntityAnswer>, AccessError> {
    let Path((of, id)) = path.map_err(AccessError::from)?;
    let kind = kind(&of)?;
    let before = entity(&desk, kind, &id).await?;
    let Json(wanted) = body.map_err(AccessError::from)?;
    let known = desk.known().await?;
    let rule = check(&desk, &known, std::slice::from_ref(&wanted), false).await?.remove(0).about(kind, &id);
    let about = format!("{kind}:{id}/{}/{}", rule.rule_type, rule.rule_value);
    let change = Change::new("access_rule.set", About::new("access_rule", about), &wanted);
    let work = async move |desk: Desk| {
        desk.rules.upsert_rule(&rule).await?;
        altered(&desk, before, kind, &id).await
    };
    Ok(Json(desk.change(by, change, work).await?))
}

async fn delete(
    State(desk): State<Desk>,
    OnBehalfOf(by): OnBehalfOf,
    path: Result<Path<(String, String, AccessRuleId)>, PathRejection>,
) -> ApiResult<StatusCode, AccessError> {
    let unknown = || AccessError::NotFound("there is no such rule about this entity".to_owned());
    let Path((of, id, rule_id)) = path.map_err(|_| unknown())?;
    let kind = kind(&of)?;
    let before = entity(&desk, kind, &id).await?;
    let stored = desk.rules.store().stored_rules(Some(kind), Some(&id)).await.map_err(AccessError::from)?;
    let rule = stored.into_iter().find(|rule| rule.id == rule_id).ok_or_else(unknown)?.rule;
    let about = format!("{kind}:{id}/{}/{}", rule.rule_type, rule.rule_value);
    let request = serde_json::json!({"entity_type": kind, "entity_id": id, "rule_type": rule.rule_type,
        "rule_value": rule.rule_value});
    let change = Change::new("access_rule.delete", About::new("access_rule", about), &request);
    let work = async move |desk: Desk| {
        desk.rules.delete_rule(kind, &id, &rule.rule_type, &rule.rule_value).await?;
        altered(&desk, before, kind, &id).await
    };
    desk.change(by, change, work).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_default(
    State(desk): State<Desk>,
    OnBehalfOf(by): OnBehalfOf,
    path: Result<Path<(String, String)>, PathRejection>,
    body: Result<Json<Openness>, JsonRejection>,
) -> ApiResult<Json<EntityAnswer>, AccessError> {
    let Path((of, id)) = path.map_err(AccessError::from)?;
    let kind = kind(&of)?;
    let before = entity(&desk, kind, &id).await?;
    let Json(wanted) = body.map_err(AccessError::from)?;
    let change = Change::new("access_entity.default", About::new("access_entity", format!("{kind}:{id}")), &wanted);
    let work = async move |desk: Desk| {
        let open = wanted.default_included;
        desk.rules.set_open(kind, &id, open).await?;
        altered(&desk, before, kind, &id).await
    };
    Ok(Json(desk.change(by, change, work).await?))
}

async fn template(
    State(desk): State<Desk>,
    OnBehalfOf(by): OnBehalfOf,
    body: Result<Json<Template>, JsonRejection>,
) -> ApiResult<Json<Applied>, AccessError> {
    let Json(wanted) = body.map_err(AccessError::from)?;
    let known = desk.known().await?;
    let Template { entity_type: of, subject_type: rule_type, subject_value, action } = &wanted;
    let (of, rule_type, action) = (*of, rule_type.clone(), *action);
    let rule_value = match action {
        TemplateAction::Allow | TemplateAction::Deny => desk.subject(&known, &rule_type, subject_value).await?,
        // What a rule is about that is taken away may be gone.
        TemplateAction::Clear => subject_value.clone(),
    };
    let change = Change::new("access_rules.template", About::new("access_entity", of.as_str()), &wanted);
    let work = async move |desk: Desk| {
        let set = async |access| {
            let rule = WantedRule {
                rule_type: rule_type.clone(),
                rule_value: rule_value.clone(),
                access,
                justification: None,
            };
            desk.rules.set_rule_of_all(of, &rule).await
        };
        let applied = match action {
            TemplateAction::Allow => set(Effect::Allow).await?,
            TemplateAction::Deny => set(Effect::Deny).await?,
            TemplateAction::Clear => desk.rules.clear_rule_of_all(of, &rule_type, &rule_value).await? as usize,
        };
        Ok::<_, AccessError>(Changed::unseen(Applied { applied }))
    };
    Ok(Json(desk.change(by, change, work).await?))
}

/// The rules as they are kept, unless one of them cannot be.
async fn check(desk: &Desk, known: &Known, rules: &[NewRule], sync_yaml: bool) -> Result<Vec<WantedRule>, AccessError> {
    if sync_yaml {
        let message = "`sync_yaml` is not done here: documents are changed by whoever keeps them, and yaml-snapshot has \
                       what to write";
        return Err(AccessError::Invalid(message.to_owned()));
    }
    if rules.len() > AT_ONCE {
        return Err(AccessError::Invalid(format!("`rules` has at most {AT_ONCE} entries")));
    }
    let mut wanted: Vec<WantedRule> = Vec::with_capacity(rules.len());
    for NewRule { rule_type, rule_value, access, justification } in rules {
        let value = desk.subject(known, rule_type, rule_value).await?;
        if wanted.iter().any(|other| (&other.rule_type, &other.rule_value) == (rule_type, &value)) {
            return Err(AccessError::Invalid(format!(
                "two rules are about the {rule_type} `{value}`; keep one of them"
            )));
        }
        wanted.push(WantedRule {
            rule_type: rule_type.clone(),
            rule_value: value,
            access: *access,
            justification: justification.clone(),
        });
    }
    Ok(wanted)
}

/// An entity after a change of its rules.
async fn altered(
    desk: &Desk,
    before: EntityAnswer,
    kind: EntityKind,
    id: &str,
) -> Result<Changed<EntityAnswer>, AccessError> {
    let after = entity(desk, kind, id).await?;
    let (before, now) = (Some(StateDigest::of(&before)), Some(StateDigest::of(&after)));
    Ok(Changed { before, after: now, value: after })
}
