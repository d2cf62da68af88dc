//! `secret_scan`: no credentials in what is sent. They are replaced where that can be undone in the answer, and refused
//! elsewhere.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use systemprompt_extension::policy::{DenialKind, Policy, PolicyInput, Replacement, Verdict, Violation};
use systemprompt_model::json;
use tokio::sync::Semaphore;

use crate::config::{SecretAction, SecretScanConfig};
use crate::secret_scan::{Finding, HIGH_ENTROPY_TOKEN, Match, PlaceholderKey, SecretScanner, exchange};

/// Contents above this size are scanned on a thread where nobody waits for a turn (about a millisecond of work).
const SCAN_APART: usize = 256 * 1024;

/// The policy.
#[derive(Clone)]
pub(crate) struct SecretScan(Arc<Settings>);

struct Settings {
    scanner: Arc<SecretScanner>,
    action: SecretAction,
    /// Ids of rules whose matches are refused whatever the action.
    deny: Vec<String>,
    /// What placeholders are made with. Without it nothing is replaced.
    key: Option<PlaceholderKey>,
    /// Who may scan a large content now: one fewer than there are processors, so that small requests find one.
    apart: Arc<Semaphore>,
}

impl SecretScan {
    pub(crate) fn new(scanner: Arc<SecretScanner>, config: &SecretScanConfig, key: Option<PlaceholderKey>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let apart = Arc::new(Semaphore::new(processors.saturating_sub(1).max(1)));
        Self(Arc::new(Settings { scanner, action: config.action, deny: config.deny.clone(), key, apart }))
    }
}

#[async_trait]
impl Policy for SecretScan {
    fn id(&self) -> &'static str {
        "secret_scan"
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        if let Some((name, _)) = input.headers.iter().find(|(_, value)| self.0.scanner.refuses(value)) {
            // They say which version of an API is meant: nothing that would have to go on.
            let reason = format!("the header `{name}` holds a secret");
            return Verdict::Fail(
                Violation::new(DenialKind::Content, "secret_leak", reason)
                    .with_advice("Nothing was sent. Leave the header out and try again"),
            );
        }
        if input.content.len() <= SCAN_APART {
            return self.0.judge(input.content);
        }
        let (settings, content) = (Arc::clone(&self.0), input.content.clone());
        // Never closed. It goes with the scan, which goes on where nobody waits for it any more.
        let turn = Arc::clone(&self.0.apart).acquire_owned().await;
        let scan = move || {
            let _turn = turn;
            settings.judge(&content)
        };
        tokio::task::spawn_blocking(scan).await.unwrap_or_else(|error| {
            tracing::error!(%error, "the secret scan failed");
            Verdict::Fail(Violation::unavailable("the content could not be scanned"))
        })
    }
}

impl Settings {
    fn judge(&self, content: &[u8]) -> Verdict {
        let matches = self.scanner.matches(content);
        if matches.is_empty() {
            return Verdict::Pass;
        }
        let (acting, told): (Vec<&Match<'_>>, Vec<&Match<'_>>) = matches.iter().partition(|found| found.rule.acts);
        let violation = self.violation(content, &matches);
        if acting.is_empty() {
            return Verdict::Warn(violation);
        }
        let is_denied = |found: &&Match<'_>| self.deny.contains(&found.rule.id);
        let Some(key) = self.key.as_ref().filter(|_| self.action == SecretAction::Redact) else {
            return Verdict::Fail(violation);
        };
        if acting.iter().any(is_denied) {
            return Verdict::Fail(violation);
        }
        let exchange = exchange(content, &acting, key, |key| self.scanner.flags_bytes(key));
        if exchange.parts.is_empty() {
            // All of it stands where a provider put it.
            return Verdict::Warn(violation);
        }
        let flagged = told.iter().map(|found| found.string.clone()).chain(exchange.kept).collect();
        Verdict::Replace(Replacement { parts: exchange.parts, flagged, violation })
    }

