//! Which dimensions of people a policy in Cedar speaks of.

use std::collections::BTreeSet;

use cedar_policy::{EntityUid, Policy};
use serde_json::Value;

/// The type of values of dimensions that extensions know.
pub(super) const ATTRIBUTE: &str = "Attribute";

/// What a policy asks of people, besides their departments, groups and roles.
#[derive(Debug, Clone, Default)]
pub(super) struct Spoken {
    /// The tags it names.
    pub(super) tags: BTreeSet<String>,
    /// The dimensions of the attributes it names.
    attributes: BTreeSet<String>,
    /// Whether it has a tag whose name follows from something else: it may be any.
    computed: bool,
}

impl Spoken {
    /// What `policy` speaks of. Text is not searched for it: names may be written with escapes.
    pub(super) fn of(policy: &Policy) -> Self {
        let mut spoken = Self::default();
        let literals = policy.entity_literals();
        spoken.attributes.extend(literals.iter().filter_map(|entity| Some(attribute(entity)?.0.to_owned())));
        match policy.to_json() {
            Ok(json) => spoken.tags_in(&json),
            // It may be about anything.
            Err(_) => spoken.computed = true,
        }
        spoken
    }

    /// Whether what it decides may depend on a dimension.
    pub(super) fn is_about(&self, dimension: &str) -> bool {
        self.computed || self.tags.contains(dimension) || self.attributes.contains(dimension)
    }

    fn tags_in(&mut self, json: &Value) {
        match json {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if name == "hasTag" || name == "getTag" {
                        match &value["right"]["Value"] {
                            Value::String(tag) => drop(self.tags.insert(tag.clone())),
                            _ => self.computed = true,
                        }
                    }
                    self.tags_in(value);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.tags_in(value)),
            _ => {}
        }
    }
}

/// The dimension and the value of an attribute, if `entity` is one that is whole.
pub(super) fn attribute(entity: &EntityUid) -> Option<(&str, &str)> {
    if entity.type_name().basename() != ATTRIBUTE {
        return None;
    }
    entity.id().unescaped().split_once(':')
}
