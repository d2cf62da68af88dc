//! The profile key `mail`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lettre::message::Mailbox;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_config::{Configuration, Place, Problem, SectionError};
use url::Host;

use crate::Address;

/// The profile key `mail`: how mail is sent. Without it none is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("default" = null))]
pub struct MailConfig {
    /// Whom mail is from: `alerts@example.com` or `systemprompt <alerts@example.com>`.
    pub from: String,
    /// The server that takes it.
    pub smtp: SmtpConfig,
}

/// The server that takes mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmtpConfig {
    /// Its name or address, without a port.
    pub host: String,
    /// Its port; by `security` unless given: 587 with `starttls`, 465 with `tls`, 25 with `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// How the connection is protected. `starttls`: it begins in clear text, and neither a password nor a message is sent before it
    /// is protected; a server that does not offer that gets no mail. `tls`: from its first byte. `none`: only for this machine, and without a
    /// password for hosts of SYSTEMPROMPT_TRUSTED_HTTP_HOSTS.
    #[serde(default)]
    pub security: Security,
    /// The name to sign in with; not at all unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The name of the secret that is its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// How the connection to the server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// It begins in clear text and is protected before the password and the message (RFC 3207). A server that does not offer it gets no
    /// mail.
    #[default]
    StartTls,
    /// It is protected from its first byte (RFC 8314).
    Tls,
    /// It is not. Only for this machine, and without a password for hosts of SYSTEMPROMPT_TRUSTED_HTTP_HOSTS.
    None,
}

impl Security {
    /// The port it is usual at.
    pub fn usual_port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

impl MailConfig {
    /// Where it is written.
    pub const PLACE: Place = Place::Profile { key: "mail" };

    /// What a configuration says, if it says anything.
    pub fn read(config: &Configuration) -> Result<Option<Self>, SectionError> {
        config.section_at(&Self::PLACE)
    }

    /// Everything that is wrong although it fits its schema, each with what to do.
    pub(crate) fn problems(&self, config: &Configuration) -> Vec<Problem> {
        let trusted = config.environment.trusted_http_hosts();
        let has_secret = |name: &str| config.secrets.get(name).is_some();
        let problem = |(pointer, message, fix): (&str, String, &str)| {
            config.error(Self::PLACE.key(), pointer, message).suggest(fix)
        };
        self.flaws(&trusted, has_secret).into_iter().map(problem).collect()
    }

