//! `admin config provider test`.

use chrono::TimeDelta;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use systemprompt_gateway::configured::{ConfiguredProvider, providers};
use systemprompt_gateway::request::list::RequestSummary;
use systemprompt_identity::{ApiKeys, IssuedKey};

use crate::accounts::{accounts, find};
use crate::change::{About, Change, Changed, StateDigest, altered};
use crate::connect::client::Protocol;
use crate::connect::plan::Gateway;
use crate::connect::probe::{self, Verdict};
use crate::error::{CliError, CliResult, Exit};
use crate::instance::{self, Instance};
use crate::project::{Invocation, OpenDatabase, Project};
use crate::requests;
use crate::view::{Layout, Record, Text, View};

/// How long the key for the request is good, should it not be taken back.
const KEY_LIFE: TimeDelta = TimeDelta::minutes(2);

/// Ask a provider something tiny, through the running server.
///
/// The request takes the way of every other: the Gate judges it, the ledger records it, and what it costs counts. Exit status 1
/// if it does not work.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The provider.
    name: String,
    /// One of its models; its first one unless given.
    #[arg(long)]
    model: Option<String>,
}

impl Test {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        let project = invocation.project()?;
        let found = providers(&project.configuration);
        let found = found.map_err(|error| CliError::from_error("profile_invalid", &error))?;
        let provider = found.into_iter().find(|provider| provider.name == self.name).ok_or_else(|| {
            CliError::new("unknown_provider", format!("there is no provider `{}`", self.name))
                .help("systemprompt admin config catalog provider list   shows them")
        })?;
        let model = match &self.model {
            None => provider.models.first().cloned().unwrap_or_default(),
            Some(model) => model.clone(),
        };
        let server = instance::running(&project.home).filter(|server| server.url.is_some()).ok_or_else(|| {
            CliError::new("not_running", "the server of this project does not run")
                .help("systemprompt up   runs it; the request goes through it, so that it is judged and recorded")
                .exit(Exit::Unavailable)
        })?;
        let addresses = addresses(provider.endpoint.as_deref()).await;
        let ask = invocation
            .with_database(async |database| ask(invocation, &project, database, &server, &provider, &model).await);
        let (verification, served_by) = Box::pin(ask).await?;
        let credential = match &provider.api_key_secret {
            None => "none".to_owned(),
            Some(secret) => match project.configuration.secrets.origin(secret) {
                Some(origin) => format!("the secret `{secret}` of {origin}"),
                None => format!("the secret `{secret}`, which is not set"),
            },
        };
        let elsewhere = served_by.filter(|served_by| *served_by != provider.name);
        let worked = verification.verified && elsewhere.is_none();
        invocation.printer.show(&Tested {
            provider: provider.name,
            wire: provider.wire,
            address: provider.endpoint,
            resolved: addresses,
            credential,
            elsewhere,
            verification,
        });
        if worked { Ok(()) } else { Err(CliError::status(Exit::Failure)) }
    }
}

/// Where the name of an endpoint leads.
async fn addresses(endpoint: Option<&str>) -> Vec<String> {
    let Some(url) = endpoint.and_then(|endpoint| url::Url::parse(endpoint).ok()) else { return Vec::new() };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return Vec::new() };
    let host = host.trim_matches(['[', ']']);
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => {
            let mut found: Vec<_> = found.map(|address| address.ip().to_string()).collect();
            found.sort();
            found.dedup();
            found
        }
        Err(error) => vec![format!("not found: {error}")],
    }
}

/// Asks, with a key that lives as long as that, and gives the provider whose record it became.
async fn ask(
    invocation: &Invocation,
    project: &Project,
    database: &OpenDatabase,
    server: &Instance,
    provider: &ConfiguredProvider,
    model: &str,
) -> CliResult<(Verdict, Option<String>)> {
    let profile = &project.configuration.profile;
    let admin = find(&accounts(invocation, &database.db), &profile.system_admin.username).await?;
    let keys = ApiKeys::new(database.db.clone(), invocation.ambient.clone());
    let name = format!("provider test of {}", provider.name);
    let expires_at = invocation.ambient.now() + KEY_LIFE;
    let issue = async || {
        let issued = keys.issue(admin.id, &name, Some(expires_at)).await;
        let issued = issued.map_err(|error| CliError::from_error("key_refused", &error))?;
        Ok(Changed { before: None, after: Some(StateDigest::of(&issued.key)), value: issued })
    };
    let request = json!({"user_id": admin.id, "name": name, "expires_at": expires_at});
    let change = Change::new("api_key.issue", About::new("user", admin.id), &request);
    let IssuedKey { key, secret } = invocation.change(database, change, issue).await?;

    let gateway = Gateway::of(server.url.clone().unwrap_or_default(), &project.configuration);
    let verdict = probe::ask(&gateway, protocol(&provider.wire), model, server.certificate.as_deref(), &secret).await;

    let revoke = async || {
        let revoked = keys.revoke(key.id).await;
        Ok(altered(&key, revoked.map_err(|error| CliError::from_error("key_refused", &error))?))
    };
    let change = Change::new("api_key.revoke", About::new("api_key", key.id), &());
    invocation.change(database, change, revoke).await?;
    let served_by = match &verdict.request_id {
        Some(id) => requests::look_up(&database.db, id).await.ok(),
        None => None,
    };
    let served_by = served_by.and_then(|found| {
        let summary: &RequestSummary = found.first()?.request.as_ref();
        summary.provider.clone()
    });
    Ok((verdict, served_by))
}

/// How a provider of this wire is asked with the least that could be in the way.
fn protocol(wire: &str) -> Protocol {
    match wire {
        "openai-responses" => Protocol::Responses,
        "gemini" | "vertex-gemini" => Protocol::Gemini,
        wire if wire == "demo" || wire.ends_with("anthropic") || wire.starts_with("bedrock") => Protocol::Messages,
        _ => Protocol::ChatCompletions,
    }
}

#[derive(Serialize)]
struct Tested {
    provider: String,
    wire: String,
    address: Option<String>,
    resolved: Vec<String>,
    credential: String,
    /// The provider that answered, if a route led to another.
    elsewhere: Option<String>,
    verification: Verdict,
}

impl View for Tested {
    fn text(&self, layout: Layout) -> Text {
        let verdict = &self.verification;
        let elsewhere = self.elsewhere.as_ref().map(|other| {
            format!(
                "a route leads to `{other}`; --model names another model, `admin config gateway route list` the routes"
            )
        });
        layout.record(
            &Record::new()
                .with("provider", self.provider.clone())
                .with("works", if verdict.verified && self.elsewhere.is_none() { "yes" } else { "no" }.to_owned())
                .with("wire", self.wire.clone())
                .with("address", self.address.clone())
                .with("resolved", (!self.resolved.is_empty()).then(|| self.resolved.join(", ")))
                .with("credential", self.credential.clone())
                .with("model", verdict.model.clone())
                .with("status", verdict.status.map(|status| status.to_string()))
                .with("took", format!("{} ms", verdict.latency_ms))
                .with("said", verdict.answer.clone())
                .with("record", verdict.request_id.clone())
                .with("help", elsewhere.or_else(|| verdict.help.clone())),
        )
    }
}
