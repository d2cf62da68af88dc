//! The facet of sections of the configuration.

use systemprompt_config::{Place, SectionSpec};

use super::kind::{Declared, Described, Facet, duplicates};
use crate::{Extension, JsonValue, LoaderError};

/// What one is called in messages.
const KIND: &str = "configuration section";

/// Keys of the profile and documents of the services tree that a feature owns.
#[derive(Debug)]
pub enum Sections {}

impl Facet for Sections {
    type Contribution = SectionSpec;

    const ABOUT: &'static str = "Keys of the profile and of the services tree that it owns beyond its settings.";
    const METHOD: &'static str = "config_sections";
    const EVEN_DISABLED: bool = true;

    fn of(extension: &dyn Extension) -> Vec<SectionSpec> {
        extension.config_sections()
    }

    fn describe(section: &SectionSpec) -> Described {
        Described::new(in_words(&section.place), "", JsonValue::Null)
    }

    fn check(declared: &[Declared<'_, SectionSpec>]) -> Vec<LoaderError> {
        duplicates(KIND, declared, |section| vec![in_words(&section.place)], str::to_owned)
    }
}

fn in_words(place: &Place) -> String {
    match place {
        Place::Profile { key } => format!("{key} of the profile"),
        Place::Service { path, key } => format!("{key} of services/{path}"),
        Place::Extension { prefix } => format!("extensions.{prefix}"),
    }
}
