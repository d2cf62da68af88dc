//! Putting a request into words: which model, in whose language, and whether it can do that.

use std::time::Instant;

use systemprompt_llm::catalog::Capabilities;
use systemprompt_llm::neutral::{Compatibility, Encoding, Request, Tool};
use systemprompt_llm::{Format, Hearing, ResponseFormat, Spoken};
use systemprompt_model::Attribution;

use super::error::AiError;
use super::message::AiMessage;
use super::request::AiRequest;
use crate::ask::{Ask, Forwarded};
use crate::routing::{Destination, Listed};
use crate::settled::{Inside, Settling};
use crate::snapshot::GatewaySnapshot;

/// A request that is ready to be asked.
pub(super) struct Asking {
    pub(super) ask: Ask,
    pub(super) inside: Inside,
    pub(super) settling: Settling,
    pub(super) hearing: Hearing,
    /// The provider is to search the web.
    pub(super) searches: bool,
    /// Since when its caller waits.
    pub(super) begun: Instant,
}

/// What a request is to be said about besides what it says itself.
pub(super) type Meant<'a> = &'a dyn Fn(&mut Request);

/// Puts a request into the words of the provider it leads to first, where callers speak them; nothing is lost there then,
/// nor of the answer. `meant` adds what the request does not say itself.
pub(super) fn speak(snapshot: &GatewaySnapshot, request: &AiRequest, meant: Meant<'_>) -> Result<Asking, AiError> {
    let begun = Instant::now();
    let ai = &snapshot.ai;
    if request.messages.is_empty() {
        return Err(AiError::Invalid("`messages` is empty; say something".to_owned()));
    }
    let model = chosen(snapshot, request.provider.as_deref(), request.model.as_deref())?;
    let mut said = request.spoken(&model, ai.default_max_output_tokens);
    meant(&mut said);
    let searches = said.tools.iter().any(|tool| matches!(tool, Tool::WebSearch(_)));
    let listed = snapshot.table.listed(&model);
    if let Some(listed) = listed {
        check(&said, request, listed)?;
    }
    let Spoken { request: asked, losses, hearing } = in_its_language(snapshot, said, request, listed)?;
    let (inside, settling) = Inside::new(losses, ai.disabled());
    let ask = Ask {
        by: request.by.clone(),
        request: asked,
        forwarded: Forwarded { conversation: conversation(&request.by), received: Some(begun), ..Forwarded::default() },
    };
    Ok(Asking { ask, inside, settling, hearing, searches, begun })
}

/// The conversation a request belongs to, where it is one of ours.
pub(super) fn conversation(by: &Attribution) -> Option<String> {
    by.context.map(|context| context.to_string())
}

/// The model to ask: the one that is named, that of the provider that is named, or the default one.
fn chosen(snapshot: &GatewaySnapshot, provider: Option<&str>, model: Option<&str>) -> Result<String, AiError> {
    let ai = &snapshot.ai;
    if let Some(provider) = provider {
        allowed(snapshot, provider)?;
    }
    if let Some(model) = model {
        return Ok(model.to_owned());
    }
    let of = |provider: &str| ai.providers.get(provider).and_then(|settings| settings.default_model.clone());
    if let Some(provider) = provider {
        return of(provider).ok_or_else(|| {
            AiError::NoModel(format!(
                "no model is named, and `ai.providers.{provider}.default_model` is not set; name one"
            ))
        });
    }
    let configured = ai.default_provider.as_deref().and_then(of).or_else(|| snapshot.settings.default_model.clone());
    configured.ok_or_else(|| {
        AiError::NoModel(
            "no model is named and none is configured; name one, or set `ai.default_provider` and its `default_model` in \
             services/ai/config.yaml"
                .to_owned(),
        )
    })
}

