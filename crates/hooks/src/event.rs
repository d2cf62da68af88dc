//! Reading an event: leniently, for clients add fields as they like, and strictly where something is decided by it.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The longest name or id that is used, in bytes.
const LONGEST_NAME: usize = 256;
/// The longest path that is kept, in bytes.
const LONGEST_TEXT: usize = 1024;

/// Events that are known, in the order in which they are documented. Others are recorded as they are.
pub(crate) const KNOWN: [&str; 18] = [
    "SessionStart",
    "SessionEnd",
    "UserPromptSubmit",
    PRE_TOOL_USE,
    "PostToolUse",
    "PostToolUseFailure",
    "PermissionRequest",
    "Stop",
    "SubagentStart",
    "SubagentStop",
    "TaskCompleted",
    "TeammateIdle",
    "Notification",
    "ConfigChange",
    "WorktreeCreate",
    "WorktreeRemove",
    "PreCompact",
    "InstructionsLoaded",
];

/// A tool is about to be used.
pub(crate) const PRE_TOOL_USE: &str = "PreToolUse";

/// Fields of which the first one that is there says more about an event.
pub(crate) const DETAILS: [&str; 10] = [
    "source",
    "reason",
    "trigger",
    "notification_type",
    "load_reason",
    "task_id",
    "teammate_name",
    "name",
    "worktree_path",
    "error",
];

/// Why an event cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It is no JSON object.
    #[error("the event is no JSON object")]
    NotJson,
    /// A tool is asked about that has no usable name.
    #[error("`tool_name` must be a text of 1 to 256 bytes without control characters, given once")]
    NoTool,
    /// A prompt is asked about that is not there.
    #[error("`prompt` must be a text, given once")]
    NoPrompt,
    /// The input of the tool is there twice, and a client may mean the other one.
    #[error("`tool_input` must be given once")]
    TwoInputs,
    /// Nothing in it can be decided about.
    #[error("an event to decide about must have a `tool_name` or a `prompt`")]
    NothingToDecide,
}

/// What an event asks to be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// Whether a tool may be used, with this input.
    Tool(String, Bytes),
    /// Whether a prompt may be submitted: JSON with the text.
    Prompt(Bytes),
}

/// An event, as far as it can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its name, empty if it has none.
    pub(crate) name: String,
    /// The client's own id of the session.
    pub(crate) session: Option<String>,
    /// The agent that acts, in the client's words.
    pub(crate) agent: Option<String>,
    pub(crate) agent_type: Option<String>,
    /// The client's id of the tool call.
    pub(crate) call: Option<String>,
    pub(crate) tool: Option<String>,
    /// How the client asks its person for permission.
    pub(crate) mode: Option<String>,
    /// Where the client works.
    pub(crate) cwd: Option<String>,
    /// The first of [`DETAILS`] it has.
    pub(crate) detail: Option<String>,
    /// Fields that are there and could not be used.
    pub(crate) malformed: Vec<String>,
}

/// Reads what a client wants decided. What can be said of the event in spite of a mistake is given with the mistake.
pub(crate) fn question(body: &Bytes) -> (Event, Result<Question, Unreadable>) {
    let Some(fields) = Fields::read(body) else { return (Event::default(), Err(Unreadable::NotJson)) };
    let event = fields.event();
    let question = fields.question(body, &event);
    (event, question)
}

/// Reads what a client reports.
pub(crate) fn report(body: &Bytes) -> Result<Event, Unreadable> {
    Ok(Fields::read(body).ok_or(Unreadable::NotJson)?.event())
}

