//! Hooks of coding clients: what Claude Code and its like ask before they use a tool, and what they report afterwards.
//!
//! ```text
//!  POST …/hooks/govern ─► caller ─► event ─► session ─► Gate (effect `hook`)       ─► allow, ask, deny
//!  POST …/hooks/track  ─► caller ─► event ─► session ─► Gate (effect `hook_event`) ─► recorded
//! ```
//!
//! [`routes`] has the addresses. [`caller`] says who asks, [`event`] reads what is asked, [`govern`] decides and [`track`]
//! records; both pass the Gate, so what they did is in the ledger before the answer, and in `hook_events` ([`events`]) right
//! after. What a client sends again is answered as before and recorded once ([`earlier`]).
//!
//! Hooks run on the machine of whoever they are about, so they are a layer in front of what the server enforces by itself,
//! never in its place. They fail closed: whatever is wrong, the answer is 200 with a decision to deny.
//!
//! To add an event with fields of its own: a line in [`event::DETAILS`], if one of them is worth a column.

mod answer;
mod body;
mod caller;
mod earlier;
mod effect;
mod event;
mod events;
mod extension;
mod govern;
mod hooks;
mod metrics;
mod routes;
mod track;

pub use events::{HookEventFilter, HookEventRow, list_hook_events};
pub use extension::HooksExtension;
