//! How tokens are fetched.

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};

use super::error::{CredentialError, NotFetched};

/// Which addresses may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those a provider may have.
    Public,
    /// Those, and the metadata services of the clouds.
    Metadata,
}

/// Fetches a whole answer.
#[async_trait]
pub(crate) trait Transport: Send + Sync {
    /// Sends `request` and gives the whole answer, whatever its status.
    async fn fetch(&self, request: Request<Bytes>, reach: Reach) -> Result<Response<Bytes>, NotFetched>;
}

/// Asks the service that is called `what`, and gives the body of an answer that is none but good.
pub(super) async fn ask(
    transport: &dyn Transport,
    request: http::Result<Request<Bytes>>,
    reach: Reach,
    what: &'static str,
) -> Result<Bytes, CredentialError> {
    let request = request.map_err(|_| CredentialError::Unfit("the address of the token service is not a URI"))?;
    let answer = transport.fetch(request, reach).await.map_err(|why| CredentialError::NotAsked { what, why })?;
    let status = answer.status();
    if !status.is_success() {
        // What it says may quote what it was sent, so even the log gets the beginning only.
        let said = String::from_utf8_lossy(answer.body());
        let said: String = said.chars().take(300).collect();
        tracing::warn!(service = what, status = status.as_u16(), %said, "no token");
        return Err(CredentialError::Refused { what, status: status.as_u16() });
    }
    Ok(answer.into_body())
}

/// A form that is posted.
pub(super) fn form(url: &str, fields: &[(&str, &str)]) -> http::Result<Request<Bytes>> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    Request::post(url)
        .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(http::header::ACCEPT, "application/json")
        .body(body.into())
}
