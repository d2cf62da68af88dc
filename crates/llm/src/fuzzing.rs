//! What must hold of every reader in this crate, whatever bytes it is given.
//!
//! Each function takes an input nobody chose with care and panics if something does not hold. They are called from two
//! places: the targets in `fuzz/`, where cargo-fuzz looks for inputs for as long as it is let, and the tests below,
//! which run the committed corpus and a fixed number of mutations of it with every `cargo test`.
//!
//! The referee for JSON is `serde_json`: where it can read a text, positions, strings and numbers found here must be
//! those it finds. Streams are judged against themselves: cut anywhere, they say the same.

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::Value;
use systemprompt_model::json::{
    Cursor, Strings, SyntaxError, Text, Texts, looks_like_json, loose, paths, pick, text, unescape,
};

use crate::answer::pieces::StreamTexts;
use crate::answer::summary::{AnswerSummary, Usage};
use crate::answer::tap::AnswerTap;
use crate::answer::window::StreamWindow;
use crate::demo;
use crate::error::ErrorAnswer;
use crate::event_stream::EventStream;
use crate::format::Format;
use crate::format::openai_chat::usage_chunk::UsageChunkFilter;
use crate::neutral::{Answer, Encoding};
use crate::relay::Edits;
use crate::request::error::RequestError;
use crate::request::{Address, InferenceRequest};
use crate::spoken::Hearing;
use crate::sse::SseParser;
use reference::Found;

/// A binary event stream: cut anywhere, it says the same up to the same mistake, and what it says are whole events.
pub fn event_stream(stream: &[u8]) {
    let read = |size: usize| {
        let (mut reader, mut events) = (EventStream::new(Format::AnthropicMessages), Vec::new());
        let fed = stream.chunks(size.max(1)).try_for_each(|piece| reader.feed(piece, &mut events));
        (fed.and_then(|()| reader.finish()), events)
    };
    let (ended, events) = read(stream.len());
    assert!(events.is_empty() || events.ends_with(b"\n\n"), "events are whole");
    for size in [1, 5, 13] {
        assert_eq!(read(size), (ended, events.clone()), "in pieces of {size}");
    }
}

/// The JSON scanner, strict, lenient and forgiving.
pub fn json(document: &[u8]) {
    // Whatever it is, what is found is a part of it.
    for found in
        loose::pick(document, ["a", "usage", "choices"]).into_iter().flatten().chain(loose::elements(document, 9))
    {
        assert!(document.as_ptr_range().contains(&found.as_ptr()) || found.is_empty());
        let _ = (loose::text(found), loose::count(found), loose::is_whole(found));
    }
    let mut spans_end = 0;
    let mut starts = Vec::new();
    let mut leaves = Vec::new();
    let mut well_formed = true;
    for leaf in Strings::of(document) {
        let Ok(leaf) = leaf else {
            well_formed = false;
            continue;
        };
        assert!(well_formed, "nothing follows a mistake");
        assert!(leaf.span.start > spans_end && leaf.span.end >= leaf.span.start, "strings come in order");
        assert_eq!(&document[leaf.span.clone()], leaf.raw);
        assert_eq!(leaf.raw.contains(&b'\\'), leaf.escaped);
        spans_end = leaf.span.end;
        starts.push(leaf.span.start);
        let mut unescaped = Vec::new();
        unescape(leaf.raw, &mut unescaped);
        assert!(unescaped.len() <= leaf.raw.len(), "a string is never longer than it is written");
        leaves.push((unescaped, leaf.key.map(<[u8]>::to_vec)));
    }
    let shown = paths(document, &starts, |_| false);
    assert_eq!(shown.len(), starts.len());
    assert!(shown.iter().all(|path| path.starts_with('$') && path.len() <= 65 * 68));

    // What policies look at: every string as it is read, in its order, and no more than can be kept in memory.
    let texts = Texts::of(document);
    let mut following = texts.iter();
    for (unescaped, _) in leaves.iter().filter(|(text, _)| looks_like_json(document) && !text.is_empty()) {
        let expected = String::from_utf8_lossy(unescaped);
        assert!(following.any(|text| *text == *expected), "{expected:?} is among the texts");
    }
    assert!(texts.iter().map(str::len).sum::<usize>() <= 24 * document.len(), "three for a byte, four levels, twice");

    let Ok(utf8) = std::str::from_utf8(document) else { return };
    let mut values = Vec::new();
    let mut cursor = Cursor::new(document);
    let strict = cursor.walk(|_, text| values.push(text)).and_then(|span| cursor.end().map(|()| span));
    if let Err(SyntaxError::TooDeep { .. }) = strict {
        return;
    }
    assert_eq!(strict.is_ok(), serde_json::from_str::<IgnoredAny>(utf8).is_ok(), "{strict:?}");
    let Ok(span) = strict else { return };
    assert_eq!(utf8[span].trim(), utf8.trim());
    assert!(well_formed, "what is JSON is JSON to the lenient reader too");
    for text in &values {
        assert_eq!(text.characters(), text.decode().chars().count());
    }

    // Half surrogate pairs and numbers beyond its range are JSON to us and not to serde_json.
    let Ok(reference) = Found::in_text(utf8) else { return };
    assert_eq!(leaves.len(), reference.strings.len());
    for ((ours, _), theirs) in leaves.iter().zip(&reference.strings) {
        assert_eq!(ours, theirs.text.as_bytes());
    }
    let expected: Vec<&str> = reference.values().collect();
    assert_eq!(values.iter().map(Text::decode).collect::<Vec<_>>(), expected);
    if !utf8.contains('\\') {
        // A key with an escape in it is not shown, which the reference cannot know.
        let asked = |keys: bool| {
            let of_kind = starts.iter().zip(&reference.strings).filter(move |(_, string)| string.is_key == keys);
            of_kind.map(|(start, string)| (*start, string.path.clone())).unzip::<_, _, Vec<_>, Vec<_>>()
        };
        let (starts_of_values, expected) = asked(false);
        assert_eq!(paths(document, &starts_of_values, |_| false), expected);
        let (starts_of_keys, expected) = asked(true);
        // A key that is asked for hides its name from what lies below it, so only one can be asked for at a time.
        for (start, expected) in starts_of_keys.into_iter().zip(expected).take(8) {
            assert_eq!(paths(document, &[start], |_| false), [expected]);
        }
        let keys: Vec<_> = leaves.iter().map(|(_, key)| key.as_deref()).collect();
        let expected: Vec<_> =
            reference.strings.iter().map(|string| string.key.as_deref().map(str::as_bytes)).collect();
        assert_eq!(keys, expected);
    }
    if let Ok(Value::Object(members)) = serde_json::from_str(utf8) {
        for (name, value) in &members {
            let [found] = pick(document, [name]).expect("it was read before");
            let found = found.expect("the member is there");
            assert_eq!(
                loose::pick(document, [name]),
                [Some(found)],
                "what is JSON is the same to the forgiving reader"
            );
            if let Value::Array(elements) = value {
                assert_eq!(loose::elements(found, usize::MAX).len(), elements.len());
            }
            if let Some(number) = value.as_u64() {
                assert_eq!(loose::count(found), Some(number));
            }
            assert_eq!(serde_json::from_slice::<Value>(found).as_ref().ok(), Some(value));
            assert_eq!(text(found).as_deref(), value.as_str());
        }
    }
}

