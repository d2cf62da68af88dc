//! What there is by name in an installation, so that a configuration that names something else is refused.

use std::collections::{BTreeMap, BTreeSet};

use systemprompt_config::nearest;
use systemprompt_model::EntityKind;

/// Everything the enabled extensions have that configuration can refer to.
///
/// Given to [`Extension::validate_names`](crate::Extension::validate_names): a rule about something that does not exist has
/// no effect, and nobody notices that what it was to forbid is allowed.
#[derive(Debug, Clone, Default)]
pub struct KnownNames {
    /// The entities that access rules may be about, by their kind. A kind that no extension has is not there.
    pub entities: BTreeMap<EntityKind, BTreeSet<String>>,
    /// The roles of the catalogue. Operators declare further ones beside the access rules.
    pub roles: BTreeSet<String>,
    /// The authorizers that extensions bring.
    pub authorizers: BTreeSet<String>,
    /// The regions in which providers process what they are sent.
    pub regions: BTreeSet<String>,
    /// The dimensions of people that extensions know, with the values each can have if its extension says which.
    pub dimensions: BTreeMap<String, Option<BTreeSet<String>>>,
    /// The policies that extensions bring.
    pub policies: BTreeSet<String>,
    /// The safety scanners that extensions bring, with the categories each can find.
    pub safety_scanners: BTreeMap<String, BTreeSet<String>>,
}

impl KnownNames {
    /// What is wrong with a rule about a dimension of this name, if no extension knows it.
    pub fn no_such_dimension(&self, dimension: &str) -> Option<String> {
        let unknown = !self.dimensions.contains_key(dimension);
        unknown.then(|| {
            let instead = instead_of(dimension, self.dimensions.keys().map(String::as_str));
            format!("no extension knows the `{dimension}` of people; {instead}")
        })
    }

    /// What is wrong with a rule about this value of a dimension, if nobody can have it.
    pub fn no_such_value(&self, dimension: &str, value: &str) -> Option<String> {
        let values = self.dimensions.get(dimension)?.as_ref()?;
        let unknown = !values.contains(value);
        unknown.then(|| {
            let instead = instead_of(value, values.iter().map(String::as_str));
            format!("nobody has the {dimension} `{value}`; {instead}")
        })
    }
}

/// What to do about a name that is none of `known`: the one that was meant, or all there are.
pub fn instead_of<'a>(name: &str, known: impl IntoIterator<Item = &'a str, IntoIter: Clone>) -> String {
    let known = known.into_iter();
    if let Some(near) = nearest(name, known.clone()) {
        return format!("did you mean `{near}`?");
    }
    let all: Vec<String> = known.map(|name| format!("`{name}`")).collect();
    if all.is_empty() { "there are none".to_owned() } else { format!("there are: {}", all.join(", ")) }
}
