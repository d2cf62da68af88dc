//! Overrides of system prompts: extensions that say something else to a model in the name of its callers.

use std::sync::Arc;

use async_trait::async_trait;
use systemprompt_model::Principal;

use super::Fault;
use crate::made::Made;

/// May replace or leave out what callers have a model told as its operator. One value for each server.
///
/// They are asked in load order about each place a request may go to for which the configuration has no override, and the
/// first that has something to say counts. The Gate judges what they make of the request. If one fails, panics or does not
/// answer within a second the request is refused, because what would leave is not what is wanted.
///
/// ```
/// use systemprompt_extension::gateway::{Fault, PromptRequest, SystemPrompt, SystemPromptOverride, async_trait};
///
/// /// The help desk has a voice of its own.
/// struct HelpDesk;
///
/// #[async_trait]
/// impl SystemPromptOverride for HelpDesk {
///     async fn instruct(&self, request: &PromptRequest<'_>) -> Result<Option<SystemPrompt>, Fault> {
///         let of_desk = request.principal.attributes.get("department").is_some_and(|name| name == "help-desk");
///         Ok(of_desk.then(|| SystemPrompt::Replace("You answer questions about our products.".into())))
///     }
/// }
/// ```
#[async_trait]
pub trait SystemPromptOverride: Send + Sync {
    /// What becomes of the system prompt of this request; nothing to leave it as it is.
    async fn instruct(&self, request: &PromptRequest<'_>) -> Result<Option<SystemPrompt>, Fault>;
}

/// An override an extension brings.
pub type SystemPromptOverrideDef = Made<dyn SystemPromptOverride>;

/// A request to a model, as overrides of system prompts see it.
#[derive(Debug, Clone, Copy)]
pub struct PromptRequest<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The model, by its configured name.
    pub model: &'a str,
    /// The route it takes.
    pub route_id: &'a str,
    /// The provider it goes to.
    pub provider: &'a str,
}

/// What becomes of a system prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemPrompt {
    /// The model is told this in its place, and where there was none too.
    Replace(Arc<str>),
    /// It is left out.
    Strip,
}
