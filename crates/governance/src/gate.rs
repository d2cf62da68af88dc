//! The Gate: from an action to a permit or a refusal, in one readable function.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use systemprompt_extension::Metrics;
use systemprompt_extension::policy::{DenialKind, OfferedTools, Phase, Place, PolicyInput, Texts};
use systemprompt_model::{Ambient, Credential, DecisionId, ResourceKind};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::access::{self, AccessDecision, AccessRules, Decided};
use crate::action::{Action, Target};
use crate::authorizers::{self, Authorizers};
use crate::denial::{Denial, Refusal};
use crate::effect::{Authority, Effect, FactsWriter};
use crate::filed;
use crate::ledger::entry::{DecidedEntry, Sealed, subject_name};
use crate::ledger::kept::KeptDigest;
use crate::ledger::retention::Class;
use crate::ledger::{Ledger, Unavailable};
use crate::originals::Originals;
use crate::permit::Permit;
use crate::policy::{ChainOutcome, Evaluation, EvaluationResult, PolicyChain, milliseconds_since};
use crate::redaction::Redaction;

/// What somebody can do whom the access rules refuse.
const ASK_FOR_ACCESS: &str = "Use another model, or ask an administrator for access: the rules are in \
                              services/access-control, and count from the next request";

/// The one place that decides whether something may be done. One for each server; shared by all surfaces.
pub struct Gate {
    rules: Option<Arc<AccessRules>>,
    /// Who decides beside them.
    authorizers: Arc<Authorizers>,
    /// A reload of the configuration puts others here.
    policies: ArcSwap<PolicyChain>,
    ledger: Arc<Ledger>,
    denials: Family<DenialLabels, Counter>,
    replacements: Family<RuleLabels, Counter>,
    /// Changes that are made whether or not whoever asked is still there.
    tasks: TaskTracker,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DenialLabels {
    policy: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    rule: String,
}

impl Gate {
    /// A gate that asks `rules`, then `policies`, and records in `ledger`. Without rules, as in a command, nothing they
    /// speak of is allowed.
    pub fn new(rules: Option<Arc<AccessRules>>, policies: PolicyChain, ledger: Arc<Ledger>, metrics: &Metrics) -> Self {
        let denials = Family::<DenialLabels, Counter>::default();
        metrics.register("gateway_denials", "Requests that were refused, by the policy that did", denials.clone());
        let of_the_gate = ["authz_rule_based", "authz_default_deny", "quota"].into_iter();
        for policy in of_the_gate.chain(authorizers::POLICIES).chain(policies.ids()) {
            drop(denials.get_or_create(&DenialLabels { policy: policy.to_owned() }));
        }
        let replacements = Family::<RuleLabels, Counter>::default();
        let help = "Parts of requests that were replaced by placeholders before they left, by the rule that found them";
        metrics.register("gateway_replacements", help, replacements.clone());
        Self {
            rules,
            authorizers: Arc::new(Authorizers::rules_alone()),
            policies: ArcSwap::from_pointee(policies),
            ledger,
            denials,
            replacements,
            tasks: TaskTracker::new(),
        }
    }

    /// The same, where `authorizers` decide beside the rules.
    #[must_use]
    pub(crate) fn asking(self, authorizers: Arc<Authorizers>) -> Self {
        Self { authorizers, ..self }
    }

    /// The policies in force.
    pub fn policies(&self) -> Arc<PolicyChain> {
        self.policies.load_full()
    }

    /// Has actions that begin from now on judged by other policies.
    pub(crate) fn put_in_force(&self, policies: PolicyChain) {
        for policy in policies.ids() {
            drop(self.denials.get_or_create(&DenialLabels { policy: policy.to_owned() }));
        }
        self.policies.store(Arc::new(policies));
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Waits until every change that was begun is made, or the time is up.
    pub(crate) async fn finish_changes(&self, limit: Duration) {
        self.tasks.close();
        if timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::error!(changes = self.tasks.len(), "changes were still being made when the server stopped");
        }
    }

    pub(crate) fn ambient(&self) -> &Ambient {
        self.ledger.ambient()
    }

