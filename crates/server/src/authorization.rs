//! Who may reach a router and how often, decided before any of its handlers runs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Method};
use systemprompt_extension::{Access, Admission, ClientIp, Grants, Meter, RateGroup, RateLimited, RateLimiter};
use systemprompt_identity::{AuthError, Authenticator, IdentifyError};
use systemprompt_model::{Ambient, ErrorCode, Principal};

use crate::problem::Problem;

/// What is needed to let somebody in.
#[derive(Clone)]
pub(crate) struct Doorkeeper {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) grants: Arc<Grants>,
    /// `None` when requests are not limited.
    pub(crate) limiter: Option<Arc<dyn RateLimiter>>,
    pub(crate) ambient: Ambient,
}

/// Puts `router` behind `access` and the rate of `group`. Admitted requests carry their `Arc<Principal>` as an extension.
pub(crate) fn protect(
    router: Router,
    access: Option<Access>,
    group: Option<RateGroup>,
    doorkeeper: &Arc<Doorkeeper>,
) -> Router {
    let router = match access {
        None => router,
        Some(access) => router.layer(from_fn_with_state((doorkeeper.clone(), access), admit)),
    };
    match doorkeeper.limiter.clone() {
        None => router,
        Some(limiter) => {
            let asks_itself = access.is_none() && group.is_some();
            let turnstile = Turnstile {
                limiter: Arc::new(Counted(limiter)),
                asks_itself,
                group,
                ambient: doorkeeper.ambient.clone(),
            };
            router.layer(from_fn_with_state(Arc::new(turnstile), meter))
        }
    }
}

/// Whether the address of a request may send it. `middleware` counts that once for every request before anything else is
/// done, and leaves the refusal to whoever knows how to say it to this caller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guarded(pub(crate) Result<(), RateLimited>);

impl Guarded {
    /// The refusal of a request, if its address has sent too many.
    pub(crate) fn refusal(request: &Request) -> Option<RateLimited> {
        request.extensions().get().and_then(|Self(guarded)| guarded.err())
    }
}

/// What is needed to count the requests to a router.
struct Turnstile {
    limiter: Arc<Counted>,
    /// A router with a rate that authenticates by itself asks the meter by itself too, and refuses in its own protocol.
    asks_itself: bool,
    group: Option<RateGroup>,
    ambient: Ambient,
}

/// Gives the request a meter, for whoever authenticates it.
async fn meter(State(turnstile): State<Arc<Turnstile>>, mut request: Request, next: Next) -> Response {
    // Only a request that came through no socket has no address.
    let unknown = || ClientIp::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let client = request.extensions().get().copied().unwrap_or_else(unknown);
    let Some(limited) = Guarded::refusal(&request) else {
        request.extensions_mut().insert(Meter::new(turnstile.limiter.clone(), turnstile.group, client));
        return next.run(request).await;
    };
    let refusal = Problem::too_many(limited, &turnstile.ambient).about(&request);
    if turnstile.asks_itself {
        let spent = Arc::new(Spent { limited, asked: AtomicBool::new(false) });
        request.extensions_mut().insert(Meter::new(spent.clone(), turnstile.group, client));
        let response = next.run(request).await;
        if spent.asked.load(Ordering::Relaxed) {
            return response;
        }
        // Something that needs no credential and so asks nobody, such as the gateway's description of itself.
    }
    refusal.into_response()
}

/// The limiter for requests whose address has been counted.
struct Counted(Arc<dyn RateLimiter>);

impl RateLimiter for Counted {
    fn guard(&self, _: ClientIp) -> Result<(), RateLimited> {
        Ok(())
    }

    fn admit<'a>(&'a self, group: RateGroup, caller: Option<&Principal>, client: ClientIp) -> Admission<'a> {
        self.0.admit(group, caller, client)
    }
}

/// The limiter for one request whose address has sent too many.
struct Spent {
    limited: RateLimited,
    asked: AtomicBool,
}

impl RateLimiter for Spent {
    fn guard(&self, _: ClientIp) -> Result<(), RateLimited> {
        self.asked.store(true, Ordering::Relaxed);
        Err(self.limited)
    }

    fn admit<'a>(&'a self, _: RateGroup, _: Option<&Principal>, client: ClientIp) -> Admission<'a> {
        Admission::Left(std::future::ready(self.guard(client)))
    }
}

async fn admit(
    State((doorkeeper, access)): State<(Arc<Doorkeeper>, Access)>,
    mut request: Request,
    next: Next,
) -> Response {
    // A browser's preflight carries no credential by design (Fetch standard §3.2.2); CORS answers it.
    if request.method() == Method::OPTIONS {
        return next.run(request).await;
    }
    let identified = doorkeeper.authenticator.identify(request.headers(), request.extensions().get()).await;
    let refuse = |code, message: &str| Problem::new(code, message, &doorkeeper.ambient).about(&request).into_response();
    let principal = match identified {
        Ok(principal) => Some(principal),
        Err(IdentifyError::RateLimited(limited)) => {
            return Problem::too_many(limited, &doorkeeper.ambient).about(&request).into_response();
        }
        // A credential that is presented on a public route and is not good is no reason to turn anyone away.
        Err(IdentifyError::Auth(_)) if access == Access::Public => None,
        Err(IdentifyError::Auth(AuthError::Unavailable)) => {
            return refuse(
                ErrorCode::ServiceUnavailable,
                "Credentials cannot be checked right now; try again in a moment.",
            );
        }
        Err(IdentifyError::Auth(error)) => {
            let mut response = refuse(ErrorCode::Unauthorized, &error.to_string());
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
    };
    if let Some(principal) = &principal
        && let Err(needed) = doorkeeper.grants.check(access, Some(principal))
    {
        return refuse(ErrorCode::Forbidden, &needed.message);
    }
    if let Some(principal) = principal {
        request.extensions_mut().insert(principal);
    }
    next.run(request).await
}
