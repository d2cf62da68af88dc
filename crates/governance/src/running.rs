//! An effect that is under way, and how it ends.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use systemprompt_extension::policy::{
    Allowance, DenialKind, Hold, OfferedTools, Phase, PolicyInput, Subject, Texts, Usage,
};
use systemprompt_model::{ActionId, Attribution, Resource};
use tokio::sync::oneshot;

use crate::action::{NotPermitted, Target};
use crate::answer_safety::AnswerSafety;
use crate::answer_secrets::{JudgedSecrets, SECRET_SCAN};
use crate::denial::Denial;
use crate::effect::{Effect, Facts as _, FactsWriter};
use crate::filed;
use crate::ledger::content::{ANSWER, KeptPart, REQUEST};
use crate::ledger::entry::{AttemptedEntry, EndedEntry, Judged as JudgedBytes, Sealed};
use crate::ledger::kept::KeptDigest;
use crate::ledger::queue::Following;
use crate::ledger::retention::Class;
use crate::ledger::text::{cut, sha256};
use crate::ledger::{OpenAction, Payload, TOOL_INPUT_LIMIT};
use crate::originals::Originals;
use crate::policy::{ChainOutcome, Evaluation, PolicyChain, SAFETY};
use crate::redaction::Redaction;
use crate::replacing::Replaced;
use crate::safety::{Judged, Subject as Scanned};
use crate::secret_scan::{entrusted, redact};

/// Most parts of content that are kept besides the request and the answer.
const PART_LIMIT: usize = 128;

/// An effect that was permitted and is under way. [`finish`](Self::finish) says how it ended; dropped without that, it is
/// recorded as `failed`, and what policies had set aside for it is given back.
#[must_use = "the action stays open until it is finished"]
pub struct Running<E: Effect> {
    pub(crate) open: OpenAction,
    pub(crate) id: ActionId,
    pub(crate) by: Attribution,
    pub(crate) resource: Resource,
    pub(crate) targets: Vec<Target>,
    pub(crate) attempts: u32,
    /// What was decided upon, which is what is kept.
    pub(crate) content: Bytes,
    /// What was judged last, and may leave now.
    pub(crate) judged: Bytes,
    pub(crate) effect: E,
    pub(crate) flagged: Vec<Range<usize>>,
    /// What stood where there are placeholders now.
    pub(crate) originals: Originals,
    pub(crate) holds: Vec<Box<dyn Hold>>,
    pub(crate) policies: Arc<PolicyChain>,
    /// How many findings were recorded, and what they were found in.
    pub(crate) found: usize,
    pub(crate) excerpts: Vec<KeptPart>,
    pub(crate) inspections: Vec<Evaluation>,
    /// A policy objected to what came back, so nothing of it is kept.
    pub(crate) answer_is_suspect: bool,
    pub(crate) begun: Instant,
}

/// What may be done with something that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection {
    /// The caller may have it.
    Give,
    /// The caller may not.
    Withhold(Denial),
}

/// Why an effect cannot go on to another target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDiverted {
    /// The decision was not about this target.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// A policy objects to the bytes it would be sent.
    #[error("{0}")]
    Denied(Denial),
}

impl<E: Effect> Running<E> {
    /// The id of the action.
    pub fn id(&self) -> ActionId {
        self.id
    }

    /// What is done.
    pub fn effect(&self) -> &E {
        &self.effect
    }

    /// What is left of the limits that were asked, for the caller.
    pub fn allowances(&self) -> impl Iterator<Item = &Allowance> {
        self.holds.iter().flat_map(|hold| hold.allowances())
    }

    /// How much of the answer is worth holding for [`Outcome::answer`], in bytes.
    pub fn content_limit(&self) -> usize {
        if self.flagged.is_empty() { self.open.ledger().retention().content(Class::Answers).limit() } else { 0 }
    }

    /// What stood where the judged bytes have placeholders, for whoever gets the answer.
    pub fn originals(&self) -> &Originals {
        &self.originals
    }

