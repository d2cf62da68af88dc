//! `admin config mail test`.

use std::time::Instant;

use clap::Args;
use serde::Serialize;
use systemprompt_extension::Metrics;
use systemprompt_mail::{Address, MailError, Mailer, Message, Security, Settings};
use uuid::Uuid;

use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, Project};
use crate::view::{Layout, Record, Text, View};

/// Send a message by the server that the profile names.
///
/// Says what the server made of it, with the settings on disk, whether or not a server of this project runs. It changes nothing,
/// so no record of it is kept. Exit status 1 if the message is refused, 6 if the server cannot be reached.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Whom to.
    address: String,
}

impl Test {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        let project = invocation.project()?;
        let to: Address = self.address.parse().map_err(|error| {
            CliError::invalid_value(format!("`{}`: {error}", self.address.escape_debug())).exit(Exit::Usage)
        })?;
        let unusable = |error| CliError::from_error("profile_invalid", &error).exit(Exit::Configuration);
        let settings = Settings::read(&project.configuration).map_err(unusable)?;
        let settings = settings.ok_or_else(|| {
            CliError::new("mail_not_configured", MailError::NotConfigured.to_string())
                .help(MailError::NotConfigured.hint())
                .exit(Exit::Configuration)
        })?;
        let security = settings.security;
        let credential = match (&settings.credentials, &settings.password_name) {
            (None, _) => "none".to_owned(),
            (Some((username, _)), None) => format!("`{username}`"),
            (Some((username, _)), Some(secret)) => match project.configuration.secrets.origin(secret) {
                Some(origin) => format!("`{username}` with the secret `{secret}` of {origin}"),
                None => format!("`{username}` with the secret `{secret}`"),
            },
        };
        let mailer = Mailer::new(Some(settings), &Metrics::new()).map_err(unusable)?;
        let begun = Instant::now();
        let sent = mailer.send(&message(invocation, &project, to)).await;
        let latency_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        match sent {
            Ok(accepted) => {
                invocation.printer.show(&Tested {
                    address: self.address,
                    server: accepted.server,
                    security,
                    credential,
                    latency_ms,
                    answer: accepted.said,
                });
                Ok(())
            }
            Err(error) => {
                let is_away = matches!(
                    error,
                    MailError::Unreachable { .. } | MailError::Interrupted { .. } | MailError::MaybeTaken { .. }
                );
                let exit = if is_away { Exit::Unavailable } else { Exit::Failure };
                Err(CliError::from_error("mail_not_sent", &error).help(error.hint()).exit(exit))
            }
        }
    }
}

fn message(invocation: &Invocation, project: &Project, to: Address) -> Message {
    let ambient = &invocation.ambient;
    let name = &project.configuration.profile.name;
    Message {
        to,
        subject: "systemprompt can send mail".to_owned(),
        text: format!(
            "This is the message of `systemprompt admin config mail test`, sent for the profile {name}.\n\n\
             If you read it, alerts that are mailed to this address will come from the same sender.\n"
        ),
        id: format!("test_{}", Uuid::from_bytes(ambient.bytes()).simple()),
        written_at: ambient.now(),
    }
}

#[derive(Serialize)]
struct Tested {
    address: String,
    server: String,
    security: Security,
    credential: String,
    latency_ms: u64,
    answer: String,
}

impl View for Tested {
    fn text(&self, layout: Layout) -> Text {
        let security = match self.security {
            Security::StartTls => "TLS, after STARTTLS",
            Security::Tls => "TLS",
            Security::None => "none",
        };
        layout.record(
            &Record::new()
                .with("to", self.address.clone())
                .with("taken by", self.server.clone())
                .with("protected by", security.to_owned())
                .with("credential", self.credential.clone())
                .with("took", format!("{} ms", self.latency_ms))
                .with("said", self.answer.clone()),
        )
    }
}
