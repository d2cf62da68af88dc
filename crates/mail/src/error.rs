//! Why a message was not taken.

/// Why a message was not taken. No variant holds a password or anything of a message; what a server said is escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// There is no server to send it by.
    #[error("the profile has no section `mail`, so there is no server to send mail by")]
    NotConfigured,
    /// It is no message that could be sent.
    #[error("the message cannot be sent: {why}")]
    Unsendable {
        /// What is wrong with it.
        why: String,
    },
    /// There is no connection.
    #[error("{server} cannot be reached: {why}")]
    Unreachable {
        /// Host and port.
        server: String,
        /// What happened.
        why: String,
    },
    /// The connection cannot be protected as it must be.
    #[error("{server} does not offer STARTTLS, and nothing is sent to it in clear text")]
    NotProtected {
        /// Host and port.
        server: String,
    },
    /// Who answers is not who it should be, or cannot agree on TLS.
    #[error("no protected connection to {server}: {why}")]
    Tls {
        /// Host and port.
        server: String,
        /// What happened.
        why: String,
    },
    /// The server does not take the name and the password.
    #[error("{server} does not accept the credentials: {said}")]
    Credentials {
        /// Host and port.
        server: String,
        /// What it said.
        said: String,
    },
    /// The server says no to this message (RFC 5321, 4.2.1).
    #[error("{server} refused it: {code} {said}")]
    Refused {
        /// Host and port.
        server: String,
        /// 4xx: not now. 5xx: not like this.
        code: u16,
        /// What it said.
        said: String,
        /// Whether it said so of the sender.
        is_of_sender: bool,
    },
    /// It took too long, or what was answered makes no sense, before the message was handed over.
    #[error("{server} did not take it: {why}")]
    Interrupted {
        /// Host and port.
        server: String,
        /// What happened.
        why: String,
    },
    /// The message was handed over, and no answer came that makes sense. Whoever sends it again may send it twice.
    #[error("{server} may have taken it or not: {why}")]
    MaybeTaken {
        /// Host and port.
        server: String,
        /// What happened.
        why: String,
    },
}

impl MailError {
    /// Whether a server answered and said no.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Credentials { .. } | Self::Refused { .. })
    }

    /// Whether it will end like this again until somebody changes something.
    pub fn is_for_good(&self) -> bool {
        matches!(self, Self::Credentials { .. } | Self::Refused { code: 500.., .. })
    }

    /// What an operator may do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotConfigured => "add `mail` to the profile: `from`, and `smtp` with its `host`",
            Self::Unsendable { .. } => "this is a mistake of the feature that wrote it",
            Self::Unreachable { .. } => {
                "check `mail.smtp.host` and `mail.smtp.port`, and whether a firewall is between"
            }
            Self::NotProtected { .. } => {
                "ask its operator; `security: tls` is for servers that are protected from the first byte, usually at port 465"
            }
            Self::Tls { .. } => {
                "its certificate must be for `mail.smtp.host` and of an authority this machine trusts, so add its authority \
                 to those of the system (SSL_CERT_FILE names a file that replaces them, for providers too); `security: tls` \
                 at a port of `starttls` fails as well"
            }
            Self::Credentials { .. } => {
                "check `mail.smtp.username` and the secret that `mail.smtp.password` names; some providers want a password \
                 for programs"
            }
            Self::Refused { code: 500.., is_of_sender: true, .. } => {
                "often `mail.from` is not an address it sends mail of"
            }
            Self::Refused { code: 500.., .. } => "it says why",
            Self::Refused { .. } => "it may take it later; alerts are sent again",
            Self::Interrupted { .. } => "try again; the log of the server may say more",
            Self::MaybeTaken { .. } => "look whether it arrived; the log of the server may say more",
        }
    }
}
