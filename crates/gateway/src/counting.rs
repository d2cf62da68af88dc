//! Counting the tokens of a request without asking it.
//!
//! What is counted by a provider leaves the house like a question, so it passes the Gate and is recorded, as an effect of its
//! own that costs nothing. Where the provider does not count, or not now, the length of the request is what there is: a
//! client that cannot tell how full its conversation is stops working.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use systemprompt_extension::policy::{Estimate, ModelCall, Subject};
use systemprompt_governance::{Action, Effect, Facts, FactsWriter, Outcome, Target as PermitTarget};
use systemprompt_llm::neutral::Encoding;
use systemprompt_llm::{Format, InferenceRequest, earlier_turns, tokens};
use systemprompt_model::{ActionId, EntityKind, Resource};

use crate::ask::Ask;
use crate::config::ProviderWire;
use crate::credential::Credentials;
use crate::failure::{Failure, untranslatable};
use crate::inference::Inference;
use crate::routing::Destination;
use crate::target::{Target, instructed};
use crate::upstream::{self, Line, SendError, Taken};

/// An answer is a number and a few words.
const ANSWER_LIMIT: usize = 64 * 1024;
/// Counting takes a moment; a client that waits for it does nothing else.
const PATIENCE: Duration = Duration::from_secs(30);

/// The effect: the tokens of a prompt are counted by a provider.
#[derive(Debug, Clone)]
pub(crate) struct CountTokens {
    dialect: Format,
    model: String,
    provider: String,
    requested_model: String,
    /// The model's id in the registry, or its name at the provider.
    model_id: Option<String>,
    /// Where the provider processes what it is sent.
    region: Option<String>,
}

impl Effect for CountTokens {
    const KIND: &'static str = "count_tokens";
    type Result = Counted;

    fn subject(&self) -> Subject<'_> {
        Subject::Prompt
    }

    fn region(&self, _: &PermitTarget) -> Option<&str> {
        self.region.as_deref()
    }

    fn earlier(&self, content: &[u8]) -> Vec<Range<usize>> {
        earlier_turns(content)
    }

    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        facts.text("dialect", self.dialect.as_str());
        facts.stranger("model", Some(&self.model));
        facts.optional_text("provider", Some(&self.provider));
        facts.stranger("requested_model", Some(&self.requested_model));
    }

    fn is_replaceable(&self) -> bool {
        true
    }

    /// Clients count on every turn, several times. It is no call of a model, and uses nothing up.
    fn estimate(&self) -> Estimate {
        Estimate::default()
    }

    fn model(&self) -> Option<ModelCall<'_>> {
        let name = self.model_id.as_deref()?;
        Some(ModelCall { name, provider: &self.provider, streaming: false })
    }
}

/// What came of counting.
#[derive(Debug)]
pub(crate) struct Counted {
    http_status: Option<u16>,
    tokens: Option<u64>,
}

impl Facts for Counted {
    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        facts.count("http_status", self.http_status.map(u64::from));
        facts.count("tokens", self.tokens);
    }
}

/// How many tokens a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenCount {
    /// The record, if a provider was asked.
    pub(crate) request: Option<ActionId>,
    pub(crate) tokens: u64,
}

