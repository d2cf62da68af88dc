//! From the credential of a request to who is asking.

pub(crate) mod authenticator;
mod complaint;
mod queries;
mod throttle;
