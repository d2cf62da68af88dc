//! House rules: an example of policies of one's own.
//!
//! | File | Shows |
//! |---|---|
//! | `words.rs` | a policy that looks at what is asked and at what is answered |
//! | `budget.rs` | a policy that sets something aside, and gets back what was not used |
//! | `extension.rs` | their settings and their registration |
//! | `tests/` | both in front of the demo model, through the production server |
//!
//! A product links it with `systemprompt::link_extensions!(house_rules_extension);`. Operators order it among the other
//! policies in `services/governance/config.yaml`: `- id: house_rules.words`.

mod budget;
mod extension;
mod words;

pub use extension::{HouseRules, Settings};
