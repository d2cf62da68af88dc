//! Requests that meet no endpoint are refused in a dialect too.

use std::future::{Ready, ready};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::response::Response;
use http::header::{ALLOW, HeaderValue};
use systemprompt_llm::Format;

use super::error::RouteError;
use super::exchange;
use super::exchange::{dialect_of, trace_of};
use super::gateway::Gateway;

/// Answers at a path that is an endpoint for another method.
#[derive(Clone, Copy)]
pub(super) struct WrongMethod {
    pub allowed: &'static str,
    /// The dialect of the endpoint, if it has one.
    pub dialect: Option<Format>,
}

impl Handler<(), Arc<Gateway>> for WrongMethod {
    type Future = Ready<Response>;

    fn call(self, request: Request, gateway: Arc<Gateway>) -> Ready<Response> {
        let dialect = self.dialect.unwrap_or_else(|| dialect_of(request.headers()));
        let mut response = refuse(&gateway, dialect, &request, &RouteError::Method { allowed: self.allowed });
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(self.allowed));
        ready(response)
    }
}

/// There is nothing at this path.
pub(super) async fn no_endpoint(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let dialect = dialect_of(request.headers());
    let error = RouteError::NoEndpoint { path: request.uri().path().to_owned() };
    refuse(&gateway, dialect, &request, &error)
}

fn refuse(gateway: &Gateway, dialect: Format, request: &Request, error: &RouteError) -> Response {
    exchange::refuse(gateway, dialect, trace_of(gateway, request), error)
}