    /// Whether what came back may be given once more to the same request: no policy found anything in either.
    pub fn may_be_repeated(&self) -> bool {
        self.flagged.is_empty() && !self.answer_is_suspect
    }

    /// Begins another attempt under the same decision, because the one before it came to nothing, having used `used`: an
    /// entry `attempted`. Gives the bytes to send again, which are those that were judged last.
    ///
    /// # Errors
    ///
    /// The target is not one of those that were admitted.
    pub fn retry(&mut self, target: &Target, why: &str, used: Usage) -> Result<Bytes, NotPermitted> {
        self.permits(target)?;
        self.attempt(target, why, used, None);
        Ok(self.judged.clone())
    }

    /// The same with bytes of its own, as another target may need them: they leave if the policies whose answer depends on
    /// them have nothing against them, and the entry has their digest and what was said. What is said against them is
    /// recorded with the end.
    ///
    /// # Errors
    ///
    /// The target is not one of those that were admitted, or a policy objects. Nothing may be sent; what was judged before
    /// may still be, elsewhere.
    pub async fn divert(
        &mut self,
        target: &Target,
        content: Bytes,
        why: &str,
        used: Usage,
    ) -> Result<Bytes, NotDiverted> {
        self.permits(target)?;
        if content == self.judged {
            return Ok(self.retry(target, why, used)?);
        }
        let read_tools = || self.effect.offered_tools();
        let read_destructive = || self.effect.destructive_tools();
        let input = PolicyInput {
            phase: Phase::Before,
            action: self.id,
            by: &self.by,
            resource: &self.resource,
            subject: self.effect.subject(),
            content: &content,
            complete: true,
            texts: &Texts::of(&content),
            model: self.effect.model(),
            estimate: self.effect.estimate(),
            replaceable: self.effect.is_replaceable(),
            offered_tools: &OfferedTools::read_by(&read_tools).with_destructive(&read_destructive),
            // It has been judged where it may go.
            places: &[],
            headers: self.effect.headers(),
        };
        let mut outcome = self.policies.evaluate_content(&input, |content| self.effect.earlier(content)).await;
        let redaction = Redaction::new(self.policies.scanner());
        let mut evaluations = outcome.evaluations;
        redaction.details(&mut evaluations);
        // The same was found in other bytes, and is recorded with the decision.
        for evaluation in &mut evaluations {
            evaluation.findings.clear();
        }
        if let Some(denial) = outcome.denial {
            self.inspections.extend(evaluations);
            return Err(NotDiverted::Denied(Denial { reason: redaction.reason(denial.reason), ..denial }));
        }
        self.holds.extend(outcome.holds);
        self.answer_is_suspect |= !outcome.flagged.is_empty();
        self.originals.add(std::mem::take(&mut outcome.replaced));
        let content = outcome.content.unwrap_or(content);
        let sha256 = self.open.ledger().digest(&content).await;
        self.attempt(target, why, used, Some(&JudgedBytes { bytes: content.len(), sha256, evaluations: &evaluations }));
        self.judged = content.clone();
        Ok(content)
    }

    fn permits(&self, target: &Target) -> Result<(), NotPermitted> {
        if self.targets.contains(target) { Ok(()) } else { Err(NotPermitted(target.as_str().to_owned())) }
    }

    /// Records that another attempt begins.
    fn attempt(&mut self, target: &Target, why: &str, used: Usage, judged: Option<&JudgedBytes<'_>>) {
        self.attempts += 1;
        let mut redaction = Redaction::new(self.policies.scanner());
        // For what is found in them; they were recorded with the decision.
        drop(FactsWriter::write(&mut redaction, false, |facts| self.effect.facts(facts)));
        let entry = AttemptedEntry {
            action: self.id,
            at: self.open.ledger().now(),
            judged,
            effect: E::KIND,
            number: self.attempts,
            target: &redaction.name(target.as_str()),
            used,
            why: &redaction.reason(why.to_owned()),
        };
        self.open.note(entry.seal());
    }

