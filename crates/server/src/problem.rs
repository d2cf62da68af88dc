use axum::Json;
use axum::extract::OriginalUri;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use systemprompt_extension::RateLimited;
use systemprompt_model::{Ambient, ApiError, ErrorCode};

/// An error answer of the server's own JSON endpoints.
#[derive(Debug)]
pub(crate) struct Problem {
    error: ApiError,
    limited: Option<RateLimited>,
}

impl Problem {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>, ambient: &Ambient) -> Self {
        Self { error: ApiError::new(code, message, ambient.now()), limited: None }
    }

    /// The answer to a request that is one too many.
    pub(crate) fn too_many(limited: RateLimited, ambient: &Ambient) -> Self {
        let error = ApiError::new(ErrorCode::RateLimited, limited.to_string(), ambient.now());
        Self { error: ApiError { details: Some(limited.advice()), ..error }, limited: Some(limited) }
    }

    /// Names the request it answers.
    #[must_use]
    pub(crate) fn about(mut self, request: &axum::extract::Request) -> Self {
        // Below a prefix the URI lacks it.
        let whole = request.extensions().get::<OriginalUri>().map_or_else(|| request.uri(), |original| &original.0);
        self.error.path = Some(whole.path().to_owned());
        self.error.trace_id = request.extensions().get().copied();
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.error)).into_response();
        if let Some(limited) = self.limited {
            limited.write_headers(response.headers_mut());
        }
        response
    }
}
