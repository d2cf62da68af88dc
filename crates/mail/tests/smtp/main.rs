//! The mailer against an SMTP server, with TLS, credentials and refusals.

mod certificate;
mod server;

use chrono::DateTime;
use rustls_pki_types::CertificateDer;
use systemprompt_extension::Metrics;
use systemprompt_mail::{MailError, Mailer, Message, Roots, Security, Settings};
use systemprompt_model::Secret;
use tokio_rustls::TlsAcceptor;

use server::{Manners, SmtpServer};

const PASSWORD: &str = "correct horse";

/// A certificate for `name`, and what serves it.
fn certificate(name: &str) -> (CertificateDer<'static>, TlsAcceptor) {
    let (certificate, acceptor) = certificate::certificate(name);
    (certificate.der().clone(), acceptor)
}

fn settings(server: &SmtpServer, security: Security, trusted: &CertificateDer<'static>) -> Settings {
    let mut settings = Settings::new("systemprompt <alerts@example.com>", "localhost", security).expect("settings");
    settings.port = server.address.port();
    settings.roots = Roots::Only(vec![trusted.clone()]);
    settings
}

/// A mailer that signs in.
fn signed_in(mut settings: Settings) -> (Mailer, Metrics) {
    settings.credentials = Some(("alerts".to_owned(), Secret::new(PASSWORD)));
    mailer(settings)
}

fn mailer(settings: Settings) -> (Mailer, Metrics) {
    let metrics = Metrics::new();
    (Mailer::new(Some(settings), &metrics).expect("a mailer"), metrics)
}

fn to(recipient: &str) -> Message {
    Message {
        to: recipient.parse().expect("an address"),
        subject: "80 % of a quota".to_owned(),
        text: "It is used.\n.\nReally.\n".to_owned(),
        id: "msg_17".to_owned(),
        written_at: DateTime::from_timestamp(1_764_151_440, 0).expect("a time"),
    }
}

async fn protected(mechanisms: &'static str) -> (SmtpServer, CertificateDer<'static>) {
    let (certificate, acceptor) = certificate("localhost");
    let credentials = Some(("alerts", PASSWORD));
    let manners = Manners { tls: Some(acceptor), credentials, mechanisms, ..Manners::default() };
    (SmtpServer::start(manners).await, certificate)
}

#[tokio::test]
async fn a_message_is_handed_over_protected_by_who_signed_in() {
    let (server, certificate) = protected("LOGIN PLAIN").await;
    let (mailer, metrics) = signed_in(settings(&server, Security::StartTls, &certificate));
    let accepted = mailer.send(&to("ops@example.com")).await.expect("it is taken");
    assert_eq!(accepted.said, "250 2.0.0 queued as 1");
    assert_eq!(accepted.server, format!("localhost:{}", server.address.port()));
    let letters = server.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert!(letter.is_protected);
    assert_eq!(letter.user.as_deref(), Some("alerts"));
    assert_eq!(
        (letter.from.as_str(), letter.to.as_slice()),
        ("alerts@example.com", &["ops@example.com".to_owned()][..])
    );
    assert_eq!(letter.header("Message-ID"), Some("<msg_17@example.com>"));
    assert_eq!(letter.header("Auto-Submitted"), Some("auto-generated"));
    assert_eq!(letter.header("Subject"), Some("80 % of a quota"));
    assert_eq!(letter.body(), "It is used.\n.\nReally.\n");
    let page = metrics.encode();
    for line in [
        "mail_messages_total{outcome=\"sent\"} 1",
        "mail_messages_total{outcome=\"refused\"} 0",
        "mail_messages_total{outcome=\"failed\"} 0",
    ] {
        assert!(page.contains(line), "{page}");
    }
}

#[tokio::test]
async fn a_connection_may_be_protected_from_its_first_byte() {
    let (certificate, acceptor) = certificate("localhost");
    let server = SmtpServer::start(Manners {
        tls: Some(acceptor),
        wrapped: true,
        credentials: Some(("alerts", PASSWORD)),
        mechanisms: "LOGIN",
        ..Manners::default()
    })
    .await;
    let (mailer, _) = signed_in(settings(&server, Security::Tls, &certificate));
    mailer.send(&to("ops@example.com")).await.expect("it is taken");
    let letters = server.letters();
    assert!(letters[0].is_protected && letters[0].user.is_some(), "{letters:?}");
}

#[tokio::test]
async fn nothing_is_said_to_a_server_that_does_not_protect() {
    let (certificate, _) = certificate("localhost");
    let manners = Manners { credentials: Some(("alerts", PASSWORD)), mechanisms: "PLAIN", ..Manners::default() };
    let server = SmtpServer::start(manners).await;
    let (mailer, _) = signed_in(settings(&server, Security::StartTls, &certificate));
    let refused = mailer.send(&to("ops@example.com")).await.expect_err("it is not protected");
    assert!(matches!(refused, MailError::NotProtected { .. }), "{refused:?}");
    // Whether it has heard the goodbye yet is its own affair.
    let commands = server.commands();
    assert!(commands == ["EHLO"] || commands == ["EHLO", "QUIT"], "{commands:?}");
}