    /// Whether some policy wants to see `subject` before the caller does. What none wants to see need not be collected.
    pub fn is_inspected(&self, subject: Subject<'_>) -> bool {
        self.policies.applies(Phase::After, subject)
    }

    /// Asks the policies about something that came back, at most `limit` long: one that has not answered by then has
    /// objected. What they say is recorded with the end.
    pub async fn inspect(
        &mut self,
        subject: Subject<'_>,
        content: &Bytes,
        texts: &Texts<'_>,
        limit: Duration,
    ) -> Inspection {
        self.ask(subject, content, true, texts, limit).await
    }

    /// The same about a tool that a model asks for with this input, of which less may be there than was said.
    pub async fn inspect_call(&mut self, name: &str, input: &Bytes, complete: bool, limit: Duration) -> Inspection {
        self.ask(Subject::ToolCall { name }, input, complete, &Texts::of(input), limit).await
    }

    async fn ask(
        &mut self,
        subject: Subject<'_>,
        content: &Bytes,
        complete: bool,
        texts: &Texts<'_>,
        limit: Duration,
    ) -> Inspection {
        let read_tools = || self.effect.offered_tools();
        let read_destructive = || self.effect.destructive_tools();
        let input = PolicyInput {
            phase: Phase::After,
            action: self.id,
            by: &self.by,
            resource: &self.resource,
            subject,
            content,
            complete,
            texts,
            model: self.effect.model(),
            estimate: self.effect.estimate(),
            replaceable: false,
            offered_tools: &OfferedTools::read_by(&read_tools).with_destructive(&read_destructive),
            places: &[],
            headers: &[],
        };
        let deadline = Some(tokio::time::Instant::now() + limit);
        let outcome = self.policies.evaluate(&input, |_| Vec::new(), deadline).await;
        // What only lacks a permission may be read by whoever reads the record.
        let is_about_content = |objection: &Denial| objection.kind != DenialKind::NotEntitled;
        self.answer_is_suspect |=
            outcome.denial.is_some() || outcome.warnings.iter().any(is_about_content) || !outcome.flagged.is_empty();
        self.holds.extend(outcome.holds);
        let redaction = Redaction::new(self.policies.scanner());
        let mut evaluations = outcome.evaluations;
        redaction.details(&mut evaluations);
        self.inspections.extend(evaluations);
        match outcome.denial {
            Some(denial) => Inspection::Withhold(Denial { reason: redaction.reason(denial.reason), ..denial }),
            None => Inspection::Give,
        }
    }

    /// What looks at answers, for safety or for credentials, if anything does.
    pub fn safety(&self) -> Option<AnswerSafety> {
        let (safety, secrets) = (self.policies.safety(), self.policies.answer_secrets());
        AnswerSafety::new(safety.cloned(), secrets.cloned(), || {
            let model = self.effect.model().map(|call| call.name.to_owned());
            Scanned { action: self.id, by: self.by.clone(), model }
        })
    }

    /// Looks at an answer, of which a stream says so much in pieces. What is found is recorded with the end, and withholds the
    /// answer if the caller does not have it yet.
    pub async fn look_for_safety(
        &mut self,
        safety: &AnswerSafety,
        answer: &Bytes,
        said: &[String],
        has_it: bool,
    ) -> Inspection {
        if let Some(scanners) = &safety.safety {
            let started = Instant::now();
            let judged = scanners.judge_answer(&safety.subject, &Texts::with(answer, said), !has_it).await;
            let (evaluation, denial) = self.judged(SAFETY, judged, started);
            self.note(evaluation);
            if let Some(denial) = denial {
                return Inspection::Withhold(denial);
            }
        }
        if let Some(secrets) = &safety.secrets {
            let started = Instant::now();
            let JudgedSecrets { judged, replaced } = secrets.judge(answer, said, has_it).await;
            if judged.objection.is_none() && judged.records.is_empty() {
                // Nearly always, so nothing is said of it.
                return Inspection::Give;
            }
            let (evaluation, denial) = self.judged(SECRET_SCAN, judged, started);
            let detail = if replaced.is_empty() { evaluation.detail } else { told(&replaced).into() };
            self.note(Evaluation { detail, replaced, ..evaluation });
            if let Some(denial) = denial {
                return Inspection::Withhold(denial);
            }
        }
        Inspection::Give
    }

