//! What a mailer needs to know, with the secrets in it.

use lettre::message::Mailbox;
use rustls_pki_types::CertificateDer;
use systemprompt_config::{Configuration, SectionError};
use systemprompt_model::Secret;

use crate::config::{MailConfig, Security, sender};

/// Whom mail is from and which server takes it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whom it is from.
    pub(crate) from: Mailbox,
    /// The server's name or address, which its certificate must be for.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// Name and password.
    pub credentials: Option<(String, Secret)>,
    /// The name of the secret that is the password, where a configuration names it.
    pub password_name: Option<String>,
    /// Whose certificates are trusted.
    pub roots: Roots,
}

/// Whose certificates are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// The authorities of the system, or instead of them those of `SSL_CERT_FILE`. A bare container has none; there those of
    /// Mozilla, which are part of the program.
    System,
    /// These and no others.
    Only(Vec<CertificateDer<'static>>),
}

/// Why a section cannot be used that was checked.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It does not fit its type.
    #[error(transparent)]
    Section(#[from] SectionError),
    /// The sender is none.
    #[error("`mail.from` is no sender")]
    Sender,
    /// The secret is not there.
    #[error("there is no secret `{0}`, which `mail.smtp.password` names")]
    NoSecret(String),
    /// TLS cannot be set up.
    #[error("the certificate authorities for mail cannot be used: {0}")]
    Roots(String),
}

impl Settings {
    /// What a configuration says, if it says anything.
    pub fn read(config: &Configuration) -> Result<Option<Self>, Unusable> {
        let Some(MailConfig { from, smtp }) = MailConfig::read(config)? else { return Ok(None) };
        let mut settings = Self::new(&from, &smtp.host, smtp.security)?;
        settings.port = smtp.port.unwrap_or(settings.port);
        if let (Some(username), Some(name)) = (smtp.username, smtp.password) {
            let password = config.secrets.get(&name).cloned().ok_or_else(|| Unusable::NoSecret(name.clone()))?;
            settings.credentials = Some((username, password));
            settings.password_name = Some(name);
        }
        Ok(Some(settings))
    }

    /// A server at the usual port, without credentials, trusted as the system trusts.
    pub fn new(from: &str, host: &str, security: Security) -> Result<Self, Unusable> {
        Ok(Self {
            from: sender(from).ok_or(Unusable::Sender)?,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: security.usual_port(),
            security,
            credentials: None,
            password_name: None,
            roots: Roots::System,
        })
    }
}
