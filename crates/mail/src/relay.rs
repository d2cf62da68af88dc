//! Handing one message to the server: connect, protect, sign in, say it, leave.

use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error as SmtpError, response};
use rustls::RootCertStore;
use systemprompt_model::with_causes;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::clear_until_tls::ClearUntilTls;
use crate::settings::{Roots, Settings, Unusable};
use crate::{MailError, Security};

/// How long each of connecting, protecting and signing in may take. RFC 5321 (4.5.3.2) would wait minutes; whoever asks here
/// comes again.
const STEP_WITHIN: Duration = Duration::from_secs(10);
/// How long one address of the server may take to answer, so that one that leads nowhere leaves time for another.
const ADDRESS_WITHIN: Duration = Duration::from_secs(4);
/// How long handing the message over may take, from its sender to the answer to its last dot. Servers look for spam and viruses
/// before they answer, and who hangs up on one that has the message already will send it again (RFC 5321, 4.5.3.2.6).
const HAND_OVER_WITHIN: Duration = Duration::from_mins(3);
/// How long all of it takes at most.
pub(crate) const WITHIN: Duration = Duration::from_secs(3 * STEP_WITHIN.as_secs() + HAND_OVER_WITHIN.as_secs());
/// The most of a server's words that is told, in characters.
const SAID_AT_MOST: usize = 300;

/// The way to the server.
pub(crate) struct Relay {
    pub(crate) from: Mailbox,
    host: String,
    port: u16,
    security: Security,
    tls: TlsParameters,
    credentials: Option<Credentials>,
    /// What a server must not be quoted with: the password, and as it travels.
    hidden: Vec<String>,
    hello: ClientId,
}

