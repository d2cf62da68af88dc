//! `admin setup`: writes a profile without questions.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::json;
use systemprompt_config::Home;
use systemprompt_config::project::StagedProfile;
use systemprompt_database::{InstallOptions, install};
use systemprompt_identity::{NewUser, UserError};
use systemprompt_model::Secret;
use tokio::time::timeout;

use crate::accounts::refused;
use crate::bounds::{PORT, within};
use crate::change::{About, Change, Changed, made};
use crate::error::{CliError, CliResult, Exit};
use crate::first_profile::{FirstProfile, environment_of, publish, state};
use crate::project::{Invocation, OpenDatabase, Project, cluster_error};
use crate::stop::Stop;
use crate::view::{Layout, Record, Text, View};
use crate::{given, ledger};

/// How long a profile waits for the answer of its database before it is written.
const REACHABLE_WITHIN: Duration = Duration::from_secs(5);

/// Write a profile with its secrets, without questions.
#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// The profile's name, such as `local` or `production`.
    #[arg(short, long, value_name = "NAME")]
    environment: String,
    /// Host of the PostgreSQL to use. Without any --db option the profile uses a managed cluster.
    #[arg(long)]
    db_host: Option<String>,
    /// Its port.
    #[arg(long, default_value_t = 5432, value_parser = within::<u16>(PORT))]
    db_port: u16,
    /// Its user.
    #[arg(long, requires = "db_host")]
    db_user: Option<String>,
    /// Its password; `-` reads it from standard input: one line for each option given so, in the order of this list.
    #[arg(long, requires = "db_host", value_parser = given::parse)]
    db_password: Option<Secret>,
    /// Its database.
    #[arg(long, requires = "db_host")]
    db_name: Option<String>,
    /// The address to serve on.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port to serve on.
    #[arg(long, default_value_t = 8080, value_parser = within::<u16>(PORT))]
    port: u16,
    /// Added to all ports of agents and MCP servers.
    #[arg(long, default_value_t = 0, value_parser = within::<u16>(0..=65_535))]
    port_offset: u16,
    /// Key of the Anthropic API; `-` reads it from standard input.
    #[arg(long, env = "ANTHROPIC_API_KEY", hide_env_values = true, value_parser = given::parse)]
    anthropic_key: Option<Secret>,
    /// Key of the OpenAI API; `-` reads it from standard input.
    #[arg(long, env = "OPENAI_API_KEY", hide_env_values = true, value_parser = given::parse)]
    openai_key: Option<Secret>,
    /// Key of the Gemini API; `-` reads it from standard input.
    #[arg(long, env = "GEMINI_API_KEY", hide_env_values = true, value_parser = given::parse)]
    gemini_key: Option<Secret>,
    /// The provider that gets every model no route matches.
    #[arg(long)]
    default_provider: Option<String>,
    /// E-mail address of the administrator.
    #[arg(long, value_name = "EMAIL")]
    admin_email: Option<String>,
    /// Bring the database up to date afterwards.
    #[arg(long, overrides_with = "no_migrate")]
    migrate: bool,
    /// Leave the database alone (the default).
    #[arg(long)]
    no_migrate: bool,
    /// Show what would be written.
    #[arg(long)]
    dry_run: bool,
    /// Replace a profile of this name.
    #[arg(long)]
    force: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl Setup {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        // A question about the ledger and a migration may start PostgreSQL.
        let stop = Stop::listen()?;
        let Some(written) = stop.or(Box::pin(self.write(invocation))).await else {
            invocation.stop_unused_cluster().await?;
            return Err(CliError::interrupted());
        };
        written
    }

    async fn write(self, invocation: &Invocation) -> CliResult {
        let home = invocation.home_or_new()?;
        let first = self.profile()?;
        let directory = home.profile_dir(&first.name);
        let names: Vec<_> = first.secrets.keys().cloned().collect();
        if self.dry_run {
            first.rehearse(&home, self.force)?;
            let providers = first.providers();
            invocation.printer.show(&Rehearsed { dry_run: true, profile: directory, secrets: names, providers });
            return Ok(());
        }
        let replaces = self.force && directory.exists();
        if replaces {
            invocation
                .confirm(self.yes, &format!("Replace the profile {} and its secrets?", directory.display()))
                .await?;
        }
        let staged = first.stage(invocation, &home, replaces)?;
        let ledger = find_ledger(invocation, &home, &first.name, replaces, &staged).await;
        let write = async || {
            let before = state(&directory);
            if replaces {
                move_aside(invocation, &home, &first.name)?;
            }
            let file = publish(staged)?;
            Ok(Changed { value: file, before, after: state(&directory) })
        };
        let place = ledger.as_ref().map(|(project, database)| (project, database));
        let written = invocation.change_in(&home, place, first.change(replaces), write).await;
        if let Some((_, database)) = ledger {
            database.close().await;
        }
        let file = written?;
        let project = Project::load(home, Some(first.name.clone()), &invocation.environment, &invocation.printer)?;
        let migrations =
            if self.migrate && !self.no_migrate { Some(migrate(invocation, &project).await?) } else { None };
        let migrated = migrations.is_some();
        invocation.printer.show(&Written { profile: first.name, file, secrets: names, migrated, migrations });
        Ok(())
    }

    fn profile(&self) -> CliResult<FirstProfile> {
        let mut secrets: BTreeMap<String, Secret> = BTreeMap::new();
        // In the order in which the options are documented, which is the order of the lines of standard input.
        if let Some(url) = self.database_url()? {
            secrets.insert("database_url".to_owned(), url);
        }
        for (name, option, key) in [
            ("anthropic", "--anthropic-key", &self.anthropic_key),
            ("openai", "--openai-key", &self.openai_key),
            ("gemini", "--gemini-key", &self.gemini_key),
        ] {
            secrets.extend(given::secret(key.clone(), option)?.map(|key| (name.to_owned(), key)));
        }
        let first = FirstProfile {
            name: self.environment.clone(),
            environment: environment_of(&self.environment),
            host: self.host,
            port: self.port,
            admin_email: self.admin_email.clone(),
            default_provider: self.default_provider.clone(),
            port_offset: self.port_offset,
            secrets,
        };
        first.ensure_providers()?;
        if first.port.checked_add(first.port_offset).is_none() {
            let sum = u32::from(first.port) + u32::from(first.port_offset);
            return Err(CliError::invalid_value(format!(
                "--port and --port-offset add up to {sum}; 65535 is the last port"
            )));
        }
        if let Some(email) = &first.admin_email {
            let admin = NewUser { name: "admin".to_owned(), email: email.clone(), ..NewUser::default() };
            admin.normalised().map_err(|problems| refused(UserError::Invalid(problems)))?;
        }
        Ok(first)
    }

    fn database_url(&self) -> CliResult<Option<Secret>> {
        let Some(host) = &self.db_host else { return Ok(None) };
        let password = given::secret(self.db_password.clone(), "--db-password")?;
        let invalid = |what: &str| CliError::invalid_value(format!("the database {what} cannot be part of a URL"));
        let mut url = url::Url::parse("postgres://localhost").map_err(|_| invalid("scheme"))?;
        url.set_host(Some(host)).map_err(|_| invalid("host"))?;
        url.set_port(Some(self.db_port)).map_err(|()| invalid("port"))?;
        url.set_username(self.db_user.as_deref().unwrap_or("systemprompt")).map_err(|()| invalid("user"))?;
        url.set_password(password.as_ref().map(Secret::expose)).map_err(|()| invalid("password"))?;
        url.set_path(self.db_name.as_deref().unwrap_or("systemprompt"));
        Ok(Some(Secret::new(url.to_string())))
    }
}