/// The machine for event streams: cut anywhere it shows the same, within its bound, and as the grammar says.
pub fn events(stream: &[u8]) {
    const LIMIT: usize = 64;
    let read = |limit: usize, chunks: &[&[u8]]| {
        let mut parser = SseParser::new(limit);
        let mut seen = Vec::new();
        for chunk in chunks {
            parser.feed(chunk, |data| seen.push(data.to_vec()));
            assert!(parser.held() <= 8 * limit.max(stream.len()));
        }
        let boundary = parser.at_event_boundary();
        parser.finish(|data| seen.push(data.to_vec()));
        (seen, boundary, parser.skipped_events())
    };
    for limit in [LIMIT, stream.len()] {
        let whole = read(limit, &[stream]);
        for chunks in cuts(stream) {
            assert_eq!(read(limit, &chunks), whole);
        }
    }
    let (seen, _, skipped) = read(stream.len(), &[stream]);
    assert_eq!((seen, skipped), (reference::events(stream), 0));

    let mut parser = SseParser::new(LIMIT);
    for _ in 0..16 {
        parser.feed(stream, |data| assert!(data.len() <= 2 * LIMIT));
        assert!(parser.held() <= 16 * LIMIT, "{}", parser.held());
    }
    let texts = |chunks: &[&[u8]]| {
        let mut texts = StreamTexts::new(stream.len());
        for chunk in chunks {
            texts.feed(chunk);
        }
        texts.finish()
    };
    let whole = texts(&[stream]);
    // What is not UTF-8 becomes a sign of three bytes.
    assert!(whole.iter().map(String::len).sum::<usize>() <= 3 * stream.len());
    for chunks in cuts(stream) {
        assert_eq!(texts(&chunks), whole);
    }
}

/// The window that holds back a stream's end: cut anywhere it gives the stream as it came, and nothing of it that says what
/// was not looked at.
pub fn window(stream: &[u8]) {
    const SIZE: usize = 5;
    let texts = |bytes: &[u8]| {
        let mut texts = StreamTexts::new(stream.len());
        texts.feed(bytes);
        let texts = texts.finish();
        texts.into_iter().map(|text| (text.chars().count(), text)).collect::<Vec<_>>()
    };
    let end = |mut window: StreamWindow, mut given: Vec<u8>| {
        window.end();
        window.cleared();
        given.extend_from_slice(&window.release(true));
        assert_eq!(given, stream);
    };
    for (size, chunks) in [1, 9].into_iter().flat_map(|size| cuts(stream).into_iter().map(move |cut| (size, cut))) {
        let mut window = StreamWindow::new(size, 1, stream.len());
        let (mut fed, mut given, mut looked_at) = (0, Vec::new(), Vec::new());
        for (number, chunk) in chunks.iter().enumerate() {
            window.feed(chunk).expect("there is room for all of it");
            fed += chunk.len();
            // Looking once in a while is enough, and counting everything again for every byte would be quadratic.
            if number % (1 + chunks.len() / 16) == 0 {
                given.extend_from_slice(&window.release(true));
                for (at, (length, _)) in texts(&given).iter().enumerate() {
                    let looked_at = looked_at.get(at).map_or(0, |(length, _)| *length);
                    assert!(*length <= looked_at, "nothing was given that was not looked at");
                }
                if window.is_due(false) {
                    window.cleared();
                    looked_at = texts(&stream[..fed]);
                }
            }
            assert!(stream[..fed].starts_with(&given));
        }
        end(window, given);
    }
    // In whole events, of which each says something at once: what is looked at are the new parts of the texts with as much
    // before them as is held back, and that is held back until it was looked at with what follows.
    let mut window = StreamWindow::new(SIZE, usize::MAX, stream.len());
    let (mut fed, mut given, mut looked_at) = (0, Vec::new(), Vec::<(usize, String)>::new());
    let ends = memchr::memmem::find_iter(stream, b"\n\n").map(|at| at + 2).take(64);
    for until in ends {
        window.feed(&stream[fed..until]).expect("there is room for all of it");
        fed = until;
        if window.is_due(true) {
            let said = texts(&stream[..fed]);
            for fresh in window.fresh() {
                let shown = |(at, (length, text)): (usize, &(usize, String))| {
                    let before = looked_at.get(at).map_or(0, |(length, _)| *length);
                    *length > before
                        && text.ends_with(&fresh)
                        && fresh.chars().count() == length - before.saturating_sub(SIZE)
                };
                assert!(said.iter().enumerate().any(shown), "{fresh:?} of {said:?}, of which {looked_at:?} was seen");
            }
            window.cleared();
            looked_at = said;
        }
        given.extend_from_slice(&window.release(false));
        for ((length, _), (looked_at, _)) in texts(&given).iter().zip(&looked_at) {
            assert!(*length == 0 || length + SIZE <= *looked_at, "what follows may belong to it");
        }
    }
    window.feed(&stream[fed..]).expect("there is room for all of it");
    end(window, given);

    let mut small = StreamWindow::new(9, 1, 64);
    let full = stream.chunks(40).any(|piece| small.feed(piece).is_err());
    assert_eq!(full, stream.len() > 64, "no more is held than there is room for");
}

