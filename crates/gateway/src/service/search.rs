//! Answers that go by what the provider finds on the web.

use serde_json::{Value, json};
use systemprompt_llm::neutral::{Feature, Json, Output, Request, Tool, WebSearch};
use systemprompt_llm::{Format, ResponseFormat};

use super::ai::AiService;
use super::error::AiError;
use super::message::{AiMessage, MessageRole};
use super::request::AiRequest;
use super::response::AiResponse;
use super::speaking::{Meant, speak};
use crate::config::ProviderWire;
use crate::snapshot::GatewaySnapshot;

/// A question that is answered by what is on the web. Without a provider and a model it is asked of the first provider of
/// `ai.providers` that may search, the default one before others.
#[derive(Debug, Clone)]
pub struct SearchParams {
    /// The question.
    pub request: AiRequest,
    /// At most so many searches, where the provider can be told.
    pub max_searches: Option<u64>,
    /// Only these domains, where the provider can be told.
    pub allowed_domains: Vec<String>,
}

impl SearchParams {
    /// A question, with nothing said of how to search.
    pub fn new(request: AiRequest) -> Self {
        Self { request, max_searches: None, allowed_domains: Vec::new() }
    }
}

/// A question that is answered by what Google finds.
#[derive(Debug, Clone)]
pub struct GoogleSearchParams {
    /// The question.
    pub request: AiRequest,
    /// Pages that are to be read.
    pub urls: Vec<String>,
    /// The JSON Schema of the answer, if it is to be JSON.
    pub response_schema: Option<Value>,
}

impl GoogleSearchParams {
    /// A question, with nothing said of where to look.
    pub fn new(request: AiRequest) -> Self {
        Self { request, urls: Vec::new(), response_schema: None }
    }
}

impl AiService {
    /// Has a model answer by what its provider finds on the web: Anthropic's `web_search_20250305`, OpenAI's `web_search` of
    /// Responses, Google's `google_search`. [`AiResponse::grounding`] has the sources and what was searched for. Searches
    /// that are charged for are in the cost, and recorded.
    pub async fn generate_with_search(&self, params: &SearchParams) -> Result<AiResponse, AiError> {
        let snapshot = self.inference.snapshot();
        let request = to_searcher(&snapshot, &params.request, can_search)?.ok_or_else(|| {
            AiError::NoProvider(
                "no provider that can search has a default model in `ai.providers`; name a model, or set one"
                    .to_owned(),
            )
        })?;
        let search = WebSearch {
            max_uses: params.max_searches,
            allowed_domains: params.allowed_domains.clone(),
            ..WebSearch::default()
        };
        self.search(&snapshot, &request, &|said| said.tools.push(Tool::WebSearch(search.clone()))).await
    }

    /// Has a Gemini model answer by what Google finds, and by these pages.
    pub async fn generate_with_google_search(&self, params: &GoogleSearchParams) -> Result<AiResponse, AiError> {
        let snapshot = self.inference.snapshot();
        let google =
            |snapshot: &GatewaySnapshot, provider: &str, wire| is_google(wire) && can_search(snapshot, provider, wire);
        let request = to_searcher(&snapshot, &params.request, google)?
            .ok_or_else(|| AiError::NoProvider("No provider with Google Search support".to_owned()))?;
        let mut request = request;
        if !params.urls.is_empty() {
            request.messages.push(AiMessage {
                role: MessageRole::User,
                content: format!("Read these pages:\n{}", params.urls.join("\n")),
                parts: Vec::new(),
            });
        }
        let meant = |said: &mut Request| {
            said.tools.push(Tool::WebSearch(WebSearch::default()));
            if !params.urls.is_empty() {
                let tool = Json::of(&json!({ "urlContext": {} }));
                said.tools.push(Tool::Native(Format::Gemini, "urlContext".to_owned(), tool));
            }
            if let Some(schema) = &params.response_schema {
                said.output =
                    Output { format: ResponseFormat::JsonSchema, schema: Some(Json::of(schema)), ..Output::default() };
            }
        };
        self.search(&snapshot, &request, &meant).await
    }

    async fn search(
        &self,
        snapshot: &GatewaySnapshot,
        request: &AiRequest,
        meant: Meant<'_>,
    ) -> Result<AiResponse, AiError> {
        let asking = speak(snapshot, request, meant)?;
        if asking.inside.losses.iter().any(|loss| loss.feature == Feature::WebSearch && loss.field.ends_with(']')) {
            return Err(AiError::Unsupported {
                model: asking.ask.request.model.clone(),
                provider: asking.hearing.format().to_string(),
                what: "a search of the web, or one of these domains only".to_owned(),
                fix: "name no domains, or choose another model",
            });
        }
        let response = self.answer(asking).await?;
        if response.grounding.as_ref().is_none_or(|grounding| grounding.sources.is_empty()) {
            tracing::warn!(request_id = %response.request_id, "an answer that was to go by the web names no source");
        }
        Ok(response)
    }
}

/// The request, to a provider that may search. `None` if it names none and there is none.
fn to_searcher(
    snapshot: &GatewaySnapshot,
    request: &AiRequest,
    may: impl Fn(&GatewaySnapshot, &str, ProviderWire) -> bool,
) -> Result<Option<AiRequest>, AiError> {
    let providers = snapshot.table.providers();
    let wire = |name: &str| providers.iter().find(|known| *known.name == *name).map(|known| known.wire);
    let leads_to = request.model.as_deref().and_then(|model| snapshot.table.listed(model));
    if let Some(name) = request.provider.as_deref().or_else(|| leads_to.map(|listed| &*listed.provider.name)) {
        // What is not known here is refused where it is asked.
        if wire(name).is_none_or(|wire| may(snapshot, name, wire)) {
            return Ok(Some(request.clone()));
        }
        let google = wire(name).is_some_and(is_google);
        return Err(AiError::NoProvider(if google {
            format!("the provider `{name}` may not search: set `ai.providers.{name}.google_search_enabled`")
        } else {
            format!("the provider `{name}` cannot search; name another, or none")
        }));
    }
    if request.model.is_some() {
        return Ok(Some(request.clone()));
    }
    let first = snapshot.ai.default_provider.iter();
    let found = first.chain(snapshot.ai.providers.keys()).find(|name| {
        let has_model = snapshot.ai.providers.get(*name).is_some_and(|settings| settings.default_model.is_some());
        has_model && snapshot.ai.allows(name) && wire(name).is_some_and(|wire| may(snapshot, name, wire))
    });
    Ok(found.map(|name| request.clone().with_provider(name.clone())))
}

/// Whether a provider may be asked to search.
fn can_search(snapshot: &GatewaySnapshot, provider: &str, wire: ProviderWire) -> bool {
    match wire {
        ProviderWire::Gemini | ProviderWire::VertexGemini => {
            snapshot.ai.providers.get(provider).is_some_and(|settings| settings.google_search_enabled)
        }
        // Of Chat Completions some models always search, and no other.
        ProviderWire::Anthropic
        | ProviderWire::VertexAnthropic
        | ProviderWire::OpenAiResponses
        | ProviderWire::OpenAiChat => true,
        ProviderWire::BedrockAnthropic | ProviderWire::BedrockConverse | ProviderWire::Demo => false,
    }
}

fn is_google(wire: ProviderWire) -> bool {
    matches!(wire, ProviderWire::Gemini | ProviderWire::VertexGemini)
}
