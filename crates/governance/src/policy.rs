//! Policies judge what somebody is about to do, one after another, in the order an operator chose.
//!
//! The first policy in mode `enforce` that objects ends the chain; one in mode `warn` is recorded and the next is asked. A
//! policy that cannot judge objects. What every policy said is kept for the decision's record.
//!
//! To add a policy of our own: its parameters in [`config`](crate::config), a variant of `Rule`, a line each in `rule_for`
//! and `Rule::evaluate`.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};
use systemprompt_database::lease::Leases;
use systemprompt_model::{Principal, RequestId, SessionId};

use crate::config::{GovernanceConfig, PolicyConfig, PolicyMode, ScopeCheckConfig, ToolBlocklistConfig};
use crate::denial::{Denial, DenialKind};
use crate::rate_limit::RateLimit;
use crate::secret_scan::SecretScanner;
use crate::tool_rules::{check_blocklist, check_scope};

/// Contents above this size are scanned on a thread where nobody waits for a turn (about a millisecond of work).
const SCAN_APART: usize = 256 * 1024;

/// What a policy judges.
#[derive(Debug, Clone, Copy)]
pub struct PolicyInput<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The session the request belongs to.
    pub session_id: SessionId,
    /// The request; judging it twice counts once.
    pub call_id: RequestId,
    /// What is asked for.
    pub subject: Subject<'a>,
    /// The exact bytes that will be sent.
    pub content: &'a Bytes,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// An answer of a model.
    Prompt,
    /// A tool's work.
    ToolCall {
        /// The tool's full name.
        name: &'a str,
    },
}

/// What a policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing against it.
    Pass,
    /// It does not apply, and why.
    Skip(Cow<'static, str>),
    /// It objects.
    Fail(Violation),
}

/// Why a policy objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What kind of no it is.
    pub kind: DenialKind,
    /// The stable, machine-readable reason.
    pub code: &'static str,
    /// A sentence for the caller and the record. Never holds any part of the content.
    pub reason: String,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
    /// Parts of the content that must not be stored.
    pub flagged: Vec<Range<usize>>,
}

impl Violation {
    /// An objection with nothing to hide and no time to wait.
    pub fn new(kind: DenialKind, code: &'static str, reason: impl Into<String>) -> Self {
        Self { kind, code, reason: reason.into(), retry_after: None, flagged: Vec::new() }
    }

    /// The objection of a policy that cannot judge at present.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(DenialKind::Unavailable, "policy_unavailable", reason)
    }
}

/// One entry of a decision's `evaluated_rules`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// The policy.
    pub policy_id: Cow<'static, str>,
    /// What came out.
    pub result: EvaluationResult,
    /// Why, where there is something to say.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub detail: Cow<'static, str>,
    /// How long it took, in milliseconds, to the microsecond.
    pub duration_ms: f64,
}

/// What came out of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EvaluationResult {
    /// Nothing against it.
    Pass,
    /// It objected.
    Fail,
    /// It is switched off.
    Disabled,
    /// It does not apply, or an earlier policy had refused already.
    Skip,
}

impl EvaluationResult {
    /// The name used in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Disabled => "disabled",
            Self::Skip => "skip",
        }
    }
}

/// What the chain came to.
#[derive(Debug, Clone, Default)]
pub struct ChainOutcome {
    /// What each policy said, in order; all of them, also those after a denial.
    pub evaluations: Vec<Evaluation>,
    /// The first objection of a policy in mode `enforce`.
    pub denial: Option<Denial>,
    /// The objections of policies in mode `warn`.
    pub warnings: Vec<Denial>,
    /// Parts of the content that must not be stored, ascending; see [`redact`](crate::secret_scan::redact).
    pub flagged: Vec<Range<usize>>,
}

/// The policies of one configuration, which does not change while the server runs.
pub struct PolicyChain {
    enabled: bool,
    entries: Vec<Entry>,
    scanner: Arc<SecretScanner>,
    version: String,
}

struct Entry {
    id: &'static str,
    mode: PolicyMode,
    /// `None` when the policy is switched off.
    rule: Option<Rule>,
}

enum Rule {
    SecretScan(Arc<SecretScanner>),
    ScopeCheck(ScopeCheckConfig),
    ToolBlocklist(ToolBlocklistConfig),
    RateLimit(RateLimit),
}

