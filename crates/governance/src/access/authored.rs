//! Policies that operators write in Cedar: `services/access-control/*.cedar`.
//!
//! A `forbid` always refuses, whatever rules say. A `permit` allows where no rule refuses: it is no way round one.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use cedar_policy::{EntityUid, Policy, PolicySet, ValidationMode, Validator};
use miette::Diagnostic;
use systemprompt_config::Problem;
use systemprompt_extension::{KnownNames, instead_of};
use systemprompt_model::EntityKind;

use super::decision::{DEPARTMENT, DIMENSIONS, GROUP, ROLE, USER};
use super::group::{Group, GroupKind};
use super::spoken::{ATTRIBUTE, Spoken, attribute};
use super::vocabulary::{VOCABULARY, type_of};
use crate::config::{AccessControlConfig, no_such_role};

/// The policies of all files, in the order of files and lines.
#[derive(Debug, Clone, Default)]
pub struct Authored {
    /// Each policy.
    pub policies: Vec<AuthoredPolicy>,
}

/// A policy and where it stands.
#[derive(Debug, Clone)]
pub struct AuthoredPolicy {
    pub(super) policy: Policy,
    spoken: Spoken,
    /// As it was written.
    pub text: String,
    /// What its author calls it, in an annotation `@id("…")`.
    pub name: Option<String>,
    /// The file.
    pub file: PathBuf,
    /// The line it begins in, from 1.
    pub line: usize,
}

impl AuthoredPolicy {
    /// Whether it refuses.
    pub fn forbids(&self) -> bool {
        self.policy.effect() == cedar_policy::Effect::Forbid
    }
}

impl fmt::Display for AuthoredPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.file_name().unwrap_or_default().to_string_lossy();
        match &self.name {
            Some(name) => write!(f, "`{name}` ({file}:{})", self.line),
            None => write!(f, "{file}:{}", self.line),
        }
    }
}

impl Authored {
    /// Reads the policies below the services directory. All that is wrong with them at once.
    pub fn read(services: &Path) -> Result<Self, Vec<Problem>> {
        let (mut policies, mut problems) = (Vec::new(), Vec::new());
        for file in Self::files(services) {
            match std::fs::read_to_string(&file) {
                Ok(text) => match of_file(&file, &text) {
                    Ok(found) => policies.extend(found),
                    Err(found) => problems.extend(found),
                },
                Err(error) => problems.push(problem(&file, "", 0, format!("cannot be read: {error}"))),
            }
        }
        if problems.is_empty() { Ok(Self { policies }) } else { Err(problems) }
    }

    /// The files that hold policies, by name. A directory that is not there has none.
    pub fn files(services: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(services.join("access-control")).into_iter().flatten();
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry: io::Result<_>| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "cedar") && path.is_file())
            .collect();
        files.sort();
        files
    }

    /// Whether what any of them decides may depend on this dimension of people.
    pub(super) fn speaks_of(&self, dimension: &str) -> bool {
        self.policies.iter().any(|policy| policy.spoken.is_about(dimension))
    }

    /// The file of a policy that names this group, and how it does.
    pub(super) fn about(&self, group: &Group) -> Option<(PathBuf, String)> {
        let type_name = match group.kind {
            GroupKind::Department => "Department",
            GroupKind::Group => "Group",
        };
        let is_it = |entity: &EntityUid| {
            entity.type_name().to_string() == type_name && entity.id().unescaped() == group.name.as_str()
        };
        self.policies.iter().find_map(|policy| {
            let named = policy.policy.entity_literals().into_iter().find(is_it)?;
            Some((policy.file.clone(), named.to_string()))
        })
    }

    /// Every policy that names something that is not there. Accounts are not looked for: configuration is checked without a
    /// database.
    pub fn unknown_names(&self, access: &AccessControlConfig, known: &KnownNames) -> Vec<Problem> {
        let (roles, departments, groups) = (access.role_names(known), access.department_names(), access.group_names());
        let mut problems = Vec::new();
        for policy in &self.policies {
            // As its author wrote it, unless they put blanks into it.
            let mut found = |written: &str, message| {
                let at = policy.text.find(written).unwrap_or_default();
                let (below, column) = line_and_column(&policy.text, at);
                let line = policy.line + below - 1;
                let problem = problem(&policy.file, "", 0, message);
                problems.push(Problem { line: Some(line), column: Some(column), ..problem });
            };
            for entity in policy.policy.entity_literals() {
                if let Some(message) = unknown(&entity, &roles, &departments, &groups, known) {
                    found(&entity.to_string(), message);
                }
            }
            for tag in &policy.spoken.tags {
                let tags = || DIMENSIONS.into_iter().chain([ROLE]).chain(known.dimensions.keys().map(String::as_str));
                if tags().all(|known| known != tag) {
                    let instead = instead_of(tag, tags().collect::<Vec<_>>());
                    found(&format!("\"{tag}\""), format!("accounts have no tag `{tag}`; {instead}"));
                }
            }
        }
        problems
    }
}

