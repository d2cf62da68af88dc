//! The addresses.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use systemprompt_extension::{Access, JsonValue, Rejection, RouteTable};

use crate::answer::{Answer, Receipt};
use crate::govern;
use crate::hooks::Hooks;
use crate::track;

/// What is mounted.
pub(crate) const PREFIXES: &[&str] = &["/api/public/hooks"];

/// An event, as coding clients write it. Everything else in it is kept as content.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "for the API description; events are read by `event.rs`, which forgives more")]
struct HookBody {
    /// `PreToolUse`, `UserPromptSubmit`, `PostToolUse` …
    hook_event_name: String,
    /// The client's own id of the session.
    session_id: Option<String>,
    /// The tool that is to be used, or was.
    tool_name: Option<String>,
    /// Its input.
    tool_input: Option<JsonValue>,
    /// The call; the same call again gets the same answer.
    tool_use_id: Option<String>,
    /// The prompt that is to be submitted.
    prompt: Option<String>,
    /// The agent that acts. Recorded, and nothing is decided by it.
    agent_id: Option<String>,
    /// Its type.
    agent_type: Option<String>,
    /// Where the client works.
    cwd: Option<String>,
    /// How the client asks its person for permission.
    permission_mode: Option<String>,
}

/// The endpoints. Each looks at the credential itself, for it says what is wrong with it in a good answer.
pub(crate) fn table() -> RouteTable<Arc<Hooks>> {
    RouteTable::refusing_with(reject)
        .post(
            "/api/public/hooks/govern",
            Access::Own,
            "Decides whether a coding client may use a tool or submit a prompt. Always 200; a bad credential is a denial. `plugin_id` in the query says which plugin asks.",
            govern::govern,
        )
        .takes::<HookBody>()
        .answers::<Answer>(200)
        .post(
            "/api/public/hooks/track",
            Access::Own,
            "Records an event of a coding client, once. Always 200.",
            track::track,
        )
        .takes::<HookBody>()
        .answers::<Receipt>(200)
        .post(
            "/api/public/hooks/statusline",
            Access::Own,
            "Records how a session of a coding client stands, once a minute. Always 200.",
            track::statusline,
        )
        .answers::<Receipt>(200)
        .post(
            "/api/public/hooks/transcript",
            Access::Own,
            "Records what was said in a session of a coding client. Always 200.",
            track::transcript,
        )
        .answers::<Receipt>(200)
}

fn reject(rejection: Rejection, request: &Request) -> Response {
    if request.uri().path().ends_with("/govern") {
        govern::deny(&rejection).into_response()
    } else {
        Receipt::unrecorded(format!("[authentication]: {rejection}")).into_response()
    }
}