/// The chain cannot be built from this configuration.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The allow-list of the secret scan is no list of regular expressions.
    #[error("`policies[].entropy.allowlist` of `secret_scan` is not valid")]
    Allowlist(#[source] regex::Error),
    /// Two policies share an id.
    #[error("there are two policies with the id `{0}`")]
    Duplicate(&'static str),
}

impl PolicyChain {
    /// The chain of `config`, in its order, followed by the policies the configuration leaves out, switched off.
    pub fn new(config: &GovernanceConfig, leases: &Leases) -> Result<Self, PolicyError> {
        let scanner = Arc::new(SecretScanner::of(config).map_err(PolicyError::Allowlist)?);
        let mut entries: Vec<Entry> = Vec::new();
        for policy in &config.policies {
            let id = policy.id();
            if entries.iter().any(|entry| entry.id == id) {
                return Err(PolicyError::Duplicate(id));
            }
            let mode = policy.mode().unwrap_or(config.mode);
            let rule = policy.enabled().then(|| rule_for(policy, &scanner, leases));
            entries.push(Entry { id, mode, rule });
        }
        for id in PolicyConfig::IDS {
            if entries.iter().all(|entry| entry.id != id) {
                entries.push(Entry { id, mode: config.mode, rule: None });
            }
        }
        Ok(Self { enabled: config.enabled, entries, scanner, version: version_of(config) })
    }

    /// Whether policies are evaluated at all.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Identifies the configuration: the first 16 digits of the SHA-256 of its JSON.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What finds credentials in the texts of a record, whether or not the policy runs.
    pub(crate) fn scanner(&self) -> &Arc<SecretScanner> {
        &self.scanner
    }

    /// The entries of a decision for which no policy was asked.
    pub(crate) fn unasked(&self, why: &'static str) -> impl Iterator<Item = Evaluation> {
        self.entries.iter().map(move |entry| {
            let (result, detail) = match entry.rule {
                _ if !self.enabled => (EvaluationResult::Disabled, "governance is disabled"),
                None => (EvaluationResult::Disabled, ""),
                Some(_) => (EvaluationResult::Skip, why),
            };
            Evaluation { policy_id: entry.id.into(), result, detail: detail.into(), duration_ms: 0.0 }
        })
    }

    /// Asks every policy in turn until one refuses.
    pub async fn evaluate(&self, input: &PolicyInput<'_>) -> ChainOutcome {
        let mut outcome =
            ChainOutcome { evaluations: Vec::with_capacity(self.entries.len()), ..ChainOutcome::default() };
        for entry in &self.entries {
            let started = Instant::now();
            let (result, detail) = match &entry.rule {
                _ if !self.enabled => (EvaluationResult::Disabled, "governance is disabled".into()),
                None => (EvaluationResult::Disabled, Cow::Borrowed("")),
                Some(_) if outcome.denial.is_some() => (EvaluationResult::Skip, "already refused".into()),
                Some(rule) => match rule.evaluate(input).await {
                    Verdict::Pass => (EvaluationResult::Pass, Cow::Borrowed("")),
                    Verdict::Skip(why) => (EvaluationResult::Skip, why),
                    Verdict::Fail(violation) => {
                        outcome.flagged.extend(violation.flagged);
                        let denial = Denial {
                            policy: entry.id.to_owned(),
                            kind: violation.kind,
                            reason: violation.reason.clone(),
                            retry_after: violation.retry_after,
                            code: violation.code,
                        };
                        match entry.mode {
                            PolicyMode::Enforce => outcome.denial = Some(denial),
                            PolicyMode::Warn => outcome.warnings.push(denial),
                        }
                        (EvaluationResult::Fail, violation.reason.into())
                    }
                },
            };
            let duration_ms = started.elapsed().as_micros() as f64 / 1000.0;
            outcome.evaluations.push(Evaluation { policy_id: entry.id.into(), result, detail, duration_ms });
        }
        outcome.flagged.sort_by_key(|range| range.start);
        outcome
    }
}

impl fmt::Debug for PolicyChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.entries.iter().map(|entry| entry.id).collect();
        f.debug_struct("PolicyChain").field("version", &self.version).field("policies", &ids).finish_non_exhaustive()
    }
}

fn rule_for(policy: &PolicyConfig, scanner: &Arc<SecretScanner>, leases: &Leases) -> Rule {
    match policy {
        PolicyConfig::SecretScan(_) => Rule::SecretScan(Arc::clone(scanner)),
        PolicyConfig::ScopeCheck(config) => Rule::ScopeCheck(config.clone()),
        PolicyConfig::ToolBlocklist(config) => Rule::ToolBlocklist(config.clone()),
        PolicyConfig::RateLimit(config) => Rule::RateLimit(RateLimit::new(config, leases.clone())),
    }
}