/// The fields of an object as they stand, those that are there twice included.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a RawValue> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| *value)
    }

    /// The value of a field that is there once, and not null.
    fn only(&self, name: &str) -> Option<&'a RawValue> {
        let mut values = self.all(name);
        let value = values.next().filter(|value| value.get() != "null")?;
        values.next().is_none().then_some(value)
    }

    /// A text within bounds; what is none is noted.
    fn text(&self, name: &str, longest: usize, malformed: &mut Vec<String>) -> Option<String> {
        let given = self.all(name).any(|value| value.get() != "null");
        let text = self.only(name).and_then(|value| serde_json::from_str::<String>(value.get()).ok());
        let text = text.map(|text| text.trim().to_owned());
        let usable = text.filter(|text| text.len() <= longest && !text.contains(char::is_control));
        if given && usable.is_none() {
            malformed.push(name.to_owned());
        }
        usable.filter(|text| !text.is_empty())
    }

    fn event(&self) -> Event {
        let mut malformed = Vec::new();
        let mut name = |field| self.text(field, LONGEST_NAME, &mut malformed);
        let mut event = Event {
            name: name("hook_event_name").unwrap_or_default(),
            session: name("session_id"),
            agent: name("agent_id"),
            agent_type: name("agent_type"),
            call: name("tool_use_id"),
            tool: name("tool_name"),
            mode: name("permission_mode"),
            ..Event::default()
        };
        event.cwd = self.text("cwd", LONGEST_TEXT, &mut malformed);
        event.detail = DETAILS.iter().find_map(|field| self.text(field, LONGEST_TEXT, &mut Vec::new()));
        event.malformed = malformed;
        event
    }

    /// What is to be decided. An event of another name, or of none, is known by what it has.
    fn question(&self, body: &Bytes, event: &Event) -> Result<Question, Unreadable> {
        let has = |field| self.all(field).next().is_some();
        match event.name.as_str() {
            "UserPromptSubmit" => self.prompt(),
            PRE_TOOL_USE => self.tool(body, event),
            _ if has("tool_name") => self.tool(body, event),
            _ if has("prompt") => self.prompt(),
            _ => Err(Unreadable::NothingToDecide),
        }
    }

    fn tool(&self, body: &Bytes, event: &Event) -> Result<Question, Unreadable> {
        let tool = event.tool.clone().ok_or(Unreadable::NoTool)?;
        let mut inputs = self.all("tool_input");
        let input =
            inputs.next().map_or_else(|| Bytes::from_static(b"{}"), |input| body.slice_ref(input.get().as_bytes()));
        if inputs.next().is_some() {
            return Err(Unreadable::TwoInputs);
        }
        Ok(Question::Tool(tool, input))
    }

    fn prompt(&self) -> Result<Question, Unreadable> {
        let prompt = self.only("prompt").filter(|prompt| prompt.get().starts_with('"')).ok_or(Unreadable::NoPrompt)?;
        Ok(Question::Prompt(format!(r#"{{"prompt":{}}}"#, prompt.get()).into()))
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl<'de> Visitor<'de> for Reading {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(12);
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reading)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(body: &str) -> (Event, Result<Question, Unreadable>) {
        question(&Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn the_input_of_a_tool_is_judged_as_it_stands() {
        let body = r#"{"hook_event_name":"PreToolUse","session_id":"s1","tool_name":"Bash",
            "tool_input":{"command" : "ls"},"tool_use_id":"toolu_1","agent_id":7,"cwd":"/tmp","new":[{}]}"#;
        let (event, question) = asked(body);
        assert_eq!(question, Ok(Question::Tool("Bash".to_owned(), r#"{"command" : "ls"}"#.into())));
        assert_eq!((event.session.as_deref(), event.call.as_deref()), (Some("s1"), Some("toolu_1")));
        assert_eq!((event.agent, event.malformed), (None, vec!["agent_id".to_owned()]));
    }

    #[test]
    fn what_cannot_be_decided_is_an_error() {
        for (body, expected) in [
            ("", Unreadable::NotJson),
            ("[]", Unreadable::NotJson),
            ("{\"tool_name\":", Unreadable::NotJson),
            (r#"{"hook_event_name":"PreToolUse"}"#, Unreadable::NoTool),
            (r#"{"hook_event_name":"PreToolUse","tool_name":""}"#, Unreadable::NoTool),
            (r#"{"hook_event_name":"PreToolUse","tool_name":" \t"}"#, Unreadable::NoTool),
            (r#"{"hook_event_name":"PreToolUse","tool_name":{"a":1}}"#, Unreadable::NoTool),
            (r#"{"hook_event_name":"PreToolUse","tool_name":"a\u0000b"}"#, Unreadable::NoTool),
            (r#"{"hook_event_name":"PreToolUse","tool_name":"Read","tool_name":"Bash"}"#, Unreadable::NoTool),
            (r#"{"tool_name":"Read","tool_input":{},"tool_input":{"x":1}}"#, Unreadable::TwoInputs),
            (r#"{"hook_event_name":"UserPromptSubmit","prompt":["x"]}"#, Unreadable::NoPrompt),
            (r#"{"hook_event_name":"UserPromptSubmit"}"#, Unreadable::NoPrompt),
            (r#"{"hook_event_name":"Stop"}"#, Unreadable::NothingToDecide),
            ("{}", Unreadable::NothingToDecide),
        ] {
            assert_eq!(asked(body).1, Err(expected), "{body}");
        }
    }

    #[test]
    fn an_event_of_another_name_is_known_by_what_it_has() {
        let tool = Question::Tool("Bash".to_owned(), "{}".into());
        assert_eq!(asked(r#"{"hook_event_name":"PermissionRequest","tool_name":"Bash"}"#).1, Ok(tool.clone()));
        assert_eq!(asked(r#"{"hook_event_name":9,"tool_name":" Bash "}"#).1, Ok(tool));
        let prompt = Question::Prompt(r#"{"prompt":"a \"b\""}"#.into());
        assert_eq!(asked(r#"{"prompt":"a \"b\""}"#).1, Ok(prompt));
    }

    #[test]
    fn what_an_event_says_of_itself_is_kept() {
        for (body, detail) in [
            (json!({"hook_event_name": "SessionStart", "source": "resume", "model": "m"}), Some("resume")),
            (json!({"hook_event_name": "SessionEnd", "reason": "logout"}), Some("logout")),
            (json!({"hook_event_name": "Notification", "notification_type": "idle_prompt"}), Some("idle_prompt")),
            (json!({"hook_event_name": "PreCompact", "trigger": {"x": 1}}), None),
            (json!({"hook_event_name": "Stop"}), None),
        ] {
            let event = report(&Bytes::from(body.to_string())).expect("it is JSON");
            assert_eq!(event.detail.as_deref(), detail, "{body}");
            assert!(KNOWN.contains(&event.name.as_str()), "{body}");
        }
        assert_eq!(report(&Bytes::from_static(b"nope")), Err(Unreadable::NotJson));
    }
}
