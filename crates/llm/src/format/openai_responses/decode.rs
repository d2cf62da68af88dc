//! Reading a caller's request into neutral words.

use super::items::Conversation;
use super::tools::{self, Further, Tools};
use crate::format::raw::{self, Object};
use crate::neutral::{Feature, Output, Reasoning, Request, Sampling, Tool, ToolChoice};
use crate::request::InferenceRequest;
use crate::request::error::RequestError;
use crate::request::facts::Effort;

/// Reads a request.
pub(super) fn decode(request: &InferenceRequest) -> Result<Request, RequestError> {
    // It was read before, so it is UTF-8 and an object.
    let body = std::str::from_utf8(&request.body).unwrap_or_default().trim();
    let mut object = Object::read(body, "", "a JSON object")?;
    let mut further = Further::new();
    let mut tools = Tools::default();
    tools.read(&mut object, &mut further)?;
    let mut conversation = Conversation::new(&mut tools, &mut further);
    conversation.instructions(&mut object)?;
    conversation.input(&mut object)?;
    let (system, messages) = conversation.end();

    let tool_choice = tool_choice(&mut object, &mut further)?;
    let output = output(&mut object, request, &mut further)?;
    let reasoning = reasoning(&mut object, request, &mut further)?;
    let logprobs = logprobs(&mut object, &mut further)?;
    let mut tools = tools.tools;
    if let Some(most) = object.count("max_tool_calls")? {
        // It counts calls of the vendor's tools, and searches are the only ones that others have.
        let searches = tools.iter_mut().filter_map(|tool| match tool {
            Tool::WebSearch(search) => Some(search),
            _ => None,
        });
        for search in searches {
            search.max_uses = Some(most);
        }
    }
    let parallel_tool_calls = object.switch("parallel_tool_calls")?;
    let service_tier = object.text("service_tier")?;
    let prompt_cache_key = object.text("prompt_cache_key")?;
    settings(&mut object, &mut further)?;
    further.extend(object.rest().map(|path| (Feature::UnknownField, path)));
    Ok(Request {
        model: request.model.clone(),
        system,
        messages,
        tools,
        tool_choice,
        parallel_tool_calls,
        max_output_tokens: request.max_tokens,
        sampling: Sampling { temperature: request.temperature, top_p: request.top_p, ..Sampling::default() },
        stop: request.stop_sequences.clone(),
        reasoning,
        output,
        logprobs,
        service_tier,
        prompt_cache_key,
        stream: request.stream,
        stream_usage: true,
        further,
    })
}

/// Reads the settings no neutral word exists for.
fn settings(object: &mut Object<'_>, further: &mut Further) -> Result<(), RequestError> {
    if object.switch("store")? == Some(true) {
        further.push((Feature::Store, "store".to_owned()));
    }
    if object.text("truncation")?.is_some_and(|truncation| truncation != "disabled") {
        further.push((Feature::ContextManagement, "truncation".to_owned()));
    }
    for (name, feature) in [
        ("client_metadata", Feature::Metadata),
        ("context_management", Feature::ContextManagement),
        ("metadata", Feature::Metadata),
        ("moderation", Feature::SafetySettings),
        ("prompt", Feature::ServerState),
        ("prompt_cache_options", Feature::CacheControl),
        ("prompt_cache_retention", Feature::CacheControl),
    ] {
        // An empty one says nothing.
        if object.take(name).is_some_and(|value| !matches!(value, "{}" | "[]")) {
            further.push((feature, name.to_owned()));
        }
    }
    // Who the user is, is nobody's business in any format.
    object.ignore(&[
        "background",
        "background_options",
        "conversation",
        "max_output_tokens",
        "model",
        "previous_response_id",
        "safety_identifier",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "user",
    ]);
    Ok(())
}

fn tool_choice(object: &mut Object<'_>, further: &mut Further) -> Result<Option<ToolChoice>, RequestError> {
    let Some(raw) = object.take("tool_choice") else { return Ok(None) };
    let words = "`auto`, `none`, `required` or an object with a `type`";
    if let Some(word) = raw::text(raw) {
        return match word.as_str() {
            "auto" => Ok(Some(ToolChoice::Auto)),
            "none" => Ok(Some(ToolChoice::None)),
            "required" => Ok(Some(ToolChoice::Required)),
            _ => Err(RequestError::invalid("tool_choice", words)),
        };
    }
    let mut choice = Object::read(raw, "tool_choice", words)?;
    let kind = choice.required_text("type", "say what kind of tool it is, e.g. \"function\"")?;
    let chosen = match kind.as_str() {
        "function" | "custom" => ToolChoice::Named(tools::named(&mut choice)?),
        "local_shell" | "shell" | "apply_patch" | "tool_search" => ToolChoice::Named(kind),
        "allowed_tools" => {
            let required = choice.text("mode")?.as_deref() == Some("required");
            let mut names = Vec::new();
            for (path, raw) in choice.list("tools")?.unwrap_or_default() {
                let mut tool = Object::read(raw, path, "an object with `type` and `name`")?;
                match tool.required_text("type", "say what kind of tool it is, e.g. \"function\"")?.as_str() {
                    "function" | "custom" => names.push(tools::named(&mut tool)?),
                    kind => names.push(kind.to_owned()),
                }
            }
            ToolChoice::Among { required, names }
        }
        _ => {
            further.push((Feature::VendorTools, "tool_choice".to_owned()));
            return Ok(None);
        }
    };
    Ok(Some(chosen))
}

fn output(object: &mut Object<'_>, request: &InferenceRequest, further: &mut Further) -> Result<Output, RequestError> {
    let mut output = Output { format: request.response_format, ..Output::default() };
    let Some(mut text) = object.object("text")? else { return Ok(output) };
    output.verbosity = text.text("verbosity")?;
    if let Some(mut format) = text.object("format")? {
        output.schema = format.json("schema");
        output.name = format.text("name")?;
        output.description = format.text("description")?;
        output.strict = format.switch("strict")?;
        format.ignore(&["type"]);
        further.extend(format.rest().map(|path| (Feature::UnknownField, path)));
    }
    further.extend(text.rest().map(|path| (Feature::UnknownField, path)));
    Ok(output)
}

fn reasoning(
    object: &mut Object<'_>,
    request: &InferenceRequest,
    further: &mut Further,
) -> Result<Option<Reasoning>, RequestError> {
    let Some(mut asked) = object.object("reasoning")? else { return Ok(None) };
    let told = asked.text("summary")?.or(asked.text("generate_summary")?);
    let effort = request.reasoning_effort;
    let reasoning = Reasoning {
        effort: effort.filter(|effort| *effort > Effort::None),
        off: effort == Some(Effort::None),
        told: told.map(|_| true),
        ..Reasoning::default()
    };
    asked.ignore(&["effort"]);
    further.extend(asked.rest().map(|path| (Feature::UnknownField, path)));
    Ok((reasoning.effort.is_some() || reasoning.off).then_some(reasoning))
}

/// Probabilities are asked for by a number, or by the name of the field they stand in.
fn logprobs(object: &mut Object<'_>, further: &mut Further) -> Result<Option<u64>, RequestError> {
    let mut logprobs = object.count("top_logprobs")?.filter(|top| *top > 0);
    for (path, raw) in object.list("include")?.unwrap_or_default() {
        match raw::text(raw).as_deref() {
            // Thoughts are always told in a form that can be sent back.
            Some("reasoning.encrypted_content") => {}
            Some("message.output_text.logprobs") => logprobs = logprobs.or(Some(0)),
            _ => further.push((Feature::UnknownField, path)),
        }
    }
    Ok(logprobs)
}
