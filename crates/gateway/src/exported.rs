//! What is exported of a call: a span of the request, one below it for each attempt at a provider, and measurements, in the
//! terms of OpenTelemetry's conventions for generative AI.
//!
//! All of it is put together when the call is over. Without a collector there is no [`CallTrace`] and nothing is done. What
//! was asked and answered is never part of it, and what strangers chose is scanned before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Uri};
use systemprompt_governance::Refusal;
use systemprompt_llm::{Format, Usage};
use systemprompt_model::{ActionId, Ambient, Microdollars, TraceId};
use systemprompt_telemetry::otlp::{KeyValue, Span, Status};
use systemprompt_telemetry::{Exporter, Instrument, span_id};

use crate::ask::Ask;
use crate::failure::{Failure, FailureKind};
use crate::request::UsageSource;
use crate::target::Target;
use crate::traceparent::{SAMPLED, TRACEPARENT, TraceParent};

/// Kinds of spans.
const SERVER: i32 = 2;
const CLIENT: i32 = 3;
/// The status of a span that failed.
const ERROR: i32 = 2;
/// That the parent is known to be elsewhere, or not.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The trace a call is part of.
pub(crate) struct Traced {
    /// The caller's span.
    parent: Option<TraceParent>,
    /// Ours, where the caller has none.
    trace: TraceId,
    /// What is exported of the call, if anything is.
    exported: Option<Box<CallTrace>>,
}

impl Traced {
    /// The trace of a call that is about to be made.
    pub(crate) fn begin(exporter: Option<&Arc<Exporter>>, id: ActionId, ask: &Ask) -> Self {
        let parent = TraceParent::of(&ask.forwarded.headers);
        let exported = exporter.map(|exporter| Box::new(CallTrace::new(exporter.clone(), id, ask, parent)));
        Self { parent, trace: ask.by.trace, exported }
    }

    /// The request is sent to a provider, which is told of the trace if it shall be.
    pub(crate) fn sending(&mut self, target: &mut Target, ambient: &Ambient) {
        let attempt = self.exported.as_mut().map(|exported| exported.attempt(target));
        if !target.provider.trace_context {
            return;
        }
        let is_sampled = self.exported.as_ref().is_some_and(|exported| exported.is_sampled);
        let outgoing = TraceParent {
            trace_id: trace_id(self.parent, self.trace),
            span_id: attempt.unwrap_or_else(|| span_id(ambient)),
            flags: if is_sampled { SAMPLED } else { self.parent.map_or(0, |parent| parent.flags & SAMPLED) },
        };
        let value = HeaderValue::try_from(outgoing.to_string()).expect("hexadecimal digits and hyphens");
        target.headers.insert(TRACEPARENT, value);
    }

    /// The last attempt came to nothing.
    pub(crate) fn failed(&mut self, error: &str) {
        if let Some(last) = self.last().filter(|last| last.ended.is_none()) {
            last.ended = Some(Instant::now());
            last.error = Some(error.to_owned());
        }
    }

    /// The head of an answer came.
    pub(crate) fn head(&mut self, status: u16) {
        if let Some(last) = self.last() {
            last.status = Some(status);
        }
    }

    /// What is exported at the end, which comes once.
    pub(crate) fn end(&mut self) -> Option<Box<CallTrace>> {
        self.exported.take()
    }

    fn last(&mut self) -> Option<&mut Attempt> {
        self.exported.as_mut()?.attempts.last_mut()
    }
}

/// What is known of a call for those who export it.
pub(crate) struct CallTrace {
    exporter: Arc<Exporter>,
    trace_id: [u8; 16],
    /// The caller's span.
    parent: Option<[u8; 8]>,
    span_id: [u8; 8],
    is_sampled: bool,
    operation: &'static str,
    requested_model: String,
    attributes: Vec<KeyValue>,
    received: Instant,
    attempts: Vec<Attempt>,
}

/// A request at a provider.
struct Attempt {
    span_id: [u8; 8],
    /// The provider as the conventions call it.
    known_as: String,
    provider: String,
    address: Option<String>,
    port: Option<u16>,
    began: Instant,
    ended: Option<Instant>,
    status: Option<u16>,
    error: Option<String>,
}

