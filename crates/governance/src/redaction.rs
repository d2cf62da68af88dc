//! What a record says about an action, without the credentials that may stand in it.
//!
//! A client chooses more texts than the content: the name of the model, headers, the texts that end an answer. They become
//! entries that are kept for ever, and parts of reasons that are told. So every one of them is scanned before.

use std::borrow::Cow;

use crate::ledger::text::cleaned;
use crate::policy::Evaluation;
use crate::secret_scan::{REDACTED, SecretScanner};

/// Replaces credentials by [`REDACTED`], first in what a stranger said, then in what quotes it.
pub(crate) struct Redaction<'a> {
    scanner: &'a SecretScanner,
    /// Texts in which a credential was found.
    found: Vec<String>,
}

impl<'a> Redaction<'a> {
    pub(crate) fn new(scanner: &'a SecretScanner) -> Self {
        Self { scanner, found: Vec::new() }
    }

    /// A text a stranger chose, as it may be recorded.
    pub(crate) fn text<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        self.shown(text, SecretScanner::flags)
    }

    /// An id a stranger chose: random by nature, so only credentials of a known form count.
    pub(crate) fn id<'t>(&mut self, id: &'t str) -> Cow<'t, str> {
        self.shown(id, SecretScanner::flags_id)
    }

    /// A name that may have a stranger's text in it, such as `provider/model`: what was found before is cut out of it; if a
    /// credential is left, it goes as a whole.
    pub(crate) fn name<'t>(&mut self, name: &'t str) -> Cow<'t, str> {
        let mut shown = Cow::Borrowed(name);
        for found in self.found.iter().filter(|found| name.contains(found.as_str())) {
            shown = Cow::Owned(shown.replace(found.as_str(), REDACTED));
        }
        match shown {
            Cow::Borrowed(name) => self.id(name),
            Cow::Owned(name) => Cow::Owned(self.id(&name).into_owned()),
        }
    }

    /// A sentence about the action. What it quotes is cut out; if a credential is left, the sentence goes as a whole.
    pub(crate) fn reason(&self, mut reason: String) -> String {
        for found in &self.found {
            if reason.contains(found.as_str()) {
                reason = reason.replace(found.as_str(), REDACTED);
            }
        }
        self.scanner.redacted(reason)
    }

    /// The same for what policies said. Borrowed texts are our own.
    pub(crate) fn details(&self, evaluations: &mut [Evaluation]) {
        for evaluation in evaluations {
            if let Cow::Owned(detail) = &mut evaluation.detail {
                *detail = self.reason(std::mem::take(detail));
            }
        }
    }

    fn shown<'t>(&mut self, text: &'t str, flags: impl Fn(&SecretScanner, &str) -> bool) -> Cow<'t, str> {
        if flags(self.scanner, text) {
            self.found.push(text.to_owned());
            return Cow::Borrowed(REDACTED);
        }
        cleaned(text)
    }
}
