//! Who is asked beside the access rules, or counts instead of them: `governance.authz.hook` of the profile.
//!
//! ```text
//!  access rules ─► allow ─► authorizer ─► authorizer … ─► allowed
//!       └─► deny            └─► deny, or no answer ─► refused
//! ```
//!
//! Whatever keeps an authorizer from answering refuses: its time is up, it panics, it cannot be reached, it says something that
//! is no answer.

mod metrics;
pub(crate) mod routes;
mod webhook;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use serde::Serialize;
use systemprompt_extension::Metrics;
use systemprompt_extension::authorizer::{
    Authorization, AuthorizationContext, AuthorizationDenial, AuthorizationRequest, AuthorizedEntity, Authorizer,
    ReasonKind,
};
use systemprompt_extension::policy::{DenialKind, Subject as Judged};
use systemprompt_model::{Ambient, Condition, EntityKind, ResourceKind, Secret, TraceId, UserId, with_causes};
use url::Url;

use self::metrics::AuthorizerMetrics;
use self::webhook::{Line, Webhook};
use crate::access::{AccessRules, Described, ROLE, Subject, USER};
use crate::action::Action;
use crate::config::{AuthzHookConfig, AuthzMode};
use crate::denial::Denial;
use crate::effect::Effect;
use crate::ledger::text::cut;
use crate::policy::{Evaluation, EvaluationResult, milliseconds_since};
use crate::webhook::HttpClient;

/// What records call the webhook, and the policy of its refusals.
const WEBHOOK: &str = "authz";
/// The policy of refusals by authorizers of extensions.
const EXTENSION: &str = "authz_extension_hook";
/// The policy of refusals because an authorizer did not answer.
const FAULT: &str = "authz_hook_fault";
/// The policy of what is allowed because everything is.
pub(crate) const UNRESTRICTED: &str = "authz_unrestricted";
/// The policies that may have said no here.
pub(crate) const POLICIES: [&str; 3] = [WEBHOOK, EXTENSION, FAULT];

/// The kind of context of what is asked by somebody who only wants to know.
const INQUIRY: &str = "inquiry";

/// An authorizer's sentence is cut here.
const SENTENCE: usize = 300;

/// Who decides beside the access rules. One for each server.
pub struct Authorizers {
    mode: Mode,
    limit: Duration,
    line: Line,
    metrics: Option<AuthorizerMetrics>,
}

enum Mode {
    /// Nobody: the access rules alone do.
    RulesAlone,
    /// Nothing is allowed.
    Disabled,
    /// Everything is.
    Unrestricted,
    /// They are asked after the rules, in this order.
    Asked(Vec<Asked>),
}

/// An authorizer that is asked.
struct Asked {
    /// What records call it.
    name: &'static str,
    /// The policy of its refusals.
    policy: &'static str,
    /// Where it is, for those who may know.
    place: String,
    authorizer: Arc<dyn Authorizer>,
    trouble: Mutex<Condition>,
}

/// What an authorizer says to somebody who only wants to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// Where it is.
    pub authorizer: String,
    /// Whether it would allow it. One that does not answer does not.
    pub allows: bool,
    /// What it says, in words.
    pub words: String,
}

/// What an authorizer did not say.
enum NoAnswer {
    TooLate(Duration),
    Panicked,
    Failed(String),
}

impl Authorizers {
    /// Nobody: the access rules alone decide.
    pub fn rules_alone() -> Self {
        Self { mode: Mode::RulesAlone, limit: Duration::ZERO, line: Arc::default(), metrics: None }
    }