/// The filter of usage chunks: cut anywhere it lets the same through, and all of it where there is no such chunk.
pub fn usage_chunk(stream: &[u8]) {
    let filtered = |chunks: &[&[u8]]| {
        let mut filter = UsageChunkFilter::new();
        let mut output = Vec::new();
        for chunk in chunks {
            output.extend_from_slice(&filter.feed(Bytes::copy_from_slice(chunk)));
        }
        output.extend_from_slice(&filter.finish());
        output
    };
    let whole = filtered(&[stream]);
    for chunks in cuts(stream) {
        assert_eq!(filtered(&chunks), whole);
    }
    if memchr::memmem::find(stream, br#""usage""#).is_none() {
        assert_eq!(whole, stream);
    }
    assert_eq!(filtered(&[&whole]), whole, "nothing is left to be taken out");
}

/// The reader of requests of a format, and the relay that splices them.
pub fn request(format: Format, body: &[u8]) {
    let request = match parse(format, body) {
        Ok(request) => request,
        Err(error) => {
            if let RequestError::Malformed { offset, .. } = error {
                assert!(offset <= body.len());
                assert!(serde_json::from_slice::<IgnoredAny>(body).is_err(), "{error}");
            }
            assert!(!ErrorAnswer::from(&error).body(format, None).is_empty());
            return;
        }
    };
    let original = serde_json::from_slice::<Value>(body).ok();
    if let Some(original) = original.as_ref().filter(|_| format == Format::Gemini) {
        let contents = &original["contents"];
        assert_eq!(contents.as_array().map_or(usize::from(contents.is_object()), Vec::len), request.message_count);
    } else if let Some(original) = &original {
        assert_eq!(original["model"], request.model.as_str());
        assert_eq!(original["stream"].as_bool().unwrap_or(false), request.stream);
        let conversation = &original[format.definition().conversation];
        let count = conversation.as_array().map_or(usize::from(conversation.is_string()), Vec::len);
        let mut kept = conversation.clone();
        without_names(&mut kept);
        let least = kept.as_array().map_or(count, Vec::len);
        assert!((least..=count).contains(&request.message_count));
        assert!(least == count || format == Format::OpenAiResponses);
        assert_eq!(original["temperature"].as_f64(), request.temperature);
        assert_eq!(original["top_p"].as_f64(), request.top_p);
    }
    for model in [None, Some("a \"model\" of theirs".to_owned())] {
        for max_tokens_limit in [None, Some(7)] {
            for include_stream_usage in [false, true] {
                let edits = Edits { model: model.clone(), max_tokens_limit, include_stream_usage };
                relayed(&request, original.as_ref(), &edits);
            }
        }
    }
    for text in [None, Some("the \"gateway's\" own words")] {
        instructed(&request, text);
    }
    let answer = demo::answer(&request);
    let events: Vec<u8> = answer.events(format, "1", 0).iter().flat_map(|event| event.bytes.to_vec()).collect();
    for (streamed, bytes) in [(false, answer.buffered(format, "1", 0)), (true, events)] {
        let summary = summary(format, streamed, &[&bytes]);
        assert!(summary.complete, "{}", String::from_utf8_lossy(&bytes));
        assert_eq!(summary.text.bytes, answer.text.len() as u64);
    }
}

/// Reads a request, with what its path says where it says something.
fn parse(format: Format, body: &[u8]) -> Result<InferenceRequest, RequestError> {
    let body = Bytes::copy_from_slice(body);
    match format {
        Format::Gemini | Format::GeminiEmbeddings => {
            let address = Address { model: "m".to_owned(), stream: body.len() % 2 == 1 };
            InferenceRequest::parse_addressed(format, body, address)
        }
        _ => InferenceRequest::parse(format, body),
    }
}

/// Other instructions make another request, which has no other ones.
fn instructed(request: &InferenceRequest, text: Option<&str>) {
    let Ok(changed) = request.with_instructions(text) else { return };
    assert_eq!((&changed.model, changed.stream), (&request.model, request.stream));
    let again = changed.with_instructions(text).expect("what was changed can be changed");
    let value = |request: &InferenceRequest| serde_json::from_slice::<Value>(request.body()).ok();
    assert_eq!(value(&again), value(&changed));
}

