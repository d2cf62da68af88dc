//! The Gate: from an action to a permit or a refusal, in one readable function.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use systemprompt_extension::Metrics;
use systemprompt_model::DecisionId;

use crate::access::{AccessDecision, AccessRules, DenyReason};
use crate::action::{Action, ActionKind};
use crate::denial::{Denial, DenialKind, Refusal};
use crate::ledger::record::{
    Admission, Decision, canonical_json, clean, cleaned, cleaned_or_none, evaluations_json, micros, sha256,
};
use crate::ledger::{Ledger, Unavailable};
use crate::permit::Permit;
use crate::policy::{Evaluation, EvaluationResult, PolicyChain, PolicyInput, Subject};
use crate::redaction::Redaction;

/// Digests of contents above this size are computed on a thread where nobody waits for a turn (about half a
/// millisecond of work).
const DIGEST_APART: usize = 1024 * 1024;

/// Most texts that end an answer that are recorded.
const STOP_SEQUENCE_LIMIT: usize = 64;

/// The one place that decides whether something may be done. One for each server; shared by all surfaces.
pub struct Gate {
    rules: Arc<AccessRules>,
    policies: Arc<PolicyChain>,
    ledger: Arc<Ledger>,
    denials: Family<DenialLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DenialLabels {
    policy: String,
}

impl Gate {
    /// A gate that asks `rules`, then `policies`, and records in `ledger`.
    pub fn new(rules: Arc<AccessRules>, policies: PolicyChain, ledger: Arc<Ledger>, metrics: &Metrics) -> Self {
        let denials = Family::default();
        metrics.register("gateway_denials", "Requests that were refused, by the policy that did", denials.clone());
        Self { rules, policies: Arc::new(policies), ledger, denials }
    }

    /// The policies in force.
    pub fn policies(&self) -> &Arc<PolicyChain> {
        &self.policies
    }

    /// The access rules it asks.
    pub fn access_rules(&self) -> &Arc<AccessRules> {
        &self.rules
    }

    /// Decides whether `action` may be done. When this returns, the decision and the request are recorded; in the durable
    /// mode they are on disk.
    ///
    /// # Errors
    ///
    /// The action must not be done: a rule refused it, or the decision cannot be recorded. The latter is known within
    /// [`ADMISSION_WAIT`](crate::ledger::ADMISSION_WAIT).
    pub async fn admit(&self, mut action: Action) -> Result<Permit, Refusal> {
        // A dead ledger refuses before policies count the request.
        if !self.ledger.is_available() {
            return Err(Refusal::LedgerUnavailable);
        }
        let policies = &*self.policies;
        let redaction = Redaction::of(&mut action, policies.scanner());
        let mut evaluations = Vec::with_capacity(6);

        let started = Instant::now();
        let access = self.decide_access(&action).await;
        evaluations.push(Evaluation {
            policy_id: "access_control".into(),
            result: if access.is_ok() { EvaluationResult::Pass } else { EvaluationResult::Fail },
            detail: match &access {
                Ok(basis) => basis.clone().into(),
                Err(denial) => denial.reason.clone().into(),
            },
            duration_ms: started.elapsed().as_micros() as f64 / 1000.0,
        });
        if let Err(denial) = access {
            evaluations.extend(policies.unasked("already refused"));
            return Err(self.record_refusal(action, denial, evaluations, &redaction).await);
        }

        let outcome = policies
            .evaluate(&PolicyInput {
                principal: &action.principal,
                session_id: action.session_id,
                call_id: action.id,
                subject: match &action.kind {
                    ActionKind::Infer(_) => Subject::Prompt,
                },
                content: &action.content,
            })
            .await;
        evaluations.extend(outcome.evaluations);
        if !outcome.flagged.is_empty() {
            // They are part of the content, and may hold a piece of what was found in it.
            let ActionKind::Infer(inference) = &mut action.kind;
            inference.stop_sequences.clear();
        }
        if let Some(denial) = outcome.denial {
            return Err(self.record_refusal(action, denial, evaluations, &redaction).await);
        }
        redaction.details(&mut evaluations);
        let verdict = match outcome.warnings.into_iter().next() {
            Some(warning) => {
                let reason = redaction.reason(warning.reason);
                Verdict { decision: "warn", policy: warning.policy, reason: Some(reason) }
            }
            None if policies.is_enabled() => Verdict::allow("default_allow"),
            None => Verdict::allow("governance_disabled"),
        };
        self.record_admission(action, verdict, &evaluations, outcome.flagged).await
    }

    /// Records a surface's own refusal of an authenticated request, such as an unknown model, the same way as a rule's.
    /// Gives what the caller is to be told, without the credentials that may stand in what the denial quotes.
    pub async fn refuse(&self, mut action: Action, denial: Denial) -> Refusal {
        let redaction = Redaction::of(&mut action, self.policies.scanner());
        let evaluation = Evaluation {
            policy_id: denial.policy.clone().into(),
            result: EvaluationResult::Fail,
            detail: denial.reason.clone().into(),
            duration_ms: 0.0,
        };
        let evaluations = std::iter::once(evaluation).chain(self.policies.unasked("already refused")).collect();
        self.record_refusal(action, denial, evaluations, &redaction).await
    }

