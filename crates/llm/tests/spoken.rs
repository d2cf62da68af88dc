//! Requests that nobody sent: said in neutral words, in the language of each format that callers speak.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use systemprompt_llm::neutral::{
    Encoding, Event, Function, ImageOutput, Json, Message, Output, Part, Request, Role, Text, Tool, WebSearch,
};
use systemprompt_llm::{Format, Hearing, ImageOrder, InferenceRequest, ResponseFormat, TranslationError};

fn question(model: &str) -> Request {
    Request {
        model: model.to_owned(),
        system: vec![Text::plain("Be brief.")],
        messages: vec![Message { role: Role::User, parts: vec![Part::Text(Text::plain("Where is Oslo?"))] }],
        max_output_tokens: Some(50),
        ..Request::default()
    }
}

#[test]
fn it_asks_for_the_model_it_names_whatever_the_provider_calls_it() {
    for format in Format::OF_CALLERS {
        let spoken =
            Request { stream: true, ..question("an-alias") }.spoken(format, &Encoding::of("claude-sonnet-5-5"));
        let spoken = spoken.unwrap();
        let request = &spoken.request;
        assert_eq!((request.format, request.model.as_str(), request.stream), (format, "an-alias", true));
        assert_eq!(request.max_tokens, Some(50), "{format}");
        assert_eq!(spoken.losses, [], "{format}");
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert!(body.get("model").is_none_or(|model| model == "an-alias"), "{body}");
    }
}

#[test]
fn tools_are_called_by_their_own_names() {
    let name = "a tool: ".repeat(20);
    let tool = Function { name: name.clone(), parameters: Some(Json::empty_object()), ..Function::default() };
    let spoken = Request { tools: vec![Tool::Function(tool)], ..question("m") }
        .spoken(Format::AnthropicMessages, &Encoding::of("m"))
        .unwrap();
    let body: Value = serde_json::from_slice(spoken.request.body()).unwrap();
    let sent = body["tools"][0]["name"].as_str().unwrap();
    assert_ne!(sent, name);
    let answer = json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
        "content": [{"type": "tool_use", "id": "t", "name": sent, "input": {}}], "usage": {}});
    let heard = spoken.hearing.whole(answer.to_string().as_bytes()).unwrap();
    assert!(matches!(&heard.parts[..], [Part::ToolCall(call)] if call.name == name), "{heard:?}");
    let mut names = Vec::new();
    let mut stream = spoken.hearing.stream();
    for event in [
        json!({"type": "message_start", "message": {"id": "m", "model": "m", "usage": {}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": sent, "input": {}}}),
        json!({"type": "content_block_stop", "index": 0}),
    ] {
        stream.feed(format!("data: {event}\n\n").as_bytes(), |event| names.push(event));
    }
    stream.finish(|event| names.push(event));
    assert!(!stream.ended(), "it broke off: {names:?}");
    assert!(names.iter().any(|event| matches!(event, Event::PartStart(start) if format!("{start:?}").contains(&name))));
}

#[test]
fn images_are_asked_of_those_who_make_them() {
    let images = Some(ImageOutput { aspect_ratio: Some("16:9".to_owned()), size: None });
    let wish = Request { output: Output { images, ..Output::default() }, ..question("m") };
    for format in Format::OF_CALLERS {
        match wish.clone().spoken(format, &Encoding::of("m")) {
            Ok(spoken) => {
                let body: Value = serde_json::from_slice(spoken.request.body()).unwrap();
                assert_eq!(body["generationConfig"]["imageConfig"], json!({"aspectRatio": "16:9"}), "{format}");
                assert!(spoken.request.makes_images);
            }
            Err(error) => {
                assert_ne!(format, Format::Gemini);
                assert!(matches!(&error, TranslationError::Unsupported(no) if no.field == "modalities"), "{error}");
            }
        }
    }
    for (references, path) in
        [(Vec::new(), "/images/generations"), (vec![("image/png".to_owned(), b"x".to_vec())], "/images/edits")]
    {
        let order = ImageOrder { prompt: "A cat".to_owned(), count: 2, size: None, references };
        let (format, body) = order.spoken("gpt-image");
        let request = InferenceRequest::parse(format, body.into()).unwrap();
        assert_eq!((&*format.path("gpt-image", false), request.answers, request.makes_images), (path, 2, true));
    }
    let answer = json!({"output_format": "webp", "data": [{"b64_json": "cG5n"}, {"b64_json": "!"}]}).to_string();
    let made = Format::OpenAiImages.made_images(answer.as_bytes());
    assert_eq!((made.len(), made[0].media_type.as_str(), &made[0].bytes[..]), (1, "image/webp", &b"png"[..]));
}

#[test]
fn where_an_answer_comes_from_is_read_in_every_format() {
    let read = |format, answer: Value| Hearing::of(format).grounding(answer.to_string().as_bytes());
    let anthropic = read(
        Format::AnthropicMessages,
        json!({"content": [
        {"type": "server_tool_use", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "content": [{"type": "web_search_result", "url": "u", "title": "t"}]},
        {"type": "text", "text": "x", "citations": [{"type": "web_search_result_location", "url": "u", "cited_text": "s"}]}]}),
    );
    let responses = read(
        Format::OpenAiResponses,
        json!({"output": [
        {"type": "web_search_call", "action": {"type": "search", "query": "q", "sources": [{"url": "u"}]}},
        {"type": "message", "content": [{"type": "output_text", "annotations": [{"type": "url_citation", "url": "u", "title": "t"}]}]}]}),
    );
    let gemini = read(
        Format::Gemini,
        json!({"candidates": [{"groundingMetadata": {"webSearchQueries": ["q"],
        "groundingChunks": [{"web": {"uri": "u", "title": "t"}}],
        "groundingSupports": [{"groundingChunkIndices": [0], "confidenceScores": [0.5]}, {"groundingChunkIndices": [0, 9], "confidenceScores": [0.8]}]}}]}),
    );
    for (grounding, snippet, relevance) in
        [(&anthropic, Some("s"), None), (&responses, None, None), (&gemini, None, Some(0.8))]
    {
        assert_eq!(grounding.queries, ["q"]);
        let [source] = &grounding.sources[..] else { panic!("{grounding:?}") };
        assert_eq!((source.uri.as_str(), source.title.as_deref()), ("u", Some("t")));
        assert_eq!((source.snippet.as_deref(), source.relevance), (snippet, relevance));
    }
    for format in Format::ALL {
        assert!(read(format, json!({"content": 1, "candidates": "x", "output": {}, "choices": [1]})).is_empty());
    }
}

#[test]
fn a_search_and_a_schema_are_each_providers_own() {
    let request = Request {
        tools: vec![Tool::WebSearch(WebSearch::default())],
        output: Output {
            format: ResponseFormat::JsonSchema,
            schema: Some(Json::of(&json!({"type": "object", "properties": {}}))),
            name: Some("answer".to_owned()),
            ..Output::default()
        },
        ..question("m")
    };
    for (format, model, words) in [
        (Format::AnthropicMessages, "claude-sonnet-5-5", ["web_search_20250305", "output_config"]),
        (Format::OpenAiResponses, "gpt-5.5", ["web_search", "json_schema"]),
    ] {
        let spoken = request.clone().spoken(format, &Encoding::of(model)).unwrap();
        let body = String::from_utf8_lossy(spoken.request.body()).into_owned();
        assert!(words.iter().all(|word| body.contains(word)), "{body}");
    }
}
