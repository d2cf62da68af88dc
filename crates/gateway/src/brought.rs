//! What extensions have to say of where a request goes, and of what the model is told there.

use std::fmt::Write as _;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use systemprompt_extension::facet::{RouteSelectors, SystemPromptOverrides};
use systemprompt_extension::gateway::{
    Fault, PromptRequest, RouteRequest, RouteSelector, SystemPrompt, SystemPromptOverride,
};
use systemprompt_extension::policy::DenialKind;
use systemprompt_extension::{ExtensionContext, ExtensionRegistry, LoaderError};
use systemprompt_governance::Denial;
use systemprompt_model::{Principal, with_causes};

use crate::ask::Ask;
use crate::routing::{NoRoute, PromptOverride, RoutingTable, Way};

/// How long one has to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The selectors of routes and the overrides of system prompts that extensions bring, made once for each server.
#[derive(Default)]
pub(crate) struct Brought {
    selectors: Vec<(&'static str, Arc<dyn RouteSelector>)>,
    overrides: Vec<(&'static str, Arc<dyn SystemPromptOverride>)>,
}

impl Brought {
    /// Those of the enabled extensions, in load order.
    pub(crate) fn of(registry: &ExtensionRegistry, ctx: &dyn ExtensionContext) -> Result<Self, LoaderError> {
        Ok(Self {
            selectors: registry.make_all::<RouteSelectors, _>(ctx)?,
            overrides: registry.make_all::<SystemPromptOverrides, _>(ctx)?,
        })
    }

    /// Whether anybody has something to say of where requests go.
    pub(crate) fn has_selectors(&self) -> bool {
        !self.selectors.is_empty()
    }

    /// Whether anybody has something to say of what models are told.
    pub(crate) fn has_overrides(&self) -> bool {
        !self.overrides.is_empty()
    }

    /// Asks every selector in turn, and gives the way they choose. One that cannot say, or names no route there is, has
    /// chosen nothing.
    ///
    /// # Errors
    ///
    /// The route that was chosen leads nowhere.
    pub(crate) async fn refine(&self, table: &RoutingTable, ask: &Ask, way: Way) -> Result<Way, NoRoute> {
        let Ask { by, request, forwarded } = ask;
        let routes = table.route_ids();
        let conversation = forwarded.conversation.clone().unwrap_or_else(|| request.conversation_id());
        let question = RouteRequest {
            principal: &by.principal,
            model: &request.model,
            routes: &routes,
            streaming: request.stream,
            tools: request.tools,
            thinking: request.thinking,
            messages: request.message_count,
            estimated_input_tokens: request.estimated_input_tokens,
            conversation: &conversation,
        };
        let mut chosen = way.route.id.clone();
        let mut trail = String::new();
        for (name, selector) in &self.selectors {
            match answered(selector.refine(&chosen, &question)).await {
                Ok(Some(next)) if next != chosen && routes.contains(&next) => {
                    let _ = write!(trail, ",selector:{name}:{chosen}->{next}");
                    chosen = next;
                }
                Ok(Some(next)) if next != chosen => {
                    tracing::error!(
                        selector = name,
                        route = next,
                        "a route selector chose a route that is not there; the request keeps its route"
                    );
                }
                Ok(_) => {}
                Err(why) => {
                    tracing::error!(selector = name, "a route selector {why}; the request keeps its route");
                }
            }
        }
        if trail.is_empty() {
            return Ok(way);
        }
        let mut way = table.resolve_by(&chosen, request, forwarded.conversation.as_deref())?;
        way.route_match += &trail;
        Ok(way)
    }

    /// Asks what the model is to be told at each place of a way for which the configuration does not say it.
    ///
    /// # Errors
    ///
    /// One of those who are asked cannot say.
    pub(crate) async fn instruct(&self, principal: &Principal, way: &mut Way) -> Result<(), Denial> {
        let Way { route, first, fallbacks, .. } = way;
        for place in std::iter::once(first).chain(fallbacks).filter(|place| place.instructions.is_none()) {
            let question = PromptRequest {
                principal,
                model: place.model_id(),
                route_id: &route.id,
                provider: &place.provider.name,
            };
            let mut instructions = None;
            for (name, instructing) in &self.overrides {
                match answered(instructing.instruct(&question)).await {
                    Ok(Some(prompt)) => {
                        let text = match prompt {
                            SystemPrompt::Replace(text) => Some(text),
                            SystemPrompt::Strip => None,
                        };
                        instructions = Some(Arc::new(PromptOverride { name: (*name).to_owned(), text }));
                        break;
                    }
                    Ok(None) => {}
                    Err(why) => {
                        tracing::error!(r#override = name, "a system prompt override {why}; the request is refused");
                        return Err(unsaid(name));
                    }
                }
            }
            Arc::make_mut(place).instructions = instructions;
        }
        Ok(())
    }
}

/// What somebody says who may fail, panic or hang.
async fn answered<T>(asking: impl Future<Output = Result<T, Fault>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, AssertUnwindSafe(asking).catch_unwind()).await {
        Ok(Ok(Ok(said))) => Ok(said),
        Ok(Ok(Err(error))) => Err(format!("failed ({})", with_causes(&*error))),
        Ok(Err(_)) => Err("panicked".to_owned()),
        Err(_) => Err("did not answer in time".to_owned()),
    }
}

/// What is to leave instead of the caller's words is not known, and these must not.
fn unsaid(name: &str) -> Denial {
    Denial {
        policy: name.to_owned(),
        kind: DenialKind::Unavailable,
        reason: format!("the system prompt override `{name}` cannot say at present what the model is to be told"),
        advice: None,
        retry_after: None,
        allowances: Vec::new(),
        code: "override_unavailable",
    }
}
