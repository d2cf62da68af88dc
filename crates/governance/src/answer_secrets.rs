//! Credentials that a model itself writes into an answer. Those that a request carried are none: a provider has their
//! placeholders, and the caller gets them back after everybody has looked.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use systemprompt_extension::policy::{DenialKind, Violation};
use systemprompt_extension::safety::Severity;
use systemprompt_model::json;
use tokio_util::task::TaskTracker;

use crate::config::{AnswerAction, PolicyMode};
use crate::replacing::{self, Replaced};
use crate::safety::excerpt::{Mask, excerpt};
use crate::safety::{Counts, Judged, Objection, SafetyPhase, SafetyRecord, Scanners};
use crate::secret_scan::{Match, PlaceholderKey, SecretScanner, exchange};

/// The policy whose settings it follows, and which records name.
pub(crate) const SECRET_SCAN: &str = "secret_scan";
/// What findings are.
const CATEGORY: &str = "secret";
/// Findings of one answer that are recorded.
const RECORDED: usize = 32;
/// Answers above this size are looked through on a thread where nobody waits for a turn.
const APART: usize = 256 * 1024;
/// How many characters of a stream are held back so that what stands there can be found before the caller has it. A word that
/// goes on is held back whole besides.
const WINDOW: usize = 256;

/// What looks for credentials in answers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AnswerSecrets(Arc<Settings>);

struct Settings {
    scanner: Arc<SecretScanner>,
    action: AnswerAction,
    /// What placeholders are made with, where there are any.
    key: Option<PlaceholderKey>,
    counts: Counts,
    tasks: TaskTracker,
}

/// A credential in one of several texts, and what is to stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretInText {
    /// The number of the text.
    pub text: usize,
    /// Its bytes in the text.
    pub at: Range<usize>,
    /// What is to stand there.
    pub placeholder: String,
}

/// What an answer came to.
#[derive(Debug, Default)]
pub(crate) struct JudgedSecrets {
    pub(crate) judged: Judged,
    /// What the caller gets instead of it.
    pub(crate) replaced: Vec<Replaced>,
}

/// What is to be done with what was found in the end of a stream.
#[derive(Debug)]
pub(crate) enum InWindow {
    /// Nothing was found, or nothing is to be done about it.
    Nothing,
    /// The caller may not have it.
    Objects(Violation),
    /// The caller gets these instead; where that cannot be, it is the objection.
    Replace(Vec<SecretInText>, Violation),
}

impl AnswerSecrets {
    /// What `action` wants done in a policy of this mode. Nothing if answers are not looked through.
    pub(crate) fn new(
        action: AnswerAction,
        mode: PolicyMode,
        scanner: Arc<SecretScanner>,
        key: Option<PlaceholderKey>,
        scanners: &Scanners,
    ) -> Option<Arc<Self>> {
        let action = match (action, mode) {
            (AnswerAction::Off, _) => return None,
            (_, PolicyMode::Warn) | (AnswerAction::Warn, _) => AnswerAction::Warn,
            // What there is no placeholder for cannot be replaced.
            (AnswerAction::Redact, _) if key.is_none() => AnswerAction::Deny,
            (action, PolicyMode::Enforce) => action,
        };
        let (counts, tasks) = (scanners.counts.clone(), scanners.tasks.clone());
        Some(Arc::new(Self(Arc::new(Settings { scanner, action, key, counts, tasks }))))
    }

    /// How many characters of a stream are to be held back, if any are.
    pub(crate) fn window(&self) -> Option<usize> {
        matches!(self.0.action, AnswerAction::Redact | AnswerAction::Deny).then_some(WINDOW)
    }

