//! Writing a profile: what `admin setup` and the first `up` share.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::json;
use systemprompt_config::profile::EnvironmentKind;
use systemprompt_config::project::{NewProject, ProfileText, ProjectError};
use systemprompt_config::{Environment, Home, environment};
use systemprompt_database::{InstallOptions, install};
use systemprompt_identity::SigningKeys;
use systemprompt_model::Secret;

use crate::args::Setup;
use crate::error::{CliError, CliResult, Exit};
use crate::given;
use crate::printer::Record;
use crate::project::{Invocation, Project};

/// What a new profile is about.
pub(crate) struct FirstProfile {
    name: String,
    environment: EnvironmentKind,
    host: IpAddr,
    port: u16,
    admin_email: Option<String>,
    secrets: BTreeMap<String, Secret>,
    default_provider: Option<String>,
    port_offset: u16,
}

/// A model API that is enabled by its key.
struct KnownProvider {
    name: &'static str,
    wire: &'static str,
    surface: &'static str,
    endpoint: &'static str,
}

/// Gemini is reached through its OpenAI-compatible endpoint.
const KNOWN: [KnownProvider; 3] = [
    KnownProvider {
        name: "anthropic",
        wire: "anthropic",
        surface: "anthropic",
        endpoint: "https://api.anthropic.com/v1",
    },
    KnownProvider { name: "openai", wire: "openai-chat", surface: "openai", endpoint: "https://api.openai.com/v1" },
    KnownProvider {
        name: "gemini",
        wire: "openai-chat",
        surface: "openai",
        endpoint: "https://generativelanguage.googleapis.com/v1beta/openai",
    },
];

impl FirstProfile {
    /// The profile of a first `up`: on this address, with the providers whose keys are in the environment.
    pub(crate) fn local(host: IpAddr, port: u16, env: &Environment) -> Self {
        let keys = [
            ("anthropic", environment::ANTHROPIC_API_KEY),
            ("openai", environment::OPENAI_API_KEY),
            ("gemini", environment::GEMINI_API_KEY),
        ];
        let secrets = keys
            .into_iter()
            .filter_map(|(name, variable)| Some((name.to_owned(), Secret::new(env.get(variable)?))))
            .collect();
        Self {
            name: "local".to_owned(),
            environment: EnvironmentKind::Development,
            host,
            port,
            admin_email: None,
            secrets,
            default_provider: None,
            port_offset: 0,
        }
    }

    /// The `providers` key. The demo provider is left out of production.
    fn providers(&self) -> String {
        let mut list = Vec::new();
        if self.environment != EnvironmentKind::Production {
            list.push("- name: demo\n  display_name: Demo (offline, deterministic answers)\n  wire: demo\n  surface: anthropic\n".to_owned());
        }
        for known in KNOWN.iter().filter(|known| self.secrets.contains_key(known.name)) {
            list.push(format!(
                "- name: {}\n  wire: {}\n  surface: {}\n  endpoint: {}\n  api_key_secret: {}\n",
                known.name, known.wire, known.surface, known.endpoint, known.name
            ));
        }
        if list.is_empty() { "[]".to_owned() } else { list.concat() }
    }

    fn gateway(&self) -> String {
        let default = self
            .default_provider
            .as_ref()
            .map(|provider| format!("default_provider: {provider}\n"))
            .unwrap_or_default();
        format!("enabled: true\n{default}")
    }
}

/// Writes a profile into `home`.
pub(crate) fn write_profile(invocation: &Invocation, home: &Home, first: &FirstProfile) -> CliResult<PathBuf> {
    let section =
        |key: &str, comment: &str, yaml: String| ProfileText { key: key.to_owned(), comment: comment.to_owned(), yaml };
    let mut sections = vec![
        section(
            "providers",
            "Where model requests go. Models and prices come from the built-in catalog unless listed here.",
            first.providers(),
        ),
        section("gateway", "The endpoints under /v1.", first.gateway()),
    ];
    if first.port_offset > 0 {
        sections.push(section(
            "services",
            "Added to the ports of agents and MCP servers.",
            format!("port_offset: {}\n", first.port_offset),
        ));
    }
    let bin = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from("."));
    let project = NewProject {
        name: first.name.clone(),
        environment: first.environment,
        admin_email: first.admin_email.clone(),
        sections,
        secrets: first.secrets.clone(),
        ..NewProject::local(home.clone(), first.host.to_string(), first.port, bin)
    };
    let file = project.write(&invocation.ambient).map_err(|error| {
        let failure = CliError::from_error("profile_not_written", &error).exit(Exit::Configuration);
        match error {
            ProjectError::Exists { .. } => failure.help("--force replaces it").exit(Exit::Conflict),
            ProjectError::Write { .. } => {
                failure.help("choose another place with --home DIR, or make this one writable")
            }
            _ => failure,
        }
    })?;
    // Here and not at the first start: replicas of a production profile share the key this makes.
    SigningKeys::load_or_generate(&home.signing_key(&first.name), invocation.ambient.now())
        .map_err(|error| CliError::from_error("signing_key", &error).exit(Exit::Configuration))?;
    Ok(file)
}

