//! `connect`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use systemprompt_model::{Secret, with_causes};

use crate::connect::client::Client;
use crate::connect::key::{self, ClientKey, Origin};
use crate::connect::plan::{Assigned, FilePlan, Gateway, HookCommand, Model, Places, Plan, plan, quoted};
use crate::connect::probe::{self, Verdict};
use crate::connect::record::{Outcome, Record, RecordError};
use crate::error::{CliError, CliResult, Exit};
use crate::given;
use crate::instance;
use crate::project::Invocation;
use crate::view::{Layout, Text, View};

/// Point a program you use at the gateway.
///
/// Prints what the program needs; --write puts it into the program's own settings, with a copy beside each file, and --undo
/// takes it back. A key is issued for it, named after it and this machine, and kept in a file that only you may read; it is
/// never printed. One request through the program's own protocol shows whether it works.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Which program.
    #[arg(value_enum)]
    client: Client,
    /// Write it into the program's settings.
    #[arg(long, conflicts_with = "undo")]
    write: bool,
    /// Take back what --write did, and the key.
    #[arg(long)]
    undo: bool,
    /// The gateway's address, such as https://gateway.example.com; by default the server of this project.
    #[arg(long, value_name = "URL", conflicts_with = "undo")]
    url: Option<String>,
    /// A key of that gateway instead of a new one; `-` reads it from standard input.
    #[arg(long, value_name = "KEY", value_parser = given::parse, conflicts_with = "undo")]
    api_key: Option<Secret>,
    /// The user the key is issued to; by default the administrator of the profile.
    #[arg(long, value_name = "USER", conflicts_with_all = ["undo", "api_key"])]
    user: Option<String>,
    /// The model the program begins with; by default the first one it may use.
    #[arg(long, value_name = "MODEL", conflicts_with = "undo")]
    model: Option<String>,
    /// Have the program ask the server before it uses a tool or submits a prompt, and report what it does. For claude-code.
    #[arg(long, conflicts_with = "undo")]
    hooks: bool,
    /// Make no request.
    #[arg(long, conflicts_with = "undo")]
    no_verify: bool,
    /// Do not ask before settings are written.
    #[arg(short, long)]
    yes: bool,
}

impl Connect {
    pub(crate) async fn run(mut self, invocation: &Invocation) -> CliResult {
        let places = Places::of(&invocation.environment).ok_or_else(|| {
            CliError::new("no_home_directory", "it is not known where your settings are")
                .help("set HOME to your home directory")
                .exit(Exit::Configuration)
        })?;
        let directory = places.of_client(self.client);
        if self.undo {
            return self.undo(invocation, &directory).await;
        }
        let given = given::secret(self.api_key.take(), "--api-key")?;
        let (mut gateway, certificate) = self.gateway(invocation)?;
        let key = match given {
            Some(secret) => key::keep(&directory, secret)?,
            None => self.key(invocation, &directory).await?,
        };
        if self.hooks {
            gateway.hooks = Some(self.hook_command(certificate.clone())?);
        }
        let certificate = certificate.as_deref();
        let protocol = self.client.protocol();
        let mut verdict = None;
        match probe::models(&gateway, protocol, certificate, &key.secret).await {
            Ok(models) => gateway.models = models,
            Err(unlisted) => verdict = Some(unlisted.0),
        }
        if let Some(chosen) = self.model.take() {
            begin_with(&mut gateway.models, chosen);
            gateway.chosen = true;
        }
        let plan = plan(self.client, &gateway, &key::file(&directory), &places);
        let files = if self.write {
            self.write(invocation, &directory, &gateway.root, &plan, &key).await?
        } else {
            plan.files.iter().map(FileReport::printed).collect::<CliResult<_>>()?
        };
        if !self.no_verify && verdict.is_none() {
            verdict = match gateway.models.first() {
                Some(model) => Some(probe::ask(&gateway, protocol, &model.id, certificate, &key.secret).await),
                None => Some(nothing_offered(&gateway)),
            };
        }
        let failed = verdict.as_ref().is_some_and(|verdict| !verdict.verified) && !self.no_verify;
        invocation.printer.show(&Connected {
            client: self.client,
            url: gateway.root.clone(),
            written: self.write,
            key: KeyReport {
                origin: key.origin,
                id: key.issued.as_ref().map(|key| key.id.to_string()),
                name: key.issued.as_ref().map(|key| key.name.clone()),
                file: key::file(&directory),
            },
            files,
            shell: shell(&plan, &key::file(&directory)),
            steps: plan.steps,
            verification: verdict.filter(|_| !self.no_verify),
        });
        if failed { Err(CliError::status(Exit::Failure)) } else { Ok(()) }
    }

