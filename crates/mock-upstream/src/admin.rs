//! The mock's own paths, below `/__mock`.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::behaviour::Behaviour;
use crate::shared::Shared;

pub(crate) fn answer(shared: &Shared, head: &Parts, body: &[u8]) -> (StatusCode, Bytes) {
    let done = (StatusCode::NO_CONTENT, Bytes::new());
    match (&head.method, head.uri.path()) {
        (&Method::PUT, "/__mock/behaviour") => match serde_json::from_slice::<Behaviour>(body) {
            Ok(behaviour) => {
                shared.behaviours().set(model(head), behaviour);
                done
            }
            Err(error) => show(StatusCode::BAD_REQUEST, &json!({ "error": error.to_string() })),
        },
        (&Method::GET, "/__mock/behaviour") => {
            let behaviours = shared.behaviours();
            let shown = match model(head) {
                Some(model) => behaviours.by_model.get(&model).unwrap_or(&behaviours.default),
                None => &behaviours.default,
            };
            show(StatusCode::OK, shown)
        }
        (&Method::DELETE, "/__mock/behaviour") => {
            shared.behaviours().reset();
            done
        }
        (&Method::GET, "/__mock/requests") => show(StatusCode::OK, &json!({ "requests": shared.captures().all() })),
        (&Method::DELETE, "/__mock/requests") => {
            shared.captures().clear();
            done
        }
        (&Method::GET, "/__mock/statistics") => show(StatusCode::OK, &shared.counters.read()),
        (method, path) => {
            show(StatusCode::NOT_FOUND, &json!({ "error": format!("the mock knows no {method} {path}") }))
        }
    }
}

/// The model the query names.
fn model(head: &Parts) -> Option<String> {
    url::form_urlencoded::parse(head.uri.query()?.as_bytes())
        .find_map(|(key, value)| (key == "model").then(|| value.into_owned()))
}

fn show(status: StatusCode, value: &impl Serialize) -> (StatusCode, Bytes) {
    (status, serde_json::to_vec(value).expect("strings and numbers serialise").into())
}
