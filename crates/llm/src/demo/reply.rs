//! What the demo model answers to what.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::answer::{DemoAnswer, DemoToolCall, OfferedTool};
use crate::answer::summary::{StopReason, Usage};
use crate::request::InferenceRequest;
use crate::request::facts::ResponseFormat;
use systemprompt_model::json::{elements, pick, text};

/// How much of the prompt is repeated, in characters.
const QUOTED: usize = 160;

pub(super) fn compose(request: &InferenceRequest) -> DemoAnswer {
    let last = UserMessage::last(request);
    let tool_call = if last.is_tool_result { None } else { choose_tool(request, &last.text) };
    let text = match (&tool_call, request.response_format) {
        (Some(call), _) => format!("This is the systemprompt demo model, not an AI. I will call `{}`.", call.name),
        (None, ResponseFormat::Text) => prose(&last),
        (None, ResponseFormat::JsonObject | ResponseFormat::JsonSchema) => {
            json!({ "demo": true, "note": "no AI model was asked", "prompt": shorten(&last.text) }).to_string()
        }
    };
    let mut answer = DemoAnswer {
        model: request.model.clone(),
        text,
        stop_reason: if tool_call.is_some() { StopReason::ToolUse } else { StopReason::EndTurn },
        tool_call,
        stop_sequence: None,
        usage: Usage::default(),
        usage_chunk: request.stream_usage_requested(),
    };
    stop_at_sequence(&mut answer, &request.stop_sequences);
    stop_at_limit(&mut answer, request.max_tokens);
    answer.usage = Usage {
        input_tokens: Some(request.estimated_input_tokens.max(1)),
        output_tokens: Some(output_tokens(&answer)),
        cache_read_tokens: Some(0),
        cache_creation_tokens: Some(0),
        ..Usage::default()
    };
    answer
}

/// What the person, or a tool, said last.
#[derive(Default)]
struct UserMessage {
    text: String,
    images: usize,
    is_tool_result: bool,
}

impl UserMessage {
    /// The last message of a user or a tool. Coding assistants put system messages behind it, and messages of the user in
    /// which there are only reminders.
    fn last(request: &InferenceRequest) -> Self {
        let mut last = Self::default();
        let mut only_reminders = false;
        let conversation = &request.body[request.layout.messages.clone()];
        if let Some(said) = text(conversation) {
            last.push(&said);
        }
        for message in elements(conversation, usize::MAX).into_iter().rev() {
            let Ok([role, kind, content, output, parts]) =
                pick(message, ["role", "type", "content", "output", "parts"])
            else {
                continue;
            };
            let content = content.or(output).or(parts);
            let is_tool_result = match role.or(kind).map_or(Some("user".into()), text).as_deref() {
                Some("user") => false,
                Some("tool" | "function" | "function_call_output" | "custom_tool_call_output") => true,
                // What was said before that has its answer.
                Some("assistant" | "model") if only_reminders => break,
                _ => continue,
            };
            last = Self { is_tool_result, ..Self::default() };
            if let Some(content) = content {
                last.content(content);
            }
            only_reminders = last.text.is_empty() && last.images == 0 && !last.is_tool_result;
            if !only_reminders {
                break;
            }
        }
        last
    }

    fn content(&mut self, content: &[u8]) {
        if let Some(whole) = text(content) {
            self.push(&whole);
        }
        let blocks = if content.starts_with(b"{") { vec![content] } else { elements(content, 256) };
        for block in blocks {
            let Ok([kind, block_text, result]) = pick(block, ["type", "text", "content"]) else { continue };
            let Ok([response, response_in_snake, inline, inline_in_snake]) =
                pick(block, ["functionResponse", "function_response", "inlineData", "inline_data"])
            else {
                continue;
            };
            if let Some(response) = response.or(response_in_snake) {
                self.is_tool_result = true;
                if let Ok([Some(said)]) = pick(response, ["response"]) {
                    self.push(&String::from_utf8_lossy(said));
                }
                continue;
            }
            self.images += usize::from(inline.or(inline_in_snake).is_some());
            match kind.and_then(text).as_deref() {
                Some("tool_result") => {
                    self.is_tool_result = true;
                    if let Some(result) = result {
                        self.content(result);
                    }
                }
                Some("image" | "image_url" | "input_image") => self.images += 1,
                _ => {
                    if let Some(block_text) = block_text.and_then(text) {
                        self.push(&block_text);
                    }
                }
            }
        }
    }

    fn push(&mut self, part: &str) {
        let part = without_reminders(part);
        if !self.text.is_empty() && !part.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&part);
    }
}

