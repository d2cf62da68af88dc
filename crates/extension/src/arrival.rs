//! When a request arrived.

use std::time::Instant;

/// When a request arrived; the server puts it into the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub struct Arrival(pub Instant);
