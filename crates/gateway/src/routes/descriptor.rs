//! `GET /v1`: what is served here.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::gateway::Gateway;
use crate::config::AuthScheme;

/// What is served here.
#[derive(Serialize, JsonSchema)]
pub(super) struct Descriptor {
    service: &'static str,
    version: &'static str,
    auth_scheme: AuthScheme,
    endpoints: [String; 8],
}

/// Says what is served here.
pub(super) async fn show(State(gateway): State<Arc<Gateway>>) -> Json<Descriptor> {
    let snapshot = gateway.inference.snapshot();
    let prefix = &snapshot.settings.inference_path_prefix;
    Json(Descriptor {
        service: "systemprompt-gateway",
        version: env!("CARGO_PKG_VERSION"),
        auth_scheme: snapshot.settings.auth_scheme,
        endpoints: [
            format!("POST {prefix}/messages"),
            format!("POST {prefix}/messages/count_tokens"),
            format!("POST {prefix}/chat/completions"),
            format!("POST {prefix}/embeddings"),
            format!("POST {prefix}/responses"),
            format!("POST {}/models/{{model}}:{{method}}", snapshot.settings.google_path_prefix()),
            format!("GET {prefix}/models"),
            format!("GET {prefix}/models/{{id}}"),
        ],
    })
}
