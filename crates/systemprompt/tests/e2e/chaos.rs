//! Killed again and again, in the middle of whatever it does.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Instance, Setup, path};

/// How often it is killed; `SYSTEMPROMPT_CHAOS_ROUNDS` says otherwise.
const ROUNDS: usize = 8;

/// Who asks at the same time.
const WORKERS: usize = 12;

/// An answer that somebody has: its id, and whether it came to its end.
struct Answered {
    id: String,
    whole: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_answered_is_in_the_ledger_with_its_tokens_however_often_it_is_killed() {
    let rounds = std::env::var_os("SYSTEMPROMPT_CHAOS_ROUNDS");
    let rounds = rounds.and_then(|rounds| rounds.to_str()?.parse().ok()).unwrap_or(ROUNDS);
    let profile = "governance:\n  ledger:\n    durability: durable\n".to_owned();
    let mut instance = Instance::with(Setup { managed: true, profile, ..Setup::default() }).await;
    let file = path(&instance, "profiles/local/profile.yaml");
    let (mut all, mut whole) = (Vec::new(), 0);
    for round in 0..rounds {
        // At other moments of what is done each time: some of these are multiples of the pauses between commits, most are not.
        let until = Duration::from_millis(40 + (round as u64 * 37) % 160);
        let answered = Mutex::new(Vec::new());
        let load = futures_util::future::join_all((0..WORKERS).map(|worker| ask(&instance, worker, &answered)));
        let killer = async {
            while answered.lock().expect("no panic").is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(until).await;
            instance.signal(Signal::KILL);
        };
        futures_util::future::join(load, killer).await;
        instance.wait();
        let answered = answered.into_inner().expect("no panic");
        whole += answered.iter().filter(|answer| answer.whole).count();
        all.extend(answered);

        // The other way of writing, the next time.
        let text = std::fs::read_to_string(&file).expect("a profile");
        let other = if text.contains("durability: durable") { "asynchronous" } else { "durable" };
        let text =
            text.replace("durability: durable", "durability: X").replace("durability: asynchronous", "durability: X");
        std::fs::write(&file, text.replace("durability: X", &format!("durability: {other}"))).expect("writable");
        instance.start_again();
    }
    assert!(whole > rounds * 5, "{whole} answers in {rounds} rounds are no load");

    for some in all.chunks(200) {
        let list = some.iter().map(|answer| format!("'{}'", answer.id)).collect::<Vec<_>>().join(",");
        let query =
            format!("SELECT id::text, status, output_tokens, input_tokens FROM ai_requests WHERE id IN ({list})");
        let found = instance.cli(&["infra", "db", "query", "--limit", "1000", &query]);
        let rows = found["rows"].as_array().expect("rows");
        for Answered { id, whole } in some {
            let row = rows.iter().find(|row| row[0] == json!(id));
            let row = row.unwrap_or_else(|| panic!("an answer was given that is not in the ledger: {id}"));
            assert_ne!(row[1], "abandoned", "{row}");
            if *whole {
                assert_eq!(row[1], "completed", "{row}");
                assert!(row[2].as_i64() > Some(0) && row[3].as_i64() > Some(0), "its tokens are lost: {row}");
            }
        }
    }
    let open = instance.cli(&["infra", "db", "query", "SELECT COUNT(*) FROM ai_requests WHERE status = 'pending'"]);
    assert_eq!(open["rows"][0][0], json!(0));
    let verified = instance.cli(&["infra", "logs", "audit", "verify"]);
    assert_eq!(verified["problems"], json!([]), "{verified}");
}

/// Asks until the server is gone, and notes what was answered.
async fn ask(instance: &Instance, worker: usize, answered: &Mutex<Vec<Answered>>) {
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    for turn in 0.. {
        let body: Value = json!({
            "model": "claude-test",
            "max_tokens": 10,
            "stream": worker.is_multiple_of(3),
            "messages": [{"role": "user", "content": format!("{worker}.{turn}")}],
        });
        let request = http::Request::post(format!("{}/v1/messages", instance.url)).header("x-api-key", &instance.key);
        let request = request.body(Full::new(Bytes::from(body.to_string()))).expect("a request");
        let Ok(response) = client.request(request).await else { return };
        // What could not be recorded in time has no id, and was not done.
        let Some(id) = response.headers().get("x-systemprompt-request-id") else { continue };
        let (id, is_answer) = (id.to_str().expect("an id").to_owned(), response.status() == 200);
        let body = response.into_body().collect().await;
        if let (true, Ok(body)) = (is_answer, body) {
            let text = body.to_bytes();
            let whole = !worker.is_multiple_of(3) || holds(&text, b"message_stop");
            answered.lock().expect("no panic").push(Answered { id, whole });
        }
    }
}

fn holds(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}
