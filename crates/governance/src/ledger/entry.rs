//! Entries as they are written: the canonical JSON of what happened, sealed with its digest.
//!
//! Keys are in ascending order, absent values leave no trace, times are microseconds since 1970, digests hexadecimal.
//! [`systemprompt_extension::ledger`] has the same entries as they are read.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use systemprompt_extension::ledger::{ChainHead, EntryKind};
use systemprompt_extension::policy::{Subject, Usage};
use systemprompt_model::{ActionId, Attribution, Credential, DecisionId, InstanceId, Resource};
use uuid::Uuid;

use super::canonical::CanonicalObject;
use super::kept::KeptDigest;
use super::signature::{Signature, head_object};
use super::text::{Sha, cleaned, micros, sha256};
use crate::access::DEPARTMENT;
use crate::policy::Evaluation;
use crate::safety::SafetyRecord;

/// The reason of actions that were found open after their server died.
pub(crate) const ABANDONED: &str = "abandoned: the server that admitted it stopped before it ended";

/// The reason of a checkpoint that says which entries retention drops, rather than where chains end.
pub(crate) const DROPPED: &str = "dropped";

/// An entry that is ready to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) kind: EntryKind,
    pub(crate) action: Uuid,
    /// Canonical JSON.
    pub(crate) body: String,
    pub(crate) sha256: Sha,
}

impl Sealed {
    fn new(kind: EntryKind, action: ActionId, body: String) -> Self {
        let sha256 = sha256(body.as_bytes());
        Self { kind, action: action.as_uuid(), body, sha256 }
    }
}

/// What an entry `decided` says. What came from outside was cleaned before.
pub(crate) struct DecidedEntry<'a> {
    pub(crate) action: ActionId,
    pub(crate) at: DateTime<Utc>,
    pub(crate) by: &'a Attribution,
    /// The ids of those who act, as they may be recorded.
    pub(crate) actors: &'a [Cow<'a, str>],
    /// The client program and the trace it sent, as they may be recorded.
    pub(crate) client: Option<&'a str>,
    pub(crate) client_trace: Option<&'a str>,
    pub(crate) content_bytes: usize,
    pub(crate) content_sha256: Sha,
    pub(crate) decision: DecisionId,
    pub(crate) evaluations: &'a [Evaluation],
    pub(crate) policy: &'a str,
    pub(crate) policy_version: &'a str,
    pub(crate) reason: Option<&'a str>,
    pub(crate) subject: &'a str,
    pub(crate) verdict: &'static str,
    pub(crate) effect: &'static str,
    /// Canonical JSON.
    pub(crate) facts: &'a str,
    pub(crate) instance: InstanceId,
    /// What is kept of it beside the log, if this is the last entry about it.
    pub(crate) kept: Option<&'a [KeptDigest<'a>]>,
    pub(crate) received_at: DateTime<Utc>,
    pub(crate) resource: &'a Resource,
    pub(crate) resource_id: &'a str,
    /// Where it may go, as it may be recorded.
    pub(crate) targets: &'a [Cow<'a, str>],
}

impl DecidedEntry<'_> {
    pub(crate) fn seal(&self) -> Sealed {
        let mut entry = CanonicalObject::with_capacity(2048);
        entry.uuid("action", Some(self.action.as_uuid()));
        entry.time("at", Some(micros(self.at)));
        entry.object("by", |by| {
            by.objects("actors", self.by.actors.links().iter().zip(self.actors), |link, (actor, id)| {
                link.text("id", Some(id));
                link.text("kind", Some(actor.kind.as_str()));
            });
            by.text("client", self.client);
            by.text("client_trace", self.client_trace);
            by.uuid("context", self.by.context.map(|id| id.as_uuid()));
            by.text("credential", Some(credential(&self.by.principal.credential)));
            by.text("department", self.by.principal.attributes.get(DEPARTMENT).map(|name| cleaned(name)).as_deref());
            by.uuid("key", key(&self.by.principal.credential));
            if !self.by.principal.roles.is_empty() {
                let roles: Vec<_> = self.by.principal.roles.iter().map(|role| cleaned(role)).collect();
                by.texts("roles", roles.iter().map(AsRef::as_ref));
            }
            by.text("session", self.by.session.map(|id| id.to_string()).as_deref());
            by.uuid("task", self.by.task.map(|id| id.as_uuid()));
            by.uuid("trace", Some(self.by.trace.as_uuid()));
            by.uuid("user", self.by.principal.account().map(|id| id.as_uuid()));
        });
        entry.object("content", |content| {
            content.integer("bytes", Some(self.content_bytes as i64));
            content.bytes("sha256", Some(&self.content_sha256));
        });
        entry.object("decision", |decision| {
            evaluations_list(decision, "evaluations", self.evaluations);
            decision.uuid("id", Some(self.decision.as_uuid()));
            decision.text("policy", Some(&cleaned(self.policy)));
            decision.text("policy_version", Some(self.policy_version));
            decision.text("reason", self.reason.map(cleaned).as_deref());
            decision.text("subject", Some(self.subject));
            decision.text("verdict", Some(self.verdict));
        });
        entry.object("effect", |effect| {
            effect.json("facts", Some(self.facts));
            effect.text("kind", Some(self.effect));
        });
        entry.uuid("instance", Some(self.instance.as_uuid()));
        if let Some(kept) = self.kept {
            kept_list(&mut entry, kept);
        }
        entry.text("kind", Some(EntryKind::Decided.as_str()));
        entry.time("received_at", Some(micros(self.received_at)));
        entry.object("resource", |resource| {
            resource.text("id", Some(&cleaned(self.resource_id)));
            resource.text("kind", Some(self.resource.kind.as_str()));
        });
        if !self.targets.is_empty() {
            entry.texts("targets", self.targets.iter().map(AsRef::as_ref));
        }
        Sealed::new(EntryKind::Decided, self.action, entry.finish())
    }
}

