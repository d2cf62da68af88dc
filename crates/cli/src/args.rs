//! The command line: every argument of every command. The doc comments are the help texts and the reference.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use systemprompt_model::Secret;

/// Govern, record and serve every use of AI, on your own machines.
#[derive(Debug, Parser)]
#[command(
    name = "systemprompt",
    version,
    propagate_version = true,
    max_term_width = 110,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Options every command takes.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options every command takes, before or after its name.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// The project home; by default `.systemprompt` here or in a directory above.
    #[arg(long, global = true, value_name = "DIR", env = "SYSTEMPROMPT_HOME")]
    pub home: Option<PathBuf>,
    /// The profile: a name, or the path of a profile or its directory.
    #[arg(long, global = true, value_name = "NAME|PATH", env = "SYSTEMPROMPT_PROFILE")]
    pub profile: Option<String>,
    /// The database, for commands that need nothing else: `infra db`, `infra logs`, `admin users`. `-` reads it from
    /// standard input.
    #[arg(long, global = true, value_name = "URL", env = "SYSTEMPROMPT_DATABASE_URL", hide_env_values = true, value_parser = secret)]
    pub database_url: Option<Secret>,
    /// Print one JSON document.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print one YAML document.
    #[arg(long, global = true, conflicts_with = "json")]
    pub yaml: bool,
    /// Say more.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Print results and errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Show the causes of errors and log everything.
    #[arg(long, global = true)]
    pub debug: bool,
    /// No colours or boxes.
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Never ask; a missing value is an error.
    #[arg(long, global = true)]
    pub non_interactive: bool,
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set up what is missing and run the server.
    Up(Up),
    /// People, keys and configuration.
    #[command(subcommand)]
    Admin(Admin),
    /// The running system: server, database, logs and audit.
    #[command(subcommand)]
    Infra(Infra),
    /// What is built into this binary.
    #[command(subcommand, visible_alias = "extensions")]
    Plugins(Plugins),
    /// Write the generated reference pages.
    #[command(hide = true)]
    Reference {
        /// The directory to write them to.
        directory: PathBuf,
    },
}

/// Set up what is missing and run the server.
///
/// The first run creates the project home, a PostgreSQL cluster inside it, an administrator and an API key, and enables
/// the offline demo provider. ANTHROPIC_API_KEY, OPENAI_API_KEY and GEMINI_API_KEY, when set, add those providers.
///
/// The API key is shown once. If the process dies in the moment between storing it and showing it, `admin users api-key
/// issue admin` makes another.
#[derive(Debug, Clone, Args)]
pub struct Up {
    /// The address to serve on; on the first run it is written into the profile. [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<IpAddr>,
    /// The port to serve on; on the first run it is written into the profile. 0 takes any free one, this time only.
    /// [default: 8080]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Do not bring the database schema up to date; fail if it is not.
    #[arg(long)]
    pub skip_migrate: bool,
    /// Do not show the product at work after the first set-up.
    #[arg(long)]
    pub no_demo: bool,
}

/// People, keys and configuration.
#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Write a profile with its secrets, without questions.
    Setup(Setup),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(Config),
    /// Accounts and their API keys.
    #[command(subcommand)]
    Users(Users),
}

