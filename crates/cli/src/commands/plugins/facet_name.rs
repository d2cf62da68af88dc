//! The names of facets as arguments.

use clap::builder::{PossibleValue, PossibleValuesParser};
use systemprompt_extension::facet::FACETS;

/// Reads the name of a facet.
pub(super) fn facet_name() -> PossibleValuesParser {
    FACETS.iter().map(|facet| PossibleValue::new(facet.name).help(facet.about)).into()
}