/// Moves a profile aside rather than deleting it: it holds keys that exist nowhere else.
fn move_aside(invocation: &Invocation, home: &Home, name: &str) -> CliResult {
    let now = invocation.ambient.now().format("%Y%m%d%H%M%S").to_string();
    let aside = home.replaced_profile_dir(name, &now);
    std::fs::rename(home.profile_dir(name), &aside)
        .map_err(|error| CliError::from_error("home_not_writable", &error).exit(Exit::Configuration))?;
    invocation.printer.note(format!("the old profile is now {}", aside.display()));
    Ok(())
}

/// Where the change is recorded: the ledger of the profile that is replaced, else the one the new profile comes to.
/// Nothing if neither is there yet, or can be reached.
async fn find_ledger(
    invocation: &Invocation,
    home: &Home,
    name: &str,
    replaces: bool,
    staged: &StagedProfile,
) -> Option<(Project, OpenDatabase)> {
    let replaced = replaces.then(|| name.to_owned());
    for profile in replaced.into_iter().chain([staged.staged().display().to_string()]) {
        // What is wrong with a profile is told when it is used.
        let Ok((Some(project), _)) = Project::inspect(home.clone(), Some(profile), &invocation.environment) else {
            continue;
        };
        match existing_ledger(invocation, &project).await {
            Ok(Some(database)) => return Some((project, database)),
            Ok(None) => {}
            Err(error) => {
                invocation.printer.note(format!("this change is recorded when the server starts; for now: {error}"));
            }
        }
    }
    None
}