    /// The gateway of `--url`, else the server of the project where it serves or would, with the certificate it shows.
    fn gateway(&self, invocation: &Invocation) -> CliResult<(Gateway, Option<PathBuf>)> {
        if let Some(url) = &self.url {
            let parsed = url::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            if parsed.is_none_or(|url| url.cannot_be_a_base() || url.query().is_some()) {
                return Err(CliError::invalid_value(format!("--url: `{url}` is no http or https address")));
            }
            // With or without the path of the endpoints, as people copy it.
            let root = url.trim_end_matches('/').trim_end_matches("/v1").to_owned();
            let gateway = Gateway { root, prefix: "/v1".to_owned(), models: Vec::new(), chosen: false, hooks: None };
            return Ok((gateway, None));
        }
        let project = invocation.project()?;
        let profile = &project.configuration.profile;
        let running = instance::running(&project.home).filter(|instance| instance.url.is_some());
        let certificate = running.as_ref().and_then(|instance| instance.certificate.clone());
        let root = running.and_then(|instance| instance.url).unwrap_or_else(|| profile.server.api_external_url.clone());
        Ok((Gateway::of(root, &project.configuration), certificate))
    }

    /// How hooks of the client run this program.
    fn hook_command(&self, certificate: Option<PathBuf>) -> CliResult<HookCommand> {
        if self.client != Client::ClaudeCode {
            let only = format!("--hooks: {} is not told what to run on its events", self.client.name());
            return Err(CliError::invalid_value(only).help("`connect claude-code` is"));
        }
        let program = std::env::current_exe().map_err(|error| CliError::from_error("no_program", &error))?;
        Ok(HookCommand { program, certificate })
    }

    async fn key(&self, invocation: &Invocation, directory: &Path) -> CliResult<ClientKey> {
        let project = match invocation.project() {
            Ok(project) => project,
            // Far from the gateway, the key that was given before serves on.
            Err(error) if error.code == "no_project" => {
                let kept = key::kept(directory).map(|secret| ClientKey { secret, origin: Origin::Kept, issued: None });
                let help = "run it beside the gateway, or give it a key with --api-key -";
                return kept.ok_or_else(|| error.help(help));
            }
            Err(error) => return Err(error),
        };
        let user = self.user.clone().unwrap_or_else(|| project.configuration.profile.system_admin.username.clone());
        let client = self.client;
        let obtain = invocation
            .with_database(async |database| key::obtain(invocation, database, client, &user, directory).await);
        Box::pin(obtain).await
    }

    async fn write(
        &self,
        invocation: &Invocation,
        directory: &Path,
        url: &str,
        plan: &Plan,
        key: &ClientKey,
    ) -> CliResult<Vec<FileReport>> {
        if plan.files.is_empty() {
            return Err(CliError::new("by_hand", format!("{} is set up by hand", self.client.name()))
                .help(format!("`systemprompt connect {}` without --write prints the steps", self.client.name()))
                .exit(Exit::Usage));
        }
        let paths: Vec<_> = plan.files.iter().map(|file| file.path.display().to_string()).collect();
        invocation.confirm(self.yes, &format!("Change {}? A copy is kept beside it.", paths.join(" and "))).await?;
        let mut record = Record::load(directory).unwrap_or_else(|| Record::new(self.client, url.to_owned()));
        url.clone_into(&mut record.url);
        if let Some(issued) = key.issued.as_ref() {
            record.key = Some(issued.id);
        }
        let mut reports = Vec::new();
        for file in &plan.files {
            let applied = record.apply(file, &key.secret);
            record.save(directory).map_err(not_changed)?;
            let (outcome, backup) = applied.map_err(not_changed)?;
            reports.push(FileReport { path: file.path.clone(), outcome: Some(outcome), backup, content: None });
        }
        Ok(reports)
    }