/// What is relayed is a request that differs in the edited fields only, and relaying it again changes nothing.
fn relayed(request: &InferenceRequest, original: Option<&Value>, edits: &Edits) {
    let relayed = request.relay(edits);
    let again = parse(request.format, &relayed.bytes).expect("what is relayed is a request");
    assert_eq!(again.relay(edits).bytes, relayed.bytes);
    assert_eq!(again.conversation_key, request.conversation_key);
    assert_eq!(again.message_count, request.message_count);
    let Some(original) = original else { return };
    if request.format == Format::Gemini {
        assert!(again.max_tokens.is_none_or(|tokens| edits.max_tokens_limit.is_none_or(|most| tokens <= most)));
        let relayed = serde_json::from_slice(&relayed.bytes).expect("what was JSON is JSON");
        assert_eq!(without_edits(relayed), without_edits(original.clone()));
        return;
    }
    assert_eq!(edits.model.as_ref().unwrap_or(&request.model), &again.model);
    let mut expected = original.clone();
    let members = expected.as_object_mut().expect("a request is an object");
    if let Some(model) = &edits.model {
        members.insert("model".to_owned(), model.as_str().into());
    }
    let limits: &[&str] = match request.format {
        Format::AnthropicMessages => {
            if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
                metadata.remove("user_id");
            }
            &["max_tokens"]
        }
        Format::OpenAiChat => {
            members.remove("user");
            if relayed.usage_added {
                members
                    .entry("stream_options")
                    .and_modify(|options| {
                        if options.is_null() {
                            *options = Value::Object(serde_json::Map::new());
                        }
                    })
                    .or_insert_with(|| Value::Object(serde_json::Map::new()))["include_usage"] = true.into();
            }
            &["max_tokens", "max_completion_tokens"]
        }
        Format::OpenAiResponses => {
            members.remove("user");
            members.remove("safety_identifier");
            members.insert("store".to_owned(), false.into());
            &["max_output_tokens"]
        }
        // The one was compared above, and nobody asks in the other.
        Format::Gemini
        | Format::BedrockConverse
        | Format::OpenAiEmbeddings
        | Format::GeminiEmbeddings
        | Format::OpenAiImages
        | Format::OpenAiImageEdits => &[],
    };
    for name in limits {
        if let (Some(limit), Some(value @ Value::Number(_))) = (edits.max_tokens_limit, members.get_mut(*name))
            && value.as_u64().is_none_or(|asked| asked > limit)
        {
            *value = limit.into();
        }
    }
    let mut actual: Value = serde_json::from_slice(&relayed.bytes).expect("what was JSON is JSON");
    if request.format == Format::OpenAiResponses {
        comparable(&mut expected);
        comparable(&mut actual);
    }
    assert_eq!(actual, expected);
}

/// Leaves out of an `openai-responses` request what is relayed only where it makes sense: thoughts without their encrypted
/// form, and that they are asked for in it.
fn comparable(request: &mut Value) {
    if let Some(items) = request.get_mut("input") {
        without_names(items);
    }
    if let Some(Value::Array(asked)) = request.get_mut("include") {
        asked.retain(|asked| asked != "reasoning.encrypted_content");
    }
    let nothing = request["include"].as_array().is_none_or(Vec::is_empty);
    if let Some(members) = request.as_object_mut().filter(|_| nothing) {
        members.remove("include");
    }
}

/// A `gemini` request without what the relay may edit in it.
fn without_edits(mut request: Value) -> Value {
    if let Some(members) = request.as_object_mut() {
        members.remove("model");
        for config in ["generationConfig", "generation_config"] {
            let Some(config) = members.get_mut(config).and_then(Value::as_object_mut) else { continue };
            for name in ["maxOutputTokens", "max_output_tokens", "candidateCount", "candidate_count"] {
                config.remove(name);
            }
            for thinking in ["thinkingConfig", "thinking_config"] {
                let Some(thinking) = config.get_mut(thinking).and_then(Value::as_object_mut) else { continue };
                thinking.remove("thinkingBudget");
                thinking.remove("thinking_budget");
            }
        }
    }
    request
}

/// Leaves out the thoughts that are not encrypted, of which those that have nothing but a name are not relayed.
fn without_names(items: &mut Value) {
    if let Value::Array(items) = items {
        items.retain(|item| item["type"] != "reasoning" || item["encrypted_content"].is_string());
    }
}

/// The reader of answers of a format, streamed and buffered: cut anywhere it says the same, within its bounds.
pub fn answer(format: Format, answer: &[u8]) {
    for streamed in [false, true] {
        let whole = summary(format, streamed, &[answer]);
        for chunks in cuts(answer) {
            assert_eq!(summary(format, streamed, &chunks), whole);
        }
        assert!(whole.tool_calls.len() <= 128);
        assert!(whole.tool_calls.iter().all(|call| call.input_excerpt.len() <= KEPT && call.name.len() <= 256));
        assert!(whole.text.head.len() <= KEPT && whole.text.tail.len() <= KEPT);
        assert!(whole.error.iter().all(|error| error.message.len() <= 1024));
        assert!(!(whole.complete && whole.error.is_some()));
    }
    // Put together, a stream says what it said.
    if let Some(collected) = format.collect_stream(answer) {
        let (streamed, whole) = (summary(format, true, &[answer]), summary(format, false, &[&collected]));
        if streamed.error.is_none() && streamed.unreadable_events == 0 && whole.error.is_none() {
            assert!(whole.text.bytes <= streamed.text.bytes, "nothing is made up");
        }
    }
    let Ok(body @ Value::Object(_)) = serde_json::from_slice::<Value>(answer) else { return };
    let read = summary(format, false, &[answer]);
    let error = &body["error"];
    let says_error = match error {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Array(elements) => !elements.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    };
    assert!(read.error.is_some() || !says_error);
    if says_error {
        let known = read.error.map(|error| error.message).unwrap_or_default();
        if let Some(message) = error["message"].as_str().or(error.as_str()) {
            assert_eq!(known, message[..message.floor_char_boundary(1024)]);
        }
        assert!(!known.is_empty() || error["message"] == "", "there is always something to say");
        return;
    }
    if read.error.is_some() || read.unreadable_events > 0 {
        return;
    }
    let usage = &body["usage"];
    match format {
        Format::AnthropicMessages => {
            for (read, stated) in
                [(read.usage.input_tokens, &usage["input_tokens"]), (read.usage.output_tokens, &usage["output_tokens"])]
            {
                assert!(stated.as_u64().is_none_or(|stated| read == Some(stated)));
            }
        }
        Format::OpenAiResponses => {
            assert!(read.usage.input_tokens <= usage["input_tokens"].as_u64() || usage["input_tokens"].is_null());
            assert!(read.usage.output_tokens >= usage["output_tokens"].as_u64());
        }
        Format::OpenAiChat => {
            let stated = usage["prompt_tokens"].as_u64().max(usage["input_tokens"].as_u64());
            assert!(read.usage.input_tokens <= stated || stated.is_none(), "cached tokens are not counted twice");
            assert!(read.usage.output_tokens >= usage["completion_tokens"].as_u64());
        }
        Format::BedrockConverse => {
            let output = usage["outputTokens"].as_u64();
            assert!(output.is_none_or(|output| read.usage.output_tokens == Some(output)));
            assert!(read.usage.input_tokens <= usage["inputTokens"].as_u64());
        }
        Format::Gemini => {
            let usage = &body["usageMetadata"];
            let counted = usage["candidatesTokenCount"].as_u64().unwrap_or(0);
            assert!(read.usage.output_tokens.is_none_or(|tokens| tokens >= counted));
            let prompt =
                usage["promptTokenCount"].as_u64().zip(Some(usage["toolUsePromptTokenCount"].as_u64().unwrap_or(0)));
            assert!(prompt.is_none_or(|(prompt, tools)| read.usage.input_tokens <= Some(prompt.saturating_add(tools))));
        }
        Format::OpenAiEmbeddings | Format::GeminiEmbeddings => assert_eq!(read.usage.output_tokens, Some(0)),
        Format::OpenAiImages | Format::OpenAiImageEdits => {}
    }
}

