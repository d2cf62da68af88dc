//! Requests, which callers send in other formats only.

use crate::request::error::RequestError;
use crate::request::reader::Reader;

/// Refuses a request body.
pub(super) fn read(_: &mut Reader, _: &[u8]) -> Result<(), RequestError> {
    Err(RequestError::OfProvidersOnly { format: "bedrock-converse" })
}
