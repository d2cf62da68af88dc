//! What a person typed, told from what the program they typed it into added for the model.

use std::ops::Range;

use serde_json::Value;
use systemprompt_gateway::request::said::Message;

/// What coding assistants put around what they add to a message of the user. Documented or seen in what they send: Claude
/// Code, Codex, Cline and its relatives, Copilot, Cursor, opencode.
const ADDED: [&str; 16] = [
    "system-reminder",
    "system_reminder",
    "environment_context",
    "environment_details",
    "user_instructions",
    "INSTRUCTIONS",
    "permissions instructions",
    "reminder",
    "reminderInstructions",
    "additional_data",
    "attachments",
    "local-command-caveat",
    "local-command-stdout",
    "ide_opened_file",
    "ide_selection",
    "environment",
];

/// What the user typed last: the newest message of theirs that holds more than results of tools and what their program added.
pub(crate) fn typed(messages: &[Message]) -> Option<String> {
    messages.iter().rev().filter(|message| message.role == "user").find_map(|message| {
        let said: Vec<_> =
            texts(&message.content).into_iter().map(|text| without_added(text, |_, _| String::new())).collect();
        let said: Vec<_> = said.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
        (!said.is_empty()).then(|| said.join("\n"))
    })
}

/// A text with what a program added named instead of shown.
pub(crate) fn condensed(text: &str) -> String {
    without_added(text, |tag, inside| format!("[{tag}: {} characters]", inside.chars().count()))
}

/// The texts of a message; results of tools are none of the user's.
fn texts(content: &Value) -> Vec<&str> {
    match content {
        Value::String(text) => vec![text],
        Value::Array(blocks) => blocks
            .iter()
            .filter(|block| matches!(block["type"].as_str(), Some("text" | "input_text")))
            .filter_map(|block| block["text"].as_str())
            .collect(),
        _ => Vec::new(),
    }
}

/// A text in which every block that was added is replaced. One that does not end is the user's own.
fn without_added(text: &str, replacement: impl Fn(&str, &str) -> String) -> String {
    let mut kept = String::new();
    let mut from = 0;
    for block in blocks(text) {
        // Those inside of another one went with it.
        if block.whole.start >= from {
            kept.push_str(&text[from..block.whole.start]);
            kept.push_str(&replacement(block.tag, &text[block.inside]));
            from = block.whole.end;
        }
    }
    kept.push_str(&text[from..]);
    kept
}

/// A block that a program may have added.
struct Block {
    tag: &'static str,
    /// With its tags.
    whole: Range<usize>,
    inside: Range<usize>,
}

/// The blocks in the order in which they begin; blocks may be in others. Read once from the beginning to the end, however
/// many of them do not end.
fn blocks(text: &str) -> Vec<Block> {
    let mut open = [const { Vec::new() }; ADDED.len()];
    let mut blocks = Vec::new();
    for (at, _) in text.match_indices('<') {
        let after = &text[at + 1..];
        let name = after.strip_prefix('/').unwrap_or(after);
        let is_tag = |tag: &&str| name.strip_prefix(tag).is_some_and(|after| after.starts_with('>'));
        let Some((kind, tag)) = ADDED.into_iter().enumerate().find(|(_, tag)| is_tag(tag)) else { continue };
        let begins = after.len() == name.len();
        let end = at + tag.len() + if begins { 2 } else { 3 };
        if begins {
            open[kind].push(at..end);
        } else if let Some(Range { start, end: inside }) = open[kind].pop() {
            blocks.push(Block { tag, whole: start..end, inside: inside..at });
        }
    }
    blocks.sort_by_key(|block| block.whole.start);
    blocks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(role: &str, content: Value) -> Message {
        Message { sequence: 0, role: role.to_owned(), content }
    }

    #[test]
    fn what_was_typed_is_found_among_what_was_added() {
        let claude = json!([
            {"type": "text", "text": "<system-reminder>\nAs you answer, <b>mind</b> this\n</system-reminder>\n"},
            {"type": "text", "text": "<ide_opened_file>main.rs</ide_opened_file>"},
            {"type": "text", "text": "fix the <bug> in main"},
        ]);
        let result = json!([{"type": "tool_result", "tool_use_id": "t", "content": "done"},
                            {"type": "text", "text": "<system-reminder>todo list</system-reminder>"}]);
        let of = |messages: &[Message]| typed(messages);
        let said = [message("user", claude), message("assistant", json!("I look")), message("user", result)];
        assert_eq!(of(&said).as_deref(), Some("fix the <bug> in main"));
        for (content, expected) in [
            (json!("Hello"), Some("Hello")),
            (json!("<environment_context>\n  <cwd>/x</cwd>\n</environment_context>"), None),
            (json!("a <system-reminder>x <system-reminder>y</system-reminder> z</system-reminder> b"), Some("a  b")),
            (json!("what does <system-reminder> mean?"), Some("what does <system-reminder> mean?")),
            (json!("</system-reminder>"), Some("</system-reminder>")),
            (json!("<reminder>a <reminder>b</reminder> c"), Some("<reminder>a  c")),
            (json!("<system-reminder>a <reminder>b</system-reminder> c</reminder>"), Some("c</reminder>")),
            (json!("<reminder>open <system-reminder>x</system-reminder>"), Some("<reminder>open")),
            (json!([{"type": "input_text", "text": "hi"}, {"type": "image", "text": "no"}]), Some("hi")),
            (json!(null), None),
        ] {
            assert_eq!(of(&[message("user", content.clone())]).as_deref(), expected, "{content}");
        }
        assert_eq!(of(&[message("system", json!("rules"))]), None);
    }

    #[test]
    fn what_was_added_is_named() {
        let text = "<system-reminder>12345</system-reminder>do it";
        assert_eq!(condensed(text), "[system-reminder: 5 characters]do it");
        assert_eq!(condensed("plain"), "plain");
    }

    #[test]
    fn blocks_that_do_not_end_cost_nothing() {
        // Each of them was once looked for to the end of the text.
        let text = "<reminder>".repeat(500_000);
        assert_eq!(condensed(&text), text);
        assert_eq!(condensed(&format!("{text}x</reminder>")), format!("{}[reminder: 1 characters]", &text[10..]));
    }
}
