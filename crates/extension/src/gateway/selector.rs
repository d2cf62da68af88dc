//! Selectors: extensions that may send a request to a model another way.

use async_trait::async_trait;
use systemprompt_model::Principal;

use super::Fault;
use crate::made::Made;

/// May send requests to models another way than their route. One value for each server.
///
/// Selectors are asked once the route is found, in load order, each with what the one before it chose. They choose among
/// configured routes only, and whether the caller may use a route is judged of the one that is chosen last. One that fails,
/// panics or does not answer within a second has chosen nothing.
///
/// ```
/// use systemprompt_extension::gateway::{Fault, RouteRequest, RouteSelector, async_trait};
///
/// /// Short questions do not need the large model.
/// struct Small;
///
/// #[async_trait]
/// impl RouteSelector for Small {
///     async fn refine(&self, route: &str, request: &RouteRequest<'_>) -> Result<Option<String>, Fault> {
///         let is_small = route == "large" && request.tools == 0 && request.estimated_input_tokens < 500;
///         Ok(is_small.then(|| "small".to_owned()))
///     }
/// }
/// ```
#[async_trait]
pub trait RouteSelector: Send + Sync {
    /// The id of the route to take in the place of `route`; nothing to keep it.
    async fn refine(&self, route: &str, request: &RouteRequest<'_>) -> Result<Option<String>, Fault>;
}

/// A selector an extension brings.
pub type RouteSelectorDef = Made<dyn RouteSelector>;

/// A request to a model, as selectors see it.
#[derive(Debug, Clone, Copy)]
pub struct RouteRequest<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The model, as the caller names it.
    pub model: &'a str,
    /// The ids of all routes.
    pub routes: &'a [String],
    /// Whether the answer is wanted as a stream.
    pub streaming: bool,
    /// How many tools are offered.
    pub tools: usize,
    /// Whether the model is asked to think first.
    pub thinking: bool,
    /// How many messages the conversation has.
    pub messages: usize,
    /// Tokens of the prompt, as estimated from its length.
    pub estimated_input_tokens: u64,
    /// What stays the same through a conversation.
    pub conversation: &'a str,
}