#[tokio::test]
async fn somebody_else_gets_nothing() {
    let (server, certificate) = protected("PLAIN").await;
    let (other, _) = self::certificate("localhost");
    let mut elsewhere = settings(&server, Security::StartTls, &certificate);
    elsewhere.host = "127.0.0.1".to_owned();
    for settings in [settings(&server, Security::StartTls, &other), elsewhere] {
        let (mailer, metrics) = signed_in(settings);
        let refused = mailer.send(&to("ops@example.com")).await.expect_err("it is somebody else");
        assert!(matches!(&refused, MailError::Tls { why, .. } if why.contains("certificate")), "{refused:?}");
        assert!(metrics.encode().contains("mail_messages_total{outcome=\"failed\"} 1"));
    }
    assert!(server.letters().is_empty());
    assert!(!server.commands().contains(&"AUTH".to_owned()));
    // The same where the connection is protected from its first byte.
    let (trusted, acceptor) = self::certificate("localhost");
    let wrapped = SmtpServer::start(Manners { tls: Some(acceptor), wrapped: true, ..Manners::default() }).await;
    let (mailer, _) = mailer(settings(&wrapped, Security::Tls, &other));
    let refused = mailer.send(&to("ops@example.com")).await.expect_err("it is somebody else");
    assert!(matches!(&refused, MailError::Tls { why, .. } if why.contains("certificate")), "{refused:?}");
    let (mailer, _) = self::mailer(settings(&wrapped, Security::Tls, &trusted));
    mailer.send(&to("ops@example.com")).await.expect("it is who it should be");
}

#[tokio::test]
async fn answers_that_came_before_the_protection_do_not_count() {
    let (certificate, acceptor) = certificate("localhost");
    let server = SmtpServer::start(Manners {
        tls: Some(acceptor),
        injected: "250-smtp.test\r\n250 AUTH PLAIN\r\n235 ok\r\n250 ok\r\n250 ok\r\n354 ok\r\n250 queued as 1\r\n",
        ..Manners::default()
    })
    .await;
    let (mailer, _) = signed_in(settings(&server, Security::StartTls, &certificate));
    let refused = mailer.send(&to("ops@example.com")).await.expect_err("nobody took it");
    assert!(matches!(refused, MailError::Tls { .. }), "{refused:?}");
}

#[tokio::test]
async fn one_recipient_that_is_refused_says_nothing_of_another_and_recovers() {
    let server = SmtpServer::start(Manners::default()).await;
    let mut settings = Settings::new("alerts@example.com", "127.0.0.1", Security::None).expect("settings");
    settings.port = server.address.port();
    let (mailer, metrics) = mailer(settings);
    server.refuse("gone@example.com", "550-5.1.1 nobody\r\n550 5.1.1 of this \u{1b}[31mname");
    server.refuse("later@example.com", "451 4.7.1 come again");
    let gone = mailer.send(&to("gone@example.com")).await.expect_err("it is refused");
    let MailError::Refused { code, said, .. } = &gone else { panic!("{gone:?}") };
    assert_eq!((*code, said.as_str()), (550, "5.1.1 nobody of this \\u{1b}[31mname"));
    let later = mailer.send(&to("later@example.com")).await.expect_err("not now");
    assert!(matches!(later, MailError::Refused { code: 451, .. }), "{later:?}");
    mailer.send(&to("ops@example.com")).await.expect("it is taken");
    server.allow("later@example.com");
    for _ in 0..2 {
        mailer.send(&to("later@example.com")).await.expect("it is taken");
    }
    let letters = server.letters();
    let recipients: Vec<&str> = letters.iter().map(|letter| letter.to[0].as_str()).collect();
    assert_eq!(recipients, ["ops@example.com", "later@example.com", "later@example.com"]);
    // Whoever gets it twice can tell.
    assert_eq!(letters[1].text, letters[2].text);
    let page = metrics.encode();
    assert!(page.contains("outcome=\"refused\"} 2") && page.contains("outcome=\"sent\"} 3"), "{page}");
}