    /// Those that `hook` chooses; `brought` are those of extensions. A webhook answers once it is [connected](Self::connect).
    pub(crate) fn new(
        hook: Option<&AuthzHookConfig>,
        brought: Vec<(&'static str, Arc<dyn Authorizer>)>,
        secret: impl Fn(&str) -> Option<Secret>,
        ambient: &Ambient,
        metrics: &Metrics,
    ) -> Self {
        let Some(hook) = hook else { return Self::rules_alone() };
        let line: Line = Arc::new(OnceLock::new());
        let mode = match hook.mode {
            AuthzMode::Disabled => Mode::Disabled,
            AuthzMode::Unrestricted => {
                tracing::warn!(
                    "authorization is switched off (`governance.authz.hook.mode: unrestricted`): everybody with a \
                     credential may use everything"
                );
                Mode::Unrestricted
            }
            AuthzMode::Webhook => {
                let url = hook.url.clone().unwrap_or_default();
                let place = without_query(&url);
                let named = |name: &Option<String>| name.as_deref().and_then(&secret);
                let (key, authorization) = (named(&hook.secret), named(&hook.authorization));
                let webhook = Webhook::new(url, key.as_ref(), authorization, Arc::clone(&line), ambient.clone());
                Mode::Asked(vec![Asked::new(WEBHOOK, WEBHOOK, place, Arc::new(webhook))])
            }
            AuthzMode::Extension => {
                let asked = |(name, authorizer): (&'static str, _)| {
                    Asked::new(name, EXTENSION, format!("the authorizer `{name}`"), authorizer)
                };
                Mode::Asked(brought.into_iter().map(asked).collect())
            }
        };
        let mut this = Self { mode, limit: hook.limit(), line, metrics: None };
        let names: Vec<_> = this.asked().iter().map(|asked| asked.name).collect();
        this.metrics = (!names.is_empty()).then(|| AuthorizerMetrics::register(metrics, names.into_iter()));
        this
    }

    /// The webhook of `hook`, if it has one, for somebody who only wants to know what it says.
    pub fn to_ask(
        hook: &AuthzHookConfig,
        client: Arc<dyn HttpClient>,
        secret: impl Fn(&str) -> Option<Secret>,
        ambient: &Ambient,
    ) -> Option<Self> {
        let webhook = Self::new(Some(hook), Vec::new(), secret, ambient, &Metrics::new());
        webhook.connect(client);
        Some(webhook).filter(Self::wants_client)
    }

    /// Whether there is a webhook, which needs a client.
    pub fn wants_client(&self) -> bool {
        self.asked().iter().any(|asked| asked.name == WEBHOOK)
    }

    /// Has the webhook asked with `client`.
    pub fn connect(&self, client: Arc<dyn HttpClient>) {
        // There is one gateway, which does it once.
        let _ = self.line.set(client);
    }

    /// Where those are that are asked.
    pub fn places(&self) -> Vec<&str> {
        self.asked().iter().map(|asked| asked.place.as_str()).collect()
    }

    /// What each says of an account that might want to use an entity, where nothing is done. The kind of the context tells
    /// an authorizer that.
    pub async fn inquire(
        &self,
        user: UserId,
        subject: &Subject,
        entity: AuthorizedEntity,
        trace: TraceId,
    ) -> Vec<Said> {
        let request = AuthorizationRequest {
            entity,
            user_id: Some(user),
            roles: subject.values(ROLE).to_vec(),
            attributes: attributes(subject),
            trace_id: Some(trace),
            session_id: None,
            context: AuthorizationContext { kind: INQUIRY.to_owned(), ..AuthorizationContext::default() },
            context_id: None,
            task_id: None,
            act_chain: Vec::new(),
        };
        let mut said = Vec::new();
        for each in self.asked() {
            let answer = each.ask(&request, self.limit).await;
            said.push(Said {
                authorizer: each.place.clone(),
                allows: matches!(answer, Ok(Authorization::Allow)),
                words: each.words(&answer),
            });
        }
        said
    }

    /// What counts instead of the access rules, if anything does: what allows everything, or why nothing is allowed.
    pub(crate) fn instead_of_rules(&self) -> Option<Result<String, &'static str>> {
        match self.mode {
            Mode::RulesAlone | Mode::Asked(_) => None,
            Mode::Disabled => Some(Err("authorization is disabled here (`governance.authz.hook.mode`)")),
            Mode::Unrestricted => Some(Ok("authorization is switched off".to_owned())),
        }
    }

    /// Whether everything is allowed that access rules are about.
    pub(crate) fn allow_everything(&self) -> bool {
        matches!(self.mode, Mode::Unrestricted)
    }

