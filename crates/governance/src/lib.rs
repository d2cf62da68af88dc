//! Governance: the one place that decides whether something may be done, and the record of every decision.
//!
//! ```text
//!  surface ─► Action ─► Gate::admit ─┬─► access rules   who may use what         (`access`)
//!                                    ├─► policies       what it may contain …    (`policy`)
//!                                    └─► ledger         decided and recorded     (`ledger`)
//!                                             │
//!  effect  ◄─ Permit ◄────────────────────────┘        or a Refusal, recorded too
//!     └─► Permit::finish(Outcome) ─► ledger
//! ```
//!
//! A [`Permit`] can be had from [`Gate::admit`] only, and it exists after its record does. Whatever has an effect (asking a
//! provider, calling a tool) takes one by value, so nothing ungoverned compiles.
//!
//! Everything fails closed: a rule that cannot be evaluated denies, and when the ledger cannot be written nothing is
//! permitted.
//!
//! To add a policy: give it a variant in [`config::PolicyConfig`] and build it in [`policy`].

pub mod access;
mod action;
pub mod config;
mod denial;
mod extension;
mod gate;
pub mod ledger;
mod permit;
pub mod policy;
pub mod rate_limit;
mod redaction;
pub mod secret_scan;
mod tool_rules;

pub use action::{Action, ActionKind, EntityKind, Inference, Resource, UnknownEntityKind};
pub use denial::{Denial, DenialKind, Refusal};
pub use extension::GovernanceExtension;
pub use gate::Gate;
pub use ledger::{Ledger, Payload};
pub use permit::{Outcome, OutcomeStatus, Permit, ToolCallRecord};
