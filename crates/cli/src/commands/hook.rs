//! `hook`: what a coding client runs on each of its events.

use std::io::Read as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use serde::Serialize;
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
            (Purpose::Govern, Ok(answer)) => decide(invocation, answer),
            (Purpose::Govern, Err(error)) => Err(error.exit(Exit::Usage)),
            // Nothing of it is worth stopping somebody's work.
            (Purpose::Track, Ok(_)) => Ok(()),
            (Purpose::Track, Err(error)) => {
                invocation.printer.alert(error.text(false));
                Ok(())
            }
        }
    }

    async fn ask(&self, invocation: &Invocation) -> CliResult<Value> {
        let mut event = Vec::new();
        std::io::stdin()
            .take(LARGEST + 1)
            .read_to_end(&mut event)
            .map_err(|error| CliError::from_error("no_event", &error))?;
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
            .body(event.into())
            .map_err(|error| CliError::invalid_value(format!("--url: {error}")))?;
        let answer = http_client::send(request, self.certificate.as_deref()).await.map_err(|error| {
            let why = with_causes(&*error);
            CliError::new("no_answer", format!("{} does not answer: {why}", self.url)).exit(Exit::Unavailable)
        })?;
        if answer.status.is_success() && answer.json.is_object() {
            return Ok(answer.json);
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

/// Hands a decision on. What is allowed is not said: to a client `allow` means that its person is not asked any more.
fn decide(invocation: &Invocation, answer: Value) -> CliResult {
    match answer.pointer("/hookSpecificOutput/permissionDecision").and_then(Value::as_str) {
        Some("allow") => Ok(()),
        Some("deny" | "ask") => {
            invocation.printer.show(&Decision(answer));
            Ok(())
        }
        _ => Err(CliError::new("no_decision", "the server's answer holds no decision").exit(Exit::Usage)),
    }
}

#[derive(Serialize)]
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
    fn a_decision_stays_json_whatever_is_in_it() {
        let value = serde_json::json!({"reason": "ünsafe \u{202e} 🦀 \"quoted\""});
        let text = ascii(&value.to_string());
        assert!(text.is_ascii());
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value);
    }
}
