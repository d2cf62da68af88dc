//! Where a request is sent and how it looks there: the address, the headers, the time limits, the bytes.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use systemprompt_llm::neutral::{Compatibility, Encoding, Loss};
use systemprompt_llm::{Address, Edits, Envelope, Format, InferenceRequest, RequestError, TranslationError};
use systemprompt_model::ActionId;

use crate::config::{ProviderWire, Timeouts};
use crate::credential::{CredentialSet, Credentials};
use crate::passage::WayBack;
use crate::routing::{Destination, Provider};

const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// Who asks. Some providers, and the firewalls before them, refuse a client that does not say.
pub(crate) const OUR_NAME: HeaderValue = HeaderValue::from_static(concat!("systemprompt/", env!("CARGO_PKG_VERSION")));
/// What the API speaks when the client does not say.
const DEFAULT_ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// One place a request can be sent to.
pub(crate) struct Target {
    /// Who answers there.
    pub provider: Arc<Provider>,
    /// The format that is spoken there.
    pub format: Format,
    /// The model, and whether a stream is wanted, where only the address says it.
    pub asked: Address,
    /// The address.
    pub uri: String,
    /// The headers sent along.
    pub headers: HeaderMap,
    /// What is shown there.
    pub credential: Option<Arc<CredentialSet>>,
    /// How long the head of an answer may take. The first byte of a buffered answer is its last, so only the limit of
    /// the whole call bounds it.
    pub head_limit: Duration,
    /// How long all of it may take, if it is not streamed.
    pub limit: Duration,
}

impl Target {
    /// The place `way` leads to, for this request. Of the caller's headers only `anthropic-*` pass, and only to
    /// Anthropic wires; whatever identifies the caller stays here. The credential is put on when the request is sent.
    pub(crate) fn new(
        way: &Destination,
        request: &InferenceRequest,
        caller: &HeaderMap,
        credentials: &Credentials,
    ) -> Self {
        let provider = way.provider.clone();
        let Timeouts { first_byte, total, images, .. } = provider.timeouts;
        let images = images.unwrap_or_else(|| provider.wire.usual_image_timeout());
        let total = if request.makes_images { images } else { total };
        Self {
            format: way.format,
            asked: Address { model: way.upstream_model.clone(), stream: request.stream },
            uri: uri(way, request.stream),
            headers: headers(caller, way, request.stream),
            credential: credentials.of(&provider.name),
            head_limit: if request.stream { first_byte } else { total },
            limit: total,
            provider,
        }
    }
}

/// A request as a provider gets it.
pub(crate) struct Prepared {
    /// The body.
    pub bytes: Bytes,
    /// The way back of the answer.
    pub back: WayBack,
    /// What of the caller's request the body does not say, or not in the same words.
    pub losses: Vec<Loss>,
    /// Tokens of the prompt, as estimated from its length.
    pub estimated_input_tokens: u64,
}

/// The bytes of a request as the provider at the end of `way` gets them: the caller's own, with the few edits it takes and
/// other instructions where there are some, or written anew in the provider's format; in the envelope of its cloud, which takes something from the caller's headers.
/// The provider is asked what a stream used if `ask_usage` says so, and if it takes that. `id` and `created` are what a
/// translated answer says of itself where the provider says nothing.
pub(crate) fn prepare(
    request: &InferenceRequest,
    caller: &HeaderMap,
    way: &Destination,
    ask_usage: bool,
    id: ActionId,
    created: i64,
) -> Result<Prepared, TranslationError> {
    let mut prepared = written(&*instructed(request, way)?, way, ask_usage, id, created)?;
    if let Some(envelope) = envelope(way.provider.wire, caller) {
        prepared.bytes = envelope.around(&prepared.bytes);
    }
    Ok(prepared)
}

/// A request with what the model at `way` is to be told in the place of the caller's system prompt, if there is something.
pub(crate) fn instructed<'r>(
    request: &'r InferenceRequest,
    way: &Destination,
) -> Result<Cow<'r, InferenceRequest>, RequestError> {
    match &way.instructions {
        Some(instructions) => request.with_instructions(instructions.text.as_deref()).map(Cow::Owned),
        None => Ok(Cow::Borrowed(request)),
    }
}

fn written(
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
            compatibility: Compatibility {
                max_tokens_field: provider.max_tokens_field,
                developer_role: provider.developer_role,
                stream_usage,
            },
            ..Encoding::of(way.upstream_model.as_str())
        };
        let translated = request.translate(way.format, &encoding, &id.to_string(), created)?;
        let back = WayBack::Translated(Box::new(translated.back));
        let (losses, estimated_input_tokens) = (translated.losses, request.estimated_input_tokens);
        return Ok(Prepared { bytes: translated.bytes, back, losses, estimated_input_tokens });
    }
    let relayed = request.relay(&Edits {
        model: (way.upstream_model != request.model).then(|| way.upstream_model.clone()),
        max_tokens_limit: way.max_output_tokens,
        include_stream_usage: stream_usage,
    });
    let back = WayBack::Relayed { format: request.format, usage_added: relayed.usage_added };
    let estimated_input_tokens = request.estimated_input_tokens;
    Ok(Prepared { bytes: relayed.bytes, back, losses: Vec::new(), estimated_input_tokens })
}

