//! The notes extension through its HTTP surface, on a database of its own.

use notes_extension::Notes;
use systemprompt::axum::http::StatusCode;
use systemprompt::extension::Access;
use systemprompt::extension::facet::Endpoints;
use systemprompt::serde_json::json;
use systemprompt::testing::TestContext;

#[tokio::test]
async fn an_editor_writes_reads_and_deletes_notes() {
    let server = TestContext::builder().extension(Notes).start().await;
    let editor = server.user("maya", &["notes_editor"]).await;

    let written = editor.post("/api/v1/notes", &json!({ "text": " Water the plants " })).await;
    assert_eq!(written.status, StatusCode::CREATED);
    let note = written.json();
    assert_eq!(note["text"], "Water the plants");

    let list = editor.get("/api/v1/notes").await.json();
    assert_eq!(list, json!([note]));

    let path = format!("/api/v1/notes/{}", note["id"]);
    assert_eq!(editor.delete(&path).await.status, StatusCode::NO_CONTENT);
    let gone = editor.delete(&path).await;
    assert_eq!((gone.status, gone.code().as_str()), (StatusCode::NOT_FOUND, "NOTE_NOT_FOUND"));
}

#[tokio::test]
async fn notes_belong_to_their_author() {
    let server = TestContext::builder().extension(Notes).start().await;
    let note = server.admin().await.post("/api/v1/notes", &json!({ "text": "secret plan" })).await.json();

    let other = server.user("eve", &["notes_editor"]).await;
    assert_eq!(other.get("/api/v1/notes").await.json(), json!([]));
    assert_eq!(other.delete(&format!("/api/v1/notes/{}", note["id"])).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_may_do_what() {
    let server = TestContext::builder().extension(Notes).start().await;
    let note = json!({ "text": "hello" });

    let nobody = server.anonymous();
    assert_eq!(nobody.get("/api/v1/notes").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(nobody.post("/api/v1/notes", &note).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(nobody.get("/api/ext/notes-board").await.status, StatusCode::OK);

    let reader = server.user("paul", &["user"]).await;
    assert_eq!(reader.get("/api/v1/notes").await.status, StatusCode::OK);
    let refused = reader.post("/api/v1/notes", &note).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, "forbidden"));
}

#[tokio::test]
async fn everyone_sees_the_newest_pinned_notes() {
    let server = TestContext::builder().extension(Notes).settings("notes", json!({ "board_size": 2 })).start().await;
    let editor = server.user("maya", &["notes_editor"]).await;
    for (text, pinned) in [("one", true), ("two", false), ("three", true), ("four", true)] {
        editor.post("/api/v1/notes", &json!({ "text": text, "pinned": pinned })).await;
    }
    let board = server.anonymous().get("/api/ext/notes-board").await.json();
    let texts: Vec<_> = board.as_array().expect("a list").iter().map(|note| note["text"].clone()).collect();
    assert_eq!(texts, ["four", "three"]);
}

#[tokio::test]
async fn texts_that_are_refused() {
    let server = TestContext::builder()
        .extension(Notes)
        .settings("notes", json!({ "max_length": 10, "forbidden_words": ["password"] }))
        .start()
        .await;
    let editor = server.user("maya", &["notes_editor"]).await;
    for (text, reason) in [
        ("   ", "the text is empty"),
        ("longer than ten characters", "the text is longer than 10 characters"),
        ("PassWord!", "the text contains a word this team does not use"),
    ] {
        let refused = editor.post("/api/v1/notes", &json!({ "text": text })).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{text}");
        assert_eq!(refused.json()["error"]["message"], reason);
    }
}

#[test]
fn settings_that_are_refused() {
    let refused = |settings| TestContext::builder().extension(Notes).settings("notes", settings).problems();
    for (settings, field) in [
        (json!({ "max_length": 0 }), "notes.max_length"),
        (json!({ "max_lenght": 100 }), "notes.max_lenght"),
        (json!({ "board_size": "many" }), "notes.board_size"),
        (json!({ "forbidden_words": ["fine", "Shouted"] }), "notes.forbidden_words[1]"),
    ] {
        let problems = refused(settings.clone());
        assert_eq!(problems.len(), 1, "{settings}: {problems:?}");
        assert!(problems[0].contains(field), "{settings}: {problems:?}");
    }
    assert_eq!(refused(json!({ "max_length": 100 })), Vec::<String>::new());
}

mod product {
    // What a product crate writes.
    systemprompt::link_extensions!(notes_extension);
}

#[test]
fn a_product_that_links_the_crate_finds_the_extension() {
    product::__force_extension_link();
    let registry = systemprompt::extension::ExtensionRegistry::discover();
    assert_eq!(registry.validate_all(), []);
    // Built together with the whole product, the registry holds its features too.
    let notes = registry.snapshot().get("notes").expect("it is linked");
    assert_eq!(["schemas", "migrations", "routes"].map(|facet| notes.of(facet).len()), [1, 1, 2]);
    let endpoints = registry.declared::<Endpoints>();
    let endpoints = endpoints.iter().find(|declared| declared.extension == "notes").expect("it is linked");
    let who: Vec<_> = endpoints
        .contributions
        .iter()
        .map(|endpoint| (endpoint.method, endpoint.path.as_str(), endpoint.access))
        .collect();
    assert_eq!(
        who,
        [
            ("GET", "/api/v1/notes", Access::User),
            ("POST", "/api/v1/notes", Access::Permission("notes.write")),
            ("DELETE", "/api/v1/notes/{id}", Access::User),
            ("GET", "/api/ext/notes-board", Access::Public),
        ]
    );
}