impl Rule {
    async fn evaluate(&self, input: &PolicyInput<'_>) -> Verdict {
        match self {
            Self::SecretScan(scanner) => scan(scanner, input.content).await,
            Self::ScopeCheck(config) => check_scope(config, input.principal, input.subject),
            Self::ToolBlocklist(config) => check_blocklist(config, input.principal, input.subject),
            Self::RateLimit(limit) => {
                match limit.reserve(input.session_id, input.principal.user_id, input.call_id).await {
                    Ok(reserved) => {
                        for reservation in reserved {
                            reservation.settle(1);
                        }
                        Verdict::Pass
                    }
                    Err(violation) => Verdict::Fail(violation),
                }
            }
        }
    }
}

async fn scan(scanner: &Arc<SecretScanner>, content: &Bytes) -> Verdict {
    let scan = if content.len() <= SCAN_APART {
        scanner.scan(content)
    } else {
        let (scanner, content) = (Arc::clone(scanner), content.clone());
        match tokio::task::spawn_blocking(move || scanner.scan(&content)).await {
            Ok(scan) => scan,
            Err(error) => {
                tracing::error!(%error, "the secret scan failed");
                return Verdict::Fail(Violation::unavailable("the content could not be scanned"));
            }
        }
    };
    if scan.is_clean() {
        return Verdict::Pass;
    }
    let mut places: Vec<String> = scan.findings.iter().map(ToString::to_string).collect();
    if scan.flagged.len() > places.len() {
        places.push(format!("{} more", scan.flagged.len() - places.len()));
    }
    let reason = format!("the content holds a secret: {}", places.join(", "));
    Verdict::Fail(Violation { flagged: scan.flagged, ..Violation::new(DenialKind::Content, "secret_leak", reason) })
}