/// What an entry `attempted` says. What came from outside was cleaned before.
pub(crate) struct AttemptedEntry<'a> {
    pub(crate) action: ActionId,
    pub(crate) at: DateTime<Utc>,
    /// The bytes of this attempt, if others were decided upon.
    pub(crate) judged: Option<&'a Judged<'a>>,
    pub(crate) effect: &'static str,
    pub(crate) number: u32,
    pub(crate) target: &'a str,
    /// What the attempt before it used.
    pub(crate) used: Usage,
    /// Why the attempt before it came to nothing.
    pub(crate) why: &'a str,
}

/// Bytes that were judged after the decision.
pub(crate) struct Judged<'a> {
    pub(crate) bytes: usize,
    pub(crate) sha256: Sha,
    pub(crate) evaluations: &'a [Evaluation],
}

impl AttemptedEntry<'_> {
    pub(crate) fn seal(&self) -> Sealed {
        let mut entry = CanonicalObject::with_capacity(256);
        entry.uuid("action", Some(self.action.as_uuid()));
        entry.time("at", Some(micros(self.at)));
        if let Some(judged) = self.judged {
            entry.object("content", |content| {
                content.integer("bytes", Some(judged.bytes as i64));
                content.bytes("sha256", Some(&judged.sha256));
            });
        }
        entry.text("effect", Some(self.effect));
        if let Some(judged) = self.judged {
            evaluations_list(&mut entry, "evaluations", judged.evaluations);
        }
        entry.text("kind", Some(EntryKind::Attempted.as_str()));
        entry.integer("number", Some(i64::from(self.number)));
        entry.text("target", Some(self.target));
        if self.used != Usage::default() {
            usage_object(&mut entry, self.used);
        }
        entry.text("why", Some(&cleaned(self.why)));
        Sealed::new(EntryKind::Attempted, self.action, entry.finish())
    }
}

/// What an entry `ended` says. What came from outside was cleaned before.
pub(crate) struct EndedEntry<'a> {
    pub(crate) action: ActionId,
    pub(crate) answer: Option<(u64, Option<Sha>)>,
    pub(crate) at: DateTime<Utc>,
    pub(crate) effect: &'static str,
    /// Canonical JSON.
    pub(crate) facts: Option<&'a str>,
    pub(crate) inspections: &'a [Evaluation],
    /// What is kept of it beside the log.
    pub(crate) kept: &'a [KeptDigest<'a>],
    pub(crate) latency_ms: Option<i64>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) status: &'static str,
    pub(crate) usage: Usage,
}

impl EndedEntry<'_> {
    pub(crate) fn seal(&self) -> Sealed {
        let mut entry = CanonicalObject::with_capacity(768);
        entry.uuid("action", Some(self.action.as_uuid()));
        if let Some((bytes, sha256)) = &self.answer {
            entry.object("answer", |answer| {
                answer.integer("bytes", Some(count(*bytes)));
                answer.bytes("sha256", sha256.as_ref().map(<[u8; 32]>::as_slice));
            });
        }
        entry.time("at", Some(micros(self.at)));
        entry.text("effect", Some(self.effect));
        entry.json("facts", self.facts);
        if !self.inspections.is_empty() {
            evaluations_list(&mut entry, "inspections", self.inspections);
        }
        kept_list(&mut entry, self.kept);
        entry.text("kind", Some(EntryKind::Ended.as_str()));
        entry.integer("latency_ms", self.latency_ms);
        entry.text("reason", self.reason.map(cleaned).as_deref());
        entry.text("status", Some(self.status));
        usage_object(&mut entry, self.usage);
        Sealed::new(EntryKind::Ended, self.action, entry.finish())
    }
}

