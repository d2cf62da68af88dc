//! Every row of the error table, in every format.

use serde_json::{Value, json};
use systemprompt_llm::{AnswerTap, ErrorAnswer, Format, RequestError};

fn body(error: &ErrorAnswer, format: Format) -> Value {
    serde_json::from_slice(&error.body(format, Some("req-1"))).expect("an error body is JSON")
}

#[track_caller]
fn check(error: &ErrorAnswer, status: u16, anthropic_type: &str, openai_type: &str, code: Option<&str>) {
    assert_eq!(error.status, status);
    assert_eq!(
        body(error, Format::AnthropicMessages),
        json!({
            "type": "error",
            "error": { "type": anthropic_type, "message": error.message },
            "request_id": "req-1",
        })
    );
    assert_eq!(
        body(error, Format::OpenAiChat),
        json!({ "error": { "message": error.message, "type": openai_type, "param": null, "code": code } })
    );
    assert_eq!(body(error, Format::OpenAiResponses), body(error, Format::OpenAiChat));
}

#[test]
fn errors_are_told_in_the_words_of_googles_apis() {
    for (error, status) in [
        (ErrorAnswer::invalid_request("x"), "INVALID_ARGUMENT"),
        (ErrorAnswer::unauthenticated("x"), "UNAUTHENTICATED"),
        (ErrorAnswer::not_entitled("x"), "PERMISSION_DENIED"),
        (ErrorAnswer::model_not_found("x"), "NOT_FOUND"),
        (ErrorAnswer::rate_limited("x"), "RESOURCE_EXHAUSTED"),
        (ErrorAnswer::internal(), "INTERNAL"),
        (ErrorAnswer::upstream_timeout("x"), "DEADLINE_EXCEEDED"),
        (ErrorAnswer::upstream_unreachable(), "UNAVAILABLE"),
    ] {
        let told = body(&error, Format::Gemini);
        assert_eq!(told["error"]["status"], status);
        assert_eq!((&told["error"]["code"], &told["error"]["message"]), (&json!(error.status), &json!(error.message)));
        let details = told["error"]["details"].as_array().expect("details");
        assert_eq!(details.last().expect("one")["requestId"], "req-1");
        assert_eq!(details[0]["reason"].as_str().map(str::to_lowercase).as_deref(), error.code);
    }
}

#[test]
fn the_table_of_errors() {
    let same = |error: &ErrorAnswer, status, kind| check(error, status, kind, kind, None);
    same(&ErrorAnswer::invalid_request("x"), 400, "invalid_request_error");
    check(
        &ErrorAnswer::unauthenticated("x"),
        401,
        "authentication_error",
        "authentication_error",
        Some("invalid_api_key"),
    );
    same(&ErrorAnswer::not_entitled("x"), 403, "permission_error");
    same(&ErrorAnswer::gateway_disabled(), 404, "not_found_error");
    check(&ErrorAnswer::model_not_found("x"), 404, "not_found_error", "not_found_error", Some("model_not_found"));
    same(&ErrorAnswer::method_not_allowed("POST"), 405, "invalid_request_error");
    check(&ErrorAnswer::body_too_large(8), 413, "request_too_large", "invalid_request_error", None);
    check(&ErrorAnswer::rate_limited("x"), 429, "rate_limit_error", "rate_limit_error", Some("insufficient_quota"));
    check(
        &ErrorAnswer::denied("secret_scan: aws-access-key"),
        400,
        "invalid_request_error",
        "invalid_request_error",
        Some("policy_denied"),
    );
    for (upstream, ours) in
        [(400, 400), (404, 404), (422, 422), (429, 429), (408, 504), (504, 504), (401, 502), (500, 502), (529, 502)]
    {
        same(&ErrorAnswer::upstream_without_body(upstream), ours, "api_error");
    }
    same(&ErrorAnswer::upstream_unreachable(), 502, "api_error");
    same(&ErrorAnswer::upstream_interrupted("x"), 502, "api_error");
    same(&ErrorAnswer::upstream_timeout("x"), 504, "api_error");
    same(&ErrorAnswer::not_ready("x"), 503, "api_error");
    same(&ErrorAnswer::shutting_down(), 503, "api_error");
    same(&ErrorAnswer::ledger_unavailable(), 503, "api_error");

    assert_eq!(ErrorAnswer::upstream_unreachable().message, "upstream provider unreachable");
    let denied = ErrorAnswer::denied("secret_scan: aws-access-key").message;
    assert_eq!(denied, "blocked by systemprompt governance: secret_scan: aws-access-key");
    assert!(ErrorAnswer::model_not_found(&"é".repeat(10_000)).message.len() < 500);
}