impl Inference {
    /// Counts the tokens of a request as the provider of its model counts them, and estimates them where it does not.
    ///
    /// # Errors
    ///
    /// The model leads nowhere, or the Gate refused.
    pub(crate) async fn count_tokens(&self, ask: &Ask) -> Result<TokenCount, Failure> {
        let Ask { by, request, forwarded } = ask;
        let id = ActionId::generate(&self.ambient);
        let snapshot = self.snapshot();
        let mut action = Action {
            id,
            by: by.clone(),
            resource: Resource::entity(EntityKind::GatewayRoute, ""),
            targets: Vec::new(),
            content: Bytes::new(),
            effect: CountTokens {
                dialect: request.format,
                model: String::new(),
                provider: String::new(),
                requested_model: request.model.clone(),
                model_id: None,
                region: None,
            },
            received_at: self.ambient.now(),
        };
        let way = match snapshot.table.resolve(request, forwarded.conversation.as_deref()) {
            Ok(way) => way,
            Err(no_route) => return Err(Failure::new(id, self.gate.refuse(action, no_route.into()).await)),
        };
        let way = match self.with_extensions(&snapshot, ask, way).await {
            Ok(way) => way,
            Err((_, denial)) => return Err(Failure::new(id, self.gate.refuse(action, denial).await)),
        };
        let (policies, route) = (self.gate.policies(), way.route.clone());
        let way = way.beginning_where(|to| !policies.leaves_out(&route.id, to.provider.region.as_deref()));
        let to = &way.first;
        let request = match instructed(request, to) {
            Ok(request) => request,
            Err(error) => {
                let denial = untranslatable(&error.into());
                return Err(Failure::new(id, self.gate.refuse(action, denial).await));
            }
        };
        let Some((target, content)) = asked(to, &request, &forwarded.headers, &snapshot.credentials) else {
            return Ok(TokenCount { request: None, tokens: estimated(&request).await });
        };
        action.resource = Resource::entity(EntityKind::GatewayRoute, &way.route.id);
        action.targets = vec![to.permit_target.clone()];
        action.content = content;
        action.effect.model.clone_from(&to.upstream_model);
        action.effect.provider = to.provider.name.to_string();
        action.effect.model_id = Some(to.model_id().to_owned());
        action.effect.region.clone_from(&to.provider.region);

        let permit = self.gate.admit(action).await.map_err(|refusal| Failure::new(id, refusal))?;
        let (content, running) = permit.begin(&to.permit_target).map_err(|error| Failure::new(id, error))?;
        let limit = target.head_limit.min(PATIENCE);
        let answer = async {
            let sent = snapshot.upstreams.send(&target, content, Line::Pooled, limit, Taken::default()).await?;
            let (head, body) = sent.into_parts();
            let body = upstream::collect(body, ANSWER_LIMIT, limit, |_| ()).await?;
            Ok::<_, SendError>((head.status, body))
        };
        let (outcome, tokens) = match answer.await {
            Ok((status, body)) => {
                let tokens = to.format.counted(&body).filter(|_| status.is_success());
                let result = Counted { http_status: Some(status.as_u16()), tokens };
                let outcome = match tokens {
                    Some(_) => Outcome::completed(result),
                    None => Outcome {
                        result: Some(result),
                        ..Outcome::failed(format!("upstream status {}, and no count", status.as_u16()))
                    },
                };
                (outcome, tokens)
            }
            Err(error) => (Outcome::failed(error.to_string()), None),
        };
        running.finish(outcome);
        let tokens = match tokens {
            Some(tokens) => tokens,
            None => estimated(&request).await,
        };
        Ok(TokenCount { request: Some(id), tokens })
    }
}

/// How many tokens there are, as well as can be said without the provider. A long conversation takes its time, in which
/// others are served.
async fn estimated(request: &InferenceRequest) -> u64 {
    let (roughly, request) = (request.estimated_input_tokens, request.clone());
    let counting = tokio::task::spawn_blocking(move || tokens::count(&request.model, &request));
    counting.await.unwrap_or(roughly).max(1)
}

/// Where and with what the provider is asked to count; `None` if it does not.
fn asked(
    to: &Destination,
    request: &InferenceRequest,
    caller: &HeaderMap,
    credentials: &Credentials,
) -> Option<(Target, Bytes)> {
    let counts = matches!(to.provider.wire, ProviderWire::Anthropic | ProviderWire::Gemini);
    let path = to.format.count_path(&to.upstream_model).filter(|_| counts)?;
    let encoding = Encoding { max_output_tokens: to.max_output_tokens, ..Encoding::of(to.upstream_model.as_str()) };
    let content = request.to_count(to.format, &encoding, false).ok()??;
    let mut target = Target::new(to, request, caller, credentials);
    target.uri = format!("{}{path}", to.provider.endpoint);
    Some((target, content.into()))
}
