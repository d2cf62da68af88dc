//! Who may use what.
//!
//! Features register what they have ([`AccessRules::register_entities`]); operators write rules about it, in
//! `services/access-control/*.yaml`, which are brought into the database at start ([`AccessRules::bootstrap`]), and by hand,
//! in the database ([`AccessRules::upsert_rule`]). What no rule allows is denied; [`resolve()`] tells how a decision follows
//! from the rules.
//!
//! Every replica decides from memory. The tables announce their changes, and from the moment an announcement arrives until
//! the change is read decisions are made from the database; so are they while announcements cannot be received. If the
//! database cannot be asked then, there is no decision, and the caller must refuse.

mod cache;
mod entities;
mod patience;
mod queries;
mod resolve;
mod rule;
mod rules;

pub use self::patience::Unavailable;
pub use self::resolve::{AccessDecision, Basis, DEFAULT_DEPARTMENT, DEPARTMENT, DenyReason, EntityRules, resolve};
pub use self::rule::Rule;
pub use self::rules::{AccessRules, BootstrapOptions, RuleError, SOURCE_API, SOURCE_YAML};