    /// Asks about what the access rules allow, and records what each says.
    pub(crate) async fn judge<E: Effect>(
        &self,
        action: &Action<E>,
        rules: Option<&AccessRules>,
        evaluations: &mut Vec<Evaluation>,
    ) -> Result<(), Denial> {
        let asked = self.asked();
        // Access rules allow nothing else.
        let ResourceKind::Entity(kind) = action.resource.kind else { return Ok(()) };
        if asked.is_empty() {
            // An installation whose extension is gone was refused at its start; in this mode nobody is everybody's no.
            let Mode::Asked(_) = self.mode else { return Ok(()) };
            return Err(denial(action, FAULT, ReasonKind::HookUnavailable, "there is no authorizer to ask"));
        }
        let described = match rules {
            Some(rules) => rules.describe(&action.by.principal).await.map_err(|error| error.to_string()),
            None => Err("there are no rules at hand".to_owned()),
        };
        let Described { subject, unknown } = described.map_err(|error| {
            tracing::error!(error, "what is known of an account cannot be read; its request is refused");
            denial(action, FAULT, ReasonKind::HookUnavailable, "what is known of the account cannot be read at present")
        })?;
        // An authorizer is not asked about half of somebody. Why it is unknown was logged when it was asked for.
        if let Some(untold) = unknown.first() {
            let why = format!("{untold}, and an authorizer would have to know it");
            return Err(denial(action, FAULT, ReasonKind::HookUnavailable, &why));
        }
        let request = request(action, kind, &subject);
        let mut said = Ok(());
        for each in asked {
            if said.is_err() {
                evaluations.push(Evaluation::of(each.name, EvaluationResult::Skip, "already refused"));
                continue;
            }
            let started = Instant::now();
            let answer = each.ask(&request, self.limit).await;
            let took = started.elapsed();
            let (result, word) = match &answer {
                Ok(Authorization::Allow) => (EvaluationResult::Pass, "allow"),
                Ok(Authorization::Deny(_)) => (EvaluationResult::Fail, "deny"),
                Err(_) => (EvaluationResult::Fail, "fault"),
            };
            let detail = each.words(&answer);
            if let Some(metrics) = &self.metrics {
                metrics.count(each.name, word, took);
            }
            let duration_ms = milliseconds_since(started);
            evaluations.push(Evaluation { duration_ms, ..Evaluation::of(each.name, result, detail) });
            said = match answer {
                Ok(Authorization::Allow) => Ok(()),
                Ok(Authorization::Deny(AuthorizationDenial { kind, message, .. })) => {
                    let sentence = message.as_deref().map(sentence);
                    let why = sentence.as_deref().unwrap_or("the authorizer of this installation refuses it");
                    Err(denial(action, each.policy, kind, why))
                }
                Err(_) => {
                    let why = "the authorizer of this installation cannot be asked at present, and nothing is allowed \
                               without it";
                    Err(denial(action, FAULT, ReasonKind::HookUnavailable, why))
                }
            };
        }
        said
    }

    /// The entries of a decision for which none was asked.
    pub(crate) fn unasked(&self) -> impl Iterator<Item = Evaluation> {
        self.asked().iter().map(|asked| Evaluation::of(asked.name, EvaluationResult::Skip, "already refused"))
    }

    fn asked(&self) -> &[Asked] {
        match &self.mode {
            Mode::Asked(asked) => asked,
            Mode::RulesAlone | Mode::Disabled | Mode::Unrestricted => &[],
        }
    }
}

impl Asked {
    fn new(name: &'static str, policy: &'static str, place: String, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { name, policy, place, authorizer, trouble: Mutex::default() }
    }

