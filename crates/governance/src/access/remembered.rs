//! Decisions about one entity that follow from one state of the rules.
//!
//! Cedar reads the people and the entity anew for each question, which costs some ten microseconds: as much as a tenth of a
//! whole request. The same account asks for the same entity again and again, and between two changes of the rules nothing
//! but what is in its [`Subject`] makes a difference.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use super::decision::AccessDecision;
use super::entity::Subject;

/// Most decisions about an entity that are kept. Beyond that all are made anew: that is simpler than to know which one is asked
/// for least, and cheap if it is seldom.
const KEPT: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Remembered(RwLock<HashMap<Subject, AccessDecision>>);

impl Remembered {
    /// What was decided about `subject`, or is now.
    pub(super) fn decide(&self, subject: &Subject, decide: impl FnOnce(&Subject) -> AccessDecision) -> AccessDecision {
        if let Some(decision) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(subject) {
            return decision.clone();
        }
        let decision = decide(subject);
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(subject.clone(), decision.clone());
        decision
    }
}
