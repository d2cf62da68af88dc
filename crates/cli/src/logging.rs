//! The process's log: text or JSON on standard error, and for a server also what goes into the `logs` table.

use systemprompt_config::{Environment, environment};
use systemprompt_model::Ambient;
use systemprompt_server::logs::{self, LogSink};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::args::Globals;

/// Installs the subscriber of this process. Commands log warnings only; a server says what it does.
pub(crate) fn install(globals: &Globals, env: &Environment, is_server: bool, ambient: &Ambient) -> Option<LogSink> {
    let level = match env.get(environment::SYSTEMPROMPT_LOG_LEVEL) {
        _ if globals.debug => "debug",
        _ if globals.verbose => "info",
        _ if globals.quiet => "error",
        Some("quiet") => "error",
        Some("normal") => "info",
        Some("verbose") => "debug",
        Some("debug") => "trace",
        _ if is_server => "info",
        _ => "warn",
    };
    // Libraries are told to be brief: their debug lines are about them, not about us.
    let ours = format!("{},systemprompt={level}", if level == "error" { "error" } else { "warn" });
    let filter = match env.get(environment::RUST_LOG) {
        Some(directives) => EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new(&ours)),
        None => EnvFilter::new(&ours),
    };
    let json = globals.json || matches!(env.get(environment::SYSTEMPROMPT_OUTPUT_FORMAT), Some("json"));
    let ansi = !globals.no_color && !env.no_color() && std::io::IsTerminal::is_terminal(&std::io::stderr());
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
