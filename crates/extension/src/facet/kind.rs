//! What all facets have in common.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Map;

use crate::{Extension, JsonValue, LoaderError};

/// One kind of thing an extension contributes: tables, routes, roles, …
///
/// Everything that is done with all of them (asking each extension once, checking, listing, documenting) goes over the
/// [list](super::FACETS) and knows no single one. Whoever acts on one asks
/// [`ExtensionRegistry::declared`](crate::ExtensionRegistry::declared) for it.
pub trait Facet {
    /// One thing contributed. What needs a running server to be made (a policy, a document) is declared by what it is
    /// called and how it is made, so that it can be listed and checked without one.
    type Contribution;

    /// What it is, in a sentence.
    const ABOUT: &'static str;

    /// The method of [`Extension`] that declares it.
    const METHOD: &'static str;

    /// Whether what disabled extensions declare must keep the rules too.
    const EVEN_DISABLED: bool = false;

    /// What this extension contributes.
    fn of(extension: &dyn Extension) -> Vec<Self::Contribution>;

    /// A contribution for those who list it.
    fn describe(contribution: &Self::Contribution) -> Described;

    /// Every breach of the rules that can be seen in this facet alone. `declared` is in load order.
    fn check(declared: &[Declared<'_, Self::Contribution>]) -> Vec<LoaderError> {
        let _ = declared;
        Vec::new()
    }
}

/// What one extension declares in one facet.
#[derive(Debug)]
pub struct Declared<'a, C> {
    /// The extension.
    pub extension: &'static str,
    /// What it declares.
    pub contributions: &'a [C],
}

/// One contribution, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Described {
    /// What it is called.
    pub name: String,
    /// What else people want to know, in a few words; may be empty.
    #[serde(skip)]
    pub note: String,
    /// What else programs want to know.
    #[serde(flatten)]
    pub details: Map<String, JsonValue>,
}

impl Described {
    /// A contribution of this name. `details` is an object, or nothing.
    pub(crate) fn new(name: impl Into<String>, note: impl Into<String>, details: JsonValue) -> Self {
        let details = match details {
            JsonValue::Object(details) => details,
            _ => Map::new(),
        };
        Self { name: name.into(), note: note.into(), details }
    }
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.note.is_empty() {
            write!(f, " ({})", self.note)?;
        }
        Ok(())
    }
}

/// Every name of `kind` that is there twice. `names` are those of one contribution; what `same` makes equal counts as the
/// same name.
pub(crate) fn duplicates<C>(
    kind: &'static str,
    declared: &[Declared<'_, C>],
    names: impl Fn(&C) -> Vec<String>,
    same: impl Fn(&str) -> String,
) -> Vec<LoaderError> {
    let mut problems = Vec::new();
    let mut taken = BTreeMap::new();
    for Declared { extension, contributions } in declared {
        for name in contributions.iter().flat_map(&names) {
            if let Some(other) = taken.insert(same(&name), *extension) {
                problems.push(LoaderError::DuplicateName {
                    kind,
                    name,
                    a: other.to_owned(),
                    b: (*extension).to_owned(),
                });
            }
        }
    }
    problems
}

/// Which rule for names that are also names in the database or in YAML `name` breaks, if any.
pub(crate) fn broken_name_rule(name: &str) -> Option<&'static str> {
    if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    {
        Some("it must start with a lower-case letter and consist of lower-case letters, digits and '_'")
    } else if name.len() > 63 {
        Some("it must not be longer than 63 characters")
    } else {
        None
    }
}