    fn judged(&mut self, policy: &'static str, judged: Judged, started: Instant) -> (Evaluation, Option<Denial>) {
        self.answer_is_suspect |= judged.holds_secret;
        let mut outcome = ChainOutcome::default();
        let (evaluation, withheld) = outcome.judged(policy, judged, started);
        self.answer_is_suspect |= withheld;
        (evaluation, outcome.denial)
    }

    /// Has it recorded with the end, and files what was found.
    fn note(&mut self, mut evaluation: Evaluation) {
        let evaluations = std::slice::from_mut(&mut evaluation);
        let retention = self.open.ledger().retention().content(Class::Findings);
        self.excerpts.extend(filed::file(evaluations, self.found, retention));
        self.found += filed::count(evaluations);
        self.inspections.push(evaluation);
    }

    /// Notes the outcome it has if this process dies before it says more: what had been used by then counts. Costs nothing
    /// where nobody would read it.
    pub fn stands(&self, outcome: &Outcome<E>) {
        if self.open.is_followed() {
            let scanner = Arc::clone(self.policies.scanner());
            let mut redaction = Redaction::new(&scanner);
            let suspect = self.answer_is_suspect || !self.flagged.is_empty();
            let answer_digest = outcome.answer.as_ref().and_then(digest_of);
            self.open.stands(&self.seal(outcome, answer_digest, &[], suspect, &mut redaction));
        }
    }

    /// Says how it ended, and settles what policies had set aside. Never waits: the end is written with one of the next
    /// batches, and again until it is.
    pub fn finish(mut self, outcome: Outcome<E>) {
        self.settle(&outcome);
        self.give_up(outcome);
    }

    /// The same, for somebody who must know when the end is written.
    pub(crate) fn finish_watched(mut self, outcome: Outcome<E>) -> oneshot::Receiver<()> {
        self.settle(&outcome);
        let (open, end) = self.end(outcome);
        let (end, written) = end.watched();
        open.close(end);
        written
    }

    /// Records the end. What is still set aside is given back.
    pub(crate) fn give_up(self, outcome: Outcome<E>) {
        let (open, end) = self.end(outcome);
        open.close(end);
    }

    fn settle(&mut self, outcome: &Outcome<E>) {
        for hold in std::mem::take(&mut self.holds) {
            hold.settle(&outcome.usage);
        }
    }

    /// What is not stored of the request: what was found in it, and credentials it has to carry.
    fn hidden(&self) -> Vec<Range<usize>> {
        let mut hidden = entrusted(&self.content);
        if !self.flagged.is_empty() {
            hidden.extend(self.flagged.iter().cloned());
            hidden.sort_by_key(|range| range.start);
        }
        hidden
    }

    fn end(mut self, mut outcome: Outcome<E>) -> (OpenAction, Following) {
        let scanner = Arc::clone(self.policies.scanner());
        let mut redaction = Redaction::new(&scanner);
        let suspect = self.answer_is_suspect || !self.flagged.is_empty();
        let retention = *self.open.ledger().retention();
        let hidden = self.hidden();
        let mut content = std::mem::take(&mut self.excerpts);
        let request = if hidden.is_empty() { self.content.clone() } else { redact(&self.content, &hidden) };
        content.extend(retention.content(Class::Prompts).keep(&request).map(|kept| KeptPart::new(REQUEST, kept)));
        // An answer may repeat what was found, so nothing is kept of it.
        if !suspect {
            let answer =
                outcome.answer.as_ref().and_then(|answer| retention.content(Class::Answers).keep_payload(answer));
            content.extend(answer.map(|kept| KeptPart::new(ANSWER, kept)));
            content.extend(std::mem::take(&mut outcome.parts).into_iter().take(PART_LIMIT).filter_map(
                |(name, text)| {
                    let kept = retention
                        .content(Class::ToolInputs)
                        .keep(&Bytes::copy_from_slice(cut(&text, TOOL_INPUT_LIMIT).as_bytes()))?;
                    Some(KeptPart::new(name, kept))
                },
            ));
        }
        let answer_digest = outcome.answer.as_ref().and_then(digest_of);
        // What is kept as it was has its digest in the log already.
        let is_known = |part: &KeptPart| match &*part.name {
            REQUEST => hidden.is_empty(),
            ANSWER => answer_digest.is_some(),
            _ => false,
        };
        let kept: Vec<_> = content.iter().map(|part| part.digest(is_known(part))).collect();
        let end = self.seal(&outcome, answer_digest, &kept, suspect, &mut redaction);
        drop(kept);
        (self.open, Following::new(end).keeping(content))
    }

