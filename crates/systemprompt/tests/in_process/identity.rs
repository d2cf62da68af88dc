//! Identity as a server runs it.

use serde_json::json;
use systemprompt::testing::TestContext;
use systemprompt_extension::{ExtensionContext as _, ExtensionContextExt as _};
use systemprompt_governance::Gate;
use systemprompt_identity::{Authenticator, Sessions, Tokens, Users, bootstrap_administrator};

#[tokio::test]
async fn the_feature_publishes_its_services_and_its_keys() {
    let server = TestContext::builder().start().await;
    let gate = server.service::<Gate>().expect("is published");
    let tokens = server.service::<Tokens>().expect("is published");
    assert_eq!(tokens.issuer(), format!("http://{}", server.address()));
    server.service::<Users>().expect("is published");
    server.service::<Sessions>().expect("is published");

    let response = server.anonymous().get("/.well-known/jwks.json").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("cache-control"), "public, max-age=300");
    assert_eq!(response.json(), tokens.jwks());
    assert_eq!(response.json()["keys"][0]["alg"], "RS256");
    assert!(server.configuration().profile.security.signing_key_path.is_file(), "the key was made");

    let bootstrap = bootstrap_administrator(server.db(), &gate, server.ambient(), "admin", "admin@example.com")
        .await
        .expect("works");
    let key = bootstrap.key.expect("the first key");
    let mut headers = http::HeaderMap::new();
    headers.insert("x-api-key", key.secret.expose().parse().expect("a header value"));
    let authenticator = server.service::<Authenticator>().expect("is published");
    assert!(authenticator.authenticate(&headers).await.expect("is accepted").is_admin());

    let client = server.anonymous();
    let response = client.get("/api/public/admin/tokens/pats").await;
    assert_eq!((response.status.as_u16(), response.json()["code"].as_str()), (401, Some("unauthorized")));
    let response = client.post("/api/public/gateway/sessions", &json!({})).await;
    assert_eq!(response.status, 401);
    server.stop().await;
}
