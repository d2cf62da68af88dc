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
    /// The policies that extensions bring.
    pub policies: BTreeSet<String>,
    /// The safety scanners that extensions bring, with the categories each can find.
    pub safety_scanners: BTreeMap<String, BTreeSet<String>>,
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