    /// Decides whether `action` may be done. When this returns, the decision is recorded; in the durable mode it is on
    /// disk.
    ///
    /// # Errors
    ///
    /// The action must not be done: a rule refused it, or the decision cannot be recorded. The latter is known within
    /// [`ADMISSION_WAIT`](crate::ledger::ADMISSION_WAIT).
    pub async fn admit<E: Effect>(&self, action: Action<E>) -> Result<Permit<E>, Refusal> {
        // A dead ledger refuses before policies count the action.
        if !self.ledger.takes_decisions() {
            return Err(Refusal::LedgerUnavailable);
        }
        let policies = self.policies();
        let started = Instant::now();
        let (authority, version) = self.decide_authority(&action).await;
        let mut evaluations = Vec::with_capacity(6);
        let (result, detail) = match &authority {
            Ok(basis) => (EvaluationResult::Pass, basis.clone()),
            Err(denial) => (EvaluationResult::Fail, denial.reason.clone()),
        };
        let duration_ms = milliseconds_since(started);
        evaluations.push(Evaluation { duration_ms, version, ..Evaluation::of("access_control", result, detail) });
        let authority = match authority {
            Ok(_) if action.effect.authority() == Authority::AccessRules => {
                self.authorizers.judge(&action, self.rules.as_deref(), &mut evaluations).await
            }
            Ok(_) => Ok(()),
            Err(denial) => {
                evaluations.extend(self.authorizers.unasked());
                Err(denial)
            }
        };
        if let Err(denial) = authority {
            evaluations.extend(policies.unasked("already refused"));
            return Err(self.record_refusal(&policies, action, denial, evaluations, false).await);
        }

        let read_tools = || action.effect.offered_tools();
        let read_destructive = || action.effect.destructive_tools();
        let places = places(&action.effect, &action.targets);
        let input = PolicyInput {
            phase: Phase::Before,
            action: action.id,
            by: &action.by,
            resource: &action.resource,
            subject: action.effect.subject(),
            content: &action.content,
            complete: true,
            texts: &Texts::of(&action.content),
            model: action.effect.model(),
            estimate: action.effect.estimate(),
            replaceable: action.effect.is_replaceable(),
            offered_tools: &OfferedTools::read_by(&read_tools).with_destructive(&read_destructive),
            places: &places,
            headers: action.effect.headers(),
        };
        let judged = policies.evaluate(&input, |content| action.effect.earlier(content), None).await;
        let ChainOutcome {
            evaluations: said,
            denial,
            warnings,
            flagged,
            holds,
            content,
            replaced,
            replaced_by,
            left_out,
        } = judged;
        evaluations.extend(said);
        // Whatever is said of the content from here on is said of what may leave.
        let mut action = action;
        action.targets.retain(|target| !left_out.iter().any(|place| place == target.as_str()));
        if let Some(content) = content {
            action.content = content;
        }
        let suspect = !(flagged.is_empty() && replaced.is_empty());
        if let Some(denial) = denial {
            return Err(self.record_refusal(&policies, action, denial, evaluations, suspect).await);
        }
        let by_nobody = action.effect.authority() == Authority::AccessRules && self.authorizers.allow_everything();
        let replacing = replaced_by.and_then(|id| evaluations.iter().find(|evaluation| evaluation.policy_id == id));
        let verdict = match (warnings.into_iter().next(), replacing) {
            (Some(warning), _) => Verdict { word: "warn", policy: warning.policy, reason: Some(warning.reason) },
            (None, Some(by)) => {
                Verdict { word: "allow", policy: by.policy_id.to_string(), reason: Some(by.detail.to_string()) }
            }
            (None, None) if by_nobody => Verdict::allow(authorizers::UNRESTRICTED),
            (None, None) if policies.is_enabled() => Verdict::allow("default_allow"),
            (None, None) => Verdict::allow("governance_disabled"),
        };
        for part in &replaced {
            self.replacements.get_or_create(&RuleLabels { rule: part.rule.clone() }).inc();
        }
        let found = filed::count(&evaluations);
        let excerpts = filed::file(&mut evaluations, 0, self.ledger.retention().content(Class::Findings));
        let entry = self.decided(&policies, &action, verdict, evaluations, suspect, None).await.0;
        match self.ledger.admit(entry, E::KIND).await {
            Ok(open) => Ok(Permit {
                open,
                id: action.id,
                by: action.by,
                resource: action.resource,
                targets: action.targets,
                content: action.content,
                effect: action.effect,
                flagged,
                originals: Originals::of(replaced),
                holds,
                policies,
                found,
                excerpts,
            }),
            Err(Unavailable) => Err(Refusal::LedgerUnavailable),
        }
    }

