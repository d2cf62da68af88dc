//! The settings of the policy `residency`.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_extension::instead_of;
use systemprompt_model::pattern::Pattern;

use super::flaw::Flaw;
use super::mode::PolicyMode;

/// `residency`: requests for models go to providers of these regions only. Others that a route leads to are left out; if there
/// is no other, the request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResidencyConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// Overrides the mode of the section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
    /// The regions, as `data_region`, `region` or `location` of providers names them, or patterns of them with `*` and `?`.
    /// Letter case does not matter.
    pub regions: Vec<String>,
    /// The routes it is about, by their ids or patterns of them; all routes if there are none.
    pub routes: Vec<String>,
}

impl Default for ResidencyConfig {
    fn default() -> Self {
        Self { enabled: true, mode: None, regions: Vec::new(), routes: Vec::new() }
    }
}

impl ResidencyConfig {
    /// Everything that is wrong with it although it fits the schema.
    pub(crate) fn flaws(&self, at: &str, flaws: &mut Vec<Flaw>) {
        if self.enabled && self.regions.is_empty() {
            flaws.push(Flaw::new(format!("{at}/regions"), "is empty, so no provider could be asked; say which may be"));
        }
        for (key, patterns) in [("regions", &self.regions), ("routes", &self.routes)] {
            for (index, pattern) in patterns.iter().enumerate() {
                if let Err(error) = Pattern::ignoring_case(pattern) {
                    flaws.push(Flaw::new(format!("{at}/{key}/{index}"), error.to_string()));
                }
            }
        }
    }

    /// Names of regions and routes that nothing has.
    pub(super) fn unknown_names(
        &self,
        at: &str,
        regions: &BTreeSet<String>,
        routes: &BTreeSet<String>,
        flaws: &mut Vec<Flaw>,
    ) {
        for (key, what, patterns, known) in [
            ("regions", "no provider is in the region", &self.regions, regions),
            ("routes", "there is no route", &self.routes, routes),
        ] {
            for (index, name) in patterns.iter().enumerate() {
                let fits = |pattern: &Pattern| known.iter().any(|name| pattern.fits(name));
                if Pattern::ignoring_case(name).is_ok_and(|pattern| fits(&pattern)) {
                    continue;
                }
                let message = format!("{what} `{name}`; {}", instead_of(name, known.iter().map(String::as_str)));
                flaws.push(Flaw::new(format!("{at}/{key}/{index}"), message));
            }
        }
    }
}
