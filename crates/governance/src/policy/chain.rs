//! Asking the policies one after another, in the order an operator chose.
//!
//! The first policy in mode `enforce` that objects ends the chain; one in mode `warn` is recorded and the next is asked. A
//! policy that cannot judge objects. What every policy said is kept for the record.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt as _;
use sha2::{Digest, Sha256};
use systemprompt_database::lease::Leases;
use systemprompt_extension::policy::{
    Exclusion, Hold, Phase, Place, Policy, PolicyInput, ReplacedPart, Replacement, Subject, Texts, Verdict, Violation,
};
use tokio::time::Instant as Deadline;

use super::quota::Quota;
use super::rate_limit::RateLimit;
use super::residency::Residency;
use super::scope_check::ScopeCheck;
use super::secret_scan::SecretScan;
use super::tool_blocklist::ToolBlocklist;
use crate::answer_secrets::AnswerSecrets;
use crate::config::{GatewayPolicyConfig, GovernanceConfig, PolicyConfig, PolicyMode};
use crate::denial::Denial;
use crate::quota::{Meters, Quotas};
use crate::replacing::{self, Misplaced, Replaced};
use crate::safety::{Judged, Objection, Safety, SafetyError, SafetyRecord, Scanners};
use crate::secret_scan::{PlaceholderKey, ScannerError, SecretScanner};

/// What a policy said, as it is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The policy.
    pub policy_id: Cow<'static, str>,
    /// What came out.
    pub result: EvaluationResult,
    /// Why, where there is something to say.
    pub detail: Cow<'static, str>,
    /// How long it took, in milliseconds, to the microsecond.
    pub duration_ms: f64,
    /// What scanners found, where that is what was asked.
    pub findings: Vec<SafetyRecord>,
    /// What was replaced before it left.
    pub replaced: Vec<Replaced>,
    /// The digest of the access rules, where they are what was asked.
    pub version: Option<Arc<str>>,
}

/// What came out of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Default)]
pub(crate) struct ChainOutcome {
    /// What each policy said, in order; all of them, also those after a denial.
    pub(crate) evaluations: Vec<Evaluation>,
    /// The first objection of a policy in mode `enforce`.
    pub(crate) denial: Option<Denial>,
    /// Objections of policies in mode `warn`.
    pub(crate) warnings: Vec<Denial>,
    /// Parts of the content that must not be stored, ascending.
    pub(crate) flagged: Vec<Range<usize>>,
    /// What was set aside. Dropped, it is given back.
    pub(crate) holds: Vec<Box<dyn Hold>>,
    /// The content that may leave, if parts of it were replaced.
    pub(crate) content: Option<Bytes>,
    /// What was replaced, and by which policy first.
    pub(crate) replaced: Vec<ReplacedPart>,
    pub(crate) replaced_by: Option<&'static str>,
    /// Places it must not go to.
    pub(crate) left_out: Vec<String>,
}

/// Most replaced parts that one policy records.
const RECORDED_PARTS: usize = 64;
/// Most placeholders that a sentence names.
const SHOWN_PARTS: usize = 4;

impl ChainOutcome {
    fn object(
        &mut self,
        policy: &str,
        mode: PolicyMode,
        mut violation: Violation,
    ) -> (EvaluationResult, Cow<'static, str>) {
        let detail = violation.reason.clone().into();
        self.flagged.append(&mut violation.flagged);
        let denial = Denial::of(policy, violation);
        match mode {
            PolicyMode::Enforce => self.denial = Some(denial),
            PolicyMode::Warn => self.warnings.push(denial),
        }
        (EvaluationResult::Fail, detail)
    }