/// How a call ended.
pub(crate) struct Ended<'a> {
    /// As metrics call it.
    pub(crate) status: &'static str,
    /// A class of errors.
    pub(crate) error: Option<&'static str>,
    /// What went wrong, without what was said.
    pub(crate) message: Option<&'a str>,
    /// The provider that was asked last.
    pub(crate) provider: &'a str,
    /// The model's name in metrics.
    pub(crate) model: &'a str,
    pub(crate) usage: &'a Usage,
    pub(crate) usage_source: UsageSource,
    pub(crate) cost: Microdollars,
    pub(crate) response_model: Option<&'a str>,
    pub(crate) response_id: Option<&'a str>,
    pub(crate) stop_reason: Option<&'a str>,
    pub(crate) streamed: bool,
    /// When it was sent first.
    pub(crate) sent: Instant,
    /// How long after that the first piece of the answer came.
    pub(crate) first_byte: Option<Duration>,
}

impl CallTrace {
    fn new(exporter: Arc<Exporter>, id: ActionId, ask: &Ask, parent: Option<TraceParent>) -> Self {
        let Ask { by, request, forwarded } = ask;
        let operation = operation(request.format);
        let requested_model = exporter.clean(&request.model);
        let mut attributes = vec![
            KeyValue::text("gen_ai.operation.name", operation),
            KeyValue::text("gen_ai.request.model", requested_model.clone()),
            KeyValue::bool("gen_ai.request.stream", request.stream),
            KeyValue::text("systemprompt.request_id", id.to_string()),
            KeyValue::text("systemprompt.trace_id", by.trace.to_string()),
            KeyValue::text("systemprompt.dialect", request.format.as_str()),
            KeyValue::text("user.id", by.principal.user_id.to_string()),
        ];
        attributes.extend(by.session.map(|session| KeyValue::text("session.id", session.to_string())));
        let conversation = forwarded.conversation.clone().unwrap_or_else(|| request.conversation_id());
        attributes.push(KeyValue::text("gen_ai.conversation.id", exporter.clean(&conversation)));
        attributes.extend(request.max_tokens.map(|limit| KeyValue::int("gen_ai.request.max_tokens", limit)));
        attributes.extend(request.temperature.map(|value| KeyValue::double("gen_ai.request.temperature", value)));
        attributes.extend(request.top_p.map(|value| KeyValue::double("gen_ai.request.top_p", value)));
        if request.answers != 1 {
            attributes.push(KeyValue::int("gen_ai.request.choice.count", request.answers));
        }
        Self {
            trace_id: trace_id(parent, by.trace),
            parent: parent.map(|parent| parent.span_id),
            span_id: exporter.span_id(),
            is_sampled: exporter.samples(parent.map(TraceParent::is_sampled)),
            operation,
            requested_model,
            attributes,
            received: forwarded.received.unwrap_or_else(Instant::now),
            attempts: Vec::with_capacity(1),
            exporter,
        }
    }

