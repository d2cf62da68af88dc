//! The process's log: text or JSON on standard error, and for a server also what goes into the `logs` table.

use systemprompt_config::profile::{LogLevel, OutputFormat, Runtime};
use systemprompt_config::{Environment, environment};
use systemprompt_model::Ambient;
use systemprompt_server::logs::{self, LogSink};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::globals::Globals;

/// Installs the subscriber of this process. A server says what it does; commands log warnings, unless a flag or the
/// environment asks for more or less. `runtime` is what flags, environment and profile together ask for.
pub(crate) fn install(
    globals: &Globals,
    env: &Environment,
    runtime: &Runtime,
    is_server: bool,
    ambient: &Ambient,
) -> Option<LogSink> {
    let was_asked =
        globals.debug || globals.verbose || globals.quiet || env.get(environment::SYSTEMPROMPT_LOG_LEVEL).is_some();
    let level = match runtime.log_level {
        LogLevel::Normal | LogLevel::Verbose | LogLevel::Debug if !is_server && !was_asked => "warn",
        level => level.filter(),
    };
    // Libraries are told to be brief: their debug lines are about them, not about us.
    let ours = format!("{},systemprompt={level}", if level == "error" { "error" } else { "warn" });
    let filter = match env.get(environment::RUST_LOG) {
        Some(directives) => EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new(&ours)),
        None => EnvFilter::new(&ours),
    };
    let json = runtime.output_format == OutputFormat::Json;
    let ansi = !runtime.no_color && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let to_stderr = if json {
        fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_writer(std::io::stderr)
            .boxed()
    } else {
        fmt::layer().with_ansi(ansi).with_writer(std::io::stderr).boxed()
    };
    let (layer, sink) = logs::channel(ambient.clone());
    let to_database = is_server.then(|| layer.with_filter(EnvFilter::new("warn,systemprompt=info")));
    tracing_subscriber::registry().with(to_stderr.with_filter(filter)).with(to_database).init();
    is_server.then_some(sink)
}