    /// Exchanges what `policy` wants exchanged in `content`.
    fn replace(
        &mut self,
        policy: &'static str,
        content: &Bytes,
        parts: Vec<ReplacedPart>,
        flagged: Vec<Range<usize>>,
    ) -> Result<Cow<'static, str>, Misplaced> {
        self.content = Some(replacing::replace(content, &parts)?);
        self.flagged.extend(flagged);
        for range in &mut self.flagged {
            *range = replacing::moved(range, &parts);
        }
        let mut placeholders: Vec<&str> = parts.iter().map(|part| part.placeholder.as_str()).collect();
        placeholders.sort_unstable();
        placeholders.dedup();
        let more = placeholders.len().saturating_sub(SHOWN_PARTS);
        placeholders.truncate(SHOWN_PARTS);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let detail = format!("replaced before it left: {}{more}", placeholders.join(", "));
        self.replaced_by.get_or_insert(policy);
        self.replaced.extend(parts);
        Ok(detail.into())
    }

    /// What came of looking for safety, or for whatever `policy` looks for, and whether it refuses.
    pub(crate) fn judged(&mut self, policy: &'static str, judged: Judged, started: Instant) -> (Evaluation, bool) {
        let Judged { records, objection, .. } = judged;
        let (result, detail, denied) = match objection {
            None => (EvaluationResult::Pass, Cow::Borrowed(""), false),
            Some(Objection { violation, blocks }) => {
                let mode = if blocks { PolicyMode::Enforce } else { PolicyMode::Warn };
                let (result, detail) = self.object(policy, mode, violation);
                (result, detail, blocks)
            }
        };
        let duration_ms = milliseconds_since(started);
        (Evaluation { duration_ms, findings: records, ..Evaluation::of(policy, result, detail) }, denied)
    }
}

impl Evaluation {
    /// Of a policy that took no time.
    pub(crate) fn of(
        policy: impl Into<Cow<'static, str>>,
        result: EvaluationResult,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            policy_id: policy.into(),
            result,
            detail: detail.into(),
            duration_ms: 0.0,
            findings: Vec::new(),
            replaced: Vec::new(),
            version: None,
        }
    }
}

/// To the microsecond.
pub(crate) fn milliseconds_since(started: Instant) -> f64 {
    started.elapsed().as_micros() as f64 / 1000.0
}

/// The policies of an installation. Fixed for the life of a server.
pub struct PolicyChain {
    enabled: bool,
    entries: Vec<Entry>,
    scanner: Arc<SecretScanner>,
    /// What says where requests may go, if that is enforced.
    residency: Option<Arc<Residency>>,
    /// What looks for safety, after all policies.
    safety: Option<Arc<Safety>>,
    /// What looks for credentials in answers.
    answer_secrets: Option<Arc<AnswerSecrets>>,
    version: String,
}

/// The policies of the gateway, and what keeps their counts.
#[derive(Clone, Copy)]
pub struct GatewayPolicies<'a> {
    /// What operators wrote.
    pub policies: &'a [GatewayPolicyConfig],
    /// What counts for their windows.
    pub quotas: &'a Arc<Quotas>,
    /// What looks at prompts and answers.
    pub scanners: &'a Scanners,
    /// What placeholders of secrets are made with.
    pub placeholders: Option<&'a PlaceholderKey>,
}

struct Entry {
    id: &'static str,
    mode: PolicyMode,
    /// `None` when the policy is switched off.
    policy: Option<Arc<dyn Policy>>,
}

