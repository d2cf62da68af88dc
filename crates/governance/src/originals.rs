//! What the placeholders of one action stand for. Lives as long as the action, and is written nowhere.

use std::collections::BTreeMap;

use systemprompt_extension::policy::ReplacedPart;
use systemprompt_model::Secret;

/// What the placeholders in a request stand for, to be put back where the answer speaks of them.
#[derive(Debug, Clone, Default)]
pub struct Originals(BTreeMap<String, Secret>);

impl Originals {
    pub(crate) fn of(parts: Vec<ReplacedPart>) -> Self {
        let mut originals = Self::default();
        originals.add(parts);
        originals
    }

    /// Those of further bytes of the same action.
    pub(crate) fn add(&mut self, parts: Vec<ReplacedPart>) {
        for part in parts {
            // The first that was said stands: a placeholder means one thing in one action.
            self.0.entry(part.placeholder).or_insert(part.original);
        }
    }

    /// Each placeholder with what it stands for.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(placeholder, original)| (placeholder.as_str(), original))
    }

    /// Whether nothing was replaced.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
