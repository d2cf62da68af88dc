//! `admin access-control lint`.

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;
use systemprompt_governance::access::{
    DEPARTMENT, EntityRule, EntityRules, GROUP, GroupKind, ROLE, RuleSet, SOURCE_YAML, Subject, USER,
};
use systemprompt_governance::config::Access as Effect;
use systemprompt_identity::{Page as Pages, User, UserFilter};

use crate::access::{Access, unknown};
use crate::accounts::accounts;
use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, OpenDatabase};
use crate::roles;
use crate::view::{Page, Row};

/// Look for rules that do nothing: about what is not there or nobody has, or that others always come before. Exit status 1
/// if there are any.
#[derive(Debug, Args)]
pub(crate) struct Lint {}

impl Lint {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let access = Access::open(invocation, &database.db)?;
        let rules = access.rules().await?;
        let known = access.known();
        let groups = access.groups().await?;
        let of_kind = |kind| groups.iter().filter(|group| group.kind == kind).map(|group| group.name.clone()).collect();
        let mut subjects = Vec::new();
        for user in everybody(invocation, database).await? {
            let described = access.describe(&rules, &user).await;
            if let Some(untold) = described.unknown.first() {
                return Err(unknown(untold).help("what nobody knows of an account cannot be compared with rules"));
            }
            subjects.push(described.subject);
        }
        let there = There {
            roles: roles::catalogue(&access.project)?,
            departments: of_kind(GroupKind::Department),
            groups: of_kind(GroupKind::Group),
            subjects,
        };
        let mut findings = Vec::new();
        for ((kind, id), entity) in rules.entities() {
            let entity_name = format!("{kind}:{id}");
            let mut found = |rule: Option<&EntityRule>, code, message: String| {
                findings.push(Finding {
                    entity: entity_name.clone(),
                    rule: rule.map(|rule| format!("{} {} {}", rule.access.as_str(), rule.rule_type, rule.rule_value)),
                    code,
                    message,
                });
            };
            let is_there = known.entities.get(&kind).map(|ids| ids.contains(id));
            if is_there != Some(true) && (!entity.rules.is_empty() || entity.default_included) {
                found(None, "unknown_entity", format!("there is no {kind} `{id}`, so its rules do nothing"));
            }
            if entity.default_included && !entity.rules.is_empty() {
                found(None, "open_in_vain", "it is `default_included`, which does nothing beside its rules".to_owned());
            }
            for rule in &entity.rules {
                if let Some((code, message)) = there.look_at(&rules, entity, rule) {
                    found(Some(rule), code, message);
                }
            }
        }
        let clean = findings.is_empty();
        invocation.printer.show(&Page::whole(findings));
        if clean { Ok(()) } else { Err(CliError::status(Exit::Failure)) }
    }
}

/// What rules can be about.
struct There {
    roles: BTreeSet<String>,
    departments: BTreeSet<String>,
    groups: BTreeSet<String>,
    subjects: Vec<Subject>,
}

impl There {
    /// What is wrong with a rule about an entity.
    fn look_at(&self, rules: &RuleSet, entity: &EntityRules, rule: &EntityRule) -> Option<(&'static str, String)> {
        let EntityRule { rule_type, rule_value, .. } = rule;
        let names = match rule_type.as_str() {
            ROLE => Some(&self.roles),
            DEPARTMENT => Some(&self.departments),
            GROUP => Some(&self.groups),
            _ => None,
        };
        if names.is_some_and(|names| !names.contains(rule_value)) {
            return Some(("unknown_name", format!("there is no {rule_type} `{rule_value}`")));
        }
        if rule_type != USER && rules.dimensions().iter().all(|known| known != rule_type) && rule_type != ROLE {
            return Some(("unknown_type", format!("`{rule_type}` is not a type of rule here")));
        }
        let concerned: Vec<&Subject> =
            self.subjects.iter().filter(|subject| has(subject, rule_type, rule_value)).collect();
        if concerned.is_empty() {
            // A role or group that nobody has yet may be meant for later; an account that is gone does not come back.
            let gone = rule_type == USER;
            let by_hand = rule.source != SOURCE_YAML;
            let message = || format!("no account has the {rule_type} `{rule_value}`");
            return (gone || by_hand || rule.access == Effect::Deny).then(|| ("unreachable", message()));
        }
        let stronger = concerned.iter().filter(|subject| is_shadowed(subject, entity, rule)).count();
        (stronger == concerned.len()).then(|| {
            let what = if rule.access == Effect::Deny { "shadowed_deny" } else { "unreachable" };
            (what, format!("stronger rules decide for every account it is about ({stronger})"))
        })
    }
}

/// Whether a rule is about somebody.
fn has(subject: &Subject, rule_type: &str, value: &str) -> bool {
    subject.bands.iter().any(|(of, values)| of == rule_type && values.iter().any(|own| own == value))
}

/// Whether another rule comes before this one for somebody it is about.
fn is_shadowed(subject: &Subject, entity: &EntityRules, rule: &EntityRule) -> bool {
    let band = |rule_type: &str| subject.bands.iter().position(|(of, _)| of == rule_type);
    let own = band(&rule.rule_type);
    entity.rules.iter().any(|other| {
        let is_stronger = band(&other.rule_type) < own
            || (band(&other.rule_type) == own && other.access == Effect::Deny && rule.access == Effect::Allow);
        is_stronger && band(&other.rule_type).is_some() && has(subject, &other.rule_type, &other.rule_value)
    })
}

async fn everybody(invocation: &Invocation, database: &OpenDatabase) -> CliResult<Vec<User>> {
    const AT_ONCE: u32 = 1_000;
    let accounts = accounts(invocation, &database.db);
    let mut all = Vec::new();
    loop {
        let page = Pages { limit: AT_ONCE, offset: all.len() as u32 };
        let some = accounts.list(&UserFilter::default(), page).await.map_err(CliError::database)?;
        let is_last = some.len() < AT_ONCE as usize;
        all.extend(some);
        if is_last {
            return Ok(all);
        }
    }
}

#[derive(Serialize)]
struct Finding {
    entity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    code: &'static str,
    message: String,
}

impl Row for Finding {
    const COLUMNS: &'static [&'static str] = &["entity", "rule", "finding", "because"];
    const NONE: &'static str = "Every rule does something.";

    fn cells(&self) -> Vec<String> {
        vec![self.entity.clone(), self.rule.clone().unwrap_or_default(), self.code.to_owned(), self.message.clone()]
    }
}
