//! Name resolution that never leads to a private address, so a provider's host name cannot be pointed at the
//! machine's own network after it was configured (DNS rebinding). The address checked is the address connected to.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower::Service;

use crate::config::is_public;

/// Resolves names through the system and drops addresses a provider must not have.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    system: GaiResolver,
    trusted: Arc<BTreeSet<String>>,
}

impl GuardedResolver {
    /// `trusted` hosts may resolve to anything.
    pub(super) fn new(trusted: Arc<BTreeSet<String>>) -> Self {
        Self { system: GaiResolver::new(), trusted }
    }
}

impl Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.system.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let host = name.as_str().to_ascii_lowercase();
        let anything = self.trusted.contains(&host) || host == "localhost" || host.ends_with(".localhost");
        let lookup = self.system.call(name);
        Box::pin(async move {
            let (allowed, refused): (Vec<_>, Vec<_>) =
                lookup.await?.partition(|address| anything || is_public(address.ip()));
            if allowed.is_empty() && !refused.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!(
                        "{host} resolves to a private address; list it in SYSTEMPROMPT_TRUSTED_HTTP_HOSTS if that is meant"
                    ),
                ));
            }
            Ok(allowed.into_iter())
        })
    }
}
