//! Where a request is sent and how it looks there: the address, the headers, the time limits, the bytes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use systemprompt_llm::neutral::{Compatibility, Encoding, Loss};
use systemprompt_llm::{Edits, Format, InferenceRequest, TranslationError};
use systemprompt_model::{ActionId, Secret};

use crate::config::{ProviderWire, Timeouts};
use crate::passage::WayBack;
use crate::routing::{Destination, Provider};

const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// Who asks. Some providers, and the firewalls before them, refuse a client that does not say.
const OUR_NAME: HeaderValue = HeaderValue::from_static(concat!("systemprompt/", env!("CARGO_PKG_VERSION")));
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// What the API speaks when the client does not say.
const DEFAULT_ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// The credential header of each provider that has one, by its name.
#[derive(Default)]
pub(crate) struct Credentials(HashMap<String, (HeaderName, HeaderValue)>);

impl Credentials {
    /// Keeps the key of a provider. False if it cannot be sent as a header.
    #[must_use]
    pub(crate) fn add(&mut self, provider: &str, wire: ProviderWire, api_key: &Secret) -> bool {
        let header = credential(wire, api_key);
        let usable = header.is_some();
        self.0.extend(header.map(|header| (provider.to_owned(), header)));
        usable
    }
}

/// One place a request can be sent to.
pub(crate) struct Target {
    /// What the permit calls it.
    pub name: systemprompt_governance::Target,
    /// Who answers there.
    pub provider: Arc<Provider>,
    /// The format that is spoken there.
    pub format: Format,
    /// The address.
    pub uri: String,
    /// The headers sent along.
    pub headers: HeaderMap,
    /// How long the head of an answer may take. The first byte of a buffered answer is its last, so only the limit of
    /// the whole call bounds it.
    pub head_limit: Duration,
}

impl Target {
    /// The place `way` leads to, for this request. Of the caller's headers only `anthropic-*` pass, and only to
    /// Anthropic wires; whatever identifies the caller stays here.
    pub(crate) fn new(
        way: &Destination,
        request: &InferenceRequest,
        caller: &HeaderMap,
        credentials: &Credentials,
    ) -> Self {
        let provider = way.provider.clone();
        let Timeouts { first_byte, total, .. } = provider.timeouts;
        Self {
            name: target_name(way),
            format: way.format,
            uri: uri(&provider, &way.upstream_model, request.stream),
            headers: headers(caller, way, credentials.0.get(&provider.name), request.stream),
            head_limit: if request.stream { first_byte } else { total },
            provider,
        }
    }
}

/// What a permit calls a place.
pub(crate) fn target_name(way: &Destination) -> systemprompt_governance::Target {
    systemprompt_governance::Target::new(format!("{}/{}", way.provider.name, way.upstream_model))
}

/// A request as a provider gets it.
pub(crate) struct Prepared {
    /// The body.
    pub bytes: Bytes,
    /// The way back of the answer.
    pub back: WayBack,
    /// What of the caller's request the body does not say, or not in the same words.
    pub losses: Vec<Loss>,
}

/// The bytes of a request as the provider at the end of `way` gets them: the caller's own, with the few edits it takes, or
/// written anew in the provider's format. The provider is asked what a stream used if `ask_usage` says so, and if it takes
/// that. `id` and `created` are what a translated answer says of itself where the provider says nothing.
pub(crate) fn prepare(
    request: &InferenceRequest,
    way: &Destination,
    ask_usage: bool,
    id: ActionId,
    created: i64,
) -> Result<Prepared, TranslationError> {
    let provider = &way.provider;
    let stream_usage = ask_usage && provider.wire == ProviderWire::OpenAiChat && provider.stream_usage.is_asked_for();
    if way.format != request.format {
        let encoding = Encoding {
            max_output_tokens: way.max_output_tokens,
            compatibility: Compatibility { stream_usage, ..Compatibility::default() },
            ..Encoding::of(way.upstream_model.as_str())
        };
        let translated = request.translate(way.format, &encoding, &id.to_string(), created)?;
        let back = WayBack::Translated(Box::new(translated.back));
        return Ok(Prepared { bytes: translated.bytes, back, losses: translated.losses });
    }
    let relayed = request.relay(&Edits {
        model: (way.upstream_model != request.model).then(|| way.upstream_model.clone()),
        max_tokens_limit: way.max_output_tokens,
        include_stream_usage: stream_usage,
    });
    let back = WayBack::Relayed { format: request.format, usage_added: relayed.usage_added };
    Ok(Prepared { bytes: relayed.bytes, back, losses: Vec::new() })
}

fn uri(provider: &Provider, model: &str, stream: bool) -> String {
    // The demo model is inside the server and has no URI; it gets none that leads anywhere.
    let path = provider.wire.format().map(|format| format.path(model, stream)).unwrap_or_default();
    format!("{}{path}", provider.endpoint)
}

/// The header that carries an API key to a provider of this wire; absent if the key cannot be one.
fn credential(wire: ProviderWire, api_key: &Secret) -> Option<(HeaderName, HeaderValue)> {
    let key = api_key.expose().trim();
    let (name, text) = match wire {
        ProviderWire::Anthropic => (X_API_KEY, key.to_owned()),
        ProviderWire::OpenAiChat | ProviderWire::Demo => (AUTHORIZATION, format!("Bearer {key}")),
    };
    let mut value = HeaderValue::from_str(&text).ok().filter(|_| !key.is_empty())?;
    value.set_sensitive(true);
    Some((name, value))
}

fn headers(
    caller: &HeaderMap,
    way: &Destination,
    credential: Option<&(HeaderName, HeaderValue)>,
    stream: bool,
) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, OUR_NAME);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(ACCEPT, HeaderValue::from_static(if stream { "text/event-stream" } else { "application/json" }));
    if way.provider.wire == ProviderWire::Anthropic {
        for (name, value) in caller.iter().filter(|(name, _)| name.as_str().starts_with("anthropic-")) {
            headers.append(name.clone(), value.clone());
        }
        headers.entry(ANTHROPIC_VERSION).or_insert(DEFAULT_ANTHROPIC_VERSION);
    }
    if let Some((name, value)) = credential {
        headers.insert(name.clone(), value.clone());
    }
    for (name, value) in way.provider.extra_headers.iter().chain(&*way.extra_headers) {
        // Both were checked when the configuration was loaded.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    headers
}