    async fn undo(&self, invocation: &Invocation, directory: &Path) -> CliResult {
        let Some(mut record) = Record::load(directory) else {
            return Err(CliError::new("not_connected", format!("nothing was written for {}", self.client.name()))
                .help("`systemprompt connect` with --write does"));
        };
        invocation.confirm(self.yes, &format!("Take back the settings of {}?", self.client.name())).await?;
        let mut files = Vec::new();
        let mut failed = None;
        for undone in record.undo() {
            match undone {
                Ok((path, outcome)) => {
                    files.push(FileReport { path, outcome: Some(outcome), backup: None, content: None });
                }
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            record.save(directory).map_err(not_changed)?;
            return Err(not_changed(error));
        }
        let key = match record.key {
            None => None,
            Some(id) => {
                let take_back =
                    invocation.with_database(async |database| key::take_back(invocation, database, id).await);
                let taken = Box::pin(take_back).await;
                if let Err(error) = &taken {
                    invocation.printer.alert(format!(
                        "the key {id} is still good: {error}\n`systemprompt admin users api-key revoke {id}` takes it back"
                    ));
                }
                taken.is_ok().then(|| id.to_string())
            }
        };
        Record::forget(directory)
            .map_err(|source| not_changed(RecordError::File { path: directory.to_owned(), source }))?;
        invocation.printer.show(&Undone { client: self.client, files, revoked_key: key });
        Ok(())
    }
}

/// Puts the model of this id first.
fn begin_with(models: &mut Vec<Model>, id: String) {
    let model = match models.iter().position(|model| model.id == id) {
        Some(index) => models.remove(index),
        None => Model { name: id.clone(), id, released: 0 },
    };
    models.insert(0, model);
}

fn nothing_offered(gateway: &Gateway) -> Verdict {
    Verdict {
        verified: false,
        endpoint: format!("GET {}/models", gateway.openai()),
        model: None,
        status: Some(200),
        latency_ms: 0,
        answer: Some("this user may use no model".to_owned()),
        request_id: None,
        help: Some("services/access-control says who may use what; --user issues the key to somebody else".to_owned()),
    }
}

fn not_changed(error: RecordError) -> CliError {
    CliError::new("settings_not_changed", with_causes(&error))
        .help("`systemprompt connect` without --write prints what to put there by hand")
        .exit(Exit::Configuration)
}

/// The variables as lines for a shell. The key stays in its file.
fn shell(plan: &Plan, key_file: &Path) -> Vec<String> {
    let key = format!("\"$(cat {})\"", quoted(&key_file.display().to_string()));
    let line = |(name, assigned): &(&str, Assigned)| match assigned {
        Assigned::Text(text) => format!("export {name}={}", quoted(text)),
        Assigned::Key => format!("export {name}={key}"),
    };
    plan.shell.iter().map(line).collect()
}

#[derive(Serialize)]
struct KeyReport {
    origin: Origin,
    id: Option<String>,
    name: Option<String>,
    file: PathBuf,
}

#[derive(Serialize)]
struct FileReport {
    path: PathBuf,
    outcome: Option<Outcome>,
    backup: Option<PathBuf>,
    /// What to put there, if nothing was.
    content: Option<String>,
}

impl FileReport {
    fn printed(file: &FilePlan) -> CliResult<Self> {
        // Who reads this puts the key there, or lets --write do it.
        let placeholder = Secret::new("sp-live-…");
        let mut content = String::new();
        for setting in &file.settings {
            if let Some(value) = setting.wanted.with(&placeholder) {
                content = file
                    .syntax
                    .set(&content, &setting.place, Some(&value))
                    .map_err(|source| not_changed(RecordError::Document { path: file.path.clone(), source }))?;
            }
        }
        Ok(Self { path: file.path.clone(), outcome: None, backup: None, content: Some(content) })
    }