/// Write a profile with its secrets, without questions.
#[derive(Debug, Clone, Args)]
pub struct Setup {
    /// The profile's name, such as `local` or `production`.
    #[arg(short, long, value_name = "NAME")]
    pub environment: String,
    /// Host of the PostgreSQL to use. Without any --db option the profile uses a managed cluster.
    #[arg(long)]
    pub db_host: Option<String>,
    /// Its port.
    #[arg(long, default_value_t = 5432)]
    pub db_port: u16,
    /// Its user.
    #[arg(long, requires = "db_host")]
    pub db_user: Option<String>,
    /// Its password; `-` reads it from standard input: one line for each option given so, in the order of this list.
    #[arg(long, requires = "db_host", value_parser = secret)]
    pub db_password: Option<Secret>,
    /// Its database.
    #[arg(long, requires = "db_host")]
    pub db_name: Option<String>,
    /// The address to serve on.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// The port to serve on.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Added to all ports of agents and MCP servers.
    #[arg(long, default_value_t = 0)]
    pub port_offset: u16,
    /// Key of the Anthropic API; `-` reads it from standard input.
    #[arg(long, env = "ANTHROPIC_API_KEY", hide_env_values = true, value_parser = secret)]
    pub anthropic_key: Option<Secret>,
    /// Key of the OpenAI API; `-` reads it from standard input.
    #[arg(long, env = "OPENAI_API_KEY", hide_env_values = true, value_parser = secret)]
    pub openai_key: Option<Secret>,
    /// Key of the Gemini API; `-` reads it from standard input.
    #[arg(long, env = "GEMINI_API_KEY", hide_env_values = true, value_parser = secret)]
    pub gemini_key: Option<Secret>,
    /// The provider that gets every model no route matches.
    #[arg(long)]
    pub default_provider: Option<String>,
    /// E-mail address of the administrator.
    #[arg(long, value_name = "EMAIL")]
    pub admin_email: Option<String>,
    /// Bring the database up to date afterwards.
    #[arg(long, overrides_with = "no_migrate")]
    pub migrate: bool,
    /// Leave the database alone (the default).
    #[arg(long)]
    pub no_migrate: bool,
    /// Show what would be written.
    #[arg(long)]
    pub dry_run: bool,
    /// Replace a profile of this name.
    #[arg(long)]
    pub force: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
}

/// Look at the configuration.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// The configuration in force, secrets masked.
    Show {
        /// Only this part, as a dotted path such as `server.port`.
        path: Option<String>,
    },
    /// Check everything that start-up checks, and report every problem. Exit status 78 if there are errors.
    Validate {
        /// Treat warnings as errors.
        #[arg(long)]
        strict: bool,
        /// Print the JSON Schema of the profile instead.
        #[arg(long)]
        schema: bool,
    },
}