/// The chain cannot be built from this configuration.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The settings of the secret scan are not valid.
    #[error(transparent)]
    Scanner(#[from] ScannerError),
    /// Two policies share an id.
    #[error("there are two policies with the id `{0}`")]
    Duplicate(String),
    /// The configuration speaks of a policy that no extension brings.
    #[error("no extension brings the policy `{id}`; there are: {known}")]
    Unknown {
        /// The id in the configuration.
        id: String,
        /// Those there are.
        known: String,
    },
    /// What looks for safety cannot be made.
    #[error(transparent)]
    Safety(#[from] SafetyError),
}

/// What records call the safety phase.
pub(crate) const SAFETY: &str = "safety";

impl PolicyChain {
    /// The quotas, if there are any; the chain of `config`, in its order; then the policies of extensions, `registered`, that
    /// it does not mention, enforced; then the built-in ones it leaves out, switched off; then what looks for safety, if
    /// anything does.
    pub fn new(
        config: &GovernanceConfig,
        mut registered: Vec<Arc<dyn Policy>>,
        leases: &Leases,
        gateway: Option<GatewayPolicies<'_>>,
    ) -> Result<Self, PolicyError> {
        let scanner = Arc::new(SecretScanner::of(config)?);
        let known = registered.iter().map(|policy| format!("`{}`", policy.id())).collect::<Vec<_>>().join(", ");
        let mut entries: Vec<Entry> = Vec::new();
        let meters = gateway.map(|gateway| (gateway.quotas, Meters::new(gateway.policies)));
        if let Some((quotas, meters)) = meters.filter(|(_, meters)| !meters.is_empty()) {
            // Each of their windows has a mode of its own.
            let policy: Arc<dyn Policy> = Arc::new(Quota::new(Arc::clone(quotas), meters));
            entries.push(Entry { id: Quota::ID, mode: PolicyMode::Enforce, policy: Some(policy) });
        }
        let mut residency = None;
        let mut answer_secrets = None;
        for policy in &config.policies {
            let mode = policy.mode().unwrap_or(config.mode);
            let (id, built): (&'static str, Arc<dyn Policy>) = match policy {
                PolicyConfig::SecretScan(config) => {
                    let key = gateway.and_then(|gateway| gateway.placeholders).cloned();
                    answer_secrets = gateway.filter(|_| config.enabled).and_then(|gateway| {
                        AnswerSecrets::new(config.answers, mode, Arc::clone(&scanner), key.clone(), gateway.scanners)
                    });
                    ("secret_scan", Arc::new(SecretScan::new(Arc::clone(&scanner), config, key)))
                }
                PolicyConfig::ScopeCheck(config) => ("scope_check", Arc::new(ScopeCheck::new(config))),
                PolicyConfig::ToolBlocklist(config) => ("tool_blocklist", Arc::new(ToolBlocklist::new(config))),
                PolicyConfig::Residency(config) => {
                    let policy = Arc::new(Residency::new(config));
                    residency = (config.enabled && mode == PolicyMode::Enforce).then(|| Arc::clone(&policy));
                    (Residency::ID, policy)
                }
                PolicyConfig::RateLimit(config) => ("rate_limit", Arc::new(RateLimit::new(config, leases.clone()))),
                // What it needs is not here, so it is given like those of extensions.
                PolicyConfig::RequireApproval(_) | PolicyConfig::Registered(_) => {
                    let at = registered.iter().position(|given| given.id() == policy.id());
                    let at =
                        at.ok_or_else(|| PolicyError::Unknown { id: policy.id().to_owned(), known: known.clone() })?;
                    let policy = registered.remove(at);
                    (policy.id(), policy)
                }
            };
            if entries.iter().any(|entry| entry.id == id) {
                return Err(PolicyError::Duplicate(id.to_owned()));
            }
            entries.push(Entry { id, mode, policy: policy.enabled().then_some(built) });
        }
        for policy in registered {
            entries.push(Entry { id: policy.id(), mode: config.mode, policy: Some(policy) });
        }
        for id in PolicyConfig::BUILT_IN {
            if entries.iter().all(|entry| entry.id != id) {
                entries.push(Entry { id, mode: config.mode, policy: None });
            }
        }
        let safety = match gateway {
            Some(gateway) => Safety::new(gateway.policies, gateway.scanners, &scanner)?,
            None => None,
        };
        let version = version_of(config, gateway.map(|gateway| gateway.policies));
        Ok(Self { enabled: config.enabled, entries, scanner, residency, safety, answer_secrets, version })
    }

    /// The same chain with guards that are asked before the policies, and after the quotas.
    pub(crate) fn with_guards(mut self, guards: Vec<Arc<dyn Policy>>) -> Result<Self, PolicyError> {
        let after_quotas = usize::from(self.entries.first().is_some_and(|entry| entry.id == Quota::ID));
        for (at, guard) in (after_quotas..).zip(guards) {
            if self.ids().any(|id| id == guard.id()) {
                return Err(PolicyError::Duplicate(guard.id().to_owned()));
            }
            let entry = Entry { id: guard.id(), mode: PolicyMode::Enforce, policy: Some(guard) };
            self.entries.insert(at, entry);
        }
        Ok(self)
    }

    /// Whether policies are asked at all.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The ids of all policies, in their order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &'static str> {
        self.entries.iter().map(|entry| entry.id).chain(self.safety.iter().map(|_| SAFETY))
    }

    /// What looks at prompts and answers for safety, if anything does.
    pub(crate) fn safety(&self) -> Option<&Arc<Safety>> {
        self.safety.as_ref().filter(|_| self.enabled)
    }

    /// What looks for credentials in answers, if anything does.
    pub(crate) fn answer_secrets(&self) -> Option<&Arc<AnswerSecrets>> {
        self.answer_secrets.as_ref().filter(|_| self.enabled)
    }

    /// Whether what comes along this route will not be let go to a place in this region. Whoever has several places to choose
    /// from begins with one that will do.
    pub fn leaves_out(&self, route: &str, region: Option<&str>) -> bool {
        self.enabled && self.residency.as_ref().is_some_and(|policy| policy.leaves_out(route, region))
    }

    /// Identifies the configuration: the first 16 digits of the SHA-256 of its JSON, that of the quotas included.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What finds credentials in the texts of a record, whether or not the policy runs.
    pub(crate) fn scanner(&self) -> &Arc<SecretScanner> {
        &self.scanner
    }

    /// Whether some policy wants to look at `subject` in `phase`.
    pub(crate) fn applies(&self, phase: Phase, subject: Subject<'_>) -> bool {
        self.enabled && self.entries.iter().any(|entry| entry.wants(phase, subject))
    }

    /// The entries of a decision for which no policy was asked.
    pub(crate) fn unasked(&self, why: &'static str) -> impl Iterator<Item = Evaluation> {
        let entries = self.entries.iter().map(|entry| (entry.id, entry.policy.is_some()));
        entries.chain(self.safety.iter().map(|_| (SAFETY, true))).map(move |(id, runs)| {
            let (result, detail) = match runs {
                _ if !self.enabled => (EvaluationResult::Disabled, "governance is disabled"),
                false => (EvaluationResult::Disabled, ""),
                true => (EvaluationResult::Skip, why),
            };
            Evaluation::of(id, result, detail)
        })
    }

    /// Asks every policy in turn until one refuses, and what looks for safety after them; `earlier` says what of the content
    /// was said before. After the effect only those policies are asked, and listed, that want to look. One that has not answered at the deadline has objected;
    /// one whose objection is only a warning is not given all of the time, so that those after it have some.
    pub(crate) async fn evaluate(
        &self,
        input: &PolicyInput<'_>,
        earlier: impl FnOnce(&Bytes) -> Vec<Range<usize>>,
        deadline: Option<Deadline>,
    ) -> ChainOutcome {
        let is_asked = |entry: &Entry| input.phase == Phase::Before || entry.wants(input.phase, input.subject);
        let outcome = self.ask(input, deadline, is_asked).await;
        self.look_for_safety(input, earlier, outcome).await
    }

    /// The same, of an action that was judged already, for other bytes: asks and lists only those whose answer depends on
    /// them.
    pub(crate) async fn evaluate_content(
        &self,
        input: &PolicyInput<'_>,
        earlier: impl FnOnce(&Bytes) -> Vec<Range<usize>>,
    ) -> ChainOutcome {
        let depends =
            |entry: &Entry| self.enabled && entry.policy.as_ref().is_some_and(|policy| policy.depends_on_content());
        let outcome = self.ask(input, None, depends).await;
        self.look_for_safety(input, earlier, outcome).await
    }

    /// Has a prompt looked at, unless a policy refused it already.
    async fn look_for_safety(
        &self,
        input: &PolicyInput<'_>,
        earlier: impl FnOnce(&Bytes) -> Vec<Range<usize>>,
        mut outcome: ChainOutcome,
    ) -> ChainOutcome {
        let is_prompt = (input.phase, input.subject) == (Phase::Before, Subject::Prompt);
        let Some(safety) = self.safety.as_ref().filter(|_| is_prompt) else { return outcome };
        if !self.enabled || outcome.denial.is_some() {
            let (result, why) = if self.enabled {
                (EvaluationResult::Skip, "already refused")
            } else {
                (EvaluationResult::Disabled, "governance is disabled")
            };
            outcome.evaluations.push(Evaluation::of(SAFETY, result, why));
            return outcome;
        }
        let started = Instant::now();
        // What was replaced does not leave, so nobody has to look at it.
        let content = outcome.content.clone().unwrap_or_else(|| input.content.clone());
        let texts = Texts::of(&content);
        let texts = if outcome.content.is_some() { &texts } else { input.texts };
        let input = &PolicyInput { content: &content, texts, ..*input };
        let judged = safety.judge_request(input, &earlier(&content)).await;
        if judged.holds_secret {
            outcome.flagged.extend(safety.secrets_in(&content));
        }
        let (evaluation, denial) = outcome.judged(SAFETY, judged, started);
        outcome.evaluations.push(evaluation);
        if denial {
            outcome.holds.clear();
        }
        outcome.flagged.sort_by_key(|range| range.start);
        outcome
    }

    async fn ask(
        &self,
        input: &PolicyInput<'_>,
        deadline: Option<Deadline>,
        is_asked: impl Fn(&Entry) -> bool,
    ) -> ChainOutcome {
        let mut outcome =
            ChainOutcome { evaluations: Vec::with_capacity(self.entries.len()), ..ChainOutcome::default() };
        for entry in self.entries.iter().filter(|entry| is_asked(entry)) {
            let started = Instant::now();
            let replaced_before = outcome.replaced.len();
            let (result, detail) = match &entry.policy {
                _ if !self.enabled => (EvaluationResult::Disabled, "governance is disabled".into()),
                None => (EvaluationResult::Disabled, Cow::Borrowed("")),
                Some(_) if outcome.denial.is_some() => (EvaluationResult::Skip, "already refused".into()),
                Some(policy) if !policy.applies(input.phase, input.subject) => {
                    (EvaluationResult::Skip, "it does not look at this".into())
                }
                Some(policy) => match entry.judge(&**policy, input, &outcome, deadline).await {
                    Verdict::Pass => (EvaluationResult::Pass, Cow::Borrowed("")),
                    Verdict::Note(said) => (EvaluationResult::Pass, said),
                    Verdict::Hold(hold) => {
                        outcome.holds.push(hold);
                        (EvaluationResult::Pass, Cow::Borrowed(""))
                    }
                    Verdict::HoldAndWarn(hold, violation) => {
                        outcome.holds.push(hold);
                        outcome.object(entry.id, PolicyMode::Warn, violation)
                    }
                    Verdict::Skip(why) => (EvaluationResult::Skip, why),
                    Verdict::Warn(violation) => outcome.object(entry.id, PolicyMode::Warn, violation),
                    Verdict::Replace(Replacement { parts, flagged, violation }) => {
                        let may =
                            input.replaceable && input.phase == Phase::Before && entry.mode == PolicyMode::Enforce;
                        let content = outcome.content.clone().unwrap_or_else(|| input.content.clone());
                        match may.then(|| outcome.replace(entry.id, &content, parts, flagged)) {
                            Some(Ok(detail)) => (EvaluationResult::Pass, detail),
                            Some(Err(Misplaced)) => {
                                tracing::error!(
                                    policy = entry.id,
                                    "the policy replaces what is not there; it has objected"
                                );
                                outcome.object(entry.id, entry.mode, violation)
                            }
                            None => outcome.object(entry.id, entry.mode, violation),
                        }
                    }
                    Verdict::LeaveOut(Exclusion { places, violation }) => {
                        let is_left = |place: &Place<'_>| {
                            !places.iter().chain(&outcome.left_out).any(|left_out| left_out == place.name)
                        };
                        if entry.mode == PolicyMode::Enforce && input.places.iter().any(is_left) {
                            outcome.left_out.extend(places);
                            (EvaluationResult::Pass, format!("left out: {}", violation.reason).into())
                        } else {
                            outcome.object(entry.id, entry.mode, violation)
                        }
                    }
                    Verdict::Fail(violation) => outcome.object(entry.id, entry.mode, violation),
                },
            };
            let duration_ms = milliseconds_since(started);
            let replaced =
                outcome.replaced[replaced_before..].iter().take(RECORDED_PARTS).map(Replaced::from).collect();
            outcome.evaluations.push(Evaluation { duration_ms, replaced, ..Evaluation::of(entry.id, result, detail) });
        }
        if outcome.denial.is_some() {
            // What an earlier policy set aside is given back before anybody hears of the refusal.
            outcome.holds.clear();
        }
        outcome.flagged.sort_by_key(|range| range.start);
        outcome
    }
}