    fn violation(&self, content: &[u8], matches: &[Match<'_>]) -> Violation {
        let scan = self.scanner.told(content, matches);
        let mut places: Vec<String> = scan.findings.iter().map(ToString::to_string).collect();
        if scan.flagged.len() > places.len() {
            places.push(format!("{} more", scan.flagged.len() - places.len()));
        }
        let part = scan.findings.first().and_then(|finding| Part::at(&finding.path, content));
        let holder = part.as_ref().map_or_else(|| "the content".to_owned(), ToString::to_string);
        let reason = format!("{holder} holds a secret: {}", places.join(", "));
        Violation {
            flagged: scan.flagged,
            ..Violation::new(DenialKind::Content, "secret_leak", reason)
                .with_advice(advice(part.as_ref(), &scan.findings))
        }
    }
}

/// What somebody can do whose prompt was refused.
fn advice(part: Option<&Part>, findings: &[Finding]) -> String {
    let go_on = match part {
        Some(Part::Message { index: 0, .. }) => {
            "Nothing was sent. Start a new conversation without the text".to_owned()
        }
        Some(Part::Message { index, .. }) => format!(
            "Nothing was sent. The text is still in this conversation, so repeating the request is refused again: go back to \
             before message {index}, or start a new conversation"
        ),
        _ => "Nothing was sent. Remove the text and try again".to_owned(),
    };
    let mut patterns: Vec<&str> = findings.iter().map(|finding| finding.pattern.as_str()).collect();
    patterns.sort_unstable();
    patterns.dedup();
    let setting = if patterns.iter().all(|&id| id == HIGH_ENTROPY_TOKEN) {
        "`entropy.mode: warn`".to_owned()
    } else {
        patterns.retain(|&id| id != HIGH_ENTROPY_TOKEN);
        format!("`warn_only: [{}]`", patterns.join(", "))
    };
    format!(
        "{go_on}. If it is no secret, an administrator allows it with {setting} in the policy `secret_scan` of \
         services/governance/config.yaml"
    )
}

/// A part of a request, as a person knows it.
enum Part {
    /// A message, counted from 0 as in the request.
    Message {
        index: usize,
        kind: &'static str,
    },
    System,
    Tools,
}

impl Part {
    /// The part that holds what stands at `path`, e.g. `$.messages[12].content[0].text`.
    fn at(path: &str, content: &[u8]) -> Option<Self> {
        let path = path.strip_prefix("$.")?;
        if path.starts_with("system") {
            return Some(Self::System);
        }
        if path.starts_with("tools[") {
            return Some(Self::Tools);
        }
        let (index, inside) = path.strip_prefix("messages[")?.split_once(']')?;
        let index: usize = index.parse().ok()?;
        let kind = kind_of_message(content, index, inside).unwrap_or("a message");
        Some(Self::Message { index, kind })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { index, kind } => write!(f, "message {index}, {kind},"),
            Self::System => f.write_str("the system prompt"),
            Self::Tools => f.write_str("the definition of a tool"),
        }
    }
}

/// What message `index` is, of whose block `inside`, e.g. `.content[0].text`, is asked. The same in both dialects.
fn kind_of_message(content: &[u8], index: usize, inside: &str) -> Option<&'static str> {
    let text = |value: Option<&[u8]>| value.and_then(json::text).map(Cow::into_owned);
    let [messages] = json::pick(content, ["messages"]).ok()?;
    let message = *json::elements(messages?, index + 1).get(index)?;
    let [role, body] = json::pick(message, ["role", "content"]).ok()?;
    let block = inside.strip_prefix(".content[").and_then(|rest| rest.split_once(']')).and_then(|(index, _)| {
        let index: usize = index.parse().ok()?;
        let block = *json::elements(body?, index + 1).get(index)?;
        let [kind] = json::pick(block, ["type"]).ok()?;
        text(kind)
    });
    let kind = match (text(role)?.as_str(), block.as_deref()) {
        ("tool" | "function", _) => "a tool result",
        (_, Some(kind)) if kind.ends_with("tool_result") => "a tool result",
        (_, Some(kind)) if kind.ends_with("tool_use") => "a tool call of the assistant",
        ("assistant", _) if inside.starts_with(".tool_calls") => "a tool call of the assistant",
        ("assistant", _) => "an answer of the assistant",
        ("system" | "developer", _) => "a system message",
        ("user", _) => "a user message",
        _ => return None,
    };
    Some(kind)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_person_is_told_which_message_it_is() {
        let body = json!({
            "system": [{"type": "text", "text": "x"}],
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {"a": "x"}}]},
                {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "tool_result", "content": "x"}]},
                {"role": "tool", "content": "x"},
                {"role": "assistant", "content": null, "tool_calls": [{"function": {"arguments": "x"}}]},
                {"role": "developer", "content": "x"},
                {"role": "assistant", "content": "x"},
                {"role": 5, "content": "x"},
            ],
            "tools": [{"name": "x"}],
        })
        .to_string();
        for (path, expected) in [
            ("$.system[0].text", Some("the system prompt")),
            ("$.messages[0].content", Some("message 0, a user message,")),
            ("$.messages[1].content[0].input.a", Some("message 1, a tool call of the assistant,")),
            ("$.messages[2].content[0].text", Some("message 2, a user message,")),
            ("$.messages[2].content[1].content", Some("message 2, a tool result,")),
            ("$.messages[3].content", Some("message 3, a tool result,")),
            ("$.messages[4].tool_calls[0].function.arguments", Some("message 4, a tool call of the assistant,")),
            ("$.messages[5].content", Some("message 5, a system message,")),
            ("$.messages[6].content", Some("message 6, an answer of the assistant,")),
            ("$.messages[7].content", Some("message 7, a message,")),
            ("$.tools[0].name", Some("the definition of a tool")),
            ("$.metadata.user_id", None),
            ("$", None),
        ] {
            assert_eq!(Part::at(path, body.as_bytes()).map(|part| part.to_string()).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn the_advice_names_the_setting_that_would_let_it_pass() {
        let finding = |pattern: &str| Finding { pattern: pattern.to_owned(), path: "$".to_owned() };
        let part = Part::Message { index: 12, kind: "a tool result" };
        let text = advice(Some(&part), &[finding("jwt-raw"), finding("aws-access-key"), finding("jwt-raw")]);
        assert!(text.contains("go back to before message 12"), "{text}");
        assert!(text.contains("`warn_only: [aws-access-key, jwt-raw]`"), "{text}");
        let text = advice(None, &[finding(HIGH_ENTROPY_TOKEN)]);
        assert!(text.contains("Remove the text"), "{text}");
        assert!(text.contains("`entropy.mode: warn`"), "{text}");
    }
}
