use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use systemprompt_model::{Ambient, ApiError, ErrorCode};

/// An error answer of the server's own JSON endpoints.
#[derive(Debug)]
pub(crate) struct Problem(ApiError);

impl Problem {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>, ambient: &Ambient) -> Self {
        Self(ApiError::new(code, message, ambient.now()))
    }

    /// Names the request it answers.
    #[must_use]
    pub(crate) fn about(mut self, request: &axum::extract::Request) -> Self {
        self.0.path = Some(request.uri().path().to_owned());
        self.0.trace_id = request.extensions().get().copied();
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}
