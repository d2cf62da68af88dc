//! `admin access-control explain`.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;
use systemprompt_extension::authorizer::AuthorizedEntity;
use systemprompt_gateway::configured::authorizer_client;
use systemprompt_governance::access::{
    AccessDecision, Basis, Considered, DenyReason, Explanation, Part, RuleSet, SOURCE_YAML, Subject, USER,
};
use systemprompt_governance::config::{Access as Effect, AccessRuleConfig, AuthzHookConfig, AuthzMode};
use systemprompt_governance::{Authorizers, Said};
use systemprompt_identity::User;
use systemprompt_model::TraceId;
use systemprompt_model::pattern::Pattern;

use crate::access::{Access, EntityName};
use crate::accounts::{accounts, find};
use crate::change::{About, Change, Changed};
use crate::error::{CliError, CliResult, Exit};
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
    /// Ask the authorizer of the profile too, if the rules allow it. The question leaves this machine, and is recorded.
    #[arg(long)]
    ask_authorizers: bool,
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
        let by_rules = untold.is_none() && decision.is_allowed();
        let hook = access.authorizers()?;
        let mut beside = hook.as_ref().map(|hook| Beside::of(hook, &access));
        if self.ask_authorizers {
            let Some((hook, beside)) = hook.as_ref().zip(beside.as_mut()) else {
                return Err(nobody_to_ask("the profile names no authorizer: the access rules alone decide"));
            };
            let question = Question { access: &access, hook, user: &user, subject: &subject, entity: &self.entity };
            beside.hear(if by_rules { Some(question.ask(invocation, database).await?) } else { None });
        }
        let no = beside.as_ref().and_then(|beside| beside.said.iter().find(|said| !said.allows));
        let refused_by = no.map(|said| format!("The rules allow it, and an authorizer does not: {}.", said.words));
        let allowed = match beside.as_ref().map(|beside| beside.mode) {
            Some(AuthzMode::Disabled) => false,
            Some(AuthzMode::Unrestricted) => true,
            Some(AuthzMode::Webhook | AuthzMode::Extension) | None => {
                by_rules && beside.as_ref().is_none_or(|beside| beside.said.iter().all(|said| said.allows))
            }
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
            explanation: match (refused_by, &untold) {
                (Some(refused), _) => refused,
                (None, Some(untold)) => format!(
                    "It is refused for as long as it is not known what the rules depend on: {untold}. Without it: {}",
                    sentence(&decision, default_included, &told)
                ),
                (None, None) => sentence(&decision, default_included, &told),
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
    /// What they say, if they were asked now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    said: Vec<Said>,
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
                "What the rules allow is then asked of {}, which must allow it too; --ask-authorizers asks now.",
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
        Self { mode: hook.mode, asked, said: Vec::new(), explanation }
    }

    /// What was said when it was asked; nobody was if the rules refuse already.
    fn hear(&mut self, said: Option<Vec<Said>>) {
        self.explanation = match &said {
            Some(said) => {
                let words: Vec<&str> = said.iter().map(|said| said.words.as_str()).collect();
                format!("Asked just now, which is recorded: {}.", words.join("; "))
            }
            None => "Nobody was asked: what the rules do not allow is asked of nobody.".to_owned(),
        };
        self.said = said.unwrap_or_default();
    }
}

/// What an authorizer is asked.
struct Question<'a> {
    access: &'a Access,
    hook: &'a AuthzHookConfig,
    user: &'a User,
    subject: &'a Subject,
    entity: &'a EntityName,
}

impl Question<'_> {
    async fn ask(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult<Vec<Said>> {
        let Self { access, hook, user, subject, entity: EntityName { kind, id } } = self;
        if hook.mode == AuthzMode::Extension {
            return Err(nobody_to_ask("authorizers of extensions are made by a running server, and not by a command"));
        }
        let configuration = &access.project.configuration;
        let client = authorizer_client(configuration).map_err(|error| CliError::from_error("tls_unusable", &error))?;
        let secret = |name: &str| configuration.secrets.get(name).cloned();
        let Some(authorizers) = Authorizers::to_ask(hook, client, secret, &invocation.ambient) else {
            return Err(nobody_to_ask("in this mode nobody is asked"));
        };
        let request = json!({"user_id": user.id, "entity_type": kind, "entity_id": id, "asked": authorizers.places()});
        let change = Change::new("authorizer.ask", About::new("authorizer", hook.mode.as_str()), &request);
        let entity = AuthorizedEntity { kind: *kind, id: id.clone() };
        let trace = TraceId::generate(&invocation.ambient);
        let ask = async || Ok(Changed::unseen(authorizers.inquire(user.id, subject, entity, trace).await));
        invocation.change(database, change, ask).await
    }
}

fn nobody_to_ask(why: &str) -> CliError {
    CliError::new("no_authorizer", why).help("leave out --ask-authorizers to see what the rules say").exit(Exit::Usage)
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