    /// What it answers within `limit`. Trouble is said when it begins and when it is over.
    async fn ask(&self, request: &AuthorizationRequest, limit: Duration) -> Result<Authorization, NoAnswer> {
        let asking = AssertUnwindSafe(self.authorizer.authorize(request)).catch_unwind();
        let answer = match tokio::time::timeout(limit, asking).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error))) => Err(NoAnswer::Failed(with_causes(&*error))),
            Ok(Err(_)) => Err(NoAnswer::Panicked),
            Err(_) => Err(NoAnswer::TooLate(limit)),
        };
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match &answer {
            Ok(_) => {
                if let Some(lasted) = trouble.ends() {
                    tracing::info!(authorizer = self.place, seconds = lasted.as_secs(), "the authorizer answers again");
                }
            }
            Err(why) => {
                if trouble.begins() {
                    tracing::error!(
                        authorizer = self.place,
                        "the authorizer {why}; until it answers, everything it is asked about is refused"
                    );
                }
            }
        }
        answer
    }

    /// An answer as it is recorded.
    fn words(&self, answer: &Result<Authorization, NoAnswer>) -> String {
        let no = match answer {
            Ok(Authorization::Allow) => return format!("{} allows it", self.place),
            Ok(Authorization::Deny(no)) => no,
            Err(why) => return format!("{} {why}", self.place),
        };
        let AuthorizationDenial { kind, message, policy } = no;
        let policy = policy.as_deref().map(|policy| format!(", by its policy `{}`", sentence(policy)));
        let message = message.as_deref().map(|message| format!(": {}", sentence(message)));
        let (policy, message) = (policy.unwrap_or_default(), message.unwrap_or_default());
        format!("{} refuses it, {}{policy}{message}", self.place, kind.as_str())
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLate(limit) => write!(f, "did not answer within {} ms", limit.as_millis()),
            Self::Panicked => f.write_str("panicked"),
            Self::Failed(why) => write!(f, "did not answer: {}", sentence(why)),
        }
    }
}

impl fmt::Debug for Authorizers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.asked().iter().map(|asked| asked.name).collect();
        f.debug_struct("Authorizers").field("asked", &names).finish_non_exhaustive()
    }
}

/// What authorizers are asked about an action.
fn request<E: Effect>(action: &Action<E>, kind: EntityKind, subject: &Subject) -> AuthorizationRequest {
    let by = &action.by;
    AuthorizationRequest {
        entity: AuthorizedEntity { kind, id: action.resource.id.clone() },
        user_id: by.principal.account(),
        roles: by.principal.roles.clone(),
        attributes: attributes(subject),
        trace_id: Some(by.trace),
        session_id: by.session,
        context: match (action.effect.model(), action.effect.subject()) {
            (Some(model), _) => AuthorizationContext::invocation(model.name),
            (None, Judged::ToolCall { name }) => AuthorizationContext::tool_call(name),
            (None, _) => AuthorizationContext::default(),
        },
        context_id: by.context,
        task_id: by.task,
        act_chain: by.actors.links().to_vec(),
    }
}

/// What else rules can say about an account.
fn attributes(subject: &Subject) -> BTreeMap<String, Vec<String>> {
    let is_attribute = |(of, values): &&(String, Vec<String>)| of != USER && of != ROLE && !values.is_empty();
    subject.bands.iter().filter(is_attribute).cloned().collect()
}

fn denial<E: Effect>(action: &Action<E>, policy: &str, kind: ReasonKind, why: &str) -> Denial {
    let (denied, advice) = match kind {
        ReasonKind::HookUnavailable => {
            (DenialKind::Unavailable, "An administrator finds the cause in the server's log")
        }
        ReasonKind::RateLimitExceeded => (DenialKind::RateLimited, "Ask again later"),
        ReasonKind::SecretLeak => (DenialKind::Content, "Take the credential out of what is sent"),
        _ => (
            DenialKind::NotEntitled,
            "The access rules allow it; ask whoever keeps the authorizer of this installation",
        ),
    };
    Denial {
        policy: policy.to_owned(),
        kind: denied,
        reason: format!("{}: {why}", action.resource),
        advice: Some(advice.to_owned()),
        retry_after: None,
        allowances: Vec::new(),
        code: kind.as_str(),
    }
}

/// What somebody else said, on one line of bounded length.
fn sentence(said: &str) -> String {
    let line: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    cut(line.trim(), SENTENCE).to_owned()
}

/// An address as it may be recorded: what follows the path, and who is named before the host, may hold a secret.
fn without_query(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "the webhook".to_owned() };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

#[cfg(test)]
mod tests;