/// A request of a format, written for every other one. What is written is a request of that format, small enough, and
/// comes to rest: read and written in its own format again, it says the same from then on.
pub fn translated_request(format: Format, body: &[u8]) {
    let Ok(request) = parse(format, body) else { return };
    for to in Format::ALL.into_iter().filter(|to| *to != format) {
        let Ok(translated) = request.translate(to, &Encoding::of("claude-sonnet-4-5"), "1", 0) else { continue };
        // Texts of ours stand in for what is missing, once for each part.
        let most = 16 * 1024 + 64 * body.len();
        assert!(translated.bytes.len() < most, "{} of {}", translated.bytes.len(), body.len());
        assert!(translated.losses.len() <= 64);
        if to == Format::BedrockConverse {
            assert!(serde_json::from_slice::<IgnoredAny>(&translated.bytes).is_ok());
            continue;
        }
        let again = |bytes: &Bytes| {
            let request =
                parse(to, bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)));
            let translated = request.translate(to, &Encoding::of("claude-sonnet-4-5"), "1", 0);
            translated.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes))).bytes
        };
        let second = again(&translated.bytes);
        assert_eq!(String::from_utf8_lossy(&again(&second)), String::from_utf8_lossy(&second), "{to}");
    }
}

/// Answers of a format, told in every other one: cut anywhere the stream says the same, what it says is sound, and a
/// stream and a whole answer agree.
pub fn translated_answer(format: Format, answer: &[u8]) {
    read_as_recorded(format, answer);
    for to in Format::ALL.into_iter().filter(|to| *to != format) {
        let request = match to {
            Format::AnthropicMessages => {
                &br#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"}]}"#[..]
            }
            Format::OpenAiChat => {
                br#"{"model":"m","stream_options":{"include_usage":true},"messages":[{"role":"user","content":"a"}]}"#
            }
            Format::OpenAiResponses => br#"{"model":"m","input":"a"}"#,
            Format::Gemini => br#"{"contents":[{"role":"user","parts":[{"text":"a"}]}]}"#,
            _ => continue,
        };
        let request = parse(to, request).expect("a request");
        let back = request.translate(format, &Encoding::of("m"), "1", 0).expect("a small request").back;
        let told = |chunks: &[&[u8]]| {
            let mut stream = back.stream();
            let mut out = Vec::new();
            for chunk in chunks {
                stream.feed(chunk, &mut out);
            }
            stream.finish(&mut out);
            (stream.ended(), out)
        };
        // Anthropic's streams say at their beginning what the prompt took. What of it was cached may be known later, and
        // readers that never believe a lower count go by the first.
        let used = |summary: &AnswerSummary| match to {
            Format::AnthropicMessages => Usage { input_tokens: None, ..summary.usage },
            _ => summary.usage,
        };
        let (ended, whole) = told(&[answer]);
        assert!(whole.len() < 64 * 1024 + 1024 * answer.len(), "{} of {}", whole.len(), answer.len());
        for chunks in cuts(answer) {
            assert_eq!(told(&chunks).1, whole);
        }
        let read = summary(to, true, &[&whole]);
        // Counts that cannot be true are bounded, and their sum may be too large again.
        let sound = |summary: &AnswerSummary| summary.unreadable_events == 0 || summary.usage.total() >= 10_000_000_000;
        assert!(sound(&read), "{}", String::from_utf8_lossy(&whole));
        if ended && read.error.is_none() {
            assert!(read.complete, "{}", String::from_utf8_lossy(&whole));
            let collected = back.stream_as_whole(answer).expect("a stream that came to its end");
            let buffered = summary(to, false, &[&collected]);
            assert_eq!((used(&buffered), buffered.text), (used(&read), read.text));
            assert_eq!((buffered.stop_reason, buffered.thinking), (read.stop_reason, read.thinking));
        }
        if let Some(body) = back.whole(answer) {
            let body = summary(to, false, &[&body]);
            let stream = summary(to, true, &[&back.whole_as_stream(answer).expect("an answer")]);
            assert!(sound(&stream));
            assert_eq!((stream.usage, stream.text), (body.usage, body.text));
            assert_eq!(stream.stop_reason, body.stop_reason);
        }
    }
}