    /// Records a surface's own refusal of an authenticated request, such as an unknown model, the same way as a rule's.
    /// Gives what the caller is to be told, without the credentials that may stand in what the denial quotes.
    pub async fn refuse<E: Effect>(&self, action: Action<E>, denial: Denial) -> Refusal {
        let evaluation = Evaluation::of(denial.policy.clone(), EvaluationResult::Fail, denial.reason.clone());
        let policies = self.policies();
        let evaluations = std::iter::once(evaluation).chain(policies.unasked("already refused")).collect();
        self.record_refusal(&policies, action, denial, evaluations, false).await
    }

    /// What allowed it, or why it is denied, and by which version of the rules. No answer is a denial.
    async fn decide_authority<E: Effect>(&self, action: &Action<E>) -> (Result<String, Denial>, Option<Arc<str>>) {
        let principal = &action.by.principal;
        let administers = principal.is_admin()
            || matches!(principal.credential, Credential::OperatingSystem { .. } | Credential::Installation);
        let authority = match action.effect.authority() {
            Authority::AccessRules => return self.ask_access_rules(action).await,
            Authority::Administration | Authority::OwnAccount(_) if administers => Ok(format!(
                "{} `{}` administers the installation",
                action.by.actors.current().kind.as_str(),
                principal.user_name
            )),
            Authority::OwnAccount(account) if principal.account() == Some(account) => {
                Ok("it is the caller's own account".to_owned())
            }
            Authority::Roles(roles) => match roles.iter().find(|role| principal.roles.contains(role)) {
                Some(role) => Ok(format!("`{}` has the role `{role}`", principal.user_name)),
                None => Err(Denial {
                    policy: "authz_default_deny".to_owned(),
                    kind: DenialKind::NotEntitled,
                    reason: format!("{} is for people with the role `{}`", action.resource, roles.join("` or `")),
                    advice: Some(
                        "Somebody who has the role can do it, over HTTP and with a key of their own".to_owned(),
                    ),
                    retry_after: None,
                    allowances: Vec::new(),
                    code: "role_required",
                }),
            },
            Authority::Administration | Authority::OwnAccount(_) => Err(Denial {
                policy: "authz_default_deny".to_owned(),
                kind: DenialKind::NotEntitled,
                reason: format!("{} is for administrators", action.resource),
                advice: Some(
                    "An administrator can do it, or give this user the role `admin` with `systemprompt admin users`"
                        .to_owned(),
                ),
                retry_after: None,
                allowances: Vec::new(),
                code: "not_an_administrator",
            }),
        };
        (authority, None)
    }

    async fn ask_access_rules<E: Effect>(&self, action: &Action<E>) -> (Result<String, Denial>, Option<Arc<str>>) {
        let resource = &action.resource;
        let denial = |policy: &str, kind, code, advice: Option<&str>, why: &dyn fmt::Display| Denial {
            policy: policy.to_owned(),
            kind,
            reason: format!("{resource}: {why}"),
            advice: advice.map(str::to_owned),
            retry_after: None,
            allowances: Vec::new(),
            code,
        };
        let unreadable = || {
            let why = "access rules cannot be read at present";
            (Err(denial("authz_default_deny", DenialKind::Unavailable, "authz_unavailable", None, &why)), None)
        };
        match self.authorizers.instead_of_rules() {
            Some(Ok(basis)) => return (Ok(basis), None),
            Some(Err(why)) => {
                return (Err(denial("authz_default_deny", DenialKind::NotEntitled, "not_assigned", None, &why)), None);
            }
            None => {}
        }
        // A command has no rules at hand, and no rule speaks of a part of the installation.
        let Some(rules) = &self.rules else { return unreadable() };
        let ResourceKind::Entity(kind) = resource.kind else { return unreadable() };
        match rules.decide(&action.by.principal, kind, &resource.id).await {
            Ok(Decided { decision: AccessDecision::Allowed(basis), version }) => (Ok(basis.to_string()), Some(version)),
            Ok(Decided { decision: AccessDecision::Denied(reason), version }) => {
                let policy = if reason.is_by_rule() { "authz_rule_based" } else { "authz_default_deny" };
                let denied = denial(policy, DenialKind::NotEntitled, reason.kind(), Some(ASK_FOR_ACCESS), &reason);
                (Err(denied), Some(version))
            }
            Err(access::Unavailable::Untold(untold)) => {
                let why = format!("{untold}, and what the rules say depends on it");
                (Err(denial("authz_default_deny", DenialKind::Unavailable, "authz_unavailable", None, &why)), None)
            }
            Err(error) => {
                tracing::error!(%error, "access rules cannot be read; requests are refused");
                unreadable()
            }
        }
    }