/// Accounts and their API keys. A USER is a name, an e-mail address or an id.
#[derive(Debug, Subcommand)]
pub enum Users {
    /// Accounts.
    List {
        /// At most this many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Leave out this many.
        #[arg(long, default_value_t = 0)]
        offset: u32,
        /// Only those with this role.
        #[arg(long)]
        role: Option<String>,
        /// Only those in this state.
        #[arg(long)]
        status: Option<String>,
    },
    /// One account.
    Show {
        /// Name, e-mail address or id.
        user: String,
        /// With its latest sessions.
        #[arg(long)]
        sessions: bool,
        /// With its latest requests.
        #[arg(long)]
        activity: bool,
    },
    /// Accounts whose name, e-mail address or full name contains a text.
    Search {
        /// The text.
        text: String,
        /// At most this many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Make an account.
    Create {
        /// Unique name.
        #[arg(long)]
        name: String,
        /// Unique e-mail address.
        #[arg(long)]
        email: String,
        /// Full name.
        #[arg(long)]
        full_name: Option<String>,
        /// Name shown to others.
        #[arg(long)]
        display_name: Option<String>,
        /// Roles beside `user`.
        #[arg(long, value_delimiter = ',')]
        roles: Vec<String>,
        /// Do nothing if the name is taken.
        #[arg(long)]
        if_not_exists: bool,
    },
    /// Change an account.
    Update {
        /// Name, e-mail address or id.
        user: String,
        /// E-mail address.
        #[arg(long)]
        email: Option<String>,
        /// Full name.
        #[arg(long)]
        full_name: Option<String>,
        /// Name shown to others.
        #[arg(long)]
        display_name: Option<String>,
        /// State: active, inactive, suspended or pending.
        #[arg(long)]
        status: Option<String>,
        /// Whether the e-mail address is known to be theirs.
        #[arg(long)]
        email_verified: Option<bool>,
        /// All roles.
        #[arg(long, value_delimiter = ',')]
        roles: Option<Vec<String>>,
    },
    /// Delete an account: its keys are revoked, its records stay.
    Delete {
        /// Name, e-mail address or id.
        user: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// How many accounts there are.
    Count,
    /// API keys.
    #[command(subcommand)]
    ApiKey(ApiKey),
}

/// API keys.
#[derive(Debug, Subcommand)]
pub enum ApiKey {
    /// Make a key. It is shown once.
    Issue {
        /// Whose.
        user: String,
        /// What it is for.
        #[arg(long, default_value = "api key")]
        name: String,
        /// Days until it expires; never, unless given.
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// The keys of an account.
    List {
        /// Whose.
        user: String,
    },
    /// Take a key back. It is refused from the next request on.
    Revoke {
        /// The key's id or visible prefix.
        key: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

/// The running system: server, database, logs and audit.
#[derive(Debug, Subcommand)]
pub enum Infra {
    /// Start, stop and look at the server of this home.
    #[command(subcommand)]
    Services(Services),
    /// The database.
    #[command(subcommand)]
    Db(Db),
    /// Logs, requests and the audit.
    #[command(subcommand)]
    Logs(Logs),
}

/// Start, stop and look at the server of this home.
#[derive(Debug, Subcommand)]
pub enum Services {
    /// Start the server in the background and wait until it is ready.
    Start {
        /// Options of the server.
        #[command(flatten)]
        up: Up,
        /// Seconds to wait.
        #[arg(long, default_value_t = 60)]
        timeout: u64,
    },
    /// Stop the server and wait until it is gone.
    Stop {
        /// Seconds to wait for requests to finish before giving up.
        #[arg(long, default_value_t = 60)]
        timeout: u64,
    },
    /// Whether the server runs, where, and how it is doing. Exit status 1 if it does not run.
    Status,
}

/// The database.
#[derive(Debug, Subcommand)]
pub enum Db {
    /// Whether it is reachable, migrated, and how many tables it has. Exit status 1 if it is not reachable.
    Status,
    /// Server, database, size and pools.
    Info,
    /// Tables with their owners, rows (estimated) and sizes.
    Tables {
        /// Only names that contain this.
        #[arg(long)]
        filter: Option<String>,
    },
    /// Columns, indexes and foreign keys of a table.
    Describe {
        /// The table, optionally with its schema.
        table: String,
    },
    /// Rows of a table, counted exactly.
    Count {
        /// The table.
        table: String,
    },
    /// Size of the database and its largest tables.
    Size,
    /// Indexes.
    Indexes {
        /// Only those of this table.
        #[arg(long)]
        table: Option<String>,
    },
    /// Run one reading statement, in a read-only transaction.
    Query {
        /// SELECT, WITH, EXPLAIN, SHOW, TABLE or VALUES.
        sql: String,
        /// At most this many rows.
        #[arg(long, default_value_t = 1000)]
        limit: u64,
        /// Leave out this many rows.
        #[arg(long, default_value_t = 0)]
        offset: u64,
    },
    /// Run one statement that changes something.
    Execute {
        /// The statement.
        sql: String,
        /// Run it and roll back.
        #[arg(long)]
        dry_run: bool,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Bring the schema up to date.
    Migrate {
        /// Go on although an applied migration has changed since.
        #[arg(long)]
        allow_checksum_drift: bool,
        /// Apply migrations that are older than one already applied.
        #[arg(long)]
        allow_out_of_order: bool,
    },
    /// What `migrate` would do.
    MigratePlan {
        /// Only this extension.
        extension: Option<String>,
    },
    /// Applied, pending, drifted and orphaned migrations.
    MigrateStatus {
        /// Only this extension.
        extension: Option<String>,
    },
    /// Deal with migrations that changed after they were applied. Without --apply it shows what it would do.
    MigrateRepair {
        /// Only this extension.
        extension: Option<String>,
        /// Do it: run them again and record the new checksum.
        #[arg(long)]
        apply: bool,
        /// Only record the new checksum.
        #[arg(long)]
        reconcile_only: bool,
    },
    /// Compare the declared schema with the live one.
    Doctor {
        /// Exit status 1 if there are findings.
        #[arg(long)]
        strict: bool,
    },
}

/// Logs, requests and the audit.
#[derive(Debug, Subcommand)]
pub enum Logs {
    /// Governed model requests.
    #[command(subcommand)]
    Request(RequestLogs),
    /// Everything recorded about a request, and whether the ledger was tampered with.
    Audit(Audit),
    /// The latest log lines.
    View(LogFilter),
    /// Log lines that contain a text.
    Search {
        /// The text, in the message or its fields.
        text: String,
        /// Which lines.
        #[command(flatten)]
        filter: LogFilter,
    },
    /// Log lines as they come, until interrupted.
    Stream {
        /// Only this level.
        #[arg(long)]
        level: Option<Level>,
        /// Only lines that contain this.
        #[arg(long)]
        text: Option<String>,
    },
}

/// Everything recorded about a request: who, decision, messages, tools, cost.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Audit {
    /// Something else to ask of the ledger.
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
    /// The request's or trace's id, or the beginning of one.
    #[arg(required = true)]
    pub id: Option<String>,
    /// All recorded content, not cut.
    #[arg(long)]
    pub full: bool,
}

/// What else can be asked of the ledger.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Recompute the hash chain from the rows it speaks about. Exit status 1 if they do not agree, naming the first entry
    /// that does not.
    Verify {
        /// The first entry; the oldest one unless given.
        #[arg(long, value_name = "SEQ")]
        from: Option<i64>,
        /// The last entry; the newest one unless given.
        #[arg(long, value_name = "SEQ")]
        to: Option<i64>,
    },
}

/// Which log lines.
#[derive(Debug, Clone, Args)]
pub struct LogFilter {
    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 50)]
    pub limit: u32,
    /// Only since then: `2026-01-31`, `2026-01-31T12:00:00Z`, or `15m`, `2h`, `7d` ago.
    #[arg(long)]
    pub since: Option<String>,
    /// Only until then.
    #[arg(long)]
    pub until: Option<String>,
    /// Only this level.
    #[arg(long)]
    pub level: Option<Level>,
    /// Only this trace.
    #[arg(long)]
    pub trace: Option<String>,
}

/// Level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Someone should act.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What happens.
    Info,
}

/// Governed model requests.
#[derive(Debug, Subcommand)]
pub enum RequestLogs {
    /// The latest requests.
    List {
        /// At most this many.
        #[arg(short = 'n', long, default_value_t = 20)]
        limit: u32,
        /// Only since then: `2026-01-31`, `2026-01-31T12:00:00Z`, or `15m`, `2h`, `7d` ago.
        #[arg(long)]
        since: Option<String>,
        /// Only until then.
        #[arg(long)]
        until: Option<String>,
        /// Only of this provider.
        #[arg(long)]
        provider: Option<String>,
        /// Only of this model.
        #[arg(long)]
        model: Option<String>,
        /// Only of this user.
        #[arg(long)]
        user: Option<String>,
        /// Go on after the cursor the last page printed.
        #[arg(long)]
        before: Option<String>,
    },
    /// One request.
    Show {
        /// Its id, or the beginning of it.
        id: String,
        /// With what was said.
        #[arg(short, long)]
        messages: bool,
        /// With the tools that were called.
        #[arg(short, long)]
        tools: bool,
    },
    /// Requests, tokens and cost by provider and model.
    Stats {
        /// Only since then.
        #[arg(long)]
        since: Option<String>,
    },
}

/// What is built into this binary.
#[derive(Debug, Subcommand)]
pub enum Plugins {
    /// The extensions, in load order.
    List {
        /// Only ids or names that contain this.
        #[arg(long)]
        filter: Option<String>,
        /// Only those that declare this.
        #[arg(long)]
        capability: Option<Capability>,
    },
    /// One extension with all it declares.
    Show {
        /// Its id.
        id: String,
    },
    /// Check every declaration. Exit status 1 if something is wrong.
    Validate,
    /// Everything declared, by kind.
    Capabilities {
        /// Only this kind.
        kind: Option<Capability>,
        /// Only this extension.
        #[arg(long)]
        extension: Option<String>,
        /// Leave out what is disabled.
        #[arg(long)]
        enabled: bool,
    },
}

/// A kind of declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Capability {
    /// Tables.
    Schemas,
    /// HTTP routes.
    Routes,
    /// Configuration.
    Config,
    /// Roles.
    Roles,
    /// Permissions.
    Permissions,
}