#[tokio::test]
async fn a_password_that_is_not_accepted_is_told_without_the_password() {
    let (certificate, acceptor) = certificate("localhost");
    let server = SmtpServer::start(Manners {
        tls: Some(acceptor),
        credentials: Some(("alerts", "another one")),
        mechanisms: "PLAIN",
        repeats: true,
        ..Manners::default()
    })
    .await;
    let (mailer, metrics) = signed_in(settings(&server, Security::StartTls, &certificate));
    let refused = mailer.send(&to("ops@example.com")).await.expect_err("it is refused");
    let MailError::Credentials { said, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(said, "535 5.7.8 not known: PLAIN [redacted] that is \"alerts[redacted]\"");
    assert!(!format!("{refused:?} {refused} {mailer:?}").contains(PASSWORD));
    assert!(metrics.encode().contains("outcome=\"refused\"} 1"));
}

/// A mailer by a server in clear text, without credentials.
async fn in_clear(manners: Manners) -> (SmtpServer, Mailer) {
    let server = SmtpServer::start(manners).await;
    let mut settings = Settings::new("alerts@example.com", "127.0.0.1", Security::None).expect("settings");
    settings.port = server.address.port();
    (server, mailer(settings).0)
}

#[tokio::test]
async fn a_sign_in_that_is_put_off_is_not_a_wrong_password() {
    let (certificate, acceptor) = certificate("localhost");
    let server = SmtpServer::start(Manners {
        tls: Some(acceptor),
        credentials: Some(("alerts", PASSWORD)),
        mechanisms: "PLAIN",
        welcome: "454 4.7.0 come again\r\n",
        ..Manners::default()
    })
    .await;
    let (mailer, _) = signed_in(settings(&server, Security::StartTls, &certificate));
    let put_off = mailer.send(&to("ops@example.com")).await.expect_err("not now");
    assert!(matches!(put_off, MailError::Refused { code: 454, .. }) && !put_off.is_for_good(), "{put_off:?}");
}

#[tokio::test]
async fn what_breaks_off_after_the_last_dot_may_have_been_taken() {
    for (command, may_be_taken) in [("RCPT", false), ("DATA", false), (".", true)] {
        let (server, mailer) = in_clear(Manners { hangs_up_after: command, ..Manners::default() }).await;
        let error = mailer.send(&to("ops@example.com")).await.expect_err("there was no answer");
        assert_eq!(matches!(error, MailError::MaybeTaken { .. }), may_be_taken, "{command}: {error:?}");
        assert_eq!(matches!(error, MailError::Interrupted { .. }), !may_be_taken, "{command}: {error:?}");
        assert_eq!(server.letters().len(), usize::from(may_be_taken), "{command}");
    }
}

#[tokio::test]
async fn a_server_that_looks_through_a_message_has_minutes_for_it() {
    let (server, mailer) = in_clear(Manners { silent_after: ".", ..Manners::default() }).await;
    let message = to("ops@example.com");
    let sending = mailer.send(&message);
    let waiting = async {
        server.wait_for(1).await;
        // It has everything, so nothing happens any more but the clock.
        tokio::time::pause();
    };
    let (sent, ()) = tokio::join!(sending, waiting);
    let error = sent.expect_err("there was no answer");
    assert!(matches!(&error, MailError::MaybeTaken { why, .. } if why == "no answer within 180 seconds"), "{error:?}");
}

#[tokio::test]
async fn two_messages_at_most_are_handed_over_at_a_time() {
    let (server, mailer) = in_clear(Manners { silent_after: ".", ..Manners::default() }).await;
    let message = to("ops@example.com");
    let sending = async { tokio::join!(mailer.send(&message), mailer.send(&message), mailer.send(&message)) };
    let waiting = async {
        server.wait_for(2).await;
        tokio::time::pause();
    };
    let ((_, _, third), ()) = tokio::join!(sending, waiting);
    assert!(matches!(&third, Err(MailError::Interrupted { why, .. }) if why.contains("other messages")), "{third:?}");
    assert_eq!(server.letters().len(), 2);
}

#[tokio::test]
async fn a_server_that_does_not_stop_talking_is_not_listened_to() {
    let greeting = Some(format!("220 {}", "x".repeat(300 * 1024)));
    let (_server, mailer) = in_clear(Manners { greeting, ..Manners::default() }).await;
    let error = mailer.send(&to("ops@example.com")).await.expect_err("that is too much");
    assert!(matches!(&error, MailError::Unreachable { why, .. } if why.contains("stop talking")), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_and_one_that_is_not_named_are_told_apart() {
    let closed = {
        let server = SmtpServer::start(Manners::default()).await;
        server.address.port()
    };
    let mut settings = Settings::new("alerts@example.com", "127.0.0.1", Security::None).expect("settings");
    settings.port = closed;
    let (mailer, _) = mailer(settings);
    assert!(mailer.is_configured());
    // The port is closed by a task of its own.
    let refused = loop {
        match mailer.send(&to("ops@example.com")).await {
            Err(refused @ MailError::Unreachable { .. }) => break refused,
            _ => tokio::task::yield_now().await,
        }
    };
    assert!(refused.to_string().starts_with("127.0.0.1:"), "{refused}");
    let none = Mailer::new(None, &Metrics::new()).expect("a mailer");
    assert!(!none.is_configured());
    assert_eq!(none.send(&to("ops@example.com")).await, Err(MailError::NotConfigured));
}
