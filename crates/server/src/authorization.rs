//! Who may reach a route and how often, decided before any of its handlers runs.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::future::Either;
use systemprompt_extension::api::ErrorAnswer;
use systemprompt_extension::{
    Access, Authentication, ClientIp, Counting, Grants, Guard, IdentifyError, Meter, RateGroup, RateLimited,
    RateLimiter, Rejection,
};
use systemprompt_model::{Credential, Principal};
use tower::Service;
use tower::layer::layer_fn;

use crate::local::is_local;

/// What it takes to know who asks and what he may.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) authentication: Authentication,
    pub(crate) grants: Arc<Grants>,
}

#[async_trait]
impl Guard for Credentials {
    async fn check(&self, access: Access, request: &mut Request) -> Result<(), Rejection> {
        if access == Access::Own || (access == Access::AdminOrLocal && is_local(request)) {
            return Ok(());
        }
        if let Some(caller) = request.extensions().get::<Arc<Principal>>() {
            // An outer rule of the same route has asked, and counted the request.
            return self.grants.check(access, Some(caller));
        }
        let (extensions, headers) = (request.extensions(), request.headers());
        let identified = self.authentication.identify(headers, extensions.get().copied(), extensions.get()).await;
        match identified {
            Ok(caller) => {
                name_in_log(&caller);
                self.grants.check(access, Some(&caller))?;
                request.extensions_mut().insert(caller);
            }
            // A credential that is presented on a public route and is not good is no reason to turn anyone away.
            Err(IdentifyError::Auth(error)) if access == Access::Public => {
                request.extensions_mut().insert(error);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Lines of the log about this request say who asks, and with which key.
fn name_in_log(caller: &Principal) {
    let span = tracing::Span::current();
    if let Some(user) = caller.account() {
        span.record("user_id", tracing::field::display(user));
    }
    match caller.credential {
        Credential::ApiKey(key) => _ = span.record("key_id", tracing::field::display(key)),
        Credential::Token { session, .. } => _ = span.record("session_id", tracing::field::display(session)),
        Credential::OperatingSystem { .. } | Credential::Installation => {}
    }
}

/// Puts `router` behind the rate of `group`. `refuses_itself` are routes that refuse in a protocol of their own.
pub(crate) fn limit(
    router: Router,
    limiter: Option<&Arc<dyn RateLimiter>>,
    group: Option<RateGroup>,
    refuses_itself: bool,
) -> Router {
    let Some(limiter) = limiter else { return router };
    let limits = RouterLimits { limiter: Arc::new(AddressCounted(limiter.clone())), refuses_itself, group };
    router.layer(layer_fn(move |inner| Metered { inner, limits: limits.clone() }))
}

/// The address of a request has sent too many. `middleware` counts that once for every request before anything else is
/// done, and leaves the refusal to whoever knows how to say it to this caller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TooManyFromAddress(pub(crate) RateLimited);

impl TooManyFromAddress {
    /// The refusal of a request, if that is so.
    pub(crate) fn refusal(request: &Request) -> Option<RateLimited> {
        request.extensions().get().map(|Self(limited)| *limited)
    }
}

/// What is needed to count the requests to a router.
#[derive(Clone)]
struct RouterLimits {
    limiter: Arc<AddressCounted>,
    /// They refuse in a protocol of their own.
    refuses_itself: bool,
    group: Option<RateGroup>,
}

/// Gives each request a meter, for whoever authenticates it.
#[derive(Clone)]
struct Metered<S> {
    inner: S,
    limits: RouterLimits,
}

impl<S> Service<Request> for Metered<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let RouterLimits { limiter, refuses_itself, group } = &self.limits;
        // Only a request that came through no socket has no address.
        let unknown = || ClientIp::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let client = request.extensions().get().copied().unwrap_or_else(unknown);
        let Some(limited) = TooManyFromAddress::refusal(&request) else {
            request.extensions_mut().insert(Meter::new(limiter.clone(), *group, client));
            return Either::Left(self.inner.call(request));
        };
        let refusal = ErrorAnswer::too_many(limited);
        let refusing = refuses_itself.then(|| {
            let exhausted = Arc::new(Exhausted { limited, asked: AtomicBool::new(false) });
            request.extensions_mut().insert(Meter::new(exhausted.clone(), *group, client));
            (self.inner.call(request), exhausted)
        });
        Either::Right(Box::pin(async move {
            if let Some((refusing, exhausted)) = refusing {
                let response = refusing.await?;
                if exhausted.asked.load(Ordering::Relaxed) {
                    return Ok(response);
                }
                // Something that asks nobody, such as what answers to a wrong method.
            }
            Ok(refusal.into_response())
        }))
    }
}

/// The limiter for requests whose address has been counted.
struct AddressCounted(Arc<dyn RateLimiter>);

impl RateLimiter for AddressCounted {
    fn guard(&self, _: ClientIp) -> Result<(), RateLimited> {
        Ok(())
    }

    fn count<'a>(&'a self, group: RateGroup, caller: Option<&Principal>, client: ClientIp) -> Counting<'a> {
        self.0.count(group, caller, client)
    }
}

/// The limiter for one request whose address has sent too many.
struct Exhausted {
    limited: RateLimited,
    asked: AtomicBool,
}

impl RateLimiter for Exhausted {
    fn guard(&self, _: ClientIp) -> Result<(), RateLimited> {
        self.asked.store(true, Ordering::Relaxed);
        Err(self.limited)
    }

    fn count<'a>(&'a self, _: RateGroup, _: Option<&Principal>, client: ClientIp) -> Counting<'a> {
        Counting::Left(std::future::ready(self.guard(client)))
    }
}
