//! From the credential of a request to who is asking, and whether he may use a route.

pub(crate) mod authenticator;
pub(crate) mod extract;
mod queries;