    /// Gives the id of its span.
    fn attempt(&mut self, target: &Target) -> [u8; 8] {
        let uri: Option<Uri> = target.uri.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).map(str::to_owned);
        let usual = |uri: &Uri| if uri.scheme_str() == Some("http") { 80 } else { 443 };
        let port = uri.as_ref().map(|uri| uri.port_u16().unwrap_or_else(|| usual(uri)));
        let span_id = self.exporter.span_id();
        self.attempts.push(Attempt {
            span_id,
            known_as: known_as(host.as_deref(), &target.provider.name).to_owned(),
            provider: target.provider.name.to_string(),
            port: port.filter(|_| host.is_some()),
            address: host,
            began: Instant::now(),
            ended: None,
            status: None,
            error: None,
        });
        span_id
    }

    /// The call is over.
    pub(crate) fn finish(mut self, end: &Ended<'_>) {
        let now = Instant::now();
        self.measure(end, now);
        if !self.is_sampled {
            return;
        }
        if let Some(last) = self.attempts.last_mut().filter(|last| last.error.is_none() && end.status == "failed") {
            last.error = end.error.map(str::to_owned);
        }
        let mut attributes = std::mem::take(&mut self.attributes);
        let mut add = |attribute: KeyValue| attributes.push(attribute);
        let known_as = self.attempts.last().map_or(end.provider, |last| &last.known_as);
        add(KeyValue::text("gen_ai.provider.name", known_as));
        add(KeyValue::text("systemprompt.provider", end.provider));
        if let Some(model) = end.response_model {
            add(KeyValue::text("gen_ai.response.model", self.exporter.clean(model)));
        }
        if let Some(id) = end.response_id {
            add(KeyValue::text("gen_ai.response.id", self.exporter.clean(id)));
        }
        if let Some(reason) = end.stop_reason {
            add(KeyValue::texts("gen_ai.response.finish_reasons", [self.exporter.clean(reason)]));
        }
        if let Some(first_byte) = end.first_byte.filter(|_| end.streamed) {
            add(KeyValue::double("gen_ai.response.time_to_first_chunk", first_byte.as_secs_f64()));
        }
        // The conventions count what was cached as part of the prompt.
        add(KeyValue::int("gen_ai.usage.input_tokens", end.usage.prompt_tokens()));
        add(KeyValue::int("gen_ai.usage.output_tokens", end.usage.output_tokens.unwrap_or(0)));
        for (name, tokens) in [
            ("gen_ai.usage.cache_read.input_tokens", end.usage.cache_read_tokens),
            ("gen_ai.usage.cache_creation.input_tokens", end.usage.cache_creation_tokens),
            ("gen_ai.usage.reasoning.output_tokens", end.usage.reasoning_tokens),
        ] {
            if let Some(tokens) = tokens {
                add(KeyValue::int(name, tokens));
            }
        }
        add(KeyValue::text("systemprompt.usage_source", end.usage_source.as_str()));
        add(KeyValue::int("systemprompt.cost_microdollars", u64::try_from(end.cost.0).unwrap_or(0)));
        add(KeyValue::text("systemprompt.status", end.status));
        add(KeyValue::double("systemprompt.overhead_seconds", end.sent.duration_since(self.received).as_secs_f64()));
        add(KeyValue::double("systemprompt.upstream_seconds", now.duration_since(end.sent).as_secs_f64()));
        if let Some(error) = end.error {
            add(KeyValue::text("error.type", error));
        }
        let status = end.error.map(|_| failed(end.message.unwrap_or_default()));
        let mut spans = self.attempt_spans(now);
        spans.push(self.request_span(attributes, status, now));
        self.exporter.report(spans);
    }

    /// The gateway refused.
    pub(crate) fn refused(mut self, failure: &Failure) {
        if !self.is_sampled {
            return;
        }
        let error = match &failure.kind {
            FailureKind::Refused(Refusal::Denied(denial)) => denial.code,
            FailureKind::Refused(Refusal::LedgerUnavailable) => "ledger_unavailable",
            FailureKind::NotPermitted(_) => "not_permitted",
            FailureKind::Withheld(_) | FailureKind::Upstream(_) | FailureKind::Shut(_) => "_OTHER",
        };
        let mut attributes = std::mem::take(&mut self.attributes);
        attributes.push(KeyValue::text("systemprompt.status", "rejected"));
        attributes.push(KeyValue::text("error.type", error));
        if let FailureKind::Refused(Refusal::Denied(denial)) = &failure.kind {
            attributes.push(KeyValue::text("systemprompt.policy", denial.policy.clone()));
        }
        // Nobody was asked; the conventions want a name.
        attributes.push(KeyValue::text("gen_ai.provider.name", "systemprompt"));
        let span = self.request_span(attributes, Some(failed(&failure.to_string())), Instant::now());
        self.exporter.report(vec![span]);
    }

    fn measure(&self, end: &Ended<'_>, now: Instant) {
        let Some(last) = self.attempts.last() else { return };
        let mut labels = vec![
            ("gen_ai.operation.name", self.operation),
            ("gen_ai.provider.name", last.known_as.as_str()),
            ("gen_ai.request.model", end.model),
        ];
        let response_model = end.response_model.map(|model| self.exporter.clean(model));
        labels.extend(response_model.as_deref().map(|model| ("gen_ai.response.model", model)));
        let measure =
            |instrument, labels: &[(&'static str, &str)], value| self.exporter.measure(instrument, labels, value);
        for (kind, tokens) in [("input", end.usage.prompt_tokens()), ("output", end.usage.output_tokens.unwrap_or(0))] {
            if tokens > 0 {
                let labels: Vec<_> = labels.iter().copied().chain([("gen_ai.token.type", kind)]).collect();
                measure(Instrument::TokenUsage, &labels, tokens as f64);
            }
        }
        let overhead = end.sent.duration_since(self.received);
        measure(Instrument::Overhead, &labels[..3], overhead.as_secs_f64());
        if let Some(first_byte) = end.first_byte.filter(|_| end.streamed && end.error.is_none()) {
            measure(Instrument::TimeToFirstToken, &labels, (overhead + first_byte).as_secs_f64());
        }
        labels.extend(end.error.map(|error| ("error.type", error)));
        measure(Instrument::OperationDuration, &labels, now.duration_since(end.sent).as_secs_f64());
        measure(Instrument::RequestDuration, &labels, now.duration_since(self.received).as_secs_f64());
    }

    fn request_span(&self, attributes: Vec<KeyValue>, status: Option<Status>, now: Instant) -> Span {
        let remote = if self.parent.is_some() { IS_REMOTE } else { 0 };
        Span {
            trace_id: self.trace_id.to_vec(),
            span_id: self.span_id.to_vec(),
            parent_span_id: self.parent.map(|parent| parent.to_vec()).unwrap_or_default(),
            name: format!("{} {}", self.operation, self.requested_model),
            kind: SERVER,
            start_time_unix_nano: self.at(self.received, now),
            end_time_unix_nano: self.at(now, now),
            attributes,
            status,
            flags: u32::from(SAMPLED) | HAS_IS_REMOTE | remote,
            ..Span::default()
        }
    }

    /// In the terms of HTTP: usage is that of the request, and counted once.
    fn attempt_spans(&self, now: Instant) -> Vec<Span> {
        let span = |(count, attempt): (usize, &Attempt)| {
            let mut attributes = vec![
                KeyValue::text("http.request.method", "POST"),
                KeyValue::text("gen_ai.provider.name", attempt.known_as.clone()),
                KeyValue::text("systemprompt.provider", attempt.provider.clone()),
            ];
            attributes.extend(attempt.address.as_ref().map(|host| KeyValue::text("server.address", host.clone())));
            attributes.extend(attempt.port.map(|port| KeyValue::int("server.port", port.into())));
            attributes.extend(attempt.status.map(|status| KeyValue::int("http.response.status_code", status.into())));
            if count > 0 {
                attributes.push(KeyValue::int("http.request.resend_count", count as u64));
            }
            attributes.extend(attempt.error.as_ref().map(|error| KeyValue::text("error.type", error.clone())));
            Span {
                trace_id: self.trace_id.to_vec(),
                span_id: attempt.span_id.to_vec(),
                parent_span_id: self.span_id.to_vec(),
                name: format!("POST {}", attempt.provider),
                kind: CLIENT,
                start_time_unix_nano: self.at(attempt.began, now),
                end_time_unix_nano: self.at(attempt.ended.unwrap_or(now), now),
                attributes,
                status: attempt.error.as_ref().map(|_| failed("")),
                flags: u32::from(SAMPLED) | HAS_IS_REMOTE,
                ..Span::default()
            }
        };
        self.attempts.iter().enumerate().map(span).collect()
    }

    /// A moment of the call in nanoseconds since 1970.
    fn at(&self, moment: Instant, now: Instant) -> u64 {
        let ago = u64::try_from(now.saturating_duration_since(moment).as_nanos()).unwrap_or(u64::MAX);
        self.exporter.now().saturating_sub(ago)
    }
}

/// The trace of the caller, or else ours.
fn trace_id(parent: Option<TraceParent>, trace: TraceId) -> [u8; 16] {
    parent.map_or_else(|| *trace.as_uuid().as_bytes(), |parent| parent.trace_id)
}

fn failed(message: &str) -> Status {
    Status { message: message.to_owned(), code: ERROR }
}

/// What is asked for, as the conventions call it.
fn operation(format: Format) -> &'static str {
    match format {
        Format::Gemini => "generate_content",
        _ => "chat",
    }
}

