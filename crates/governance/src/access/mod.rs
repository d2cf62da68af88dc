//! Who may use what.
//!
//! ```text
//!  services/access-control/*.yaml ─► bootstrap ─┐
//!  admin access-control …, the HTTP API ────────┴─► tables ─► RuleSet ─► compile ─► policies of one entity ─┐
//!  services/access-control/*.cedar ─────────────► Authored ──┘                                             │
//!                      principal, groups, what extensions know ─► Subject ─► evaluate ◄───────────────────┘
//! ```
//!
//! Features register what they have ([`AccessRules::register_entities`]); operators write rules about it, in documents,
//! which are brought into the database at start ([`AccessRules::bootstrap`]), and by hand, in the database
//! ([`RuleStore`]). What no rule allows is denied. Rules and what was written in Cedar are one set of
//! policies; how precedence is put into them is told in `compile.rs`. [`RuleSet::decide`] asks them, and
//! [`RuleSet::explain`] says why.
//!
//! Every replica decides from memory. The tables announce their changes, and from the moment an announcement arrives until
//! the change is read decisions are made from the database; so are they while announcements cannot be received. If the
//! database cannot be asked then, there is no decision, and the caller must refuse.

mod attribute_metrics;
mod authored;
mod by_hand;
mod cache;
mod compile;
mod decision;
mod dimensions;
mod documents;
mod entity;
mod explain;
mod group;
mod groups;
mod names;
mod patience;
mod queries;
#[cfg(test)]
mod reference;
mod remembered;
mod rule;
mod rule_set;
mod rules;
mod source;
mod spoken;
mod still_needed;
mod store;
mod stored;
#[cfg(test)]
mod tests;
mod untold;
mod vocabulary;

pub use self::authored::{Authored, AuthoredPolicy};
pub use self::by_hand::WantedRule;
pub use self::decision::{
    AccessDecision, Basis, DEFAULT_DEPARTMENT, DEPARTMENT, DIMENSIONS, DenyReason, GROUP, ROLE, USER,
};
pub use self::dimensions::{Described, Dimensions};
pub(crate) use self::entity::Told;
pub use self::entity::{EntityRule, EntityRules, Subject};
pub use self::explain::{Considered, Explanation, Part};
pub use self::group::{Group, GroupKind};
pub use self::groups::Groups;
pub use self::names::{RuleNames, UnknownName};
pub use self::patience::Unavailable;
pub use self::rule::Rule;
pub use self::rule_set::RuleSet;
pub use self::rules::{AccessRules, Decided};
pub use self::source::{SOURCE_API, SOURCE_YAML};
pub use self::still_needed::StillNeeded;
pub use self::store::{BootstrapOptions, RuleError, RuleStore};
pub use self::stored::StoredRule;
pub use self::untold::{Silence, Untold};
pub use self::vocabulary::SCHEMA;