/// What a translated answer says was used is what the ledger has of the provider's.
fn read_as_recorded(format: Format, answer: &[u8]) {
    let mut reader = (format.codec().read_stream)();
    let mut events = Vec::new();
    let mut parser = SseParser::new(answer.len());
    parser.feed(answer, |data| reader.read(data, &mut events));
    parser.finish(|data| reader.read(data, &mut events));
    reader.finish(&mut events);
    let streamed = Answer::of_events(events);
    let recorded = summary(format, true, &[answer]);
    // What is called a stream and is one JSON text is a whole answer to the ledger.
    if streamed.complete && recorded.error.is_none() && !loose::is_structure(answer) {
        assert_eq!(streamed.usage, recorded.usage);
    }
    let whole = (format.codec().read_answer)(answer);
    let recorded = summary(format, false, &[answer]);
    if let Some(whole) = whole.filter(|whole| whole.complete && whole.error.is_none() && recorded.error.is_none()) {
        assert_eq!(whole.usage, recorded.usage);
    }
}

/// Requests for embeddings: what is relayed is one that differs in what was edited only, and what is written for Gemini is JSON
/// with as many texts as were sent.
pub fn embeddings(body: &[u8]) {
    let format = Format::OpenAiEmbeddings;
    let Ok(request) = InferenceRequest::parse(format, Bytes::copy_from_slice(body)) else { return };
    let edits = Edits { model: Some("theirs".to_owned()), ..Edits::default() };
    let relayed = request.relay(&edits).bytes;
    let again = InferenceRequest::parse(format, relayed.clone()).expect("what is relayed is a request");
    assert_eq!((again.model.as_str(), again.message_count), ("theirs", request.message_count));
    assert_eq!(again.relay(&edits).bytes, relayed);
    if let Ok(Value::Object(mut expected)) = serde_json::from_slice(body) {
        expected.insert("model".to_owned(), "theirs".into());
        expected.remove("user");
        assert_eq!(serde_json::from_slice::<Value>(&relayed).ok(), Some(expected.into()));
    }
    if let Ok(written) = request.translate(Format::GeminiEmbeddings, &Encoding::of("m"), "1", 0) {
        // Half surrogate pairs are JSON to us and not to serde_json.
        if let Ok(written) = serde_json::from_slice::<Value>(&written.bytes) {
            assert_eq!(written["requests"].as_array().map(Vec::len), Some(request.message_count));
        }
        let values = vec![r#"{"values":[0.5]}"#; request.message_count].join(",");
        let answer = format!(r#"{{"embeddings":[{values}]}}"#);
        assert!(summary(Format::GeminiEmbeddings, false, &[answer.as_bytes()]).complete);
        let told = written.back.whole(answer.as_bytes()).expect("an answer");
        let told = summary(format, false, &[&told]);
        assert_eq!((told.complete, told.usage.input_tokens), (true, Some(request.estimated_input_tokens)));
    }
}

/// Requests for images, and answers with some: what is relayed is a request that differs in what was edited only, and an answer
/// without an image is none.
pub fn images(body: &[u8]) {
    for format in [Format::OpenAiImages, Format::OpenAiImageEdits] {
        let read = summary(format, false, &[body]);
        assert!(!read.complete || read.usage.images > Some(0));
        assert!(format.made_images(body).iter().all(|image| image.media_type.starts_with("image/")));
        let Ok(request) = InferenceRequest::parse(format, Bytes::copy_from_slice(body)) else { continue };
        assert!(request.makes_images);
        let edits = Edits { model: Some("theirs".to_owned()), ..Edits::default() };
        let relayed = request.relay(&edits).bytes;
        let again = InferenceRequest::parse(format, relayed.clone()).expect("what is relayed is a request");
        assert_eq!((again.model.as_str(), again.answers), ("theirs", request.answers));
        assert_eq!(again.relay(&edits).bytes, relayed);
    }
    for format in Format::ALL {
        let grounding = Hearing::of(format).grounding(body);
        assert!(grounding.sources.iter().all(|source| !source.uri.is_empty()));
    }
}

/// Our own errors: whatever a message says, what is written is one error, readable by our own reader of answers.
pub fn error(message: &[u8]) {
    let error = ErrorAnswer::invalid_request(String::from_utf8_lossy(message));
    let kept = &error.message[..error.message.floor_char_boundary(1024)];
    for format in Format::ALL {
        let body = error.body(format, Some("req"));
        let event = error.sse_event(format, Some("req"));
        for (streamed, bytes) in [(false, &body), (true, &event)] {
            let read = summary(format, streamed, &[bytes]);
            assert_eq!(read.unreadable_events, 0);
            assert_eq!(read.error.map(|error| error.message).as_deref(), Some(kept));
        }
        let mut events = Vec::new();
        let mut parser = SseParser::new(event.len());
        parser.feed(&event, |data| events.push(data.to_vec()));
        parser.finish(|data| events.push(data.to_vec()));
        assert!(format == Format::OpenAiResponses || events == [body]);
    }
}

const KEPT: usize = 32;

fn summary(format: Format, streamed: bool, chunks: &[&[u8]]) -> AnswerSummary {
    let mut tap = AnswerTap::new(format, streamed, KEPT, KEPT);
    for chunk in chunks {
        tap.feed(chunk);
    }
    // Nothing in its streams says that they are complete.
    if format == Format::Gemini {
        tap.end_of_stream();
    }
    tap.finish()
}

/// The same bytes in pieces: single bytes, pairs, and pieces of lengths that the bytes themselves decide.
fn cuts(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut state = systemprompt_model::Fnv1a::default();
    state.write(bytes);
    let mut cuts = vec![bytes.chunks(1).collect::<Vec<_>>(), bytes.chunks(2).collect()];
    for longest in [5, 40, 400] {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            state.write(b"cut");
            let length = usize::try_from(state.finish() % longest).unwrap_or(0).min(rest.len());
            let (piece, after) = rest.split_at(length);
            pieces.push(piece);
            rest = after;
        }
        cuts.push(pieces);
    }
    cuts
}

/// Slow and simple versions of what is judged.
mod reference {
    use std::fmt;

    use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

    /// The strings `serde_json` finds, in their order.
    #[derive(Default)]
    pub(super) struct Found {
        pub(super) strings: Vec<FoundString>,
    }

    pub(super) struct FoundString {
        pub(super) text: String,
        pub(super) is_key: bool,
        pub(super) path: String,
        pub(super) key: Option<String>,
    }

    impl Found {
        pub(super) fn in_text(text: &str) -> serde_json::Result<Self> {
            let mut found = Self::default();
            let mut reader = serde_json::Deserializer::from_str(text);
            Place { found: &mut found, path: "$".to_owned(), depth: 0, key: None }.deserialize(&mut reader)?;
            reader.end()?;
            Ok(found)
        }

        pub(super) fn values(&self) -> impl Iterator<Item = &str> {
            self.strings.iter().filter(|string| !string.is_key).map(|string| string.text.as_str())
        }
    }

    struct Place<'f> {
        found: &'f mut Found,
        path: String,
        depth: usize,
        key: Option<String>,
    }

    impl Place<'_> {
        /// The path of what is in this place, under a step. 64 steps are shown.
        fn inside(&self, step: &str) -> String {
            match self.depth {
                0..64 => format!("{}{step}", self.path),
                64 => format!("{}…", self.path),
                _ => self.path.clone(),
            }
        }
    }

    impl<'de> DeserializeSeed<'de> for Place<'_> {
        type Value = ();

        fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            deserializer.deserialize_any(self)
        }
    }

    impl<'de> Visitor<'de> for Place<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any JSON")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
            let text = text.to_owned();
            self.found.strings.push(FoundString { text, is_key: false, path: self.path, key: self.key });
            Ok(())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
            while let Some(key) = members.next_key::<String>()? {
                let showable = (1..=64).contains(&key.len())
                    && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-$".contains(&byte));
                let path = self.inside(&if showable { format!(".{key}") } else { ".<key>".to_owned() });
                let hidden = self.inside(".<key>");
                self.found.strings.push(FoundString { text: key.clone(), is_key: true, path: hidden, key: None });
                members.next_value_seed(Place { found: self.found, path, depth: self.depth + 1, key: Some(key) })?;
            }
            Ok(())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
            for index in 0.. {
                let path = self.inside(&format!("[{index}]"));
                let place = Place { found: self.found, path, depth: self.depth + 1, key: None };
                if elements.next_element_seed(place)?.is_none() {
                    break;
                }
            }
            Ok(())
        }

        fn visit_unit<E: Error>(self) -> Result<(), E> {
            Ok(())
        }

        fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
            Ok(())
        }

        fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
            Ok(())
        }

        fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
            Ok(())
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
            Ok(())
        }
    }

    /// The data of the events of a whole stream.
    pub(super) fn events(stream: &[u8]) -> Vec<Vec<u8>> {
        let stream = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(stream);
        let mut lines = vec![Vec::new()];
        let mut after_cr = false;
        for &byte in stream {
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => lines.push(Vec::new()),
                _ => lines.last_mut().expect("there is a line").push(byte),
            }
            after_cr = byte == b'\r';
        }
        // An event that lacks only its blank line counts.
        lines.push(Vec::new());
        let mut events = Vec::new();
        let mut data: Option<Vec<u8>> = None;
        let (mut begun, mut bare) = (false, false);
        for line in lines {
            if line.is_empty() {
                events.extend(data.take());
                (begun, bare) = (false, false);
                continue;
            }
            bare |= !std::mem::replace(&mut begun, true) && line.starts_with(b"{");
            let value = match line.strip_prefix(b"data") {
                _ if bare => line.as_slice(),
                Some([]) => &[],
                Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
                _ => continue,
            };
            match &mut data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => data = Some(value.to_vec()),
            }
        }
        events
    }
}

