//! The safety phase: scanners look at what is asked of models and at what they answer, and what they find is recorded, or
//! refuses the one and withholds the other.
//!
//! ```text
//!  services/gateway/*.yaml ─► plan ─► Safety ─┬─ judge_request   the last judgement before the decision
//!                                             ├─ judge_answer    of an answer that is there in whole
//!                                             └─ find_in_window  of the end of a stream that is guarded
//!                                                   │
//!              heuristic · secrets · extensions ◄───┘      findings ─► the entry, excerpts ─► content
//! ```
//!
//! Without `spec.safety` there is no [`Safety`], and nothing of this is asked.
//!
//! A scanner sees texts and not formats: what is said in a request is its strings, with what the effect says came
//! [earlier](crate::Effect::earlier) apart from the rest.

mod apart;
pub(crate) mod excerpt;
mod found;
mod heuristic;
mod masked;
mod plan;
mod record;
mod scanners;
mod secrets;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use systemprompt_extension::policy::{DenialKind, PolicyInput, Texts, Violation};
use systemprompt_extension::safety::{RegisteredScanner, SafetyFinding, SafetyScanner, ScanInput};
use systemprompt_model::{ActionId, Attribution};
use tokio_util::task::TaskTracker;

use self::excerpt::{Mask, excerpt, within};
use self::heuristic::Heuristic;
use self::plan::Plan;
use self::secrets::Secrets;
use crate::config::safety::BUILT_IN;
use crate::config::{GatewayPolicyConfig, HistoryScan, SafetyConfig};
use crate::secret_scan::SecretScanner;

pub use self::masked::masked;
pub use self::record::{SafetyPhase, SafetyRecord};
pub(crate) use self::scanners::Counts;
pub use self::scanners::Scanners;

/// Findings of one phase that are recorded; those that block before the others.
const RECORDED: usize = 32;

/// What looks at prompts and answers under one configuration.
pub struct Safety {
    scanners: Vec<Enlisted>,
    plan: Plan,
    secrets: Arc<SecretScanner>,
    counts: Counts,
    tasks: TaskTracker,
}

/// A scanner that runs.
struct Enlisted {
    scanner: Arc<dyn SafetyScanner>,
    name: &'static str,
    categories: BTreeSet<&'static str>,
    /// What it could not look at is refused.
    must_look: bool,
}

/// Whom a scan is about.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) action: ActionId,
    pub(crate) by: Attribution,
    pub(crate) model: Option<String>,
}

/// What the scanners came to.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// What is recorded.
    pub(crate) records: Vec<SafetyRecord>,
    /// What is said against it, and whether it goes on all the same.
    pub(crate) objection: Option<Objection>,
    /// Whether a credential was found, so that the texts must not be kept.
    pub(crate) holds_secret: bool,
}

/// What is said against something.
#[derive(Debug)]
pub(crate) struct Objection {
    pub(crate) violation: Violation,
    pub(crate) blocks: bool,
}

