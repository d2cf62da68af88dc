//! A rule of access.

use systemprompt_model::EntityKind;

use super::entity::EntityRule;
use crate::config::Access;

/// A rule about one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The kind of entity.
    pub kind: EntityKind,
    /// Its id.
    pub entity_id: String,
    /// `user`, `role`, or a dimension such as `department`.
    pub rule_type: String,
    /// The user's id, the role's name, the value of the dimension.
    pub rule_value: String,
    /// Whether it grants or refuses.
    pub access: Access,
    /// Why.
    pub justification: Option<String>,
}

impl Rule {
    /// Whether `known` says the same, whoever made it.
    pub(super) fn says(&self, known: &EntityRule) -> bool {
        (&self.rule_type, &self.rule_value, self.access, &self.justification)
            == (&known.rule_type, &known.rule_value, known.access, &known.justification)
    }
}