/// What is left of a text without what a coding assistant tells the model beside the person's words.
fn without_reminders(part: &str) -> Cow<'_, str> {
    const BEGIN: &str = "<system-reminder>";
    const END: &str = "</system-reminder>";
    if !part.contains(BEGIN) {
        return Cow::Borrowed(part);
    }
    let mut left = String::new();
    let mut rest = part;
    while let Some((before, reminder)) = rest.split_once(BEGIN) {
        left.push_str(before);
        rest = reminder.split_once(END).map_or("", |(_, after)| after);
    }
    left.push_str(rest);
    Cow::Owned(left.trim().to_owned())
}

fn prose(last: &UserMessage) -> String {
    let quote = shorten(&last.text);
    if last.is_tool_result {
        return format!(
            "This is the systemprompt demo model, not an AI. The tool answered: “{quote}” \
             A real model would now use that to answer you."
        );
    }
    let words = last.text.split_whitespace().count();
    let characters = last.text.chars().count();
    let images = match last.images {
        0 => String::new(),
        1 => " and one image".to_owned(),
        images => format!(" and {images} images"),
    };
    let hints = [
        "The request has just been authenticated, checked, recorded and priced like any other.",
        "Set a provider's key and name one of its models to get a real answer through the same path.",
        "The ledger has this request now, with its tokens and its price.",
        "A leaked key in a prompt would have been replaced before it reached a provider.",
    ];
    // The same prompt has the same answer, and different prompts show that answers differ.
    let hint = hints[(words * 31 + characters) % hints.len()];
    format!(
        "This is the systemprompt demo model, not an AI: nothing was sent to any provider. \
         You wrote {} ({characters} characters){images}: “{quote}”. {hint}",
        if words == 1 { "1 word".to_owned() } else { format!("{words} words") }
    )
}

fn shorten(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        // A word may be as long as the prompt.
        line.extend(word.chars().take(QUOTED + 1));
        if let Some((end, _)) = line.char_indices().nth(QUOTED) {
            line.truncate(end);
            line.push('…');
            return line;
        }
    }
    line
}

/// The tool the caller insists on, else the first that the prompt names or, where it asks for a tool, the first of all.
/// A coding assistant offers dozens with every prompt, and would never come to an end if one were called each time.
fn choose_tool(request: &InferenceRequest, prompt: &str) -> Option<DemoToolCall> {
    let choice: Value = match &request.layout.tool_choice {
        Some(span) => serde_json::from_slice(&request.body[span.clone()]).unwrap_or_default(),
        None => Value::Null,
    };
    if choice == "none" || choice["type"] == "none" || choice["mode"] == "NONE" {
        return None;
    }
    let wanted = [&choice["name"], &choice["function"]["name"], &choice["allowedFunctionNames"][0]];
    let wanted = wanted.into_iter().find_map(Value::as_str);
    let said = words(&prompt[prompt.ceil_char_boundary(prompt.len().saturating_sub(WISH))..]);
    let any = choice == "required" || choice["type"] == "any" || choice["mode"] == "ANY" || asks_for_a_tool(&said);
    let tools = &request.body[request.layout.tools.clone()?];
    let offered: Vec<OfferedTool<'_>> = elements(tools, 256)
        .into_iter()
        .filter_map(|tool| (request.format.definition().offered_tool)(tool))
        .filter(|tool| wanted.is_none_or(|wanted| wanted == tool.name))
        .collect();
    let named = offered.iter().find(|tool| names(&said, &tool.name));
    let OfferedTool { name, schema } = named.or_else(|| offered.first().filter(|_| any || wanted.is_some()))?;
    let schema = serde_json::from_slice(schema).unwrap_or_default();
    Some(DemoToolCall { name: name.to_string(), input: object(&schema, &shorten(prompt), 0) })
}

/// How much of the end of a prompt is looked at for the wish for a tool, in bytes. Before it is what was pasted.
const WISH: usize = 4 * 1024;

/// The longest name of a tool that is looked for, in bytes; providers take 64 or 128.
const LONGEST_NAME: usize = 128;

/// Words before the name of a tool that make it a wish: `use bash`, `call the read tool`.
const WISHES: [&str; 10] = ["use", "uses", "using", "call", "calls", "calling", "run", "invoke", "execute", "tool"];

/// Names of tools that people say without meaning a tool: `write a poem`.
const EVERYDAY: [&str; 28] = [
    "agent", "ask", "copy", "create", "delete", "edit", "fetch", "find", "glob", "grep", "list", "monitor", "move",
    "open", "patch", "plan", "read", "replace", "run", "search", "skill", "task", "think", "todo", "update", "view",
    "web", "write",
];

