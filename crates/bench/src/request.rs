//! The requests, written out before the clock runs.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;

/// The model asked for, under the same name on both ways.
pub(crate) const MODEL: &str = "bench-model";

/// The API requests are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dialect {
    /// `POST /v1/messages`.
    Anthropic,
    /// `POST /v1/chat/completions`.
    Openai,
}

/// The API the provider is asked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wire {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Chat Completions.
    OpenaiChat,
    /// OpenAI Responses.
    OpenaiResponses,
    /// Gemini.
    Gemini,
}

impl Wire {
    /// Its name in a profile.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenaiChat => "openai-chat",
            Self::OpenaiResponses => "openai-responses",
            Self::Gemini => "gemini",
        }
    }

    /// What of the address of a provider comes before the paths of this API.
    pub(crate) const fn base(self) -> &'static str {
        match self {
            Self::Gemini => "/v1beta",
            Self::Anthropic | Self::OpenaiChat | Self::OpenaiResponses => "/v1",
        }
    }
}

impl Dialect {
    /// The wire on which requests pass as they are.
    pub(crate) const fn own_wire(self) -> Wire {
        match self {
            Self::Anthropic => Wire::Anthropic,
            Self::Openai => Wire::OpenaiChat,
        }
    }
}

/// How the answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answers {
    /// In one piece.
    Buffered,
    /// As events.
    Streamed,
    /// No answer of a model: a decision about the tool call of a coding client, compared with `GET /livez`.
    Hook,
}

impl Answers {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Buffered => "buffered",
            Self::Streamed => "streamed",
            Self::Hook => "hook",
        }
    }

    pub(crate) const fn ending(self) -> Ending {
        match self {
            Self::Buffered => Ending::Json,
            Self::Streamed => Ending::Stream,
            Self::Hook => Ending::Allowed,
        }
    }
}

/// How an answer of status 200 must end to be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// One JSON object.
    Json,
    /// A stream of events with its terminal event.
    Stream,
    /// A decision that allows.
    Allowed,
    /// Anything.
    Whatever,
}

impl Ending {
    pub(crate) fn fits(self, body: &[u8]) -> bool {
        match self {
            Self::Json => body.first() == Some(&b'{') && body.last() == Some(&b'}'),
            Self::Stream => {
                let tail = &body[body.len().saturating_sub(64)..];
                [&b"message_stop"[..], b"[DONE]"].iter().any(|end| memchr::memmem::find(tail, end).is_some())
            }
            Self::Allowed => memchr::memmem::find(body, b"\"permissionDecision\":\"allow\"").is_some(),
            Self::Whatever => true,
        }
    }
}

/// Who is asked, and with which credentials.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    /// The session to name, instead of the one that follows from the conversation.
    pub(crate) session: Option<String>,
    /// Header lines of its own.
    pub(crate) headers: Vec<String>,
}

