//! What a record says about a request, without the credentials that may stand in it.
//!
//! A client chooses more texts than the content: the name of the model, headers, the texts that end an answer. They become
//! columns of rows that are never deleted, and parts of reasons that are told. So every one of them is scanned before.

use std::borrow::Cow;

use crate::action::{Action, ActionKind};
use crate::policy::Evaluation;
use crate::secret_scan::{REDACTED, SecretScanner};

/// Replaces credentials by [`REDACTED`], first in what the client said, then in what quotes it.
pub(crate) struct Redaction<'a> {
    scanner: &'a SecretScanner,
    /// Texts in which a credential was found.
    found: Vec<String>,
}

impl<'a> Redaction<'a> {
    /// Cleans every text of `action` that a client chose, except the content, which is not recorded as a column.
    pub(crate) fn of(action: &mut Action, scanner: &'a SecretScanner) -> Self {
        let mut this = Self { scanner, found: Vec::new() };
        let ActionKind::Infer(inference) = &mut action.kind;
        for text in [&mut inference.requested_model, &mut inference.model, &mut inference.route_match]
            .into_iter()
            .chain(&mut inference.client)
            .chain(&mut inference.stop_sequences)
        {
            this.clean(text, SecretScanner::flags);
        }
        for id in std::iter::once(&mut inference.conversation_id).chain(&mut inference.client_trace_id) {
            this.clean(id, SecretScanner::flags_id);
        }
        this
    }

    /// A sentence about the request. What it quotes is cut out; if a credential is left, the sentence goes as a whole.
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

    fn clean(&mut self, text: &mut String, flags: impl Fn(&SecretScanner, &str) -> bool) {
        if flags(self.scanner, text) {
            self.found.push(std::mem::replace(text, REDACTED.to_owned()));
        }
    }
}
