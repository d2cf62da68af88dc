//! What a translation could not say.

use super::feature::{Feature, Treatment};
use crate::format::Format;

/// Most losses of one request that are told apart.
const KEPT: usize = 64;

/// Something a request said that its provider was not told, or not in the same words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// What it was.
    pub feature: Feature,
    /// The path of the field in the caller's request.
    pub field: String,
    /// Whether it was left out or said in other words.
    pub treatment: Treatment,
}

/// A request says something its provider's format has no words for, and the answer would be another one without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` cannot be sent to a provider of the {to} format ({}); leave it out or choose another model", feature.as_str())]
pub struct Unsupported {
    /// What it is.
    pub feature: Feature,
    /// The path of the field in the caller's request.
    pub field: String,
    /// The provider's format.
    pub to: Format,
}

/// What gets lost while a request is written in a format, by that format's table.
#[derive(Debug)]
pub struct Losses {
    to: Format,
    table: fn(Feature) -> Treatment,
    found: Vec<Loss>,
    stops: bool,
}

impl Losses {
    /// Nothing yet.
    pub(crate) fn new(to: Format, table: fn(Feature) -> Treatment) -> Self {
        Self { to, table, found: Vec::new(), stops: false }
    }

    /// The format has no words for what stands in a field: goes by its table. What the table calls mapped, but cannot be in
    /// this one case, counts as approximated. Texts that end the answer are never lost: it is cut on its way back.
    pub(crate) fn lose(&mut self, feature: Feature, field: impl Into<String>) -> Result<(), Unsupported> {
        if feature == Feature::StopSequences {
            self.stops = true;
            return Ok(());
        }
        let field = field.into();
        let treatment = match (self.table)(feature) {
            Treatment::Refused => return Err(Unsupported { feature, field, to: self.to }),
            Treatment::Mapped => Treatment::Approximated,
            treatment => treatment,
        };
        let loss = Loss { feature, field, treatment };
        if self.found.len() < KEPT && !self.found.contains(&loss) {
            self.found.push(loss);
        }
        Ok(())
    }

    /// Whether the provider does not know all of the texts that end the answer.
    pub(crate) fn stops(&self) -> bool {
        self.stops
    }

    /// What was lost.
    pub(crate) fn into_found(self) -> Vec<Loss> {
        self.found
    }
}
