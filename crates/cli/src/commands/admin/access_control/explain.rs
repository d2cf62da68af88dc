//! `admin access-control explain`.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde::Serialize;
use systemprompt_governance::access::{
    AccessDecision, Basis, Considered, DenyReason, Explanation, Part, RuleSet, SOURCE_YAML, Subject, USER,
};
use systemprompt_governance::config::{Access as Effect, AccessRuleConfig, AuthzHookConfig, AuthzMode};
use systemprompt_model::pattern::Pattern;

use crate::access::{Access, EntityName};
use crate::accounts::{accounts, find};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Record, Text, View};

/// Why somebody may use something, or may not: the rule that decides, and why each other one does not.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Name, e-mail address or id of the account.
    #[arg(long)]
    user: String,
    /// What they want to do with it.
    #[arg(long, value_enum, default_value_t = Action::Use)]
    action: Action,
    /// KIND:ID, for example gateway_route:demo.
    #[arg(long)]
    entity: EntityName,
}

/// What rules are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// Use it.
    Use,
}

impl Explain {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let access = Access::open(invocation, &database.db)?;
        let user = find(&accounts(invocation, &database.db), &self.user).await?;
        let rules = access.rules().await?;
        let EntityName { kind, id } = &self.entity;
        let described = access.describe(&rules, &user).await;
        let untold = described.decide(&rules, *kind, id).err();
        let explanation = rules.explain_for(described.subject, *kind, id);
        let place = |considered: &Considered| written_at(&access, &self.entity, considered);
        let Explanation { decision, default_included, rules: considered, authored, subject } = explanation;
        let told: Vec<Told> = considered
            .iter()
            .map(|considered| Told {
                rule: words(considered, &user.name),
                from: place(considered).unwrap_or_else(|| match considered.rule.source.as_str() {
                    SOURCE_YAML => "services/access-control, as it was at the last start".to_owned(),
                    source => format!("the table access_control_rules, source `{source}`"),
                }),
                decides: considered.part == Part::Decides,
                because: because(considered, &subject, &user.name),
            })
            .collect();
        let policies = access_policies(&rules, &authored, &decision);
        let beside = access.authorizers()?.map(|hook| Beside::of(&hook, &access));
        let allowed = match beside.as_ref().map(|beside| beside.mode) {
            Some(AuthzMode::Disabled) => false,
            Some(AuthzMode::Unrestricted) => true,
            Some(AuthzMode::Webhook | AuthzMode::Extension) | None => untold.is_none() && decision.is_allowed(),
        };
        invocation.printer.show(&Answer {
            user: user.name.clone(),
            action: self.action,
            entity: self.entity.to_string(),
            allowed,
            authorizer: beside,
            reason: match &decision {
                _ if untold.is_some() => "authz_unavailable",
                AccessDecision::Denied(reason) => reason.kind(),
                AccessDecision::Allowed(_) => "allowed",
            },
            explanation: match &untold {
                Some(untold) => format!(
                    "It is refused for as long as it is not known what the rules depend on: {untold}. Without it: {}",
                    sentence(&decision, default_included, &told)
                ),
                None => sentence(&decision, default_included, &told),
            },
            unknown: described.unknown.iter().map(ToString::to_string).collect(),
            user_has: subject
                .bands
                .iter()
                .filter(|(of, values)| of != USER && !values.is_empty())
                .map(|(of, values)| format!("{of} {}", values.join(", ")))
                .collect(),
            rules: told,
            policies,
            version: Arc::clone(rules.version()),
        });
        Ok(())
    }
}

/// Who decides beside the rules.
#[derive(Serialize)]
struct Beside {
    mode: AuthzMode,
    /// Who is asked.
    asked: Vec<String>,
    explanation: String,
}

impl Beside {
    fn of(hook: &AuthzHookConfig, access: &Access) -> Self {
        let asked = match hook.mode {
            AuthzMode::Webhook => hook.url.iter().cloned().collect(),
            AuthzMode::Extension => access.known().authorizers.into_iter().collect(),
            AuthzMode::Disabled | AuthzMode::Unrestricted => Vec::new(),
        };
        let explanation = match hook.mode {
            AuthzMode::Webhook | AuthzMode::Extension => format!(
                "What the rules allow is then asked of {}, which must allow it too; this command does not ask.",
                asked.join(" and ")
            ),
            AuthzMode::Disabled => {
                "The profile has `governance.authz.hook.mode: disabled`: nothing is allowed, whatever the rules say."
                    .to_owned()
            }
            AuthzMode::Unrestricted => {
                "The profile has `governance.authz.hook.mode: unrestricted`: everything is allowed, whatever the rules say."
                    .to_owned()
            }
        };
        Self { mode: hook.mode, asked, explanation }
    }
}