/// Whether callers inside the server may ask this provider.
pub(super) fn allowed(snapshot: &GatewaySnapshot, provider: &str) -> Result<(), AiError> {
    if !snapshot.table.providers().iter().any(|known| *known.name == *provider) {
        return Err(AiError::NoProvider(format!(
            "there is no provider `{provider}`; the profile's `providers` has them"
        )));
    }
    if !snapshot.ai.allows(provider) {
        let message = format!("the provider `{provider}` is disabled: `ai.providers.{provider}.enabled`");
        return Err(AiError::NoProvider(message));
    }
    Ok(())
}

/// Whether the place a request leads to first is one that may be asked, and the one that was named.
pub(super) fn leads_there(
    snapshot: &GatewaySnapshot,
    first: &Destination,
    model: &str,
    named: Option<&str>,
) -> Result<(), AiError> {
    let leads_to = &*first.provider.name;
    if let Some(named) = named.filter(|named| *named != leads_to) {
        return Err(AiError::NoProvider(format!(
            "the model `{model}` leads to the provider `{leads_to}` and not to `{named}`; name no provider, or a model of `{named}`"
        )));
    }
    allowed(snapshot, leads_to)
}

fn in_its_language(
    snapshot: &GatewaySnapshot,
    said: Request,
    request: &AiRequest,
    listed: Option<&Listed>,
) -> Result<Spoken, AiError> {
    let model = said.model.clone();
    let usual = listed.and_then(|listed| listed.provider.wire.format()).map_or(Format::AnthropicMessages, language);
    let provider = listed.map_or("", |listed| &listed.provider.name);
    let unspeakable = |error| AiError::unspeakable(error, provider, &model);
    // Which way it goes depends on what it says.
    let first = said.clone().spoken(usual, &Encoding::of(model.as_str())).map_err(unspeakable)?;
    let Ok(way) = snapshot.table.resolve(&first.request, conversation(&request.by).as_deref()) else {
        // Asking records that there is none.
        return Ok(first);
    };
    let to = &way.first;
    leads_there(snapshot, to, &model, request.provider.as_deref())?;
    let encoding = Encoding {
        max_output_tokens: to.max_output_tokens,
        compatibility: Compatibility {
            max_tokens_field: to.provider.max_tokens_field,
            developer_role: to.provider.developer_role,
            // The gateway asks for it where the provider takes that.
            stream_usage: false,
        },
        ..Encoding::of(to.upstream_model.as_str())
    };
    said.spoken(language(to.format), &encoding).map_err(|error| AiError::unspeakable(error, &to.provider.name, &model))
}

/// The language in which somebody asks a provider of this format.
fn language(provider: Format) -> Format {
    if Format::OF_CALLERS.contains(&provider) { provider } else { Format::AnthropicMessages }
}

/// Whether a model can do what it is asked.
fn check(said: &Request, request: &AiRequest, listed: &Listed) -> Result<(), AiError> {
    let Capabilities { vision, streaming, tools, structured_output, system_prompts, .. } = listed.model.capabilities;
    let has_image = request.messages.iter().any(AiMessage::has_image);
    let needs = [
        (has_image && said.output.images.is_none(), vision, "images", "`vision`"),
        (said.stream, streaming, "streams", "`streaming`"),
        (!said.tools.is_empty(), tools, "tools", "`tools`"),
        (said.output.format == ResponseFormat::JsonSchema, structured_output, "a JSON schema", "`structured_output`"),
        (!said.system.is_empty(), system_prompts, "system prompts", "`system_prompts`"),
    ];
    match needs.into_iter().find(|(needed, can, ..)| *needed && !can) {
        Some((.., what, capability)) => Err(unsupported(listed, what, capability)),
        None => Ok(()),
    }
}

/// What a model cannot do, and by which capability it would.
pub(super) fn unsupported(listed: &Listed, what: &str, capability: &str) -> AiError {
    AiError::Unsupported {
        model: listed.model.id.clone(),
        provider: listed.provider.name.to_string(),
        what: format!("{what} (its capability {capability} is off)"),
        fix: "choose another model, or correct `providers[].models[].capabilities` of the profile",
    }
}