    /// What allowed it, or why it is denied. No answer is a denial.
    async fn decide_access(&self, action: &Action) -> Result<String, Denial> {
        let resource = &action.resource;
        let denial = |policy: &str, kind, code, why: &dyn fmt::Display| Denial {
            policy: policy.to_owned(),
            kind,
            reason: format!("{} `{}`: {why}", resource.kind, resource.id),
            retry_after: None,
            code,
        };
        match self.rules.decide(&action.principal, resource.kind, &resource.id).await {
            Ok(AccessDecision::Allowed(basis)) => Ok(basis.to_string()),
            Ok(AccessDecision::Denied(reason)) => {
                let policy = match reason {
                    DenyReason::UserDeny | DenyReason::AttributeDeny { .. } | DenyReason::RoleDeny(_) => {
                        "authz_rule_based"
                    }
                    DenyReason::NotAssigned | DenyReason::UnknownEntity => "authz_default_deny",
                };
                Err(denial(policy, DenialKind::NotEntitled, reason.kind(), &reason))
            }
            Err(error) => {
                tracing::error!(%error, "access rules cannot be read; requests are refused");
                let why = "access rules cannot be read at present";
                Err(denial("authz_default_deny", DenialKind::Unavailable, "authz_unavailable", &why))
            }
        }
    }

    async fn record_admission(
        &self,
        action: Action,
        verdict: Verdict,
        evaluations: &[Evaluation],
        flagged: Vec<Range<usize>>,
    ) -> Result<Permit, Refusal> {
        let (id, content) = (action.id, action.content.clone());
        let record = self.record(action, verdict, evaluations).await;
        let model = record.upstream_model.clone();
        let scanner = Arc::clone(self.policies.scanner());
        match self.ledger.admit(record).await {
            Ok(request) => Ok(Permit::new(request, id, content, model, flagged, scanner)),
            Err(Unavailable) => Err(Refusal::LedgerUnavailable),
        }
    }

    async fn record_refusal(
        &self,
        action: Action,
        denial: Denial,
        mut evaluations: Vec<Evaluation>,
        redaction: &Redaction<'_>,
    ) -> Refusal {
        let denial = Denial { reason: redaction.reason(denial.reason), ..denial };
        redaction.details(&mut evaluations);
        let verdict = Verdict { decision: "deny", policy: denial.policy.clone(), reason: Some(denial.reason.clone()) };
        let record = self.record(action, verdict, &evaluations).await;
        match self.ledger.refuse(record).await {
            Ok(()) => {
                self.denials.get_or_create(&DenialLabels { policy: denial.policy.clone() }).inc();
                Refusal::Denied(denial)
            }
            Err(Unavailable) => Refusal::LedgerUnavailable,
        }
    }

    /// The record of a request whose texts were [redacted](Redaction).
    async fn record(&self, action: Action, verdict: Verdict, evaluations: &[Evaluation]) -> Admission {
        let prepared_sha256 = digest(&action.content).await;
        let ambient = self.ledger.ambient();
        let ActionKind::Infer(inference) = action.kind;
        let actor = action.actors.current();
        let delegated = action.actors.links().len() > 1;
        let stop_sequences: Vec<String> =
            inference.stop_sequences.into_iter().take(STOP_SEQUENCE_LIMIT).map(cleaned).collect();
        let decision = Decision {
            id: DecisionId::generate(ambient).as_uuid(),
            entity_type: action.resource.kind.as_str().into(),
            entity_id: cleaned(self.policies.scanner().redacted_id(action.resource.id)),
            tool_name: Some("user_prompt".into()),
            agent_id: None,
            agent_scope: None,
            plugin_id: None,
            verdict: verdict.decision.into(),
            policy: cleaned(verdict.policy),
            reason: verdict.reason.map(cleaned),
            evaluated_rules: evaluations_json(evaluations),
            policy_version: self.policies.version().to_owned(),
            act_chain: delegated.then(|| canonical_json(&serde_json::json!(action.actors))),
            created_at: micros(ambient.now()),
        };
        Admission {
            id: action.id.as_uuid(),
            instance_id: self.ledger.instance_id(),
            user_id: action.principal.user_id.as_uuid(),
            session_id: action.session_id.as_uuid(),
            trace_id: action.trace_id.as_uuid(),
            context_id: action.context_id.map(|id| id.as_uuid()),
            task_id: None,
            mcp_execution_id: None,
            conversation_id: cleaned_or_none(inference.conversation_id),
            actor_kind: actor.kind.as_str().into(),
            actor_id: clean(&actor.id),
            client: inference.client.and_then(cleaned_or_none),
            client_trace_id: inference.client_trace_id.and_then(cleaned_or_none),
            dialect: cleaned(inference.dialect),
            provider: cleaned_or_none(inference.provider),
            upstream_model: cleaned_or_none(inference.model),
            requested_model: cleaned_or_none(inference.requested_model),
            route_match: cleaned_or_none(inference.route_match),
            system_prompt_override: None,
            temperature: inference.temperature,
            top_p: inference.top_p,
            max_tokens: inference.max_tokens.map(|tokens| tokens.min(1 << 53) as i64),
            stop_sequences: (!stop_sequences.is_empty()).then(|| canonical_json(&serde_json::json!(stop_sequences))),
            tools_offered: i32::try_from(inference.tools).unwrap_or(i32::MAX),
            is_streaming: inference.stream,
            synthetic: false,
            content_bytes: action.content.len() as i64,
            prepared_sha256,
            created_at: micros(action.received_at),
            decision,
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("policies", &self.policies()).finish_non_exhaustive()
    }
}

/// What a decision's record says.
struct Verdict {
    decision: &'static str,
    policy: String,
    reason: Option<String>,
}

impl Verdict {
    fn allow(policy: &str) -> Self {
        Self { decision: "allow", policy: policy.to_owned(), reason: None }
    }
}

async fn digest(content: &Bytes) -> [u8; 32] {
    if content.len() > DIGEST_APART {
        let shared = content.clone();
        if let Ok(digest) = tokio::task::spawn_blocking(move || sha256(&shared)).await {
            return digest;
        }
    }
    sha256(content)
}
