//! Requests to models: what extensions have to say about each, before it is sent.
//!
//! In the order in which they are asked: a [`RouteSelector`] may send a request another way, a [`SystemPromptOverride`] may
//! say something else to the model in the caller's name, and a [`GatewayRequestGuard`] may refuse it. Each is declared by a
//! method of [`Extension`](crate::Extension), made once for each server, and asked by many tasks at once.

mod guard;
mod selector;
mod system_prompt;

pub use crate::made::Made;
pub use ::async_trait::async_trait;
pub use guard::{
    GatewayDenyKind, GatewayDenyReason, GatewayGuardDef, GatewayGuardRequest, GatewayRequestGuard, GuardError,
};
pub use selector::{RouteRequest, RouteSelector, RouteSelectorDef};
pub use system_prompt::{PromptRequest, SystemPrompt, SystemPromptOverride, SystemPromptOverrideDef};

/// Something went wrong. It is logged, and what follows is told where it may go wrong.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;