    /// Pointer, what is wrong, and what to do.
    fn flaws(
        &self,
        trusted: &BTreeSet<String>,
        has_secret: impl Fn(&str) -> bool,
    ) -> Vec<(&'static str, String, &'static str)> {
        let mut flaws = Vec::new();
        if sender(&self.from).is_none() {
            let message = format!("`{}` is no sender", self.from.escape_debug());
            flaws.push(("/from", message, "write `alerts@example.com` or `systemprompt <alerts@example.com>`"));
        }
        let SmtpConfig { host, port: _, security, username, password } = &self.smtp;
        let at = whereabouts(host);
        if at.is_none() {
            let message = format!("`{}` is no name or address of a server", host.escape_debug());
            flaws.push(("/smtp/host", message, "write it without `smtp://` and put the port into `port`"));
        }
        let is_loopback = at == Some(At::Loopback);
        if *security == Security::None && at.is_some() && !is_loopback {
            if !trusted.contains(&host.to_ascii_lowercase()) {
                let message = format!("mail to `{host}` would travel in clear text");
                let fix = "use `starttls` or `tls`, or list the host in SYSTEMPROMPT_TRUSTED_HTTP_HOSTS";
                flaws.push(("/smtp/security", message, fix));
            } else if username.is_some() || password.is_some() {
                let message = format!("the password would travel to `{host}` in clear text");
                flaws.push(("/smtp/security", message, "use `starttls` or `tls`, or remove `username` and `password`"));
            }
        }
        match (username, password) {
            (Some(username), _) if username.is_empty() || username.contains(char::is_control) => {
                flaws.push(("/smtp/username", "it is no name".to_owned(), "write the name to sign in with"));
            }
            (Some(_), None) => {
                let message = "there is no `password` to go with it".to_owned();
                flaws.push(("/smtp/username", message, "add `password` with the name of a secret, or remove it"));
            }
            (None, Some(_)) => {
                let message = "there is no `username` to go with it".to_owned();
                flaws.push(("/smtp/password", message, "add `username`, or remove it"));
            }
            _ => {}
        }
        if let Some(name) = password
            && !has_secret(name)
        {
            // What is not the name of a secret may be the secret.
            let message = "there is no secret of this name".to_owned();
            let fix =
                "set it with `systemprompt admin config secret set NAME`; the password itself does not belong here";
            flaws.push(("/smtp/password", message, fix));
        }
        flaws
    }
}

/// Whom mail is from, if the text says that.
pub(crate) fn sender(text: &str) -> Option<Mailbox> {
    let mailbox: Mailbox = text.parse().ok()?;
    mailbox.email.to_string().parse::<Address>().ok()?;
    let is_name = |name: &String| !name.contains(char::is_control);
    mailbox.name.as_ref().is_none_or(is_name).then_some(mailbox)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// On this machine.
    Loopback,
    /// Elsewhere.
    Elsewhere,
}

/// Where a host is, if it is the name or address of one.
fn whereabouts(host: &str) -> Option<At> {
    let at = |ip: IpAddr| if ip.is_loopback() { At::Loopback } else { At::Elsewhere };
    if let Ok(ip) = host.trim_matches(['[', ']']).parse() {
        return Some(at(ip));
    }
    let Ok(Host::Domain(name)) = Host::parse(host) else { return None };
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    let is_loopback = name == "localhost" || name.ends_with(".localhost");
    is_name.then_some(if is_loopback { At::Loopback } else { At::Elsewhere })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(from: &str, smtp: Value) -> Vec<(&'static str, String)> {
        let config: MailConfig = serde_json::from_value(json!({"from": from, "smtp": smtp})).expect("it fits the type");
        let trusted = BTreeSet::from(["relay.internal".to_owned(), "10.0.0.7".to_owned()]);
        let flaws = config.flaws(&trusted, |name| name == "smtp_password");
        flaws.into_iter().map(|(pointer, message, fix)| (pointer, format!("{message}; {fix}"))).collect()
    }

    #[test]
    fn what_is_right_is_left_alone() {
        for smtp in [
            json!({"host": "smtp.example.com"}),
            json!({"host": "smtp.example.com", "username": "alerts", "password": "smtp_password"}),
            json!({"host": "smtp.example.com", "security": "tls", "port": 4650}),
            json!({"host": "127.0.0.1", "security": "none", "username": "a", "password": "smtp_password"}),
            json!({"host": "localhost", "security": "none"}),
            json!({"host": "::1", "security": "none"}),
            json!({"host": "relay.internal", "security": "none"}),
            json!({"host": "Relay.Internal", "security": "none"}),
            json!({"host": "10.0.0.7", "security": "none", "port": 2525}),
        ] {
            assert_eq!(found("systemprompt <alerts@example.com>", smtp.clone()), [], "{smtp}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_a_way_out() {
        let good = json!({"host": "smtp.example.com"});
        let with = |extra: Value| {
            let mut smtp = good.clone();
            smtp.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            smtp
        };
        for (from, smtp, pointer, word) in [
            ("alerts", good.clone(), "/from", "alerts@example.com"),
            ("a@example.com\r\nBcc: b@example.com", good.clone(), "/from", "no sender"),
            ("\"a\r\nBcc: b@example.com\" <a@example.com>", good.clone(), "/from", "no sender"),
            ("ä@example.com", good.clone(), "/from", "no sender"),
            ("a@example.com", with(json!({"host": "smtp://smtp.example.com"})), "/smtp/host", "without `smtp://`"),
            ("a@example.com", with(json!({"host": "smtp.example.com:587"})), "/smtp/host", "`port`"),
            ("a@example.com", with(json!({"host": ""})), "/smtp/host", "no name"),
            ("a@example.com", with(json!({"security": "none"})), "/smtp/security", "TRUSTED_HTTP_HOSTS"),
            (
                "a@example.com",
                json!({"host": "relay.internal", "security": "none", "username": "a", "password": "smtp_password"}),
                "/smtp/security",
                "password would travel",
            ),
            ("a@example.com", with(json!({"username": "a"})), "/smtp/username", "`password`"),
            ("a@example.com", with(json!({"password": "smtp_password"})), "/smtp/password", "`username`"),
            ("a@example.com", with(json!({"username": "a", "password": "hunter2"})), "/smtp/password", "secret set"),
        ] {
            let flaws = found(from, smtp.clone());
            assert_eq!(flaws.len(), 1, "{smtp}: {flaws:?}");
            assert!(flaws[0].0 == pointer && flaws[0].1.contains(word), "{smtp}: {flaws:?}");
            assert!(!flaws[0].1.contains("hunter2"), "what may be a password is not repeated: {flaws:?}");
        }
    }

    #[test]
    fn the_port_follows_the_protection() {
        let config: SmtpConfig = serde_json::from_value(json!({"host": "x"})).unwrap();
        assert_eq!((config.security, config.port), (Security::StartTls, None));
        assert_eq!([Security::StartTls, Security::Tls, Security::None].map(Security::usual_port), [587, 465, 25]);
        assert!(serde_json::from_value::<SmtpConfig>(json!({"host": "x", "password_file": "y"})).is_err());
    }
}