/// The decision in a sentence.
fn sentence(decision: &AccessDecision, default_included: bool, told: &[Told]) -> String {
    let deciding = told.iter().find(|rule| rule.decides);
    match decision {
        AccessDecision::Allowed(Basis::DefaultIncluded) => "It has no rules and is open to everybody.".to_owned(),
        AccessDecision::Denied(DenyReason::UnknownEntity) => {
            "There is no such entity, and what is not known is closed.".to_owned()
        }
        AccessDecision::Denied(DenyReason::NotAssigned) if told.is_empty() => {
            "It has no rules and is not open to everybody, so it is closed.".to_owned()
        }
        AccessDecision::Denied(DenyReason::NotAssigned) => {
            let open = if default_included { " It would be open to everybody if it had none." } else { "" };
            format!("It has rules and none is about the account, so it is closed.{open}")
        }
        AccessDecision::Allowed(Basis::Authored(policy)) => {
            format!("No rule refuses it, and the policy {policy} permits it.")
        }
        AccessDecision::Denied(DenyReason::Authored(policy)) => {
            format!("The policy {policy} forbids it, whatever rules say.")
        }
        AccessDecision::Denied(DenyReason::Unjudged(error)) => {
            format!("A policy cannot be evaluated, and what cannot be judged is refused: {error}")
        }
        decision => match deciding {
            Some(rule) => format!("The rule “{}” decides, from {}.", rule.rule, rule.from),
            None => format!("It is {decision}."),
        },
    }
}

fn words(considered: &Considered, user: &str) -> String {
    let rule = &considered.rule;
    let verb = if rule.access == Effect::Allow { "allow" } else { "deny" };
    let mine = rule.rule_type == USER && considered.part != Part::NotAbout;
    let value = if mine { user } else { &rule.rule_value };
    let why = rule.justification.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{verb} {} {value}{why}", rule.rule_type)
}

fn because(considered: &Considered, subject: &Subject, user: &str) -> String {
    let rule = &considered.rule;
    match &considered.part {
        Part::Decides => {
            let order: Vec<&str> = subject.bands.iter().map(|(of, _)| of.as_str()).collect();
            format!("it is about {user} and the strongest that is ({}; a refusal first)", order.join(" before "))
        }
        Part::RefusedBeside => format!("another rule about a {} refuses, and a refusal comes first", rule.rule_type),
        Part::Weaker(stronger) => format!("a rule about the {stronger} comes before one about the {}", rule.rule_type),
        Part::Overruled => "a policy in Cedar forbids, whatever rules say".to_owned(),
        Part::NotAbout if rule.rule_type == USER => format!("it is about another account than {user}"),
        Part::NotAbout => format!("{user} does not have the {} `{}`", rule.rule_type, rule.rule_value),
        Part::UnknownType => format!("`{}` is not a type of rule here", rule.rule_type),
    }
}

/// The policies in Cedar that apply.
fn access_policies(rules: &RuleSet, applies: &[bool], decision: &AccessDecision) -> Vec<String> {
    if matches!(decision, AccessDecision::Denied(DenyReason::UnknownEntity)) {
        return Vec::new();
    }
    let policies = rules.authored().policies.iter().zip(applies).filter(|(_, applies)| **applies);
    let told = policies.map(|(policy, _)| {
        let verb = if policy.forbids() { "forbids" } else { "permits" };
        format!("{policy} {verb}")
    });
    told.collect()
}

/// The file and line of the document a rule comes from.
fn written_at(access: &Access, entity: &EntityName, considered: &Considered) -> Option<String> {
    if considered.rule.source != SOURCE_YAML {
        return None;
    }
    let (rule, nobody) = (&considered.rule, Vec::new());
    let is_it = |document: &AccessRuleConfig| {
        let about = match (&document.entity_id, &document.entity_match) {
            (Some(id), _) => *id == entity.id,
            (None, Some(glob)) => Pattern::new(glob).is_ok_and(|pattern| pattern.fits(&entity.id)),
            (None, None) => false,
        };
        let names = match rule.rule_type.as_str() {
            "role" => &document.roles,
            "department" => &document.departments,
            "group" => &document.groups,
            "user" => &document.users,
            dimension => document.attributes.get(dimension).unwrap_or(&nobody),
        };
        about
            && document.entity_type == entity.kind
            && document.access == rule.access
            && names.contains(&rule.rule_value)
    };
    let index = access.documents().ok()?.rules.iter().position(is_it)?;
    let location = access.project.configuration.locate("rules", &format!("/{index}"))?;
    let file = location.file.file_name()?.to_string_lossy().into_owned();
    Some(format!("services/access-control/{file}:{}", location.line))
}

#[derive(Serialize)]
struct Answer {
    user: String,
    action: Action,
    entity: String,
    #[serde(rename = "may")]
    allowed: bool,
    /// The kind of the rules' reason in records.
    reason: &'static str,
    explanation: String,
    user_has: Vec<String>,
    /// What extensions know of the account and did not say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<String>,
    rules: Vec<Told>,
    /// Those written in Cedar that apply, and whether they permit or forbid.
    policies: Vec<String>,
    /// Who decides beside the rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<Beside>,
    version: Arc<str>,
}

#[derive(Serialize)]
struct Told {
    rule: String,
    from: String,
    decides: bool,
    because: String,
}

impl View for Answer {
    fn text(&self, layout: Layout) -> Text {
        let may = if self.allowed { "may" } else { "may not" };
        let line = |rule: &Told| {
            let mark = if rule.decides { "decides" } else { "no part" };
            format!("{mark}: {} — {}, from {}", rule.rule, rule.because, rule.from)
        };
        Text::apart([
            Text::line(format!("{} {may} use {}. {}", self.user, self.entity, self.explanation)),
            layout.record(
                &Record::new()
                    .with(&self.user, self.user_has.join("; "))
                    .with_list("unknown", self.unknown.clone())
                    .with_list("rules", self.rules.iter().map(line))
                    .with_list("policies", self.policies.clone())
                    .with("authorizer", self.authorizer.as_ref().map(|beside| beside.explanation.clone()))
                    .with("rules version", self.version.to_string()),
            ),
        ])
    }
}
