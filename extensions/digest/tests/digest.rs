//! The digest extension against the demo model.

use digest_extension::Digest;
use systemprompt::axum::http::StatusCode;
use systemprompt::serde_json::json;
use systemprompt::testing::TestContext;

#[tokio::test]
async fn a_text_is_given_in_short_in_the_name_of_the_caller() {
    let rules = json!({"rules": [{"entity_type": "gateway_route", "entity_match": "*", "roles": ["admin"]}]});
    let server = TestContext::builder()
        .extension(Digest)
        .document(
            "ai/config.yaml",
            json!({"ai": {"default_provider": "demo", "providers": {"demo": {"default_model": "demo-1"}}}}),
        )
        .document("access-control/roles.yaml", rules)
        .start()
        .await;
    let text = json!({"text": "It rained. Then it did not."});

    let short = server.admin().await.post("/api/v1/digest", &text).await;
    assert_eq!(short.status, StatusCode::OK);
    let short = short.json();
    assert!(!short["text"].as_str().expect("a text").is_empty());
    assert!(short["cost_microdollars"].as_i64().expect("a price") > 0);

    // Who may not use the model gets nothing out of it this way either.
    let refused = server.user("eve", &["user"]).await.post("/api/v1/digest", &text).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, "DIGEST_FAILED"));
    assert_eq!(server.anonymous().post("/api/v1/digest", &text).await.status, StatusCode::UNAUTHORIZED);
}
