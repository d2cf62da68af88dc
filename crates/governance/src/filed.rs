//! What scanners found goes two ways: what it is into the log, and what it was found in into content, which expires.

use bytes::Bytes;

use crate::ledger::ContentRetention;
use crate::ledger::content::{FINDING, KeptPart};
use crate::policy::Evaluation;

/// Numbers the findings of an action, of which `before` are filed already, and takes their excerpts as they are kept.
pub(crate) fn file(evaluations: &mut [Evaluation], before: usize, retention: ContentRetention) -> Vec<KeptPart> {
    let mut excerpts = Vec::new();
    let findings = evaluations.iter_mut().flat_map(|evaluation| &mut evaluation.findings);
    for (index, finding) in findings.enumerate() {
        finding.sequence = before + index;
        let kept = finding.excerpt.take().and_then(|excerpt| retention.keep(&Bytes::from(excerpt)));
        excerpts.extend(kept.map(|kept| KeptPart::new(format!("{FINDING}{}", finding.sequence), kept)));
    }
    excerpts
}

/// How many findings there are.
pub(crate) fn count(evaluations: &[Evaluation]) -> usize {
    evaluations.iter().map(|evaluation| evaluation.findings.len()).sum()
}
