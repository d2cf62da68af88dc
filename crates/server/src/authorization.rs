//! Who may reach a router, decided before any of its handlers runs.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Method};
use systemprompt_extension::{Grants, RouteAuth};
use systemprompt_identity::{AuthError, Authenticator};
use systemprompt_model::{Ambient, ErrorCode};

use crate::problem::Problem;

/// What is needed to let somebody in.
#[derive(Clone)]
pub(crate) struct Doorkeeper {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) ambient: Ambient,
}

/// Puts `router` behind `auth`. Admitted requests carry their `Arc<Principal>` as an extension.
pub(crate) fn protect(router: Router, auth: RouteAuth, doorkeeper: &Doorkeeper) -> Router {
    match auth {
        RouteAuth::ByRouter => router,
        RouteAuth::Public
        | RouteAuth::Authenticated
        | RouteAuth::Scopes(_)
        | RouteAuth::Permission(_)
        | RouteAuth::Admin => router.layer(from_fn_with_state((doorkeeper.clone(), auth), admit)),
    }
}

async fn admit(
    State((doorkeeper, auth)): State<(Doorkeeper, RouteAuth)>,
    mut request: Request,
    next: Next,
) -> Response {
    // A browser's preflight carries no credential by design (Fetch standard §3.2.2); CORS answers it.
    if request.method() == Method::OPTIONS {
        return next.run(request).await;
    }
    let identified = doorkeeper.authenticator.authenticate(request.headers()).await;
    let refuse = |code, message: &str| Problem::new(code, message, &doorkeeper.ambient).about(&request).into_response();
    let principal = match identified {
        Ok(principal) => Some(principal),
        // A credential that is presented on a public route and is not good is no reason to turn anyone away.
        Err(_) if auth == RouteAuth::Public => None,
        Err(AuthError::Unavailable) => {
            return refuse(
                ErrorCode::ServiceUnavailable,
                "Credentials cannot be checked right now; try again in a moment.",
            );
        }
        Err(error) => {
            let mut response = refuse(ErrorCode::Unauthorized, &error.to_string());
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
    };
    if let Some(principal) = &principal
        && let Err(needed) = doorkeeper.grants.check(auth, Some(principal))
    {
        return refuse(ErrorCode::Forbidden, &needed.message);
    }
    if let Some(principal) = principal {
        request.extensions_mut().insert(principal);
    }
    next.run(request).await
}
