//! What is wrong with a document, told by pointer.

use crate::document::{Document, dotted};
use crate::report::Problem;

/// Problems of one document, told by pointer.
pub(crate) struct Problems<'a> {
    pub(crate) domain: &'a str,
    pub(crate) document: &'a Document,
    pub(crate) found: Vec<Problem>,
}

impl Problems<'_> {
    pub(crate) fn error(&mut self, pointer: &str, message: impl Into<String>) -> &mut Problem {
        self.push(Problem::error(self.domain, dotted(pointer), message), pointer)
    }

    pub(crate) fn warning(&mut self, pointer: &str, message: impl Into<String>) -> &mut Problem {
        self.push(Problem::warning(self.domain, dotted(pointer), message), pointer)
    }

    fn push(&mut self, problem: Problem, pointer: &str) -> &mut Problem {
        self.found.push(problem.at_option(self.document.locate(pointer)));
        self.found.last_mut().expect("just pushed")
    }

    /// The value in quotes for a message, unless it came from a variable.
    pub(crate) fn quote(&self, pointer: &str, value: impl std::fmt::Display) -> String {
        if self.document.interpolated.contains(pointer) { "the given value".to_owned() } else { format!("`{value}`") }
    }
}

impl Problem {
    pub(crate) fn hint(&mut self, suggestion: impl Into<String>) {
        self.suggestion = Some(suggestion.into());
    }
}