/// Whether the words of a prompt name the tool `name`, in any spelling of it: `get_weather`, `Get weather`.
fn names(said: &[String], name: &str) -> bool {
    if name.len() > LONGEST_NAME {
        return false;
    }
    let name = words(name);
    if name.is_empty() {
        return false;
    }
    said.windows(name.len()).enumerate().any(|(at, window)| {
        if window != name {
            return false;
        }
        let article = |word: &&String| matches!(word.as_str(), "the" | "a" | "an" | "my" | "your");
        let before = said[..at].iter().rev().find(|word| !article(word));
        let after = said.get(at + name.len());
        !(name.len() == 1 && EVERYDAY.contains(&name[0].as_str()))
            || before.is_some_and(|word| WISHES.contains(&word.as_str()))
            || after.is_some_and(|word| word == "tool")
    })
}

/// `call a tool`, `use your tools`.
fn asks_for_a_tool(said: &[String]) -> bool {
    said.iter().enumerate().any(|(at, word)| {
        matches!(word.as_str(), "tool" | "tools")
            && said[at.saturating_sub(4)..at].iter().any(|before| WISHES[..9].contains(&before.as_str()))
    })
}

/// The words of a text or a name in lower case, cut at everything that is no letter or digit, and before a capital.
fn words(text: &str) -> Vec<String> {
    let mut cut = String::with_capacity(text.len());
    let mut lower = false;
    for character in text.chars() {
        if lower && character.is_uppercase() {
            cut.push(' ');
        }
        lower = character.is_lowercase();
        cut.extend(character.to_lowercase());
    }
    cut.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A value that satisfies the common keywords of a JSON schema.
fn example(schema: &Value, prompt: &str, depth: usize) -> Value {
    if let Some(fixed) = schema.get("const").or(schema["enum"].get(0)).or(schema.get("default")) {
        return fixed.clone();
    }
    let kind = schema["type"].as_str().or(schema["type"][0].as_str()).map(str::to_ascii_lowercase);
    match kind.as_deref() {
        Some("string") => json!(prompt),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(true),
        Some("array") if schema["minItems"].as_u64().unwrap_or(0) > 0 && depth < 8 => {
            json!([example(&schema["items"], prompt, depth + 1)])
        }
        Some("array") => json!([]),
        Some("null") => Value::Null,
        _ => object(schema, prompt, depth),
    }
}

fn object(schema: &Value, prompt: &str, depth: usize) -> Value {
    let mut object = Map::new();
    if depth < 8 {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).take(64) {
            // A name that is listed again costs nothing, or nested schemas would multiply.
            if !object.contains_key(name) {
                let words = harmless(name).unwrap_or(prompt);
                object.insert(name.to_owned(), example(&schema["properties"][name], words, depth + 1));
            }
        }
    }
    Value::Object(object)
}

/// What a field is given in which the prompt might do something.
fn harmless(name: &str) -> Option<&'static str> {
    match name {
        "command" | "cmd" => Some("echo 'the systemprompt demo model'"),
        "file_path" | "filePath" | "path" | "file" | "filename" => Some("systemprompt-demo.txt"),
        "url" => Some("https://example.com/"),
        _ => None,
    }
}

fn stop_at_sequence(answer: &mut DemoAnswer, sequences: &[String]) {
    let first = sequences
        .iter()
        .filter(|sequence| !sequence.is_empty())
        .filter_map(|sequence| Some((answer.text.find(sequence.as_str())?, sequence)))
        .min_by_key(|(at, _)| *at);
    if let Some((at, sequence)) = first {
        answer.text.truncate(at);
        answer.tool_call = None;
        answer.stop_reason = StopReason::StopSequence;
        answer.stop_sequence = Some(sequence.clone());
    }
}

fn stop_at_limit(answer: &mut DemoAnswer, limit: Option<u64>) {
    let Some(limit) = limit.filter(|limit| output_tokens(answer) > *limit) else { return };
    let characters = usize::try_from(limit.saturating_mul(4)).unwrap_or(usize::MAX);
    if let Some((end, _)) = answer.text.char_indices().nth(characters) {
        answer.text.truncate(end);
    }
    answer.tool_call = None;
    answer.stop_reason = StopReason::MaxTokens;
    answer.stop_sequence = None;
}

fn output_tokens(answer: &DemoAnswer) -> u64 {
    let input = answer.tool_call.as_ref().map_or(0, |call| call.input.to_string().chars().count() + call.name.len());
    ((answer.text.chars().count() + input) as u64).div_ceil(4)
}