/// `admin setup`: writes a profile without questions.
pub(crate) async fn run(invocation: &Invocation, args: Setup) -> CliResult {
    let home = invocation.home_or_new();
    let environment = match args.environment.as_str() {
        "production" | "prod" => EnvironmentKind::Production,
        "staging" => EnvironmentKind::Staging,
        "test" => EnvironmentKind::Test,
        _ => EnvironmentKind::Development,
    };
    let mut secrets: BTreeMap<String, Secret> = BTreeMap::new();
    // In the order in which the options are documented, which is the order of the lines of standard input.
    if let Some(url) = database_url(&args)? {
        secrets.insert("database_url".to_owned(), url);
    }
    for (name, option, key) in [
        ("anthropic", "--anthropic-key", &args.anthropic_key),
        ("openai", "--openai-key", &args.openai_key),
        ("gemini", "--gemini-key", &args.gemini_key),
    ] {
        secrets.extend(given::secret(key.clone(), option)?.map(|key| (name.to_owned(), key)));
    }
    if environment == EnvironmentKind::Production && !KNOWN.iter().any(|known| secrets.contains_key(known.name)) {
        return Err(CliError::new("no_provider", "a production profile needs at least one provider")
            .help("give --anthropic-key, --openai-key or --gemini-key; the demo provider is for trying things out")
            .exit(Exit::Usage));
    }
    let first = FirstProfile {
        name: args.environment.clone(),
        environment,
        host: args.host,
        port: args.port,
        admin_email: args.admin_email.clone(),
        default_provider: args.default_provider.clone(),
        port_offset: args.port_offset,
        secrets,
    };
    let directory = home.profile_dir(&first.name);
    let names: Vec<_> = first.secrets.keys().cloned().collect();
    if args.dry_run {
        let value = json!({"dry_run": true, "profile": directory, "secrets": names, "providers": first.providers()});
        invocation.printer.record(&value, || {
            Record::new()
                .with("would write", directory.display().to_string())
                .with("secrets", names.join(", "))
                .with("providers", first.providers())
        });
        return Ok(());
    }
    if args.force && directory.exists() {
        invocation.confirm(args.yes, &format!("Replace the profile {} and its secrets?", directory.display()))?;
        // Moved aside rather than deleted: it holds keys that exist nowhere else.
        let aside = directory.with_file_name(format!(
            "{}.replaced-{}",
            first.name,
            invocation.ambient.now().format("%Y%m%d%H%M%S")
        ));
        std::fs::rename(&directory, &aside)
            .map_err(|error| CliError::from_error("home_not_writable", &error).exit(Exit::Configuration))?;
        invocation.printer.note(format!("the old profile is now {}", aside.display()));
    }
    let file = write_profile(invocation, &home, &first)?;
    let project = Project::load(home, Some(first.name.clone()), &invocation.environment, &invocation.printer)?;
    let migrated = if args.migrate && !args.no_migrate {
        let database = project.open_database(&invocation.environment, &invocation.ambient, "cli").await?;
        let options = InstallOptions { applied_by: env!("CARGO_PKG_VERSION").to_owned(), ..InstallOptions::default() };
        let report = install(&database.db, &project.registry.modules(), &options).await;
        database.close().await;
        Some(report.map_err(|error| CliError::from_error("db_migrate", &error))?.migrations())
    } else {
        None
    };
    let value = json!({"profile": first.name, "file": file, "secrets": names, "migrated": migrated.is_some()});
    invocation.printer.record(&value, || {
        Record::new()
            .with("profile", file.display().to_string())
            .with("secrets", names.join(", "))
            .with("database", migrated.map(|count| format!("up to date, {count} migrations")))
            .with("next", format!("systemprompt up --profile {}", first.name))
    });
    Ok(())
}

fn database_url(args: &Setup) -> CliResult<Option<Secret>> {
    let Some(host) = &args.db_host else { return Ok(None) };
    let password = given::secret(args.db_password.clone(), "--db-password")?;
    let invalid = |what: &str| {
        CliError::new("invalid_value", format!("the database {what} cannot be part of a URL")).exit(Exit::Usage)
    };
    let mut url = url::Url::parse("postgres://localhost").map_err(|_| invalid("scheme"))?;
    url.set_host(Some(host)).map_err(|_| invalid("host"))?;
    url.set_port(Some(args.db_port)).map_err(|()| invalid("port"))?;
    url.set_username(args.db_user.as_deref().unwrap_or("systemprompt")).map_err(|()| invalid("user"))?;
    url.set_password(password.as_ref().map(Secret::expose)).map_err(|()| invalid("password"))?;
    url.set_path(args.db_name.as_deref().unwrap_or("systemprompt"));
    Ok(Some(Secret::new(url.to_string())))
}
