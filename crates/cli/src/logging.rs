//! The process's log: text or JSON on standard error, and for a server also what goes into the `logs` table.

use std::io::Write;

use systemprompt_config::profile::{LogLevel, OutputFormat, Runtime};
use systemprompt_config::{Environment, environment};
use systemprompt_model::Ambient;
use systemprompt_server::logs::{self, LogSink};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::globals::Globals;
use crate::{log_secrets, visible};

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
            .with_writer(|| VisibleJson(std::io::stderr()))
            .log_internal_errors(false)
            .boxed()
    } else {
        fmt::layer()
            .fmt_fields(VisibleFields)
            .with_ansi(ansi)
            .with_writer(std::io::stderr)
            // A failure to write there cannot be told there.
            .log_internal_errors(false)
            .boxed()
    };
    let (layer, sink) = logs::channel(ambient.clone(), log_secrets::text);
    let to_database = is_server.then(|| layer.with_filter(EnvFilter::new("warn,systemprompt=info")));
    tracing_subscriber::registry().with(to_stderr.with_filter(filter)).with(to_database).init();
    is_server.then_some(sink)
}

/// Message and fields of a line in the text log, [without credentials](crate::log_secrets) and [visible](crate::visible): what
/// they quote of strangers neither begins a line nor commands a terminal.
struct VisibleFields;

impl<'writer> FormatFields<'writer> for VisibleFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> std::fmt::Result {
        let mut text = String::new();
        DefaultFields::new().format_fields(Writer::new(&mut text), fields)?;
        writer.write_str(&visible::line(&log_secrets::text(&text)))
    }
}

/// The JSON log, without credentials: JSON escapes what begins a line, and this every other character that a terminal acts on. What is written
/// comes a line at a time.
struct VisibleJson<W>(W);

impl<W: Write> Write for VisibleJson<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.0.write_all(visible::json(&log_secrets::json(text)).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("nobody panicked").write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn one_event_is_one_line_whatever_it_quotes() {
        let written = Written::default();
        let writer = written.clone();
        let layer = fmt::layer().fmt_fields(VisibleFields).with_ansi(false).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let stranger = "\u{1b}[2J\u{1b}]0;x\u{7}\nWARN fake row\u{202e}\u{9b}";
            let span = tracing::info_span!("request", model = stranger);
            let _entered = span.enter();
            tracing::info!(%stranger, debug = ?stranger, plain = stranger, "asked for {stranger}");
        });
        let text = String::from_utf8(written.0.lock().expect("nobody panicked").clone()).expect("text");
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(!text.contains(visible::is_bare), "{text:?}");
        assert!(text.contains("fake row"), "{text:?}");
    }

    #[test]
    fn no_log_holds_a_credential() {
        let (text, json) = (Written::default(), Written::default());
        let (to_text, to_json) = (text.clone(), json.clone());
        let in_text = fmt::layer().fmt_fields(VisibleFields).with_ansi(false).with_writer(move || to_text.clone());
        let in_json = fmt::layer().json().with_writer(move || VisibleJson(to_json.clone()));
        let key = concat!("AKIA", "IOSFODNN7EXAMPLQ");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(in_text).with(in_json), || {
            let span = tracing::info_span!("request", client = key);
            let _entered = span.enter();
            tracing::info!(error = %format_args!("it said {key}"), "{key} was refused");
        });
        for written in [text, json] {
            let line = String::from_utf8(written.0.lock().expect("nobody panicked").clone()).expect("text");
            assert!(!line.contains(key) && line.contains("was refused"), "{line}");
        }
    }

    #[test]
    fn the_json_log_commands_no_terminal_and_loses_nothing() {
        let written = Written::default();
        let writer = written.clone();
        let layer = fmt::layer().json().flatten_event(true).with_writer(move || VisibleJson(writer.clone()));
        let stranger = "\u{1b}[2J\u{7}\nWARN fake row\u{202e}\u{9b}\u{2066}";
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(plain = stranger, "asked");
        });
        let text = String::from_utf8(written.0.lock().expect("nobody panicked").clone()).expect("text");
        assert!(text.lines().count() == 1 && !text.contains(visible::is_bare), "{text:?}");
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read["plain"], stranger);
    }
}
