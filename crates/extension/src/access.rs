//! Who may ask for what: one rule for a router or one of its endpoints, which the server enforces, the reference prints and
//! the walk over all routes tests.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;
use serde::Serialize;
use systemprompt_model::ErrorCode;

use crate::Rejection;
use crate::api::ErrorAnswer;

/// Who may reach an endpoint, or everything behind a mount.
///
/// Administrators may reach everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Anyone. A credential that is presented is still read.
    Public,
    /// Whom the endpoint itself lets in: the server looks at no credential and turns nobody away. For protocols whose clients
    /// take every status but 200 for a fault of the server.
    Own,
    /// Anyone with a valid credential: 401 without one.
    Authenticated,
    /// A person: 403 for the credentials of services, agents and MCP servers.
    User,
    /// A credential with any one of these scopes, which are user types or permissions: 403 without.
    Scopes(&'static [&'static str]),
    /// A credential whose roles grant this permission: 403 otherwise.
    Permission(&'static str),
    /// An administrator: 403 otherwise.
    Admin,
    /// An administrator, or a program on the server's own machine.
    AdminOrLocal,
}

impl Access {
    /// A phrase for the reference.
    pub fn describe(self) -> Cow<'static, str> {
        match self {
            Self::Public => "anyone".into(),
            Self::Own => "whom the endpoint's own answer lets in".into(),
            Self::Authenticated => "any valid credential".into(),
            Self::User => "people".into(),
            Self::Scopes(scopes) => format!("any of the scopes {}", scopes.join(", ")).into(),
            Self::Permission(key) => format!("the permission {key}").into(),
            Self::Admin => "administrators".into(),
            Self::AdminOrLocal => "administrators; anyone on the same machine".into(),
        }
    }
}

/// Lets requests through to routes, or answers them. There is one per server, in the extensions of every request.
#[async_trait]
pub trait Guard: Send + Sync + 'static {
    /// Puts the caller, as `Arc<Principal>`, into the request's extensions if `access` holds. Where it holds for anyone and
    /// it is not known who asks, the [`AuthError`](crate::AuthError) is put there instead.
    async fn check(&self, access: Access, request: &mut Request) -> Result<(), Rejection>;
}

/// How a surface tells callers that they are not let through.
pub type Refuse = fn(Rejection, &Request) -> Response;

impl Access {
    /// The router behind this rule.
    pub fn protect(self, router: Router) -> Router {
        router.layer(from_fn_with_state(Rule { access: self, refuse: answer }, enforce))
    }

    /// The handler behind this rule.
    pub(crate) fn protect_handler<H>(self, refuse: Option<Refuse>, handler: H) -> Guarded<H> {
        Guarded { rule: Rule { access: self, refuse: refuse.unwrap_or(answer) }, handler }
    }

    /// What answers to every method, behind this rule.
    pub(crate) fn protect_fallback<S: Clone + Send + Sync + 'static>(
        self,
        refuse: Option<Refuse>,
        fallback: MethodRouter<S>,
    ) -> MethodRouter<S> {
        let rule = Rule { access: self, refuse: refuse.unwrap_or(answer) };
        fallback.layer(from_fn_with_state(rule, enforce))
    }
}

/// A handler behind a rule. A layer would do the same and copy everything below it for each request.
#[derive(Clone)]
pub(crate) struct Guarded<H> {
    rule: Rule,
    handler: H,
}

impl<H: Handler<T, S>, T: 'static, S: Send + 'static> Handler<(Guarded<()>, T), S> for Guarded<H> {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, mut request: Request, state: S) -> Self::Future {
        Box::pin(async move {
            match self.rule.admit(&mut request).await {
                Ok(()) => self.handler.call(request, state).await,
                Err(refusal) => refusal,
            }
        })
    }
}

#[derive(Clone, Copy)]
struct Rule {
    access: Access,
    refuse: Refuse,
}

/// The usual way to refuse.
fn answer(rejection: Rejection, _: &Request) -> Response {
    ErrorAnswer::from(rejection).into_response()
}

impl Rule {
    /// The answer to a request that is not let through.
    async fn admit(self, request: &mut Request) -> Result<(), Response> {
        let Some(guard) = request.extensions().get::<Arc<dyn Guard>>().cloned() else {
            tracing::error!(path = request.uri().path(), "a route was reached past the guard; it is refused");
            return Err(ErrorAnswer::new(ErrorCode::InternalError, "This address is not guarded.").into_response());
        };
        let admitted = guard.check(self.access, request).await;
        admitted.map_err(|rejection| (self.refuse)(rejection, request))
    }
}

async fn enforce(State(rule): State<Rule>, mut request: Request, next: Next) -> Response {
    match rule.admit(&mut request).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal,
    }
}