/// The scanners cannot be made of this configuration.
#[derive(Debug, thiserror::Error)]
pub enum SafetyError {
    /// The phrases are too many or too long.
    #[error("the phrases of `spec.safety.heuristic` take up too much room")]
    Phrases(#[source] Box<regex::Error>),
    /// There is no such scanner.
    #[error("no extension brings the safety scanner `{0}`")]
    Unknown(String),
}

/// What was found, and which scanners could not look.
#[derive(Default)]
struct Scan {
    found: Vec<(&'static str, SafetyFinding)>,
    /// Scanners that could not look, with whether they must have.
    failed: Vec<(&'static str, bool)>,
}

impl Safety {
    /// What the policies say of safety; `None` if nothing.
    pub(crate) fn new(
        policies: &[GatewayPolicyConfig],
        scanners: &Scanners,
        secrets: &Arc<SecretScanner>,
    ) -> Result<Option<Arc<Self>>, SafetyError> {
        let Some(plan) = Plan::of(policies) else { return Ok(None) };
        let phrases = Heuristic::new(plan.phrases.iter().map(String::as_str));
        let phrases = phrases.map_err(|error| SafetyError::Phrases(Box::new(error)))?;
        let built_in: [Arc<dyn SafetyScanner>; 2] = [Arc::new(phrases), Arc::new(Secrets(Arc::clone(secrets)))];
        let built_in =
            built_in.into_iter().zip(BUILT_IN).map(|(scanner, (_, categories))| (scanner, categories.into()));
        let registered = scanners
            .registered
            .iter()
            .map(|RegisteredScanner { scanner, categories }| (Arc::clone(scanner), categories.clone()));
        let mut known: BTreeMap<&'static str, _> =
            built_in.chain(registered).map(|(scanner, categories)| (scanner.name(), (scanner, categories))).collect();
        let mut used = Vec::new();
        for (name, must_look) in &plan.scanners {
            let (name, (scanner, categories)) =
                known.remove_entry(name.as_str()).ok_or_else(|| SafetyError::Unknown(name.clone()))?;
            used.push(Enlisted {
                scanner,
                name,
                categories: categories.iter().copied().collect(),
                must_look: *must_look,
            });
        }
        let (counts, tasks) = (scanners.counts.clone(), scanners.tasks.clone());
        Ok(Some(Arc::new(Self { scanners: used, plan, secrets: Arc::clone(secrets), counts, tasks })))
    }

    /// How many characters of a stream are to be held back, if any are.
    pub fn window(&self) -> Option<usize> {
        self.plan.window.map(|characters| characters as usize)
    }

    /// Where what looks at an answer when it is over goes on if nobody waits for it. The ledger is open until that is done.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Judges a request, of which `earlier` has been said before.
    pub(crate) async fn judge_request(&self, input: &PolicyInput<'_>, earlier: &[Range<usize>]) -> Judged {
        let subject =
            ScanInput { action: input.action, by: input.by, model: input.model.map(|call| call.name), texts: &[] };
        let (mut new, mut history) = (Vec::new(), Vec::new());
        let mut earlier = earlier.iter().peekable();
        for (at, text) in input.texts.placed() {
            while earlier.next_if(|turn| turn.end <= at).is_some() {}
            if earlier.peek().is_some_and(|turn| turn.contains(&at)) {
                history.push(text);
            } else {
                new.push(text);
            }
        }
        let scan = self.scan(SafetyPhase::Request, ScanInput { texts: &new, ..subject }).await;
        let mut judged = self.judge(SafetyPhase::Request, &new, scan, true);
        if self.plan.history != HistoryScan::Off && !history.is_empty() {
            let scan = self.scan(SafetyPhase::RequestHistory, ScanInput { texts: &history, ..subject }).await;
            let may_block = self.plan.history == HistoryScan::Block;
            judged.add(self.judge(SafetyPhase::RequestHistory, &history, scan, may_block));
        }
        judged
    }

    /// Judges an answer. What blocks does so only if it `may_block`: what the caller has cannot be withheld.
    pub(crate) async fn judge_answer(&self, subject: &Subject, texts: &Texts<'_>, may_block: bool) -> Judged {
        let texts: Vec<&str> = texts.iter().collect();
        let scan = self.scan(SafetyPhase::Response, subject.look_at(&texts)).await;
        self.judge(SafetyPhase::Response, &texts, scan, may_block)
    }

    /// What is said against a part of a stream, if that blocks. Nothing is counted or recorded of it.
    pub(crate) async fn find_in_window(&self, subject: &Subject, texts: &[&str]) -> Option<Violation> {
        let scan = self.scan(SafetyPhase::Response, subject.look_at(texts)).await;
        let blocking = scan.found.iter().filter(|(_, found)| self.blocks(SafetyPhase::Response, found.category));
        let blocking: BTreeSet<(&str, &str)> = blocking.map(|(scanner, found)| (found.category, *scanner)).collect();
        if !blocking.is_empty() {
            return Some(violation(SafetyPhase::Response, &blocking));
        }
        let (scanner, _) = scan.failed.iter().find(|(_, must_look)| *must_look)?;
        Some(unavailable(scanner))
    }

    /// The ranges of `content` that must not be kept, because a credential is there.
    pub(crate) fn secrets_in(&self, content: &[u8]) -> Vec<Range<usize>> {
        self.secrets.scan(content).flagged
    }

    async fn scan(&self, phase: SafetyPhase, input: ScanInput<'_>) -> Scan {
        let mut scan = Scan::default();
        if input.texts.is_empty() {
            return scan;
        }
        let patience = Duration::from_millis(u64::from(self.plan.timeout_ms));
        for Enlisted { scanner, name, must_look, .. } in &self.scanners {
            let looking = async {
                match phase {
                    SafetyPhase::Request => scanner.scan_request(&input).await,
                    SafetyPhase::RequestHistory => scanner.scan_request_history(&input).await,
                    SafetyPhase::Response => scanner.scan_response_final(&input).await,
                }
            };
            let why = match tokio::time::timeout(patience, AssertUnwindSafe(looking).catch_unwind()).await {
                Ok(Ok(Ok(found))) => {
                    scan.found.extend(found.into_iter().map(|found| (*name, found)));
                    continue;
                }
                Ok(Ok(Err(error))) => error.to_string(),
                Ok(Err(_)) => "it panicked".to_owned(),
                Err(_) => format!("it took longer than {patience:?}"),
            };
            tracing::error!(scanner = name, phase = phase.as_str(), %why, "a safety scanner could not look");
            scan.failed.push((name, *must_look));
        }
        scan
    }

    /// Whether a category blocks where it may.
    fn blocks(&self, phase: SafetyPhase, category: &str) -> bool {
        self.categories(phase).get(category).copied().unwrap_or(false)
    }

    fn categories(&self, phase: SafetyPhase) -> &BTreeMap<String, bool> {
        match phase {
            SafetyPhase::Request | SafetyPhase::RequestHistory => &self.plan.request,
            SafetyPhase::Response => &self.plan.response,
        }
    }

    fn judge(&self, phase: SafetyPhase, texts: &[&str], scan: Scan, may_block: bool) -> Judged {
        let mut judged = Judged::default();
        let (mut blocking, mut warning) = (BTreeSet::new(), BTreeSet::new());
        let mut said = HashSet::new();
        let mut found = scan.found;
        found.sort_by_key(|(_, found)| !self.blocks(phase, found.category));
        for (scanner, finding) in &found {
            // A text with escapes is looked at again without them.
            let what = finding.place.as_ref().and_then(|(text, span)| {
                let text = texts.get(*text)?;
                Some(&text[within(text, span)])
            });
            if !said.insert((finding.category, *scanner, what)) {
                continue;
            }
            let blocked = may_block && self.blocks(phase, finding.category);
            let named = self.categories(phase).contains_key(finding.category);
            if blocked {
                blocking.insert((finding.category, *scanner));
            } else if named && may_block {
                warning.insert((finding.category, *scanner));
            }
            judged.holds_secret |= *scanner == SafetyConfig::SECRETS;
            let category = self.counted(scanner, finding.category);
            self.counts.found(phase, category, blocked);
            if judged.records.len() < RECORDED {
                judged.records.push(SafetyRecord {
                    phase,
                    category: finding.category.into(),
                    severity: finding.severity,
                    scanner: (*scanner).into(),
                    blocked,
                    sequence: 0,
                    excerpt: self.excerpt(texts, finding, &found),
                });
            }
        }
        judged.objection = if !blocking.is_empty() {
            Some(Objection { violation: violation(phase, &blocking), blocks: true })
        } else if let Some((scanner, must_look)) = scan.failed.iter().max_by_key(|(_, must_look)| *must_look) {
            Some(Objection { violation: unavailable(scanner), blocks: *must_look && may_block })
        } else if !warning.is_empty() {
            Some(Objection { violation: violation(phase, &warning), blocks: false })
        } else {
            None
        };
        judged
    }

    /// The category as metrics know it: one the scanner declared.
    fn counted(&self, scanner: &str, category: &'static str) -> &'static str {
        let declared = self.scanners.iter().any(|known| known.name == scanner && known.categories.contains(category));
        if declared { category } else { "other" }
    }

    fn excerpt(
        &self,
        texts: &[&str],
        finding: &SafetyFinding,
        all: &[(&'static str, SafetyFinding)],
    ) -> Option<String> {
        let (index, span) = finding.place.as_ref()?;
        let text = texts.get(*index)?;
        let sensitive = all.iter().filter(|(_, found)| found.sensitive);
        let masks: Vec<Mask<'_>> = sensitive
            .filter_map(|(_, found)| {
                let (of, span) = found.place.as_ref()?;
                (of == index).then(|| Mask { span: span.clone(), category: found.category })
            })
            .collect();
        // What no scanner of safety looked for, or one found too often to tell, may stand there all the same.
        Some(self.secrets.redacted(masked(&excerpt(text, span, &masks)).into_owned()))
    }
}

impl Subject {
    fn look_at<'a>(&'a self, texts: &'a [&'a str]) -> ScanInput<'a> {
        ScanInput { action: self.action, by: &self.by, model: self.model.as_deref(), texts }
    }
}

impl Judged {
    /// What was found in another part of the same. What blocks counts before what does not, and then what came first.
    fn add(&mut self, other: Self) {
        self.records.extend(other.records);
        self.holds_secret |= other.holds_secret;
        let blocks = |objection: &Option<Objection>| objection.as_ref().is_some_and(|objection| objection.blocks);
        if self.objection.is_none() || blocks(&other.objection) && !blocks(&self.objection) {
            self.objection = other.objection;
        }
    }
}

/// What is said of what was found, in words that hold nothing of it.
fn violation(phase: SafetyPhase, found: &BTreeSet<(&str, &str)>) -> Violation {
    let (what, setting) = match phase {
        SafetyPhase::Request => ("the request", "block_categories"),
        SafetyPhase::RequestHistory => ("an earlier turn of the conversation", "block_categories"),
        SafetyPhase::Response => ("the answer", "block_response_categories"),
    };
    let found: Vec<String> = found.iter().map(|(category, scanner)| format!("{category} ({scanner})")).collect();
    let go_on = match phase {
        SafetyPhase::Request => "Nothing was sent. Remove the text and try again",
        SafetyPhase::RequestHistory => {
            "Nothing was sent. The text is still in this conversation, so go back to before it, or start a new one"
        }
        SafetyPhase::Response => "Ask in another way",
    };
    let advice = format!(
        "{go_on}. If it is meant to pass, an administrator allows it in `spec.safety.{setting}` of \
         services/gateway/policies.yaml"
    );
    Violation::new(DenialKind::Content, "safety", format!("{what} holds {}", found.join(", "))).with_advice(advice)
}

fn unavailable(scanner: &str) -> Violation {
    Violation::unavailable(format!("the safety scanner `{scanner}` could not look"))
}

impl fmt::Debug for Safety {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Safety").field("plan", &self.plan).finish_non_exhaustive()
    }
}
