//! What is known of entities and the rules about them.

use std::collections::HashMap;
use std::sync::Arc;

use systemprompt_model::EntityKind;

use super::resolve::EntityRules;

/// Every entity there is, with its rules.
#[derive(Debug, Clone, Default)]
pub(super) struct Entities(HashMap<EntityKind, HashMap<String, Arc<EntityRules>>>);

impl Entities {
    pub(super) fn get(&self, kind: EntityKind, id: &str) -> Option<&EntityRules> {
        self.0.get(&kind)?.get(id).map(Arc::as_ref)
    }

    pub(super) fn set(&mut self, kind: EntityKind, id: String, rules: Option<EntityRules>) {
        let of_kind = self.0.entry(kind).or_default();
        match rules {
            Some(rules) => of_kind.insert(id, Arc::new(rules)),
            None => of_kind.remove(&id),
        };
    }
}