#[test]
fn what_comes_instead_of_a_stream_is_told_in_it() {
    let refused = br#"{"type":"error",
"error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    for (format, status, body, expected) in [
        (
            Format::AnthropicMessages,
            529,
            &refused[..],
            "event: error\ndata: {\"type\":\"error\",\ndata: \"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
        ),
        (Format::OpenAiChat, 429, br#"{"error":{"message":"slow"}}"#, "data: {\"error\":{\"message\":\"slow\"}}\n\n"),
        (Format::OpenAiChat, 200, br#"{"choices":[]}"#, "data: {\"choices\":[]}\n\n"),
        (
            Format::AnthropicMessages,
            502,
            b"<html>",
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"the upstream provider answered with status 502\"}}\n\n",
        ),
    ] {
        assert_eq!(String::from_utf8(format.whole_as_stream(status, body, true)).expect("UTF-8"), expected);
    }
}

#[test]
fn errors_inside_a_stream() {
    let error = ErrorAnswer::upstream_interrupted("line\nbreak \"quoted\"");
    assert_eq!(
        String::from_utf8(error.sse_event(Format::AnthropicMessages, None)).expect("UTF-8"),
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"line\\nbreak \\\"quoted\\\"\"}}\n\n"
    );
    assert_eq!(
        String::from_utf8(error.sse_event(Format::OpenAiChat, Some("r"))).expect("UTF-8"),
        "data: {\"error\":{\"message\":\"line\\nbreak \\\"quoted\\\"\",\"type\":\"api_error\",\"param\":null,\"code\":null}}\n\n"
    );
}

/// The events of a stream, and that they are numbered.
fn numbered(stream: &[u8], first: u64) -> Vec<Value> {
    let stream = std::str::from_utf8(stream).expect("UTF-8");
    let events = stream.split_terminator("\n\n").map(|event| {
        let (name, data) = event.strip_prefix("event: ").and_then(|event| event.split_once('\n')).expect("an event");
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(data["type"], name);
        data
    });
    let events: Vec<Value> = events.collect();
    for (number, event) in (first..).zip(&events) {
        assert_eq!(event["sequence_number"], number);
    }
    events
}

#[test]
fn an_error_inside_a_responses_stream_ends_it_as_failed() {
    for (error, code, code_of_response) in [
        (ErrorAnswer::upstream_interrupted("gone"), "api_error", "server_error"),
        (ErrorAnswer::rate_limited("gone"), "insufficient_quota", "insufficient_quota"),
        // A client that does not know the code would ask again.
        (ErrorAnswer::answer_blocked("gone"), "content_blocked", "invalid_prompt"),
        (ErrorAnswer::denied("gone"), "policy_denied", "invalid_prompt"),
    ] {
        let events = numbered(&error.sse_event(Format::OpenAiResponses, Some("a-b")), 0);
        assert_eq!(events.len(), 2);
        assert_eq!((&events[0]["type"], &events[0]["code"]), (&json!("error"), &json!(code)));
        assert_eq!(
            (&events[0]["message"], &events[0]["error"]["message"]),
            (&json!(error.message), &json!(error.message))
        );
        let response = &events[1]["response"];
        assert_eq!((&events[1]["type"], &response["status"]), (&json!("response.failed"), &json!("failed")));
        assert_eq!(response["error"], json!({ "code": code_of_response, "message": error.message }));
        assert_eq!(response["id"], "resp_ab");
    }
    let mut tap = AnswerTap::new(Format::OpenAiResponses, true, 0, 0);
    tap.feed(
        b"data: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"model\":\"m\",\"created_at\":7}}\n\n\
          data: {\"type\":\"response.in_progress\",\"sequence_number\":1,\"response\":{}}\n\n",
    );
    let events = numbered(&tap.error_events(&ErrorAnswer::shutting_down(), None), 2);
    let response = &events[1]["response"];
    assert_eq!(
        (&response["id"], &response["model"], &response["created_at"]),
        (&json!("resp_1"), &json!("m"), &json!(7))
    );

    let body = br#"{"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}"#;
    let events = numbered(&Format::OpenAiResponses.whole_as_stream(400, body, false), 0);
    assert_eq!(events[1]["response"]["error"], json!({ "code": "context_length_exceeded", "message": "too long" }));
}

#[test]
fn an_error_in_a_stream_that_nobody_asked_for_is_told_in_a_body() {
    let failed = r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"slow"}}}"#;
    let flat = r#"{"type":"error","code":"rate_limit_exceeded","message":"slow","param":null}"#;
    let nested = r#"{"type":"error","sequence_number":1,"error":{"code":"rate_limit_exceeded","message":"slow","type":"requests"}}"#;
    for event in [failed, flat, nested] {
        let stream = format!("data: {{\"type\":\"response.created\",\"response\":{{}}}}\n\ndata: {event}\n\n");
        let body = Format::OpenAiResponses.error_in_stream(stream.as_bytes()).expect("an error");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(
            (&body["error"]["message"], &body["error"]["code"]),
            (&json!("slow"), &json!("rate_limit_exceeded"))
        );
    }
    let event = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}"#;
    let stream = format!("event: error\ndata: {event}\n\n");
    assert_eq!(Format::AnthropicMessages.error_in_stream(stream.as_bytes()).as_deref(), Some(event.as_bytes()));
}

#[test]
fn a_bad_request_becomes_an_error_that_says_what_to_do() {
    let error = RequestError::Missing { field: "max_tokens".into(), fix: "say how many tokens the answer may have" };
    assert_eq!(error.field(), Some("max_tokens"));
    let error = ErrorAnswer::from(&error);
    assert_eq!((error.status, error.message.contains("`max_tokens` is missing")), (400, true));
}
