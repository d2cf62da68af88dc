//! Departments, and who is in which.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_extension::api::{ApiResult, OnBehalfOf};
use systemprompt_extension::{Access, RouteTable, instead_of};
use systemprompt_governance::access::{DEFAULT_DEPARTMENT, DEPARTMENT, Group, GroupKind, RuleError, RuleSet};
use systemprompt_governance::config::GroupConfig;
use systemprompt_governance::{About, Change, Changed, StateDigest};
use systemprompt_model::{AccessGroupId, Attribution, UserId};

use super::desk::Desk;
use super::error::AccessError;

/// Adds the endpoints.
pub(super) fn add_to(table: RouteTable<Desk>) -> RouteTable<Desk> {
    const ROOT: &str = "/api/public/admin/management/departments";
    let one = format!("{ROOT}/{{id}}");
    table
        .get(
            "/api/public/admin/access-control/departments",
            Access::Admin,
            "The departments, with how many accounts are in each and how many rules are about it.",
            list,
        )
        .answers::<DepartmentList>(200)
        .get(ROOT, Access::Admin, "The same.", list)
        .answers::<DepartmentList>(200)
        .post(ROOT, Access::Admin, "Makes a department.", create)
        .takes::<NewDepartment>()
        .answers::<Department>(201)
        .put(&one, Access::Admin, "Says anew what a department is; its name stays.", describe)
        .takes::<NewDepartment>()
        .answers::<Department>(200)
        .delete(
            &one,
            Access::Admin,
            "Deletes a department that no rule is about; its accounts are in `Default` from then on.",
            delete,
        )
        .answers_bare(204)
        .put(
            "/api/public/admin/management/users/{id}/department",
            Access::Admin,
            "Puts an account into a department.",
            assign,
        )
        .takes::<Assignment>()
        .answers::<Assigned>(200)
}

#[derive(Serialize, JsonSchema)]
struct DepartmentList {
    departments: Vec<Department>,
}

/// A department.
#[derive(Clone, Serialize, JsonSchema)]
struct Department {
    id: AccessGroupId,
    name: String,
    description: String,
    /// The department it is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// Who made it: `yaml` for a document, `api` for an edit by hand.
    source: String,
    /// How many accounts are in it.
    member_count: i64,
    /// How many rules are about it.
    assignment_count: usize,
}

