//! Governance: the one place that decides whether something may be done, and the record of every decision.
//!
//! ```text
//!  surface ─► Action<E> ─► Gate::admit ─┬─► authority   who may at all            (`access`, `Authority`)
//!                                       ├─► policies    what it may contain …     (`policy`)
//!                                       └─► ledger      decided and recorded      (`ledger`)
//!                                              │
//!  effect ◄─ (bytes, Running<E>) ◄─ begin ◄─ Permit<E>      or a Refusal, recorded too
//!     └─► Running::{retry, divert, inspect, finish} ─► ledger ─► projections
//! ```
//!
//! `E` is a kind of [`Effect`]: asking a model, changing the installation, calling a tool. Governance knows none but the
//! change ([`Administer`]); each of the others belongs to the feature that has it. A [`Permit`] can be had from
//! [`Gate::admit`] only, and it exists after its record does. Whatever has an effect takes one by value, so nothing
//! ungoverned compiles; and it can be spent on the targets that were judged, and on nothing else.
//!
//! Everything fails closed: a rule that cannot be evaluated denies, and when the ledger cannot be written nothing is
//! permitted.
//!
//! To add a kind of effect: a type that implements [`Effect`] where the effect is. To add a policy: see `policy/mod.rs`,
//! or [`systemprompt_extension::policy`] for one of an extension.

pub mod access;
mod action;
mod administer;
mod answer_safety;
mod answer_secrets;
pub mod approvals;
mod authorizers;
mod backlog;
pub mod changes;
pub mod command;
pub mod config;
pub mod decision_report;
pub mod decisions;
mod denial;
mod digest;
mod effect;
mod extension;
mod filed;
mod gate;
pub mod ledger;
mod mark;
mod originals;
pub mod page;
mod permit;
pub mod policy;
pub mod quota;
mod redaction;
mod replacing;
mod running;
pub mod safety;
pub mod secret_scan;
pub mod shipping;
mod startup;
pub mod traces;
mod webhook;

pub use action::{Action, NotPermitted, Target};
pub use administer::{About, Administer, Change, ChangeError, ChangeResult, Changed, StateDigest};
pub use answer_safety::{AnswerSafety, Looked};
pub use answer_secrets::SecretInText;
pub use authorizers::{Authorizers, Said};
pub use backlog::{Backlog, BacklogError};
pub use denial::{Denial, Refusal};
pub use effect::{Authority, Effect, Facts, FactsWriter};
pub use extension::GovernanceExtension;
pub use gate::Gate;
pub use ledger::{Ledger, Payload};
pub use originals::Originals;
pub use permit::Permit;
pub use replacing::Replaced;
pub use running::{Inspection, NotDiverted, Outcome, OutcomeStatus, Running};
pub use webhook::{Courier, HttpClient, StoredObject};