/// What the clouds that serve Anthropic's models want in a body.
fn envelope(wire: ProviderWire, caller: &HeaderMap) -> Option<Envelope> {
    match wire {
        ProviderWire::BedrockAnthropic => {
            let named = caller.get_all(ANTHROPIC_BETA).iter().filter_map(|names| names.to_str().ok());
            let beta = named.flat_map(|names| names.split(',')).map(|name| name.trim().to_owned());
            let beta = beta.filter(|name| !name.is_empty()).collect();
            Some(Envelope { version: "bedrock-2023-05-31", beta, keeps_stream: false })
        }
        // There it stays a header.
        ProviderWire::VertexAnthropic => {
            Some(Envelope { version: "vertex-2023-10-16", beta: Vec::new(), keeps_stream: true })
        }
        _ => None,
    }
}

fn uri(way: &Destination, stream: bool) -> String {
    let (provider, model) = (&way.provider, way.upstream_model.as_str());
    let path: Cow<'_, str> = match provider.wire {
        ProviderWire::BedrockAnthropic => {
            let method = if stream { "invoke-with-response-stream" } else { "invoke" };
            format!("/model/{}/{method}", segment(model)).into()
        }
        ProviderWire::VertexAnthropic => {
            let method = if stream { "streamRawPredict" } else { "rawPredict" };
            format!("{}/publishers/anthropic/models/{}:{method}", place(provider), segment(model)).into()
        }
        ProviderWire::VertexGemini => {
            format!("{}/publishers/google{}", place(provider), way.format.path(model, stream)).into()
        }
        ProviderWire::Anthropic
        | ProviderWire::OpenAiChat
        | ProviderWire::OpenAiResponses
        | ProviderWire::Gemini
        | ProviderWire::BedrockConverse => way.format.path(model, stream),
        // The demo model is inside the server and has no URI; it gets none that leads anywhere.
        ProviderWire::Demo => Cow::Borrowed(""),
    };
    format!("{}{path}", provider.endpoint)
}

/// The project and location of a Vertex provider, as a path.
fn place(provider: &Provider) -> String {
    let place = provider.place.as_ref();
    place.map(|place| format!("/projects/{}/locations/{}", place.project, place.location)).unwrap_or_default()
}

/// A model's name as a segment of a path. Some have versions behind an `@`, and some are ARNs with slashes.
fn segment(model: &str) -> String {
    let mut segment = String::with_capacity(model.len());
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment += &format!("%{byte:02X}");
        }
    }
    segment
}

/// The caller's headers that go on to a provider of one of these wires, as they are judged and recorded.
pub(crate) fn passed_on(caller: &HeaderMap, wires: impl Iterator<Item = ProviderWire>) -> Vec<(String, String)> {
    let (mut all, mut beta) = (false, false);
    for wire in wires {
        all |= wire == ProviderWire::Anthropic;
        beta |= matches!(wire, ProviderWire::BedrockAnthropic | ProviderWire::VertexAnthropic);
    }
    let goes_on = |name: &HeaderName| all && is_anthropics(name) || beta && *name == ANTHROPIC_BETA;
    let shown = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    caller.iter().filter(|(name, _)| goes_on(name)).map(|(name, value)| (name.to_string(), shown(value))).collect()
}

/// Whether a header says something to a provider of Anthropic's wire.
fn is_anthropics(name: &HeaderName) -> bool {
    name.as_str().starts_with("anthropic-")
}

fn headers(caller: &HeaderMap, way: &Destination, stream: bool) -> HeaderMap {
    let wire = way.provider.wire;
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, OUR_NAME);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let accept = match (stream, wire.is_bedrock()) {
        (false, _) => "application/json",
        (true, false) => "text/event-stream",
        (true, true) => "application/vnd.amazon.eventstream",
    };
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    if wire == ProviderWire::Anthropic {
        for (name, value) in caller.iter().filter(|(name, _)| is_anthropics(name)) {
            headers.append(name.clone(), value.clone());
        }
        headers.entry(ANTHROPIC_VERSION).or_insert(DEFAULT_ANTHROPIC_VERSION);
    }
    if wire == ProviderWire::VertexAnthropic {
        for value in caller.get_all(ANTHROPIC_BETA) {
            headers.append(ANTHROPIC_BETA, value.clone());
        }
    }
    for (name, value) in way.provider.extra_headers.iter().chain(&*way.extra_headers) {
        // Both were checked when the configuration was loaded.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    headers
}