/// A policy that panics has objected, and so has one that takes too long.
async fn judge(policy: &dyn Policy, input: &PolicyInput<'_>, deadline: Option<Deadline>) -> Verdict {
    let judging = AssertUnwindSafe(policy.judge(input)).catch_unwind();
    let judged = match deadline {
        None => judging.await,
        Some(deadline) => {
            let Ok(judged) = tokio::time::timeout_at(deadline, judging).await else {
                tracing::error!(
                    policy = policy.id(),
                    "the policy did not answer in time; what it was to judge is refused"
                );
                return Verdict::Fail(Violation::unavailable("a policy did not answer in time"));
            };
            judged
        }
    };
    judged.unwrap_or_else(|_| {
        tracing::error!(policy = policy.id(), "the policy panicked; what it was to judge is refused");
        Verdict::Fail(Violation::unavailable("a policy failed"))
    })
}

impl Entry {
    fn wants(&self, phase: Phase, subject: Subject<'_>) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.applies(phase, subject))
    }

    /// Asks it about what earlier policies left of the content.
    async fn judge(
        &self,
        policy: &dyn Policy,
        input: &PolicyInput<'_>,
        outcome: &ChainOutcome,
        deadline: Option<Deadline>,
    ) -> Verdict {
        let deadline = self.deadline(deadline);
        let Some(content) = &outcome.content else { return judge(policy, input, deadline).await };
        let texts = Texts::of(content);
        judge(policy, &PolicyInput { content, texts: &texts, ..*input }, deadline).await
    }

    /// Until when it may answer: half of the time that is left if it only warns.
    fn deadline(&self, chain: Option<Deadline>) -> Option<Deadline> {
        match self.mode {
            PolicyMode::Enforce => chain,
            PolicyMode::Warn => chain.map(|chain| {
                let now = Deadline::now();
                now + chain.saturating_duration_since(now) / 2
            }),
        }
    }
}

impl fmt::Debug for PolicyChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.entries.iter().map(|entry| entry.id).collect();
        f.debug_struct("PolicyChain").field("version", &self.version).field("policies", &ids).finish_non_exhaustive()
    }
}

fn version_of(config: &GovernanceConfig, quotas: Option<&[GatewayPolicyConfig]>) -> String {
    let mut json = serde_json::to_vec(config).expect("the configuration's types have no maps with odd keys");
    if let Some(quotas) = quotas.filter(|quotas| !quotas.is_empty()) {
        json.extend(serde_json::to_vec(quotas).expect("the configuration's types have no maps with odd keys"));
    }
    let mut digest = hex::encode(Sha256::digest(json));
    digest.truncate(16);
    digest
}