    /// Where what looks at an answer when it is over goes on if nobody waits for it.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    /// Judges an answer, of which a stream says so much in pieces. What blocks does so only if the caller does not have it.
    pub(crate) async fn judge(&self, answer: &Bytes, said: &[String], has_it: bool) -> JudgedSecrets {
        let settings = Arc::clone(&self.0);
        // What a stream says is put together; its events say it in pieces, and nothing else.
        let texts =
            if said.is_empty() { vec![answer.clone()] } else { said.iter().cloned().map(Bytes::from).collect() };
        let judged = apart(texts, move |texts| settings.judge(texts, has_it)).await;
        judged.unwrap_or_else(|| JudgedSecrets {
            judged: Judged {
                holds_secret: true,
                objection: Some(Objection {
                    violation: Violation::unavailable("the answer could not be scanned"),
                    blocks: self.0.action != AnswerAction::Warn && !has_it,
                }),
                ..Judged::default()
            },
            ..JudgedSecrets::default()
        })
    }

    /// What is to be done with what these texts of a stream hold.
    pub(crate) async fn look(&self, texts: &[String]) -> InWindow {
        if self.window().is_none() {
            return InWindow::Nothing;
        }
        let settings = Arc::clone(&self.0);
        let texts = texts.iter().cloned().map(Bytes::from).collect();
        let looked = apart(texts, move |texts| settings.look(texts)).await;
        looked.unwrap_or_else(|| InWindow::Objects(Violation::unavailable("the answer could not be scanned")))
    }

    /// A whole answer with placeholders in it, if it is to have any; `None` if it stays as it is.
    pub(crate) async fn replace(&self, answer: &Bytes) -> Result<Option<Bytes>, Violation> {
        if self.0.action != AnswerAction::Redact {
            return Ok(None);
        }
        let settings = Arc::clone(&self.0);
        let replaced = apart(vec![answer.clone()], move |texts| settings.replace(&texts[0])).await;
        replaced.unwrap_or_else(|| Err(Violation::unavailable("the answer could not be scanned")))
    }
}