/// A provider as the conventions call it: those they know by their address, others by their name in the configuration.
fn known_as<'a>(host: Option<&str>, name: &'a str) -> &'a str {
    const KNOWN: &[(&str, &str)] = &[
        ("anthropic.com", "anthropic"),
        ("openai.com", "openai"),
        ("openai.azure.com", "azure.ai.openai"),
        ("services.ai.azure.com", "azure.ai.inference"),
        ("generativelanguage.googleapis.com", "gcp.gemini"),
        ("aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("amazonaws.com", "aws.bedrock"),
        ("groq.com", "groq"),
        ("mistral.ai", "mistral_ai"),
        ("deepseek.com", "deepseek"),
        ("x.ai", "x_ai"),
        ("perplexity.ai", "perplexity"),
        ("cohere.com", "cohere"),
    ];
    let host = host.unwrap_or_default();
    let is_below = |domain: &str| {
        host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.') || rest.ends_with('-'))
    };
    KNOWN.iter().find(|(domain, _)| is_below(domain)).map_or(name, |(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_have_the_names_of_the_conventions() {
        for (host, expected) in [
            (Some("api.anthropic.com"), "anthropic"),
            (Some("mine.openai.azure.com"), "azure.ai.openai"),
            (Some("europe-west1-aiplatform.googleapis.com"), "gcp.vertex_ai"),
            (Some("bedrock-runtime.eu-central-1.amazonaws.com"), "aws.bedrock"),
            (Some("notanthropic.com"), "mine"),
            (Some("10.0.0.1"), "mine"),
            (None, "mine"),
        ] {
            assert_eq!(known_as(host, "mine"), expected, "{host:?}");
        }
    }
}
