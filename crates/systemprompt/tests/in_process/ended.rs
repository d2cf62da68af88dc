//! What is recorded of a request, once it has ended.

use std::time::Duration;

use systemprompt::testing::{TestContext, TestResponse};
use systemprompt_extension::ExtensionContext as _;
use systemprompt_gateway::request::queries::{self, RequestDetail};

/// How often it is looked for.
const LOOKS: usize = 500;

/// The record of the request that got this answer. Its end is written after the answer.
pub async fn ended(context: &TestContext, response: &TestResponse) -> RequestDetail {
    let id = response.header("x-systemprompt-request-id").parse().expect("an id");
    for _ in 0..LOOKS {
        context.catch_up().await;
        let detail = queries::show_request(context.db().read(), id).await.expect("reads");
        if let Some(detail) = detail.filter(|detail| detail.summary.status != "pending") {
            return detail;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the request {id} never ended");
}