/// The database of this project, if it has a ledger already. No cluster is made for the question.
async fn existing_ledger(invocation: &Invocation, project: &Project) -> CliResult<Option<OpenDatabase>> {
    if project.is_managed() {
        let cluster = project.managed_cluster(&invocation.environment, &invocation.ambient)?;
        if cluster.status().map_err(|error| cluster_error(&error))?.major.is_none() {
            return Ok(None);
        }
    }
    let opening = project.open_database(&invocation.environment, &invocation.ambient, "cli");
    let database = if project.is_managed() {
        opening.await?
    } else {
        let late = || CliError::new("db_unreachable", "the database does not answer").exit(Exit::Unavailable);
        timeout(REACHABLE_WITHIN, opening).await.map_err(|_| late())??
    };
    match ledger::exists(&database.db).await {
        Ok(true) => Ok(Some(database)),
        other => {
            database.close().await;
            other.map(|_| None)
        }
    }
}

/// Brings the database of a new profile up to date, and gives the number of migrations.
async fn migrate(invocation: &Invocation, project: &Project) -> CliResult<usize> {
    let database = project.open_database(&invocation.environment, &invocation.ambient, "cli").await?;
    let options = InstallOptions { applied_by: env!("CARGO_PKG_VERSION").to_owned(), ..InstallOptions::default() };
    let migrate = async || {
        let report = install(&database.db, &project.registry.modules(), &options).await;
        report.map(made).map_err(|error| CliError::from_error("db_migrate", &error))
    };
    let change = Change::new("schema.migrate", About::new("database", database.db.target().database), &json!({}));
    let migrated = invocation.change_in(&project.home, Some((project, &database)), change, migrate).await;
    database.close().await;
    Ok(migrated?.migrations())
}

/// What would be written.
#[derive(Serialize)]
struct Rehearsed {
    dry_run: bool,
    profile: PathBuf,
    secrets: Vec<String>,
    providers: String,
}

impl View for Rehearsed {
    fn text(&self, layout: Layout) -> Text {
        layout.record(
            &Record::new()
                .with("would write", self.profile.display().to_string())
                .with("secrets", self.secrets.join(", "))
                .with("providers", self.providers.clone()),
        )
    }
}

/// What was written.
#[derive(Serialize)]
struct Written {
    profile: String,
    file: PathBuf,
    secrets: Vec<String>,
    migrated: bool,
    #[serde(skip)]
    migrations: Option<usize>,
}

impl View for Written {
    fn text(&self, layout: Layout) -> Text {
        layout.record(
            &Record::new()
                .with("profile", self.file.display().to_string())
                .with("secrets", self.secrets.join(", "))
                .with("database", self.migrations.map(|count| format!("up to date, {count} migrations")))
                .with("next", format!("systemprompt up --profile {}", self.profile)),
        )
    }
}