    fn text(&self) -> Text {
        let path = self.path.display();
        let text = match (self.outcome, &self.content) {
            (None, Some(content)) => {
                let lines: Vec<_> = content.trim_end().lines().map(|line| format!("    {line}")).collect();
                format!("In {path}:\n\n{}", lines.join("\n"))
            }
            (Some(Outcome::Unchanged), _) => format!("{path} has the settings already."),
            (Some(Outcome::Restored), _) => format!("{path} is what it was."),
            (Some(Outcome::Reverted), _) => format!("{path} has its earlier settings back; your other changes stay."),
            (Some(Outcome::Removed), _) => format!("{path} is gone, as it was not there before."),
            (Some(Outcome::Written) | None, _) => match &self.backup {
                Some(backup) => format!("Changed {path}; what it was is in {}.", backup.display()),
                None => format!("Wrote {path}."),
            },
        };
        Text::lines(text)
    }
}

#[derive(Serialize)]
struct Connected {
    client: Client,
    url: String,
    written: bool,
    key: KeyReport,
    files: Vec<FileReport>,
    shell: Vec<String>,
    steps: Vec<String>,
    verification: Option<Verdict>,
}

impl View for Connected {
    fn text(&self, _: Layout) -> Text {
        let key = match (self.key.origin, &self.key.name) {
            (Origin::Issued, Some(name)) => format!("A new key, `{name}`, is in {}.", self.key.file.display()),
            (_, Some(name)) => format!("The key `{name}` is in {}.", self.key.file.display()),
            (_, None) => format!("The key is in {}.", self.key.file.display()),
        };
        let mut parts = vec![Text::line(key)];
        parts.extend(self.files.iter().map(FileReport::text));
        if !self.written && !self.shell.is_empty() {
            let lines: Vec<_> = self.shell.iter().map(|line| format!("    {line}")).collect();
            parts.push(Text::lines(format!("Or for one shell:\n\n{}", lines.join("\n"))));
        }
        if !self.steps.is_empty() {
            let title = if self.files.is_empty() { "By hand:" } else { "Then:" };
            let lines: Vec<_> = self.steps.iter().map(|step| format!("    {step}")).collect();
            parts.push(Text::lines(format!("{title}\n\n{}", lines.join("\n"))));
        }
        parts.extend(self.verification.as_ref().map(verified));
        Text::apart(parts)
    }
}

fn verified(verdict: &Verdict) -> Text {
    let mut lines = Vec::new();
    let answer = verdict.answer.clone().unwrap_or_default();
    let model = verdict.model.as_ref().map(|model| format!(" for {model}")).unwrap_or_default();
    let status = verdict.status.map_or("no answer".to_owned(), |status| status.to_string());
    let word = if verdict.verified { "It works" } else { "It does not work" };
    lines.push(Text::line(format!(
        "{word}: {}{model}: {status}, {} ms: {answer}",
        verdict.endpoint, verdict.latency_ms
    )));
    lines.extend(
        verdict.request_id.as_ref().map(|id| Text::line(format!("    systemprompt infra logs request show {id}"))),
    );
    lines.extend(verdict.help.as_ref().map(|help| Text::line(format!("    {help}"))));
    Text::below(lines)
}

#[derive(Serialize)]
struct Undone {
    client: Client,
    files: Vec<FileReport>,
    revoked_key: Option<String>,
}

impl View for Undone {
    fn text(&self, _: Layout) -> Text {
        let mut lines: Vec<_> = self.files.iter().map(FileReport::text).collect();
        lines.extend(self.revoked_key.as_ref().map(|id| Text::line(format!("The key {id} opens nothing any more."))));
        Text::below(lines)
    }
}
