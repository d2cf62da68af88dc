//! The extractors of HTTP handlers: who sends the request, or the answer to those it is not for.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRef, FromRequestParts};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use systemprompt_extension::{AuthError, IdentifyError, Meter, RateLimited};
use systemprompt_model::{ApiError, ErrorCode, Principal, TraceId, UserType};

use crate::authentication::authenticator::Authenticator;

/// Whoever sends the request: a person with an account. A handler that takes it answers 401 or 403 to all others, and 429
/// to those who send too many.
#[derive(Debug, Clone)]
pub struct Caller(pub Arc<Principal>);

/// An administrator who sends the request. A handler that takes it answers 401 or 403 to all others.
#[derive(Debug, Clone)]
pub struct AdminCaller(pub Arc<Principal>);

/// The answer to a request whose sender is not let in.
#[derive(Debug)]
pub struct AuthRejection {
    reason: Reason,
    timestamp: DateTime<Utc>,
    path: String,
    trace_id: Option<TraceId>,
}

#[derive(Debug, Clone, Copy)]
enum Reason {
    Auth(AuthError),
    Anonymous,
    NotWelcome,
    TooMany(RateLimited),
}

impl From<IdentifyError> for Reason {
    fn from(error: IdentifyError) -> Self {
        match error {
            IdentifyError::Auth(error) => Self::Auth(error),
            IdentifyError::RateLimited(limited) => Self::TooMany(limited),
        }
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = AuthRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AuthRejection> {
        let_in(parts, &Arc::from_ref(state), is_person).await.map(Self)
    }
}

impl<S> FromRequestParts<S> for AdminCaller
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = AuthRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AuthRejection> {
        let_in(parts, &Arc::from_ref(state), is_administrator).await.map(Self)
    }
}

/// The sender of a request, if its class of caller is welcome. It is looked up once per request and kept in its extensions.
async fn let_in(
    parts: &mut Parts,
    authenticator: &Authenticator,
    is_welcome: fn(UserType) -> bool,
) -> Result<Arc<Principal>, AuthRejection> {
    let reject = |parts: &Parts, reason| AuthRejection {
        reason,
        timestamp: authenticator.ambient().now(),
        path: parts.uri.path().to_owned(),
        trace_id: parts.extensions.get().copied(),
    };
    let known = parts.extensions.get::<Arc<Principal>>().map(Arc::clone);
    let principal = if let Some(principal) = known {
        principal
    } else {
        let identified = authenticator.identify(&parts.headers, parts.extensions.get::<Meter>()).await;
        let principal = identified.map_err(|error| reject(parts, error.into()))?;
        parts.extensions.insert(Arc::clone(&principal));
        principal
    };
    match principal.user_type {
        user_type if is_welcome(user_type) => Ok(principal),
        // An anonymous token is as good as none: signing in would help.
        UserType::Anon => Err(reject(parts, Reason::Anonymous)),
        _ => Err(reject(parts, Reason::NotWelcome)),
    }
}

/// People: users and administrators.
fn is_person(user_type: UserType) -> bool {
    matches!(user_type, UserType::User | UserType::Admin)
}

fn is_administrator(user_type: UserType) -> bool {
    user_type == UserType::Admin
}