impl Settings {
    /// Those that a policy which enforces would act upon: what only warns in a request is not looked for in an answer.
    fn matches<'a>(&'a self, text: &[u8]) -> Vec<Match<'a>> {
        let mut matches = self.scanner.matches_in_answer(text);
        matches.retain(|found| found.rule.acts);
        matches
    }

    fn judge(&self, texts: &[Bytes], has_it: bool) -> JudgedSecrets {
        let mut judged = JudgedSecrets::default();
        let mut rules: BTreeSet<String> = BTreeSet::new();
        // Streams say at their end once more what they said in pieces.
        let mut seen: HashSet<(String, Vec<u8>)> = HashSet::new();
        let blocked = self.action == AnswerAction::Deny && !has_it;
        for text in texts {
            let matches = self.matches(text);
            if let Some(key) = self.key.as_ref().filter(|_| self.action == AnswerAction::Redact && !matches.is_empty())
            {
                let acting: Vec<&Match<'_>> = matches.iter().collect();
                let parts = exchange(text, &acting, key, |key| self.scanner.flags_bytes(key)).parts;
                judged.replaced.extend(parts.iter().map(Replaced::from));
            }
            for found in &matches {
                if !seen
                    .insert((found.rule.id.clone(), digest(&SHA256, found.value.expose().as_bytes()).as_ref().to_vec()))
                {
                    continue;
                }
                rules.insert(found.rule.id.clone());
                self.counts.found(SafetyPhase::Response, CATEGORY, blocked);
                if judged.judged.records.len() < RECORDED {
                    judged.judged.records.push(SafetyRecord {
                        phase: SafetyPhase::Response,
                        category: CATEGORY.into(),
                        severity: Severity::High,
                        scanner: SECRET_SCAN.into(),
                        blocked,
                        sequence: 0,
                        excerpt: Some(self.excerpt(text, found, &matches)),
                    });
                }
            }
        }
        judged.replaced.sort_by(|one, other| one.placeholder.cmp(&other.placeholder));
        judged.replaced.dedup_by(|one, other| one.placeholder == other.placeholder);
        judged.replaced.truncate(RECORDED);
        if !rules.is_empty() {
            judged.judged.holds_secret = true;
            let is_replaced = !judged.replaced.is_empty();
            judged.judged.objection =
                (!is_replaced).then(|| Objection { violation: violation(&rules), blocks: blocked });
        }
        judged
    }

    fn look(&self, texts: &[Bytes]) -> InWindow {
        let mut found: Vec<SecretInText> = Vec::new();
        let mut rules = BTreeSet::new();
        for (number, text) in texts.iter().enumerate() {
            let mut matches = self.matches(text);
            matches.sort_by_key(|found| (found.at.start, found.at.end));
            let mut end = 0;
            for secret in matches.into_iter().filter(|secret| !secret.at.is_empty()) {
                rules.insert(secret.rule.id.clone());
                let Some(key) = self.key.as_ref().filter(|_| secret.at.start >= end) else { continue };
                end = secret.at.end;
                let placeholder = key.placeholder(&secret.rule.id, secret.value.expose());
                found.push(SecretInText { text: number, at: secret.at, placeholder });
            }
        }
        if rules.is_empty() {
            InWindow::Nothing
        } else if self.action == AnswerAction::Redact {
            InWindow::Replace(found, violation(&rules))
        } else {
            InWindow::Objects(violation(&rules))
        }
    }

    fn replace(&self, answer: &Bytes) -> Result<Option<Bytes>, Violation> {
        let matches = self.matches(answer);
        let Some(key) = self.key.as_ref().filter(|_| !matches.is_empty()) else { return Ok(None) };
        let acting: Vec<&Match<'_>> = matches.iter().collect();
        let parts = exchange(answer, &acting, key, |key| self.scanner.flags_bytes(key)).parts;
        let replaced = replacing::replace(answer, &parts);
        replaced
            .map(Some)
            .map_err(|replacing::Misplaced| violation(&matches.iter().map(|found| found.rule.id.clone()).collect()))
    }

    /// What stands around a credential, without any.
    fn excerpt(&self, text: &[u8], found: &Match<'_>, all: &[Match<'_>]) -> String {
        // Places in what is shown, in which a byte that is no UTF-8 takes three.
        let shown = |to: usize| json::lossy(text.get(found.string.start..to).unwrap_or_default()).len();
        let within = |at: &Range<usize>| shown(at.start)..shown(at.end);
        let string = json::lossy(text.get(found.string.clone()).unwrap_or_default());
        let beside = all.iter().filter(|other| other.string == found.string);
        let masks: Vec<Mask<'_>> =
            beside.map(|other| Mask { span: within(&other.at), category: &other.rule.id }).collect();
        self.scanner.redacted(excerpt(&string, &within(&found.at), &masks))
    }
}

/// What is said of an answer with credentials that these rules found.
fn violation(rules: &BTreeSet<String>) -> Violation {
    const NAMED: usize = 4;
    let mut names: Vec<Cow<'_, str>> = rules.iter().take(NAMED).map(|rule| rule.as_str().into()).collect();
    if rules.len() > NAMED {
        names.push(format!("{} more", rules.len() - NAMED).into());
    }
    Violation::new(DenialKind::Content, "secret_leak", format!("the answer holds a secret: {}", names.join(", ")))
        .with_advice(
            "Ask in another way. If it is meant to pass, an administrator allows it with `answers: warn` in the policy \
             `secret_scan` of services/governance/config.yaml",
        )
}

/// Does it here, or where nobody waits for a turn if it is much. Nothing if it failed.
async fn apart<T: Send + 'static>(texts: Vec<Bytes>, work: impl FnOnce(&[Bytes]) -> T + Send + 'static) -> Option<T> {
    if texts.iter().map(Bytes::len).sum::<usize>() <= APART {
        return Some(work(&texts));
    }
    let done = tokio::task::spawn_blocking(move || work(&texts)).await;
    done.inspect_err(|error| tracing::error!(%error, "looking for secrets in an answer failed")).ok()
}

impl fmt::Debug for AnswerSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerSecrets").field("action", &self.0.action).finish_non_exhaustive()
    }
}
