//! Model requests in the ledger: what is recorded of each, the tables people query, and the queries.
//!
//! [`Infer`] is the effect, and says what the log keeps. [`Requests`] is the projection that turns those entries into the
//! tables `ai_requests`, `ai_request_tool_calls` and `ai_safety_findings`. [`queries`] reads
//! one, [`list`] many, and [`figures`] sums them up; what is asked for is a [`filter`].

mod effect;
pub mod figures;
pub mod filter;
mod findings;
pub mod list;
mod projection;
pub mod queries;
pub mod said;

pub(crate) use effect::{CostSource, Infer, Inferred, ToolCallFacts, UsageSource, tool_call_part};
pub(crate) use projection::Requests;
