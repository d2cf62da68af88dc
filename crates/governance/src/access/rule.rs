//! A rule of access.

use systemprompt_model::EntityKind;

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
