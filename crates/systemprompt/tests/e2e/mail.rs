//! The message that shows whether mail works.

use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::harness::{command, document};

#[path = "../../../mail/tests/smtp/certificate.rs"]
mod certificate;
#[path = "../../../mail/tests/smtp/server.rs"]
pub mod smtp;

use certificate::certificate;
use smtp::{Manners, SmtpServer};

/// Sends a message to somebody. `trusted` is the file with the certificate authorities of this machine.
fn test(home: &Path, trusted: &Path, address: &str) -> Output {
    let mut command = command(home);
    let command = command.env("SSL_CERT_FILE", trusted).args(["--json", "admin", "config", "mail", "test", address]);
    command.output().expect("the binary runs")
}

/// What a failure says: exit status, code, sentence, and what to do.
fn failure(output: &Output) -> (i32, String, String, String) {
    let said = &document(output)["error"];
    let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
    (output.status.code().expect("it ends"), text("code"), text("message"), text("help"))
}

// The server answers while a command is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn one_message_shows_whether_mail_works() {
    let (certificate, acceptor) = certificate("localhost");
    let server = SmtpServer::start(Manners {
        tls: Some(acceptor),
        credentials: Some(("alerts", "correct horse")),
        mechanisms: "PLAIN",
        ..Manners::default()
    })
    .await;
    let home = TempDir::new().expect("a directory");
    let set_up = ["--json", "admin", "setup", "-e", "local", "--db-host", "db", "--db-password", "x"];
    let set_up = command(home.path()).args(set_up).output().expect("the binary runs");
    assert!(set_up.status.success(), "{}", String::from_utf8_lossy(&set_up.stderr));
    let profile = home.path().join("home/profiles/local");
    let (trusted, nobody) = (home.path().join("trusted.pem"), home.path().join("nobody.pem"));
    std::fs::write(&trusted, certificate.pem()).expect("written");
    std::fs::write(&nobody, self::certificate("localhost").0.pem()).expect("written");

    let without = failure(&test(home.path(), &trusted, "ops@example.com"));
    assert_eq!((without.0, without.1.as_str()), (3, "mail_not_configured"), "{without:?}");
    assert!(without.3.contains("add `mail` to the profile"), "{without:?}");

    let text = std::fs::read_to_string(profile.join("profile.yaml")).expect("a profile");
    let mail = |port: u16| {
        let smtp = format!("host: localhost, port: {port}, username: alerts, password: smtp_password");
        let text = format!("{text}\nmail: {{ from: 'Budgets <alerts@example.com>', smtp: {{ {smtp} }} }}\n");
        std::fs::write(profile.join("profile.yaml"), text).expect("written");
    };
    mail(server.address.port());
    let no_secret = failure(&test(home.path(), &trusted, "ops@example.com"));
    assert_eq!((no_secret.0, no_secret.1.as_str()), (78, "profile_invalid"), "{no_secret:?}");
    assert!(no_secret.2.contains("mail.smtp.password"), "{no_secret:?}");
    let file = profile.join("secrets.json");
    let mut secrets: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).expect("secrets")).expect("JSON");
    secrets["smtp_password"] = "correct horse".into();
    std::fs::write(&file, secrets.to_string()).expect("written");

    let sent = test(home.path(), &trusted, "ops@example.com");
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let told = document(&sent);
    assert_eq!((told["answer"].as_str(), told["security"].as_str()), (Some("250 2.0.0 queued as 1"), Some("starttls")));
    let letters = server.letters();
    assert_eq!((letters[0].to.as_slice(), letters[0].is_protected), (&["ops@example.com".to_owned()][..], true));
    assert_eq!(letters[0].header("From"), Some("Budgets <alerts@example.com>"));

    let impostor = failure(&test(home.path(), &nobody, "ops@example.com"));
    assert_eq!((impostor.0, impostor.1.as_str()), (1, "mail_not_sent"), "{impostor:?}");
    assert!(impostor.2.contains("certificate") && impostor.3.contains("SSL_CERT_FILE"), "{impostor:?}");
    server.refuse("gone@example.com", "550 5.1.1 nobody of this name");
    let refused = failure(&test(home.path(), &trusted, "gone@example.com"));
    assert_eq!((refused.0, refused.1.as_str()), (1, "mail_not_sent"), "{refused:?}");
    assert!(refused.2.ends_with("550 5.1.1 nobody of this name"), "{refused:?}");
    assert_eq!(failure(&test(home.path(), &trusted, "ops")).0, 2);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    mail(closed.port());
    assert_eq!(failure(&test(home.path(), &trusted, "ops@example.com")).0, 6);
    assert_eq!(server.letters().len(), 1);
}