impl Destination {
    /// Who is asked with nothing but a key.
    pub(crate) fn new(address: SocketAddr, key: &str) -> Self {
        Self { address, key: key.to_owned(), session: None, headers: Vec::new() }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prompt {
    pub(crate) dialect: Dialect,
    pub(crate) answers: Answers,
    /// The length of the body, about.
    pub(crate) bytes: usize,
}

/// Ordinary words: what the scans of a gateway see most of the time.
const SENTENCES: [&str; 6] = [
    "The meeting moved to Thursday because two of the reviewers are travelling until then. ",
    "Please compare both proposals and say which of them costs less to run over three years. ",
    "Last quarter the team closed 412 tickets, 37 of which had been open for more than a month. ",
    "Our customers mostly ask how long a delivery takes and whether they can change the address. ",
    "If the figures in the second table are right, the increase comes from the new stores alone. ",
    "Write the answer for somebody who has not read the report, in two or three short paragraphs. ",
];

/// What stands in a request where each sending has a number of its own, of as many digits.
pub(crate) const SERIAL: &str = "000000000000";

/// A request in the conversation of this number, and with it in a session of its own.
pub(crate) fn write(destination: &Destination, prompt: Prompt, conversation: u64) -> Arc<[u8]> {
    let opening = format!("This is conversation {conversation}. ");
    let text: String = std::iter::once(opening.as_str())
        .chain(SENTENCES.into_iter().cycle())
        .scan(0, |length, sentence| {
            *length += sentence.len();
            (*length <= prompt.bytes.max(300) - 200).then_some(sentence)
        })
        .collect();
    if prompt.answers == Answers::Hook {
        return tool_call(destination, &text, conversation);
    }
    let system = "You are a careful assistant of a retail company.";
    let stream = prompt.answers == Answers::Streamed;
    let (path, credential, body) = match prompt.dialect {
        Dialect::Anthropic => {
            let messages = json!([{ "role": "user", "content": text }]);
            let body =
                json!({ "model": MODEL, "max_tokens": 1024, "system": system, "messages": messages, "stream": stream });
            ("/v1/messages", "anthropic-version: 2023-06-01\r\nx-api-key: ", body)
        }
        Dialect::Openai => {
            let messages = json!([{ "role": "system", "content": system }, { "role": "user", "content": text }]);
            let body = json!({ "model": MODEL, "messages": messages, "stream": stream });
            ("/v1/chat/completions", "authorization: Bearer ", body)
        }
    };
    post(destination, path, credential, &body.to_string())
}

/// A coding client's question whether it may write a file of this text. The call has a serial number, for the same call is
/// decided once.
fn tool_call(destination: &Destination, text: &str, conversation: u64) -> Arc<[u8]> {
    let body = json!({
        "hook_event_name": "PreToolUse",
        "session_id": format!("bench-{conversation}"),
        "cwd": "/srv/shop",
        "permission_mode": "default",
        "tool_name": "Write",
        "tool_use_id": format!("toolu_{conversation}_{SERIAL}"),
        "tool_input": { "file_path": "/srv/shop/notes.md", "content": text },
    });
    post(destination, "/api/public/hooks/govern", "authorization: Bearer ", &body.to_string())
}

/// The least a server can be asked.
pub(crate) fn alive(server: &Destination) -> Arc<[u8]> {
    format!("GET /livez HTTP/1.1\r\nhost: {}\r\nuser-agent: systemprompt-bench\r\n\r\n", server.address)
        .into_bytes()
        .into()
}

/// A request that opens a session at the gateway.
pub(crate) fn open_session(gateway: &Destination) -> Arc<[u8]> {
    post(gateway, "/api/public/gateway/sessions", "x-api-key: ", "")
}

fn post(destination: &Destination, path: &str, credential: &str, body: &str) -> Arc<[u8]> {
    let Destination { address, key, session, headers } = destination;
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: systemprompt-bench\r\naccept: */*\r\n{credential}{key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    if let Some(session) = session {
        let _ = write!(request, "x-session-id: {session}\r\n");
    }
    for header in headers {
        let _ = write!(request, "{header}\r\n");
    }
    request.push_str("\r\n");
    request.push_str(body);
    request.into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_whole_and_about_as_long_as_asked_for() {
        let destination = Destination {
            session: Some("sess_1".to_owned()),
            headers: vec!["x-provider: mock".to_owned()],
            ..Destination::new(([127, 0, 0, 1], 80).into(), "key")
        };
        for dialect in [Dialect::Anthropic, Dialect::Openai] {
            for bytes in [0, 1024, 65_536] {
                let request = write(&destination, Prompt { dialect, answers: Answers::Streamed, bytes }, 7);
                let text = std::str::from_utf8(&request).unwrap();
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
                assert!(head.contains("x-session-id: sess_1\r\nx-provider: mock"), "{head}");
                assert!(body.len() <= bytes.max(300) + 100 && body.len() + 200 >= bytes, "{bytes}: {}", body.len());
                let body: serde_json::Value = serde_json::from_str(body).unwrap();
                assert_eq!(body["model"], MODEL);
                assert_eq!(body["stream"], true);
            }
        }
    }
}