    async fn record_refusal<E: Effect>(
        &self,
        policies: &PolicyChain,
        action: Action<E>,
        denial: Denial,
        mut evaluations: Vec<Evaluation>,
        flagged: bool,
    ) -> Refusal {
        let excerpts = filed::file(&mut evaluations, 0, self.ledger.retention().content(Class::Findings));
        let verdict = Verdict { word: "deny", policy: denial.policy.clone(), reason: Some(denial.reason.clone()) };
        let kept: Vec<_> = excerpts.iter().map(|part| part.digest(false)).collect();
        let (entry, reason) = self.decided(policies, &action, verdict, evaluations, flagged, Some(&kept)).await;
        drop(kept);
        match self.ledger.refuse(entry, excerpts).await {
            Ok(()) => {
                self.denials.get_or_create(&DenialLabels { policy: denial.policy.clone() }).inc();
                Refusal::Denied(Denial { reason: reason.unwrap_or_default(), ..denial })
            }
            Err(Unavailable) => Refusal::LedgerUnavailable,
        }
    }

    /// The entry of a decision, and its reason as it may be told. `flagged`: whether a policy objected to the content.
    async fn decided<E: Effect>(
        &self,
        policies: &PolicyChain,
        action: &Action<E>,
        verdict: Verdict,
        mut evaluations: Vec<Evaluation>,
        flagged: bool,
        kept: Option<&[KeptDigest<'_>]>,
    ) -> (Sealed, Option<String>) {
        let content_sha256 = self.ledger.digest(&action.content).await;
        let ambient = self.ledger.ambient();
        let mut redaction = Redaction::new(policies.scanner());
        let facts = FactsWriter::write(&mut redaction, flagged, |facts| action.effect.facts(facts));
        let client = action.by.client.as_ref();
        let name = client.and_then(|client| client.name.as_deref()).map(|name| redaction.text(name));
        let trace = client.and_then(|client| client.trace.as_deref()).map(|trace| redaction.id(trace));
        let resource_id = redaction.id(&action.resource.id);
        let actors: Vec<_> = action.by.actors.links().iter().map(|actor| redaction.name(&actor.id)).collect();
        let targets: Vec<_> = action.targets.iter().map(|target| redaction.name(target.as_str())).collect();
        let subject = action.effect.subject();
        let subject = redaction.name(subject_name(&subject));
        // What quotes a stranger comes last, when it is known what was found.
        redaction.details(&mut evaluations);
        let reason = verdict.reason.map(|reason| redaction.reason(reason));
        let entry = DecidedEntry {
            action: action.id,
            at: ambient.now(),
            by: &action.by,
            actors: &actors,
            client: name.as_deref().filter(|name| !name.is_empty()),
            client_trace: trace.as_deref().filter(|trace| !trace.is_empty()),
            content_bytes: action.content.len(),
            content_sha256,
            decision: DecisionId::generate(ambient),
            evaluations: &evaluations,
            policy: &verdict.policy,
            policy_version: policies.version(),
            reason: reason.as_deref(),
            subject: &subject,
            verdict: verdict.word,
            effect: E::KIND,
            facts: &facts,
            instance: self.ledger.instance_id(),
            kept,
            received_at: action.received_at,
            resource: &action.resource,
            resource_id: &resource_id,
            targets: &targets,
        };
        (entry.seal(), reason)
    }
}

/// Where something may go, as policies see it.
pub(crate) fn places<'a, E: Effect>(effect: &'a E, targets: &'a [Target]) -> Vec<Place<'a>> {
    targets.iter().map(|target| Place { name: target.as_str(), region: effect.region(target) }).collect()
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("policies", &self.policies()).finish_non_exhaustive()
    }
}

/// What a decision says.
struct Verdict {
    /// `allow`, `deny` or `warn`.
    word: &'static str,
    policy: String,
    reason: Option<String>,
}

impl Verdict {
    fn allow(policy: &str) -> Self {
        Self { word: "allow", policy: policy.to_owned(), reason: None }
    }
}