fn version_of(config: &GovernanceConfig) -> String {
    let json = serde_json::to_vec(config).expect("the configuration's types have no maps with odd keys");
    let mut digest = hex::encode(Sha256::digest(json));
    digest.truncate(16);
    digest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use systemprompt_database::lease;
    use systemprompt_database::testing::{self, TestDatabase};
    use systemprompt_model::{Ambient, ApiKeyId, Credential, UserId, UserType};

    use super::*;

    const KEY: &str = "AKIAIOSFODNN7EXAMPLE";

    async fn test_database() -> TestDatabase {
        testing::database(&[lease::module()]).await
    }

    fn leases(database: &TestDatabase) -> Leases {
        Leases::new(Arc::clone(&database.pool), Ambient::system())
    }

    fn chain(database: &TestDatabase, config: serde_json::Value) -> PolicyChain {
        let config: GovernanceConfig = serde_json::from_value(config).unwrap();
        assert_eq!(config.flaws(), []);
        PolicyChain::new(&config, &leases(database)).unwrap()
    }

    fn caller(user_type: UserType) -> Principal {
        let ambient = Ambient::system();
        Principal {
            user_id: UserId::generate(&ambient),
            user_name: "somebody".to_owned(),
            user_type,
            roles: Vec::new(),
            attributes: BTreeMap::new(),
            credential: Credential::ApiKey(ApiKeyId::generate(&ambient)),
        }
    }

    async fn judge(chain: &PolicyChain, principal: &Principal, subject: Subject<'_>, content: &str) -> ChainOutcome {
        let ambient = Ambient::system();
        let content = Bytes::from(content.to_owned());
        let input = PolicyInput {
            principal,
            session_id: SessionId::generate(&ambient),
            call_id: RequestId::generate(&ambient),
            subject,
            content: &content,
        };
        chain.evaluate(&input).await
    }

    fn results(outcome: &ChainOutcome) -> String {
        let word = |evaluation: &Evaluation| {
            let result = serde_json::to_value(evaluation.result).unwrap();
            format!("{}:{}", evaluation.policy_id, result.as_str().unwrap())
        };
        outcome.evaluations.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn the_first_denial_ends_the_chain_and_all_of_it_is_recorded() {
        let database = test_database().await;
        let chain = chain(&database, serde_json::json!({}));
        let (admin, user) = (caller(UserType::Admin), caller(UserType::User));
        let tool = |name| Subject::ToolCall { name };
        let clean = "{\"table\":\"t\"}";
        let secret = format!("{{\"note\":\"{KEY}\"}}");
        for (principal, subject, content, policy, expected) in [
            (
                &user,
                Subject::Prompt,
                clean,
                None,
                "secret_scan:pass scope_check:skip tool_blocklist:skip rate_limit:pass",
            ),
            (
                &admin,
                tool("mcp__systemprompt__x"),
                clean,
                None,
                "secret_scan:pass scope_check:pass tool_blocklist:skip rate_limit:pass",
            ),
            (
                &user,
                tool("mcp__systemprompt__x"),
                clean,
                Some("scope_check"),
                "secret_scan:pass scope_check:fail tool_blocklist:skip rate_limit:skip",
            ),
            (
                &user,
                tool("delete_records"),
                clean,
                Some("tool_blocklist"),
                "secret_scan:pass scope_check:pass tool_blocklist:fail rate_limit:skip",
            ),
            (
                &admin,
                tool("read"),
                &secret,
                Some("secret_scan"),
                "secret_scan:fail scope_check:skip tool_blocklist:skip rate_limit:skip",
            ),
        ] {
            let outcome = judge(&chain, principal, subject, content).await;
            assert_eq!(outcome.denial.as_ref().map(|denial| denial.policy.as_str()), policy);
            assert_eq!(results(&outcome), expected);
        }
    }

    #[tokio::test]
    async fn a_found_secret_is_named_and_not_shown() {
        let database = test_database().await;
        let chain = chain(&database, serde_json::json!({}));
        let user = caller(UserType::User);
        // Above the size that is scanned apart, too.
        for padding in [0, 2 * SCAN_APART] {
            let body =
                serde_json::json!({"pad": "a ".repeat(padding), "messages": [{"content": format!("my key: {KEY}")}]});
            let body = body.to_string();
            let outcome = judge(&chain, &user, Subject::Prompt, &body).await;
            let denial = outcome.denial.clone().unwrap();
            assert_eq!(denial.reason, "the content holds a secret: aws-access-key at $.messages[0].content");
            assert_eq!((denial.kind, denial.code), (DenialKind::Content, "secret_leak"));
            let record = serde_json::to_string(&outcome.evaluations).unwrap();
            assert!(!record.contains(KEY));
            let stored = crate::secret_scan::redact(&Bytes::from(body), &outcome.flagged);
            let stored: serde_json::Value = serde_json::from_slice(&stored).unwrap();
            assert_eq!(stored["messages"][0]["content"], "[redacted]");
        }
    }

    #[tokio::test]
    async fn warnings_are_recorded_and_do_not_refuse() {
        let database = test_database().await;
        let config = serde_json::json!({"mode": "warn", "policies": [
            {"id": "secret_scan"},
            {"id": "rate_limit", "mode": "enforce", "requests_per_window": 0},
            {"id": "tool_blocklist", "enabled": false},
        ]});
        let chain = chain(&database, config);
        let outcome = judge(&chain, &caller(UserType::User), Subject::Prompt, KEY).await;
        assert_eq!(results(&outcome), "secret_scan:fail rate_limit:fail tool_blocklist:disabled scope_check:disabled");
        assert_eq!(outcome.warnings[0].policy, "secret_scan");
        let denial = outcome.denial.unwrap();
        assert_eq!((denial.policy.as_str(), denial.kind), ("rate_limit", DenialKind::RateLimited));
        assert!(denial.retry_after.is_some());
    }

    #[tokio::test]
    async fn a_switched_off_chain_says_so() {
        let database = test_database().await;
        let chain = chain(&database, serde_json::json!({"enabled": false}));
        let outcome = judge(&chain, &caller(UserType::User), Subject::Prompt, KEY).await;
        assert!(!chain.is_enabled() && outcome.denial.is_none());
        assert_eq!(
            results(&outcome),
            "secret_scan:disabled scope_check:disabled tool_blocklist:disabled rate_limit:disabled"
        );
    }

    #[tokio::test]
    async fn a_policy_listed_twice_is_refused() {
        let database = test_database().await;
        let twice = serde_json::json!({"policies": [{"id": "secret_scan"}, {"id": "secret_scan", "enabled": false}]});
        let twice: GovernanceConfig = serde_json::from_value(twice).unwrap();
        let chain = PolicyChain::new(&twice, &leases(&database));
        assert!(matches!(chain, Err(PolicyError::Duplicate("secret_scan"))));
    }
}