/// What went wrong.
enum Failure {
    /// There is no connection.
    Connection(io::Error),
    /// There was one.
    Smtp(SmtpError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

impl From<SmtpError> for Failure {
    fn from(error: SmtpError) -> Self {
        Self::Smtp(error)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Connect,
    Protect,
    SignIn,
    Sender,
    Recipient,
    /// From here on the server may have the message, whatever goes wrong.
    HandOver,
}

impl Relay {
    /// Reads the certificates, so it may block for a moment.
    pub(crate) fn new(settings: Settings) -> Result<Self, Unusable> {
        let Settings { from, host, port, security, credentials, password_name: _, roots } = settings;
        let tls = tls(&host, roots)?;
        // The name of a machine or a container says nothing to anybody, and some servers refuse what is no name at all.
        let hello = match from.email.domain() {
            domain if domain.starts_with('[') || domain.parse::<std::net::IpAddr>().is_ok() => ClientId::default(),
            domain => ClientId::Domain(domain.to_owned()),
        };
        let hidden = credentials.iter().flat_map(|(username, password)| {
            let password = password.expose();
            [password.to_owned(), STANDARD.encode(password), STANDARD.encode(format!("\0{username}\0{password}"))]
        });
        let hidden = hidden.filter(|text| !text.is_empty()).collect();
        let credentials =
            credentials.map(|(username, password)| Credentials::new(username, password.expose().to_owned()));
        Ok(Self { from, host, port, security, tls, credentials, hidden, hello })
    }

    /// Host and port.
    pub(crate) fn server(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Hands it over. Gives what the server said of it.
    pub(crate) async fn hand_over(&self, message: &lettre::Message) -> Result<String, MailError> {
        let mut connection = self.step(Step::Connect, soon(), self.connect()).await?;
        let handed_over = self.talk(&mut connection, message).await;
        if matches!(
            handed_over,
            Ok(_) | Err(MailError::NotProtected { .. } | MailError::Credentials { .. } | MailError::Refused { .. })
        ) {
            // It is said and nobody waits for the answer: who has the message must be known before anything else goes wrong.
            let _ = timeout(Duration::ZERO, connection.quit()).await;
        }
        handed_over
    }

    /// Everything between greeting and goodbye.
    async fn talk(&self, connection: &mut AsyncSmtpConnection, message: &lettre::Message) -> Result<String, MailError> {
        if self.security == Security::StartTls {
            if !connection.can_starttls() {
                return Err(MailError::NotProtected { server: self.server() });
            }
            self.step(Step::Protect, soon(), connection.starttls(self.tls.clone(), &self.hello)).await?;
        }
        if let Some(credentials) = &self.credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            self.step(Step::SignIn, soon(), connection.auth(&mechanisms, credentials)).await?;
        }
        let (envelope, by) = (message.envelope(), Instant::now() + HAND_OVER_WITHIN);
        let sender = Mail::new(envelope.from().cloned(), Vec::new());
        self.step(Step::Sender, by, connection.command(sender)).await?;
        for recipient in envelope.to() {
            let recipient = Rcpt::new(recipient.clone(), Vec::new());
            self.step(Step::Recipient, by, connection.command(recipient)).await?;
        }
        self.step(Step::Recipient, by, connection.command(Data)).await?;
        let answer = self.step(Step::HandOver, by, connection.message(&message.formatted())).await?;
        Ok(self.quoted(&told(&answer)))
    }

    /// A connection on which the server has said what it can do.
    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        let server = (self.host.as_str(), self.port);
        if self.security == Security::Tls {
            let tls = Some(self.tls.clone());
            return Ok(AsyncSmtpConnection::connect_tokio1(server, Some(ADDRESS_WITHIN), &self.hello, tls, None).await?);
        }
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host(server).await? {
            match timeout(ADDRESS_WITHIN, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let stream = Box::new(ClearUntilTls::new(stream));
                    return Ok(AsyncSmtpConnection::connect_with_transport(stream, &self.hello).await?);
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failure.into())
    }

    async fn step<T, E: Into<Failure>>(
        &self,
        step: Step,
        by: Instant,
        doing: impl Future<Output = Result<T, E>>,
    ) -> Result<T, MailError> {
        let limit = if step < Step::Sender { STEP_WITHIN } else { HAND_OVER_WITHIN };
        match timeout_at(by, doing).await {
            Ok(done) => done.map_err(|failure| match failure.into() {
                Failure::Connection(error) => self.failed(step, self.quoted(&error.to_string())),
                Failure::Smtp(error) => self.failure(step, &error),
            }),
            Err(_) => Err(self.failed(step, format!("no answer within {} seconds", limit.as_secs()))),
        }
    }

    /// What an error means at this step.
    fn failure(&self, step: Step, error: &SmtpError) -> MailError {
        // What it says of itself ends with its cause; of an answer the cause is what the server said.
        let why = error.source().map_or_else(|| error.to_string(), with_causes);
        let why = self.quoted(&why);
        let server = self.server();
        match error.status().map(u16::from) {
            Some(code @ 500..) if step == Step::SignIn => {
                MailError::Credentials { server, said: format!("{code} {why}") }
            }
            Some(code) => MailError::Refused { server, code, said: why, is_of_sender: step == Step::Sender },
            None if step == Step::HandOver => self.failed(step, why),
            None if is_tls(error) => MailError::Tls { server, why },
            // It offers no way to sign in that we know.
            None if step == Step::SignIn && error.is_client() => MailError::Credentials { server, said: why },
            None => self.failed(step, why),
        }
    }

    fn failed(&self, step: Step, why: String) -> MailError {
        let server = self.server();
        match step {
            Step::Connect => MailError::Unreachable { server, why },
            Step::Protect => MailError::Tls { server, why },
            Step::SignIn | Step::Sender | Step::Recipient => MailError::Interrupted { server, why },
            Step::HandOver => MailError::MaybeTaken { server, why },
        }
    }

    /// A server's words: on one line, not for ever, and without what it must not repeat.
    fn quoted(&self, said: &str) -> String {
        let said = self.hidden.iter().fold(said.to_owned(), |said, hidden| said.replace(hidden, "[redacted]"));
        let mut quoted = String::new();
        for (at, c) in said.trim().chars().enumerate() {
            if at == SAID_AT_MOST {
                quoted.push('…');
                break;
            }
            match c {
                '\r' => {}
                '\n' => quoted.push(' '),
                c if c.is_control() => quoted.extend(c.escape_default()),
                c => quoted.push(c),
            }
        }
        quoted
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("server", &self.server()).finish_non_exhaustive()
    }
}

/// When a step must be done that begins now.
fn soon() -> Instant {
    Instant::now() + STEP_WITHIN
}

/// What a server answered, in one line.
fn told(answer: &response::Response) -> String {
    let words: Vec<&str> = answer.message().collect();
    format!("{} {}", answer.code(), words.join(" "))
}

/// Whether it came out of the handshake: rustls puts its errors into those of the connection.
fn is_tls(error: &SmtpError) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && inner.is::<rustls::Error>()
        {
            return true;
        }
        cause = error.source();
    }
    false
}

fn tls(host: &str, roots: Roots) -> Result<TlsParameters, Unusable> {
    let (store, certificates) = match roots {
        Roots::System => {
            let mut certificates = rustls_native_certs::load_native_certs().certs;
            // Systems have some that cannot be read; nobody's mail is to wait for those.
            certificates.retain(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
            let is_bare = certificates.is_empty();
            (if is_bare { CertificateStore::WebpkiRoots } else { CertificateStore::None }, certificates)
        }
        Roots::Only(certificates) => (CertificateStore::None, certificates),
    };
    let mut builder = TlsParametersBuilder::new(host.to_owned()).certificate_store(store);
    for certificate in certificates {
        let certificate = Certificate::from_der(certificate.to_vec());
        builder = builder.add_root_certificate(certificate.map_err(|error| Unusable::Roots(error.to_string()))?);
    }
    builder.build().map_err(|error| Unusable::Roots(error.to_string()))
}
