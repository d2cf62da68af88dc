//! Addresses that are shut out. The feature that keeps the list provides [`AddressBans`] as a service, and the server asks it
//! before anything else is done for a request.

use std::fmt;
use std::sync::Arc;

use crate::ClientIp;

/// Knows which addresses are shut out. Never waits.
pub trait KnowsBans: Send + Sync + 'static {
    /// Whether a request of this address goes any further.
    fn ban_of(&self, client: ClientIp) -> Ban;
}

/// What is known of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ban {
    /// It is not shut out.
    Free,
    /// It is.
    Banned,
    /// The list cannot be read, and the operator wants nobody let in then.
    Unknown,
}

/// The [`KnowsBans`] of a server, as a service.
#[derive(Clone)]
pub struct AddressBans(Arc<dyn KnowsBans>);

impl AddressBans {
    /// What the feature that keeps the list publishes.
    pub fn new(known: Arc<dyn KnowsBans>) -> Self {
        Self(known)
    }

    /// See [`KnowsBans::ban_of`].
    pub fn ban_of(&self, client: ClientIp) -> Ban {
        self.0.ban_of(client)
    }
}

impl fmt::Debug for AddressBans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressBans").finish_non_exhaustive()
    }
}
