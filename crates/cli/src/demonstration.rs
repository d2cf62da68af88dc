//! The product at work, through its own HTTP surface, after the first set-up: one request, and one with a secret that is kept
//! from the provider, each with its ledger record.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use systemprompt_database::DbPool;
use systemprompt_model::Secret;

use crate::http;
use crate::printer::Printer;
use crate::requests;
use crate::view::Text;

/// A key that opens nothing, of the form a real one has; put together so that no scanner of source code trips over it.
fn leaked_key() -> String {
    format!("AKIA{}", "IOSFODNN7DEMOKEY")
}

/// Shows it. Whatever goes wrong is said and is no reason to stop serving.
pub(crate) async fn show(printer: &Printer, url: &str, certificate: Option<&Path>, key: &Secret, db: &DbPool) {
    let url = format!("{url}/v1/messages");
    let mut text = String::from("What happens to a request:\n");
    for (title, prompt) in [
        ("a question", "What is the capital of France?".to_owned()),
        ("a question with a leaked key", format!("Why is {} refused by S3?", leaked_key())),
    ] {
        let body = json!({"model": "demo-1", "max_tokens": 200, "messages": [{"role": "user", "content": prompt}]});
        let begun = Instant::now();
        match http::post(&url, certificate, key.expose(), &body).await {
            Ok(answer) => {
                let took = begun.elapsed();
                let id =
                    answer.headers.get("x-systemprompt-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
                let _ = writeln!(text, "\n  {title}  →  {}, {} ms", answer.status, took.as_millis());
                let said = answer
                    .json
                    .pointer("/content/0/text")
                    .or_else(|| answer.json.pointer("/error/message"))
                    .and_then(Value::as_str);
                let _ = writeln!(text, "    {}", said.unwrap_or("(no text)").replace('\n', " "));
                match requests::settled(db, id).await {
                    Ok(record) => {
                        let _ = writeln!(text, "    ledger: {record}");
                    }
                    Err(error) => {
                        let _ = writeln!(text, "    ledger: {error}");
                    }
                }
            }
            Err(error) => {
                let _ = writeln!(text, "\n  {title}  →  {error:#}");
            }
        }
    }
    text.push_str("\nMore: systemprompt infra logs request list · infra logs audit <id> · admin users list\n");
    printer.say(&Text::lines(text));
}