impl Department {
    fn new(group: &Group, rules: &RuleSet, member_count: i64) -> Self {
        Self {
            id: group.id,
            name: group.name.clone(),
            description: group.description.clone(),
            parent: group.parent.clone(),
            source: group.source.clone(),
            member_count,
            assignment_count: group.ruled(rules).count(),
        }
    }
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewDepartment {
    /// Its name, which no other department or group has.
    name: String,
    /// What it is.
    #[serde(default)]
    description: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Assignment {
    /// The department it is in from now on.
    department_name: String,
}

#[derive(Serialize, JsonSchema)]
struct Assigned {
    user_id: UserId,
    department_name: String,
}

async fn list(State(desk): State<Desk>) -> ApiResult<Json<DepartmentList>, AccessError> {
    let (known, members) = (desk.known().await?, desk.users.count_by_department().await.map_err(AccessError::from)?);
    let departments = known.groups.iter().filter(|group| group.kind == GroupKind::Department);
    let departments =
        departments.map(|group| Department::new(group, &known.rules, members.get(&group.name).copied().unwrap_or(0)));
    Ok(Json(DepartmentList { departments: departments.collect() }))
}

async fn create(
    State(desk): State<Desk>,
    OnBehalfOf(by): OnBehalfOf,
    body: Result<Json<NewDepartment>, JsonRejection>,
) -> ApiResult<(StatusCode, Json<Department>), AccessError> {
    let Json(NewDepartment { name, description }) = body.map_err(AccessError::from)?;
    if name.trim().is_empty() || name.len() > 200 {
        return Err(AccessError::Invalid("`name` has 1 to 200 bytes".to_owned()).into());
    }
    let config = GroupConfig { name, description, parent: None };
    let change = Change::new("access_group.create", About::new(DEPARTMENT, &config.name), &config);
    let work = async move |desk: Desk| {
        desk.rules.create_group(GroupKind::Department, &config).await?;
        let made = find(&desk, |group| group.name == config.name).await?;
        let (after, rules) = (Some(StateDigest::of(&made)), desk.rules.rules().await?);
        Ok::<_, AccessError>(Changed { before: None, after, value: Department::new(&made, &rules, 0) })
    };
    Ok((StatusCode::CREATED, Json(desk.change(by, change, work).await?)))
}

async fn describe(
    State(desk): State<Desk>,
    OnBehalfOf(by): OnBehalfOf,
    path: Result<Path<AccessGroupId>, PathRejection>,
    body: Result<Json<NewDepartment>, JsonRejection>,
) -> ApiResult<Json<Department>, AccessError> {
    let group = found(&desk, path).await?;
    let Json(NewDepartment { name, description }) = body.map_err(AccessError::from)?;
    if name != group.name {
        let message = "a department keeps its name, which rules and accounts say; make another one and move them";
        return Err(AccessError::Conflict(message.to_owned()).into());
    }
    let change = Change::new(
        "access_group.change",
        About::new(DEPARTMENT, &group.name),
        &serde_json::json!({"name": group.name, "description": description}),
    );
    let work = async move |desk: Desk| {
        desk.rules.describe_group(&group, &description).await?;
        let now = find(&desk, |known| known.id == group.id).await?;
        let members = desk.users.count_by_department().await?;
        let rules = desk.rules.rules().await?;
        let value = Department::new(&now, &rules, members.get(&now.name).copied().unwrap_or(0));
        Ok::<_, AccessError>(Changed {
            before: Some(StateDigest::of(&group)),
            after: Some(StateDigest::of(&now)),
            value,
        })
    };
    Ok(Json(desk.change(by, change, work).await?))
}

async fn delete(
    State(desk): State<Desk>,
    OnBehalfOf(by): OnBehalfOf,
    path: Result<Path<AccessGroupId>, PathRejection>,
) -> ApiResult<StatusCode, AccessError> {
    let group = found(&desk, path).await?;
    if group.name == DEFAULT_DEPARTMENT {
        return Err(AccessError::from(RuleError::DefaultStays).into());
    }
    let (known, members) =
        (desk.known().await?, desk.users.in_department(&group.name).await.map_err(AccessError::from)?);
    if let Some(needed) = group.still_needed(&known.groups, &known.rules, !members.is_empty()) {
        return Err(AccessError::Conflict(needed.to_string()).into());
    }
    // First what can be done again: if the rest fails, there is still something to delete.
    for member in members {
        put(&desk, by.clone(), member, None).await?;
    }
    let about = About::new(DEPARTMENT, &group.name);
    let change = Change::new("access_group.delete", about, &serde_json::json!({"name": group.name}));
    let work = async move |desk: Desk| {
        desk.rules.delete_group(&group.name).await?;
        Ok::<_, AccessError>(Changed { before: Some(StateDigest::of(&group)), after: None, value: () })
    };
    desk.change(by, change, work).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn assign(
    State(desk): State<Desk>,
    OnBehalfOf(by): OnBehalfOf,
    path: Result<Path<UserId>, PathRejection>,
    body: Result<Json<Assignment>, JsonRejection>,
) -> ApiResult<Json<Assigned>, AccessError> {
    let Path(id) = path.map_err(|_| AccessError::NotFound("there is no such account".to_owned()))?;
    desk.user(id).await?;
    let Json(Assignment { department_name }) = body.map_err(AccessError::from)?;
    let known = desk.known().await?;
    let names = known.groups.iter().filter(|group| group.kind == GroupKind::Department);
    let names: Vec<&str> = names.map(|group| group.name.as_str()).collect();
    if !names.contains(&department_name.as_str()) {
        let instead = instead_of(&department_name, names);
        return Err(AccessError::UnknownName(format!("there is no department `{department_name}`; {instead}")).into());
    }
    put(&desk, by, id, Some(department_name.clone())).await?;
    Ok(Json(Assigned { user_id: id, department_name }))
}

/// Puts an account into a department, or takes it out of the one it is in: a change of the account, for it is written down
/// there.
async fn put(desk: &Desk, by: Attribution, id: UserId, department: Option<String>) -> Result<(), AccessError> {
    let change = Change::new(
        "user.update",
        About::new("user", id),
        &serde_json::json!({"attributes": {DEPARTMENT: department}}),
    );
    let work = async move |desk: Desk| {
        let (before, after) = desk.users.set_department(id, department.as_deref()).await?;
        Ok::<_, AccessError>(Changed {
            before: Some(StateDigest::of(&before)),
            after: Some(StateDigest::of(&after)),
            value: (),
        })
    };
    desk.change(by, change, work).await
}

async fn found(desk: &Desk, path: Result<Path<AccessGroupId>, PathRejection>) -> Result<Group, AccessError> {
    let Path(id) = path.map_err(|_| no_such_department())?;
    find(desk, |group| group.id == id).await
}

async fn find(desk: &Desk, is_it: impl Fn(&Group) -> bool) -> Result<Group, AccessError> {
    let groups = desk.rules.store().groups().await?;
    let mut departments = groups.into_iter().filter(|group| group.kind == GroupKind::Department);
    departments.find(|group| is_it(group)).ok_or_else(no_such_department)
}

fn no_such_department() -> AccessError {
    AccessError::NotFound("there is no such department".to_owned())
}