fn usage_object(entry: &mut CanonicalObject, used: Usage) {
    entry.object("usage", |usage| {
        usage.integer("calls", Some(count(used.calls)));
        usage.integer("cost_microdollars", Some(used.cost.0));
        usage.integer("input_tokens", Some(count(used.input_tokens)));
        usage.integer("output_tokens", Some(count(used.output_tokens)));
    });
}

/// An action that was found open after its server died.
pub(crate) fn abandoned(action: ActionId, effect: &str, at: DateTime<Utc>) -> Sealed {
    let mut entry = CanonicalObject::with_capacity(256);
    entry.uuid("action", Some(action.as_uuid()));
    entry.time("at", Some(micros(at)));
    entry.text("effect", Some(effect));
    entry.text("kind", Some(EntryKind::Abandoned.as_str()));
    entry.text("reason", Some(ABANDONED));
    Sealed::new(EntryKind::Abandoned, action, entry.finish())
}

/// Where all chains stand, signed with the key of the home.
pub(crate) fn checkpoint(
    heads: &[ChainHead],
    reason: &str,
    signature: Option<&Signature>,
    at: DateTime<Utc>,
) -> Sealed {
    let mut entry = CanonicalObject::with_capacity(512);
    entry.time("at", Some(micros(at)));
    entry.objects("heads", heads, head_object);
    entry.text("key", signature.map(|signature| signature.key.as_str()));
    entry.text("kind", Some(EntryKind::Checkpoint.as_str()));
    entry.text("public_key", signature.map(|signature| signature.public_key.as_str()));
    entry.text("reason", Some(reason));
    entry.text("signature", signature.map(|signature| signature.text.as_str()));
    Sealed::new(EntryKind::Checkpoint, ActionId::from_uuid(Uuid::nil()), entry.finish())
}

/// What is judged, as records call it.
pub(crate) fn subject_name<'a>(subject: &Subject<'a>) -> &'a str {
    match subject {
        Subject::Prompt => "user_prompt",
        Subject::ToolCall { name } | Subject::ToolResult { name } | Subject::Job { name } => name,
        Subject::Message => "message",
        Subject::Reply => "reply",
        Subject::Hook { event } => event,
        Subject::Change { operation } => operation,
        // An answer is judged within an action that began as something else.
        _ => "answer",
    }
}

const fn credential(credential: &Credential) -> &'static str {
    match credential {
        Credential::ApiKey(_) => "api_key",
        Credential::Token { .. } => "token",
        Credential::OperatingSystem { .. } => "operating_system",
        Credential::Installation => "installation",
    }
}

const fn key(credential: &Credential) -> Option<Uuid> {
    match credential {
        Credential::ApiKey(key) => Some(key.as_uuid()),
        Credential::Token { .. } | Credential::OperatingSystem { .. } | Credential::Installation => None,
    }
}

/// Writes a list of what policies said.
fn evaluations_list(entry: &mut CanonicalObject, key: &'static str, evaluations: &[Evaluation]) {
    entry.objects(key, evaluations, |entry, evaluation| {
        entry.text("detail", (!evaluation.detail.is_empty()).then(|| cleaned(&evaluation.detail)).as_deref());
        entry.number("duration_ms", Some(evaluation.duration_ms));
        if !evaluation.findings.is_empty() {
            entry.objects("findings", &evaluation.findings, finding_object);
        }
        entry.text("policy_id", Some(&evaluation.policy_id));
        if !evaluation.replaced.is_empty() {
            entry.objects("replaced", &evaluation.replaced, |entry, replaced| {
                entry.text("path", Some(&cleaned(&replaced.path)));
                entry.text("placeholder", Some(&replaced.placeholder));
                entry.text("rule", Some(&cleaned(&replaced.rule)));
            });
        }
        entry.text("result", Some(evaluation.result.as_str()));
        entry.text("version", evaluation.version.as_deref());
    });
}

/// Writes what a scanner found. What it found it in is content, and not told here.
fn finding_object(entry: &mut CanonicalObject, finding: &SafetyRecord) {
    entry.boolean("blocked", Some(finding.blocked));
    entry.text("category", Some(&cleaned(&finding.category)));
    entry.text("phase", Some(finding.phase.as_str()));
    entry.text("scanner", Some(&finding.scanner));
    entry.integer("sequence", Some(finding.sequence as i64));
    entry.text("severity", Some(finding.severity.as_str()));
}

/// Writes what is kept beside the log, by its digests. There is a list even if there is nothing, so that nobody can say that
/// an entry was written before there were any.
fn kept_list(entry: &mut CanonicalObject, kept: &[KeptDigest<'_>]) {
    entry.objects("kept", kept, |entry, kept| {
        entry.integer("bytes", Some(count(kept.bytes)));
        entry.text("part", Some(&cleaned(kept.part)));
        entry.bytes("sha256", kept.sha256.as_ref().map(<[u8; 32]>::as_slice));
    });
}

/// Counts end at 2^53, as JSON's numbers do.
fn count(value: u64) -> i64 {
    value.min(1 << 53) as i64
}