/// A bounded run of what cargo-fuzz does without end.
#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use super::*;

    /// Numbers that are the same in every run: SplitMix64.
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }

        fn below(&mut self, bound: usize) -> usize {
            usize::try_from(self.next() % bound.max(1) as u64).expect("it is below a usize")
        }

        fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
            choices[self.below(choices.len())]
        }
    }

    /// What readers of JSON and of event streams stumble over.
    const PIECES: &[&[u8]] = &[
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"null",
        b"true",
        b"0",
        b"-1",
        b"1e9",
        b"99999999999999999999",
        b"\\u0000",
        b"\\ud83d",
        b"\\ude00",
        b"\\u00",
        b"\\\"",
        b"\\/",
        b" ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\r",
        b"data: ",
        b"data:",
        b"event: ",
        b": ",
        b"\xEF\xBB\xBF",
        b"\xff",
        "é😀".as_bytes(),
        b"\"\":\"\",",
        b"\x00",
        b"\"user\":1,",
        b"\"model\":\"m\",",
        b"\"stream_options\":{},",
        b"\"metadata\":{\"user_id\":\"u\"},",
        b"\"choices\":[]",
        b"\"usage\":{}",
        b"[DONE]",
        b"\"error\":{\"message\":\"m\"}",
        b"\"stream\":true,",
        b"\"store\":true,",
        b"\"safety_identifier\":null,",
        b"\"output\":[]",
        b"\"response\":{}",
        b"\"candidates\":[]",
        b"\"thought\":true,",
        b"\"generation_config\":{\"max_output_tokens\":9},",
    ];

    fn mutate(numbers: &mut Numbers, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus[numbers.below(corpus.len())].clone();
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(bytes.len() + 1);
            let end = (at + numbers.below(24)).min(bytes.len());
            match numbers.below(7) {
                0 => drop(bytes.drain(at..end)),
                1 => bytes.truncate(at),
                2 => drop(bytes.splice(at..at, numbers.one_of(PIECES).to_vec())),
                3 => drop(bytes.splice(at..end, numbers.one_of(PIECES).to_vec())),
                4 => {
                    let again = bytes[at..end].to_vec();
                    drop(bytes.splice(at..at, again));
                }
                5 => {
                    let other = &corpus[numbers.below(corpus.len())];
                    let from = numbers.below(other.len() + 1);
                    let to = (from + numbers.below(64)).min(other.len());
                    drop(bytes.splice(at..at, other[from..to].to_vec()));
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << numbers.below(8);
                    }
                }
            }
        }
        bytes
    }

    #[track_caller]
    fn run(target: &str, mutations: usize, holds: impl Fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("an entry of the folder").path())
            .collect();
        files.sort();
        let corpus: Vec<Vec<u8>> =
            files.iter().map(|file| std::fs::read(file).expect("a file of the corpus")).collect();
        assert!(!corpus.is_empty(), "{} is empty", folder.display());
        let check = |input: &[u8]| {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| holds(input))) {
                eprintln!("the input was {:?}", String::from_utf8_lossy(input));
                std::panic::resume_unwind(panic);
            }
        };
        for input in &corpus {
            check(input);
        }
        let mut numbers = Numbers(1);
        for _ in 0..mutations {
            check(&mutate(&mut numbers, &corpus));
        }
    }

    #[test]
    fn json_is_read_as_serde_json_reads_it() {
        run("json", 8_000, json);
    }

    #[test]
    fn events_do_not_depend_on_where_a_stream_is_cut() {
        run("events", 1_000, events);
    }

    #[test]
    fn what_is_held_back_is_given_when_it_was_looked_at() {
        run("window", 150, window);
    }

    #[test]
    fn usage_chunks_leave_wherever_a_stream_is_cut() {
        run("usage_chunk", 2_000, usage_chunk);
    }

    #[test]
    fn frames_say_the_same_wherever_a_stream_is_cut() {
        run("event_stream", 2_000, event_stream);
    }

    #[test]
    fn anthropic_requests_are_relayed_with_their_edits_only() {
        run("request_anthropic", 3_000, |body| request(Format::AnthropicMessages, body));
    }

    #[test]
    fn openai_chat_requests_are_relayed_with_their_edits_only() {
        run("request_openai_chat", 3_000, |body| request(Format::OpenAiChat, body));
    }

    #[test]
    fn anthropic_answers_do_not_depend_on_where_they_are_cut() {
        run("answer_anthropic", 1_000, |bytes| answer(Format::AnthropicMessages, bytes));
    }

    #[test]
    fn openai_chat_answers_do_not_depend_on_where_they_are_cut() {
        run("answer_openai_chat", 1_000, |bytes| answer(Format::OpenAiChat, bytes));
    }

    #[test]
    fn openai_responses_requests_are_relayed_with_their_edits_only() {
        run("request_openai_responses", 3_000, |body| request(Format::OpenAiResponses, body));
    }

    #[test]
    fn openai_responses_answers_do_not_depend_on_where_they_are_cut() {
        run("answer_openai_responses", 1_000, |bytes| answer(Format::OpenAiResponses, bytes));
    }

    #[test]
    fn gemini_requests_are_relayed_with_their_edits_only() {
        run("request_gemini", 3_000, |body| request(Format::Gemini, body));
    }

    #[test]
    fn bedrock_converse_answers_do_not_depend_on_where_they_are_cut() {
        run("answer_bedrock_converse", 1_000, |bytes| answer(Format::BedrockConverse, bytes));
    }

    #[test]
    fn gemini_answers_do_not_depend_on_where_they_are_cut() {
        run("answer_gemini", 1_000, |bytes| answer(Format::Gemini, bytes));
    }

    #[test]
    fn requests_are_written_for_other_formats() {
        run("translate_request_anthropic", 2000, |body| translated_request(Format::AnthropicMessages, body));
        run("translate_request_openai_chat", 2000, |body| translated_request(Format::OpenAiChat, body));
        run("translate_request_openai_responses", 2000, |body| translated_request(Format::OpenAiResponses, body));
        run("translate_request_gemini", 2000, |body| translated_request(Format::Gemini, body));
    }

    #[test]
    fn answers_are_told_in_other_formats() {
        run("translate_answer_anthropic", 120, |bytes| translated_answer(Format::AnthropicMessages, bytes));
        run("translate_answer_openai_chat", 120, |bytes| translated_answer(Format::OpenAiChat, bytes));
        run("translate_answer_openai_responses", 120, |bytes| translated_answer(Format::OpenAiResponses, bytes));
        run("translate_answer_bedrock_converse", 120, |bytes| translated_answer(Format::BedrockConverse, bytes));
        run("translate_answer_gemini", 120, |bytes| translated_answer(Format::Gemini, bytes));
    }

    #[test]
    fn requests_for_images_are_relayed_with_their_edits_only() {
        run("images", 3_000, images);
    }

    #[test]
    fn requests_for_embeddings_are_relayed_with_their_edits_only() {
        run("embeddings", 3_000, embeddings);
    }

    #[test]
    fn errors_are_readable_whatever_they_say() {
        run("error", 3_000, error);
    }
}