impl IntoResponse for AuthRejection {
    fn into_response(self) -> Response {
        let (code, challenge) = match self.reason {
            Reason::Auth(AuthError::Missing) | Reason::Anonymous => {
                (ErrorCode::Unauthorized, Some(r#"Bearer realm="systemprompt""#))
            }
            Reason::Auth(AuthError::Invalid) => {
                (ErrorCode::Unauthorized, Some(r#"Bearer realm="systemprompt", error="invalid_token""#))
            }
            Reason::NotWelcome => {
                (ErrorCode::Forbidden, Some(r#"Bearer realm="systemprompt", error="insufficient_scope""#))
            }
            Reason::Auth(AuthError::Unavailable) => (ErrorCode::ServiceUnavailable, None),
            Reason::TooMany(_) => (ErrorCode::RateLimited, None),
        };
        let (message, details) = match self.reason {
            Reason::Auth(error) => (error.to_string(), None),
            Reason::Anonymous => ("sign in first".to_owned(), None),
            Reason::NotWelcome => ("the caller may not use this route".to_owned(), None),
            Reason::TooMany(limited) => (limited.to_string(), Some(limited.advice())),
        };
        let body = ApiError {
            details,
            path: Some(self.path),
            trace_id: self.trace_id,
            ..ApiError::new(code, message, self.timestamp)
        };
        let status = StatusCode::from_u16(code.status()).expect("the statuses of error codes are valid");
        let mut response = (status, Json(body)).into_response();
        if let Some(challenge) = challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Reason::TooMany(limited) = self.reason {
            limited.write_headers(response.headers_mut());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn handlers_get_whom_they_let_in_and_others_get_an_answer() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let root = replica.user("root", &["admin", "user"]).await;
        let user_key = replica.key(&user).await.secret;
        let admin_key = replica.key(&root).await.secret;
        let service = replica.token(&user, "service").await.token;
        let anonymous = replica.token(&user, "anonymous").await.token;
        let router = Router::new()
            .route("/me", get(async |Caller(caller): Caller| caller.user_name.clone()))
            .route("/all", get(async |AdminCaller(caller): AdminCaller| caller.user_name.clone()))
            .with_state(Arc::clone(&replica.identity.authenticator));

        let send = async |path: &str, credential: Option<&str>| {
            let mut request = Request::get(path).body(Body::empty()).expect("a request");
            if let Some(credential) = credential {
                request.headers_mut().insert("x-api-key", credential.parse().expect("a header value"));
            }
            let response = router.clone().oneshot(request).await.expect("never fails");
            let challenge =
                response.headers().get(WWW_AUTHENTICATE).map(|value| value.to_str().expect("text").to_owned());
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            (status, challenge, String::from_utf8(body.to_vec()).expect("text"))
        };
        for (path, credential, name) in
            [("/me", &user_key, "ada"), ("/me", &admin_key, "root"), ("/all", &admin_key, "root")]
        {
            assert_eq!(send(path, Some(credential.expose())).await, (200, None, name.to_owned()));
        }
        for (path, credential, status, code, challenge) in [
            ("/me", None, 401, "unauthorized", Some(r#"Bearer realm="systemprompt""#)),
            ("/me", Some("wrong"), 401, "unauthorized", Some(r#"Bearer realm="systemprompt", error="invalid_token""#)),
            ("/all", None, 401, "unauthorized", Some(r#"Bearer realm="systemprompt""#)),
            ("/me", Some(anonymous.expose()), 401, "unauthorized", Some(r#"Bearer realm="systemprompt""#)),
            ("/all", Some(anonymous.expose()), 401, "unauthorized", Some(r#"Bearer realm="systemprompt""#)),
            (
                "/all",
                Some(user_key.expose()),
                403,
                "forbidden",
                Some(r#"Bearer realm="systemprompt", error="insufficient_scope""#),
            ),
            (
                "/me",
                Some(service.expose()),
                403,
                "forbidden",
                Some(r#"Bearer realm="systemprompt", error="insufficient_scope""#),
            ),
            (
                "/all",
                Some(service.expose()),
                403,
                "forbidden",
                Some(r#"Bearer realm="systemprompt", error="insufficient_scope""#),
            ),
        ] {
            let (got_status, got_challenge, body) = send(path, credential).await;
            assert_eq!((got_status, got_challenge.as_deref()), (status, challenge), "{path} {body}");
            let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!((body["code"].as_str(), body["path"].as_str()), (Some(code), Some(path)));
            assert!(body["message"].is_string() && body["timestamp"].is_string());
        }

        replica.db.close().await;
        replica.deafen.cancel();
        replica.until(|replica| !replica.identity.changes.is_live()).await;
        let (status, challenge, body) = send("/me", Some(user_key.expose())).await;
        assert_eq!((status, challenge), (503, None), "{body}");
    }
}