fn unknown(
    entity: &EntityUid,
    roles: &BTreeSet<&str>,
    departments: &BTreeSet<&str>,
    groups: &BTreeSet<&str>,
    known: &KnownNames,
) -> Option<String> {
    let id = entity.id().unescaped();
    match entity.type_name().to_string().as_str() {
        "Role" => (!roles.contains(id)).then(|| no_such_role(id, roles)),
        "Department" => (!departments.contains(id))
            .then(|| format!("`{id}` is not among `departments`; {}", instead_of(id, departments.iter().copied()))),
        "Group" => (!groups.contains(id))
            .then(|| format!("`{id}` is not among `groups`; {}", instead_of(id, groups.iter().copied()))),
        ATTRIBUTE => no_such_attribute(entity, known),
        of => {
            let kind = EntityKind::ALL.into_iter().find(|kind| type_of(*kind) == of)?;
            let ids = known.entities.get(&kind)?;
            (!ids.contains(id))
                .then(|| format!("there is no {kind} `{id}`; {}", instead_of(id, ids.iter().map(String::as_str))))
        }
    }
}

fn no_such_attribute(entity: &EntityUid, known: &KnownNames) -> Option<String> {
    let Some((dimension, value)) = attribute(entity) else {
        let id = entity.id().unescaped();
        return Some(format!("`{id}` is no attribute of people; write Attribute::\"DIMENSION:VALUE\""));
    };
    let type_name = match dimension {
        USER => "User",
        ROLE => "Role",
        DEPARTMENT => "Department",
        GROUP => "Group",
        _ => return known.no_such_dimension(dimension).or_else(|| known.no_such_value(dimension, value)),
    };
    Some(format!("nobody has the attribute `{dimension}:{value}`; write {type_name}::\"{value}\""))
}

fn of_file(file: &Path, text: &str) -> Result<Vec<AuthoredPolicy>, Vec<Problem>> {
    let set = PolicySet::from_str(text).map_err(|errors| {
        errors.iter().map(|error| problem(file, text, offset(error), error.to_string())).collect::<Vec<_>>()
    })?;
    if set.templates().next().is_some() {
        return Err(vec![problem(
            file,
            text,
            0,
            "a policy has a slot such as `?principal`; write out whom it is about".to_owned(),
        )]);
    }
    let validated = Validator::new(VOCABULARY.schema.clone()).validate(&set, ValidationMode::Strict);
    let errors =
        validated.validation_errors().map(|error| problem(file, text, offset(error), without_id(&error.to_string())));
    // A warning is a policy that can never count, or a name that looks like another.
    let warnings = validated
        .validation_warnings()
        .map(|warning| problem(file, text, offset(warning), without_id(&warning.to_string())));
    let problems: Vec<Problem> = errors.chain(warnings).collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut policies: Vec<AuthoredPolicy> = set
        .policies()
        .map(|policy| {
            let source = policy.to_cedar().unwrap_or_else(|| policy.to_string());
            AuthoredPolicy {
                line: line_and_column(text, text.find(&source).unwrap_or_default()).0,
                name: policy.annotation("id").map(str::to_owned),
                file: file.to_owned(),
                text: source,
                policy: policy.clone(),
                spoken: Spoken::of(policy),
            }
        })
        .collect();
    policies.sort_by_key(|policy| policy.line);
    Ok(policies)
}

/// Cedar numbers the policies of a file, which tells nobody anything beside the line.
fn without_id(message: &str) -> String {
    match message.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, ")) {
        Some((_, message)) => message.to_owned(),
        None => message.to_owned(),
    }
}

fn problem(file: &Path, text: &str, at: usize, message: String) -> Problem {
    let (line, column) = line_and_column(text, at);
    let problem = Problem::error("access-control", "", message).in_file(file).code("invalid_policy");
    Problem { line: Some(line), column: Some(column), ..problem }
}

fn offset(error: &dyn Diagnostic) -> usize {
    error.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset())
}

/// Both from 1.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at.min(text.len()))];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
