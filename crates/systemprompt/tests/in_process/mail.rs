//! Alerts of quotas that arrive as mail, by the server that the profile names now.

use serde_json::{Value, json};
use systemprompt::extension::prelude::*;
use systemprompt::testing::TestContext;
use systemprompt_server::reload::{Reloaded, Reloader};

#[path = "../../../mail/tests/smtp/server.rs"]
mod smtp;

use smtp::{Manners, SmtpServer};

fn mail(server: &SmtpServer) -> Value {
    let (host, port) = (server.address.ip().to_string(), server.address.port());
    json!({
        "from": "systemprompt <alerts@example.com>",
        "smtp": {"host": host, "port": port, "security": "none", "username": "alerts", "password": "smtp_password"},
    })
}

fn policies() -> Value {
    json!({
        "policies": [{
            "name": "trial",
            "spec": {"quota_windows": [{"period": "month", "subject": "user", "max_requests": 2}]},
        }],
        "alerts": [{
            "name": "finance",
            "thresholds": [50, 100],
            "mail": {"to": ["cfo@example.com", "ops@example.com"]},
        }],
    })
}

async fn smtp_server(password: &'static str) -> SmtpServer {
    let credentials = Some(("alerts", password));
    SmtpServer::start(Manners { credentials, mechanisms: "PLAIN", ..Manners::default() }).await
}

#[tokio::test]
async fn an_alert_arrives_as_mail_by_the_server_that_is_configured_now() {
    let (first, second) = (smtp_server("one").await, smtp_server("one").await);
    let server = TestContext::builder()
        .profile("gateway", json!({"enabled": true}))
        .profile("mail", mail(&first))
        .secret("smtp_password", "one")
        .document("gateway/policies.yaml", policies())
        .start()
        .await;
    let ada = server.user("ada", &["user"]).await;
    let ask = async || {
        let body = json!({"model": "demo-1", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]});
        assert_eq!(ada.post("/v1/messages", &body).await.status, 200);
    };
    ask().await;
    let letters = first.wait_for(2).await;
    let mut recipients: Vec<&str> = letters.iter().map(|letter| letter.to[0].as_str()).collect();
    recipients.sort_unstable();
    assert_eq!(recipients, ["cfo@example.com", "ops@example.com"]);
    for letter in &letters {
        assert_eq!(letter.header("From"), Some("systemprompt <alerts@example.com>"));
        assert_eq!(letter.header("To"), Some(letter.to[0].as_str()), "nobody sees the others");
        assert_eq!(letter.header("Subject"), Some("Quota alert: user ada at 50.0 % (1 of 2 requests)"));
        assert_eq!(letter.user.as_deref(), Some("alerts"));
        assert!(letter.body().contains("Policy:   trial\n"), "{}", letter.body());
    }

    let profile = server.configuration().profile_file.clone();
    let mut document: Value = serde_json::from_slice(&std::fs::read(&profile).expect("it")).expect("JSON is YAML");
    document["mail"] = mail(&second);
    std::fs::write(&profile, document.to_string()).expect("written");
    let reloaded = server.service::<Reloader>().expect("the server has one").reload().await;
    assert_eq!(reloaded, Reloaded::Applied { changed: vec!["mail".to_owned()], needs_restart: vec![] });
    ask().await;
    let letters = second.wait_for(2).await;
    assert_eq!(letters[0].header("Subject"), Some("Quota alert: user ada at 100.0 % (2 of 2 requests)"));
    assert_eq!(first.letters().len(), 2);
    let page = server.metrics().encode();
    assert!(page.contains("mail_messages_total{outcome=\"sent\"} "), "{page}");
}

#[test]
fn alerts_by_mail_want_a_server_for_mail() {
    let problems = TestContext::builder().document("gateway/policies.yaml", policies()).problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("alerts[0].mail") && problems[0].contains("section `mail`"), "{problems:?}");
    let clear = json!({"from": "alerts@example.com", "smtp": {"host": "smtp.example.com", "security": "none"}});
    let problems = TestContext::builder().profile("mail", clear.clone()).problems();
    assert!(problems.len() == 1 && problems[0].contains("mail.smtp.security"), "{problems:?}");
    let trusted = TestContext::builder().profile("mail", clear);
    assert_eq!(trusted.variable("SYSTEMPROMPT_TRUSTED_HTTP_HOSTS", "smtp.example.com").problems(), [] as [&str; 0]);
}
