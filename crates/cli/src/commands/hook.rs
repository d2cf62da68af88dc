//! `hook`: what a coding client runs on each of its events.

use std::io::Read as _;
use std::path::PathBuf;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use systemprompt_model::with_causes;

use crate::connect::client::Client;
use crate::connect::key;
use crate::connect::plan::Places;
use crate::error::{CliError, CliResult, Exit};
use crate::http as http_client;
use crate::project::Invocation;
use crate::view::{Layout, Text, View};

/// The largest event, in bytes; the server takes no larger one.
const LARGEST: u64 = 8 * 1024 * 1024;

/// Tell a server what a coding client is about to do, or did.
///
/// A client runs this with the event on standard input; `systemprompt connect CLIENT --hooks --write` sets that up. With
/// `govern` the server decides: what it denies is printed in the client's form, what it allows is left to the client and its
/// person, and when there is no decision the status is 2, which stops the client. With `track` nothing is decided, and the
/// client goes on whatever happens.
#[derive(Debug, Args)]
pub(crate) struct Hook {
    /// Whether the client waits for a decision.
    #[arg(value_enum)]
    purpose: Purpose,
    /// The client whose key is used, as `connect` keeps it.
    #[arg(long, value_enum)]
    client: Client,
    /// The server's address, such as https://gateway.example.com.
    #[arg(long, value_name = "URL")]
    url: String,
    /// The certificate the server shows, if no authority vouches for it.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The plugin the hook belongs to.
    #[arg(long, value_name = "ID")]
    plugin: Option<String>,
}

/// What a hook is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Purpose {
    /// Ask whether it may be done.
    Govern,
    /// Report that it was done.
    Track,
}

impl Hook {
    pub(crate) async fn run(&self, invocation: &Invocation) -> CliResult {
        let asked = self.ask(invocation).await;
        match (self.purpose, asked) {
            (Purpose::Govern, Ok((event, answer))) => {
                if let Some(decision) = decision(&event, answer)? {
                    invocation.printer.show(&decision);
                }
                Ok(())
            }
            (Purpose::Govern, Err(error)) => Err(error.exit(Exit::Usage)),
            // Nothing of it is worth stopping somebody's work.
            (Purpose::Track, Ok(_)) => Ok(()),
            (Purpose::Track, Err(error)) => {
                invocation.printer.alert(error.text(false));
                Ok(())
            }
        }
    }

    /// The event, and what the server says of it.
    async fn ask(&self, invocation: &Invocation) -> CliResult<(Bytes, Value)> {
        let mut event = Vec::new();
        std::io::stdin()
            .take(LARGEST + 1)
            .read_to_end(&mut event)
            .map_err(|error| CliError::from_error("no_event", &error))?;
        let event = Bytes::from(event);
        let key = Places::of(&invocation.environment).and_then(|places| key::kept(&places.of_client(self.client)));
        let key = key.ok_or_else(|| {
            let connect = format!("`systemprompt connect {} --hooks --write` gets one", self.client.name());
            CliError::new("no_key", format!("there is no key for {}", self.client.name())).help(connect)
        })?;
        let request = Request::post(self.address())
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, format!("Bearer {}", key.expose()))
            // As the client's requests to models have it, so that both are of one session.
            .header(USER_AGENT, "claude-cli (hook)")
            .body(event.clone())
            .map_err(|error| CliError::invalid_value(format!("--url: {error}")))?;
        let answer = http_client::send(request, self.certificate.as_deref()).await.map_err(|error| {
            let why = with_causes(&*error);
            CliError::new("no_answer", format!("{} does not answer: {why}", self.url)).exit(Exit::Unavailable)
        })?;
        if answer.status.is_success() && answer.json.is_object() {
            return Ok((event, answer.json));
        }
        Err(CliError::new("no_decision", format!("{} answers with status {} and no decision", self.url, answer.status)))
    }

    fn address(&self) -> String {
        let purpose = match self.purpose {
            Purpose::Govern => "govern",
            Purpose::Track => "track",
        };
        let root = self.url.trim_end_matches('/').trim_end_matches("/v1");
        let plugin = self.plugin.as_ref().map_or_else(String::new, |plugin| {
            format!(
                "?{}",
                url::form_urlencoded::Serializer::new(String::new()).append_pair("plugin_id", plugin).finish()
            )
        });
        format!("{root}/api/public/hooks/{purpose}{plugin}")
    }
}

/// What a client that waits for a decision is told. What is allowed is not said: to a client `allow` means that its person is
/// not asked any more.
fn decision(event: &[u8], answer: Value) -> CliResult<Option<Decision>> {
    let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str);
    match text("/hookSpecificOutput/permissionDecision") {
        Some("allow") => Ok(None),
        // Clients read a denial as one of the event it names. Where the server could not read the event, that may be another
        // one; an error stops all of them.
        Some("deny" | "ask") if text("/hookSpecificOutput/hookEventName") != name(event).as_deref() => {
            let reason = text("/hookSpecificOutput/permissionDecisionReason").unwrap_or("the server gives no reason");
            Err(CliError::new("denied", reason).exit(Exit::Usage))
        }
        Some("deny" | "ask") => Ok(Some(Decision(answer))),
        _ => Err(CliError::new("no_decision", "the server's answer holds no decision").exit(Exit::Usage)),
    }
}

/// What an event is, in the client's word for it.
fn name(event: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        hook_event_name: String,
    }
    serde_json::from_slice(event).ok().map(|Named { hook_event_name }| hook_event_name)
}

#[derive(Debug, Serialize)]
struct Decision(Value);

impl View for Decision {
    /// JSON for a program, whoever asked for which form.
    fn text(&self, _: Layout) -> Text {
        Text::line(ascii(&self.0.to_string()))
    }
}

/// JSON without characters that a terminal would be spared.
fn ascii(json: &str) -> String {
    use std::fmt::Write as _;
    json.chars().fold(String::with_capacity(json.len()), |mut text, character| {
        if character.is_ascii() {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_that_is_not_of_the_event_stops_it_all_the_same() {
        let of = |name: &str, permission: &str| {
            serde_json::json!({"hookSpecificOutput": {"hookEventName": name, "permissionDecision": permission,
                "permissionDecisionReason": "[GOVERNANCE] the key was revoked"}})
        };
        let prompt = br#"{"hook_event_name": "UserPromptSubmit", "prompt": "hi"}"#;
        assert!(decision(prompt, of("UserPromptSubmit", "deny")).expect("it is handed on").is_some());
        assert!(decision(prompt, of("PreToolUse", "allow")).expect("it may").is_none());
        for event in [prompt.as_slice(), b"{}", b"no JSON"] {
            let error = decision(event, of("PreToolUse", "deny")).expect_err("another event");
            assert_eq!((error.exit, error.message.as_str()), (Exit::Usage, "[GOVERNANCE] the key was revoked"));
        }
        let none = decision(prompt, serde_json::json!({})).expect_err("no decision");
        assert_eq!(none.exit, Exit::Usage);
    }

    #[test]
    fn a_decision_stays_json_whatever_is_in_it() {
        let value = serde_json::json!({"reason": "ünsafe \u{202e} 🦀 \"quoted\""});
        let text = ascii(&value.to_string());
        assert!(text.is_ascii());
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value);
    }
}
