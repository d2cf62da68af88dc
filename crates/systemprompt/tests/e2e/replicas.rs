//! Several servers on one database are one product: what one of them counts, all of them know.

use std::path::Path;
use std::process::Command;

use futures_util::future::join_all;
use rustix::process::Signal;
use systemprompt_database::testing::empty_database;
use systemprompt_mock_upstream::MockUpstream;
use tempfile::TempDir;

use crate::harness::{Instance, Setup, hello, prepare};

/// Homes of servers that differ in nothing but their names.
fn homes(mock: &MockUpstream, setup: &Setup, database_url: &str, names: [&str; 3]) -> [TempDir; 3] {
    let first = TempDir::new().expect("a directory");
    prepare(first.path(), mock, setup, Some(database_url));
    names.map(|name| {
        let home = TempDir::new().expect("a directory");
        let copied = Command::new("cp").arg("-a").arg(first.path().join("home")).arg(home.path()).status();
        assert!(copied.expect("cp runs").success());
        let file = home.path().join("home/profiles/local/profile.yaml");
        let text = std::fs::read_to_string(&file).expect("a profile");
        std::fs::write(&file, renamed(&text, name, first.path(), home.path())).expect("writable");
        home
    })
}

fn renamed(profile: &str, name: &str, from: &Path, to: &Path) -> String {
    profile
        .replace("server:\n", &format!("server:\n  instance_id: {name}\n"))
        .replace(&from.display().to_string(), &to.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_grant_exactly_one_limit() {
    const LIMIT: usize = 40;
    const QUOTA: usize = 10;
    const KEPT: usize = 3;
    const LEFT: usize = LIMIT - QUOTA - KEPT;
    let governance = format!(
        "governance:\n  policies:\n  - {{ id: secret_scan }}\n  - {{ id: rate_limit, requests_per_window: 1000, \
         requests_per_user_window: {LIMIT}, window_secs: 3600 }}\n"
    );
    let mock = MockUpstream::start().await.expect("a free port");
    let database = empty_database().await;
    let quotas = format!(
        "policies:\n- name: trial\n  spec:\n    quota_windows:\n    - {{ period: month, subject: user, match: {{ models: \
         [claude-test] }}, max_requests: {QUOTA}, max_cost_microdollars: 100000000 }}\n"
    );
    let gateway =
        "routes:\n- { id: kept, model_pattern: gpt-test, provider: mock-openai, cache: { ttl_seconds: 600 } }\n";
    let setup =
        Setup { governance: Some(governance), quotas: Some(quotas), gateway: gateway.to_owned(), ..Setup::default() };
    let [one, two, three] = homes(&mock, &setup, database.url.expose(), ["one", "two", "three"]);
    let one = Instance::adopt(mock, one);
    let mut servers = vec![one];
    for home in [two, three] {
        let mut server = Instance::adopt(MockUpstream::start().await.expect("a free port"), home);
        server.key.clone_from(&servers[0].key);
        servers.push(server);
    }

    // Twenty at once against ten: ten reach the provider, and the others are told so.
    let body = hello("claude-test");
    let asked = (0..2 * QUOTA).map(|at| servers[at % 3].messages(&body));
    let answers = join_all(asked).await;
    let (granted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((granted.len(), refused.len()), (QUOTA, QUOTA), "{}", answers[0].text());
    assert_eq!(servers[0].mock.requests().len(), QUOTA);
    assert!(
        granted
            .iter()
            .all(|answer| answer.header("ratelimit").is_some_and(|left| left.contains("user-month-requests")))
    );
    for refusal in refused {
        assert_eq!(refusal.status, 429);
        assert!(refusal.text().contains("the quota `trial` allows the user"), "{}", refusal.text());
        assert_eq!(refusal.header("x-should-retry"), Some("false"));
        let wait = refusal.header("retry-after").and_then(|after| after.parse::<u32>().ok());
        assert!(wait.is_some_and(|wait| wait <= 31 * 86_400), "{wait:?}");
        assert_eq!(refusal.header("anthropic-ratelimit-requests-remaining"), Some("0"));
    }
    let counted = servers[2].cli(&["admin", "gateway", "quotas", "list"]);
    assert_eq!(counted["items"][0]["requests"], QUOTA, "{counted}");
    assert_eq!(counted["items"][0]["max_requests"], QUOTA, "{counted}");
    let subject = counted["items"][0]["subject_id"].as_str().expect("an id");
    let shown = servers[0].cli(&["admin", "gateway", "quotas", "show", subject]);
    assert_eq!(shown["windows"][0], counted["items"][0]);
    // What one of them was answered the others give too, and one command forgets it.
    let body = hello("gpt-test");
    let first = servers[0].messages(&body).await;
    assert_eq!((first.status.as_u16(), first.header("x-systemprompt-cache")), (200, Some("miss")), "{}", first.text());
    while servers[0].cli(&["admin", "gateway", "cache", "list"])["items"][0]["answers"] != 1 {}
    for server in &servers[1..] {
        let again = server.messages(&body).await;
        assert_eq!((again.status.as_u16(), again.header("x-systemprompt-cache")), (200, Some("hit")));
    }
    assert_eq!(servers[0].mock.requests().len(), QUOTA + 1);
    assert_eq!(servers[1].cli(&["admin", "gateway", "cache", "purge", "--route", "kept"])["answers"], 1);
    // What the quota refused used nothing of the other limit.
    let body = hello("demo-1");
    let asked = (0..3 * LIMIT).map(|at| servers[at % 3].messages(&body));
    let answers = join_all(asked).await;
    let granted = answers.iter().filter(|answer| answer.status == 200).count();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!((granted, refused.len()), (LEFT, 3 * LIMIT - LEFT), "{}", answers[0].text());
    for refusal in refused {
        assert!(refusal.text().contains("more than 40 requests of one user in 3600 seconds"), "{}", refusal.text());
        assert!(
            refusal
                .header("retry-after")
                .is_some_and(|after| after.parse::<u32>().is_ok_and(|after| (1..=60).contains(&after)))
        );
    }
    // What was counted outlives the server that counted it.
    servers[1].signal(Signal::KILL);
    servers[1].wait();
    servers[1].start_again();
    for server in &servers {
        let refused = server.messages(&hello("claude-test")).await;
        assert!(refused.status == 429 && refused.text().contains("the quota `trial`"), "{}", refused.text());
    }
    // What one of them gives back, because it stops, is what the others had not been given: nothing.
    drop(servers.remove(0));
    assert_eq!(servers[0].messages(&body).await.status, 429);
}