    /// The entry about its end, of which so much is kept beside the log. `suspect`: a policy objected to what was said.
    fn seal(
        &self,
        outcome: &Outcome<E>,
        answer_digest: Option<[u8; 32]>,
        kept: &[KeptDigest<'_>],
        suspect: bool,
        redaction: &mut Redaction<'_>,
    ) -> Sealed {
        let facts =
            outcome.result.as_ref().map(|result| FactsWriter::write(redaction, suspect, |facts| result.facts(facts)));
        let (status, reason) = match &outcome.status {
            OutcomeStatus::Completed => ("completed", None),
            // A provider may quote the request in what it says.
            OutcomeStatus::Failed { reason } => ("failed", Some(redaction.reason(reason.clone()))),
        };
        EndedEntry {
            action: self.id,
            answer: outcome.answer.as_ref().map(|answer| (answer.bytes, answer_digest)),
            at: self.open.ledger().now(),
            effect: E::KIND,
            facts: facts.as_deref(),
            inspections: &self.inspections,
            kept,
            latency_ms: Some(i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX)),
            reason: reason.as_deref(),
            status,
            usage: outcome.usage,
        }
        .seal()
    }
}

impl<E: Effect> fmt::Debug for Running<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("effect", &E::KIND).field("id", &self.id).finish_non_exhaustive()
    }
}

/// How something that was permitted ended.
#[derive(Debug)]
pub struct Outcome<E: Effect> {
    /// Well or not.
    pub status: OutcomeStatus,
    /// What it used up.
    pub usage: Usage,
    /// What came back. What is kept of it follows the retention setting; its digest is recorded.
    pub answer: Option<Payload>,
    /// Further parts of content worth keeping, by names of the feature's, such as `tool_call.0`; each cut at 64 KiB, the
    /// first 128 of them.
    pub parts: Vec<(Cow<'static, str>, String)>,
    /// What the feature says about it.
    pub result: Option<E::Result>,
}

impl<E: Effect> Outcome<E> {
    /// It ended well, with this result.
    pub fn completed(result: E::Result) -> Self {
        Self { result: Some(result), ..Self::new(OutcomeStatus::Completed) }
    }

    /// It came to nothing, for this reason.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::new(OutcomeStatus::Failed { reason: reason.into() })
    }

    /// An outcome of which nothing else is known.
    pub fn new(status: OutcomeStatus) -> Self {
        Self { status, usage: Usage::ONE_CALL, answer: None, parts: Vec::new(), result: None }
    }
}

/// Whether it ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutcomeStatus {
    /// It did what it was to do.
    Completed,
    /// It did not.
    Failed {
        /// Why, e.g. `client_disconnected`.
        reason: String,
    },
}

/// What was replaced in an answer, in words.
fn told(replaced: &[Replaced]) -> String {
    const NAMED: usize = 4;
    let mut names: Vec<&str> = replaced.iter().map(|part| part.placeholder.as_str()).collect();
    names.dedup();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("replaced before the caller had it: {}{more}", names.join(", "))
}

fn digest_of(payload: &Payload) -> Option<[u8; 32]> {
    payload.sha256.or_else(|| payload.is_complete().then(|| sha256(&payload.head)))
}
