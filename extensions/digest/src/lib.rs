//! Digest: an example of an extension that asks a model.
//!
//! `POST /api/v1/digest` gives a text in short. The model is asked in the name of the caller: whoever may not use it is
//! refused, it counts against the caller's quotas, and the ledger has it like any other request.

use serde::{Deserialize, Serialize};
use systemprompt::axum::Json;
use systemprompt::axum::extract::State;
use systemprompt::axum::http::StatusCode;
use systemprompt::extension::prelude::*;
use systemprompt::schemars::{self, JsonSchema};

/// The base path of the route.
const BASE: &str = "/api/v1/digest";

/// The digest extension.
#[derive(Debug, Default)]
pub struct Digest;

register_extension!(Digest);

impl Extension for Digest {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "digest", name: "Digest", version: env!("CARGO_PKG_VERSION") }
    }

    fn dependencies(&self) -> Vec<&'static str> {
        vec!["gateway"]
    }

    fn router_configs(&self) -> Vec<ExtensionRouterConfig> {
        vec![ExtensionRouterConfig::of(BASE)]
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        routes().endpoints_below(BASE)
    }

    fn try_router(&self, ctx: &dyn ExtensionContext) -> Result<Vec<ExtensionRouter>, LoaderError> {
        Ok(vec![ExtensionRouter::of(routes(), ctx.ai()?, BASE)])
    }
}

fn routes() -> RouteTable<Arc<AiService>> {
    RouteTable::new().post("/", Access::User, "A text in short.", shorten).takes::<Long>().answers::<Short>(200)
}

#[derive(Deserialize, JsonSchema)]
struct Long {
    text: String,
}

#[derive(Serialize, JsonSchema)]
struct Short {
    text: String,
    /// The record of the request to the model.
    request_id: String,
    /// What it cost.
    cost_microdollars: i64,
}

async fn shorten(
    OnBehalfOf(caller): OnBehalfOf,
    State(ai): State<Arc<AiService>>,
    Json(long): Json<Long>,
) -> ApiResult<Json<Short>, DigestError> {
    let messages = vec![AiMessage::system("Give the text in one sentence."), AiMessage::user(long.text)];
    let response = ai.generate(&AiRequest::new(caller, messages)).await.map_err(DigestError)?;
    Ok(Json(Short {
        text: response.content,
        request_id: response.request_id.to_string(),
        cost_microdollars: response.cost_microdollars.0,
    }))
}

#[derive(Debug, thiserror::Error)]
#[error("the model was not asked, or did not answer: {0}")]
struct DigestError(AiError);

impl ExtensionError for DigestError {
    fn code(&self) -> &'static str {
        "DIGEST_FAILED"
    }

    fn status(&self) -> StatusCode {
        match &self.0 {
            AiError::Denied { .. } => StatusCode::FORBIDDEN,
            AiError::Quota { .. } => StatusCode::TOO_MANY_REQUESTS,
            AiError::TimedOut { .. } => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    fn is_retryable(&self) -> bool {
        self.0.is_retryable()
    }
}
