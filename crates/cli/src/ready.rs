//! What a server says when it is ready: `up` prints it, `infra services start` passes it on.

use serde::{Deserialize, Serialize};

use crate::view::{Layout, Text, View};

/// A server that is ready.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) url: String,
    /// The administrator's first key, the one time it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_key: Option<String>,
    pub(crate) admin_email: String,
    pub(crate) home: String,
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) profile: String,
    pub(crate) startup_ms: u64,
    /// Of `startup_ms`, what the managed cluster took; absent with a database of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster_ms: Option<u64>,
}

impl View for Ready {
    fn text(&self, _: Layout) -> Text {
        let url = &self.url;
        let mut text = format!("\nsystemprompt {} is ready at {url}   ({} ms", self.version, self.startup_ms);
        if let Some(cluster) = self.cluster_ms {
            text.push_str(&format!(", of which {cluster} ms PostgreSQL"));
        }
        text.push_str(&format!(")\n\n  home           {}\n  administrator  {}\n", self.home, self.admin_email));
        if let Some(key) = &self.api_key {
            text.push_str(&format!(
                "  API key        {key}   (shown once)\n\n\
                 Try it:\n\n  \
                 curl {url}/v1/messages -H 'x-api-key: {key}' -H 'content-type: application/json' \\\n    \
                 -d '{{\"model\":\"demo-1\",\"max_tokens\":100,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n\n\
                 Claude Code:  export ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN={key} ANTHROPIC_MODEL=demo-1\n              \
                 (the demo model answers; leave ANTHROPIC_MODEL out once a provider has a key)\n\
                 OpenAI SDK:   export OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY={key}\n"
            ));
        } else {
            text.push_str("\nA new key: systemprompt admin users api-key issue <user>\n");
        }
        Text::lines(text)
    }
}
