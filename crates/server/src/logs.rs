//! What the server logs, kept in the `logs` table beside being printed, so that operators of several replicas read one log.
//!
//! Logging never waits: lines go into a bounded queue, and what does not fit is counted and said. Losing a log line is
//! acceptable — the audit is the ledger, not the log. For the same reason they do not stay: [`sweep`] deletes what is old.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use systemprompt_database::DbPool;
use systemprompt_model::{Ambient, Condition, InstanceId, with_causes};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use uuid::Uuid;

/// Lines waiting to be stored; beyond it lines are dropped and counted.
const QUEUE: usize = 4096;
/// What lines waiting to be stored may hold together, in bytes.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;
/// The longest message or field that is stored, in bytes.
const TEXT: usize = 16 * 1024;
/// Lines stored with one statement.
const BATCH: usize = 256;
/// A line is stored at the latest after this.
const FLUSH: Duration = Duration::from_millis(500);
/// How often lines that are old enough are deleted.
const SWEEP_EVERY: Duration = Duration::from_mins(10);
/// Lines deleted with one statement, so that none takes long.
const SWEEP_BATCH: i64 = 5_000;
/// The most lines that are kept, however young they are.
const MOST_LINES: i64 = 10_000_000;

struct Line {
    at: DateTime<Utc>,
    level: Level,
    target: &'static str,
    message: String,
    fields: Map<String, Value>,
    /// Given back when the line is stored or dropped.
    _room: Room,
}

/// What a line holds of [`QUEUE_BYTES`].
struct Room {
    held: Arc<AtomicUsize>,
    bytes: usize,
}

impl Room {
    fn take(held: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        let before = held.fetch_add(bytes, Ordering::Relaxed);
        // Dropped, and so given back, if it is too much.
        let room = Self { held: held.clone(), bytes };
        (before.saturating_add(bytes) <= QUEUE_BYTES).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The layer of the process's subscriber that collects lines.
pub struct LogLayer {
    lines: mpsc::Sender<Line>,
    dropped: Arc<AtomicU64>,
    held: Arc<AtomicUsize>,
    ambient: Ambient,
    clean: Clean,
}

/// Gives a text as it may be kept: without credentials.
pub type Clean = fn(&str) -> Cow<'_, str>;

/// The other end of a [`LogLayer`]: gives its lines to one server.
pub struct LogSink {
    lines: mpsc::Receiver<Line>,
    dropped: Arc<AtomicU64>,
}

/// A layer and where its lines go, whose texts are made `clean`.
pub fn channel(ambient: Ambient, clean: Clean) -> (LogLayer, LogSink) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let held = Arc::default();
    (LogLayer { lines: sender, dropped: dropped.clone(), held, ambient, clean }, LogSink { lines: receiver, dropped })
}

/// Fields of a span, kept until its events need them, which for most spans is never.
struct SpanFields(Vec<(&'static str, Value)>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut collector = Collector::default();
        attributes.record(&mut collector);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(collector.fields));
        }
    }

    /// What is known later: who asks, and in which session.
    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut collector = Collector::default();
        values.record(&mut collector);
        if let Some(span) = context.span(id)
            && let Some(SpanFields(of_span)) = span.extensions_mut().get_mut()
        {
            of_span.extend(collector.fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        // Storing what the storing says would never end; statements are logged by sqlx itself.
        if *metadata.level() > Level::INFO
            || metadata.target().starts_with("sqlx")
            || metadata.target() == module_path!()
        {
            return;
        }
        let mut fields = Map::new();
        if let Some(scope) = context.event_scope(event) {
            for span in scope.from_root() {
                if let Some(SpanFields(of_span)) = span.extensions().get() {
                    fields.extend(of_span.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
                }
            }
        }
        let mut collector = Collector::default();
        event.record(&mut collector);
        let Collector { message, fields: own } = collector;
        fields.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let message = self.clean_text(message);
        for (name, value) in &mut fields {
            self.clean_field(name, value);
        }
        let stored = Room::take(&self.held, weigh(&message, &fields)).is_some_and(|room| {
            let (level, target) = (*metadata.level(), metadata.target());
            let line = Line { at: self.ambient.now(), level, target, message, fields, _room: room };
            self.lines.try_send(line).is_ok()
        });
        if !stored {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl LogLayer {
    fn clean_text(&self, text: String) -> String {
        match (self.clean)(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(clean) => clean,
        }
    }

    /// The name of a field may say that its value is a secret.
    fn clean_field(&self, name: &str, value: &mut Value) {
        let Value::String(text) = value else { return };
        let said = format!("{name}={text}");
        if let Cow::Owned(clean) = (self.clean)(&said) {
            *text = clean.split_once('=').map(|(_, clean)| clean.to_owned()).unwrap_or_default();
        }
    }
}

/// About how much memory a line takes.
fn weigh(message: &str, fields: &Map<String, Value>) -> usize {
    let field = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len) + 128;
    size_of::<Line>() + message.len() + fields.iter().map(field).sum::<usize>()
}

/// The beginning of a text that is longer than `limit` bytes, with a sign that it is not all.
pub(crate) fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(limit)]))
}

/// Turns the fields of an event into JSON.
#[derive(Default)]
struct Collector {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Collector {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            field => self.fields.push(field),
        }
    }
}

impl Visit for Collector {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, cut(value, TEXT).into());
    }

    /// With everything it came from: the stored line is all that those who read it have.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field, cut(&with_causes(value), TEXT).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, cut(&format!("{value:?}"), TEXT).into());
    }
}

impl LogSink {
    /// Starts storing, each line with the name of the instance that said it. Ends with [`LogWriter::finish`].
    pub(crate) fn start(self, db: DbPool, instance_id: InstanceId, instance_name: String) -> LogWriter {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        #[expect(
            clippy::disallowed_methods,
            reason = "the writer outlives the tracker: it stores what the shutdown says"
        )]
        let task = tokio::spawn(store(self, db, instance_id, instance_name, stopped));
        LogWriter { stop, task }
    }
}

/// The task that stores lines.
pub(crate) struct LogWriter {
    stop: tokio::sync::oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl LogWriter {
    /// Stores what is still waiting, for at most two seconds.
    pub(crate) async fn finish(self) {
        let _ = self.stop.send(());
        if tokio::time::timeout(Duration::from_secs(2), self.task).await.is_err() {
            tracing::warn!("the last log lines could not be stored");
        }
    }
}

async fn store(
    mut sink: LogSink,
    db: DbPool,
    instance_id: InstanceId,
    instance_name: String,
    mut stopped: tokio::sync::oneshot::Receiver<()>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut last = false;
    let (mut failing, mut lost) = (Condition::default(), 0);
    while !last {
        let mut gather = async |batch: &mut Vec<Line>| {
            sink.lines.recv_many(batch, BATCH).await;
            let full = async { while batch.len() < BATCH && sink.lines.recv_many(batch, BATCH).await > 0 {} };
            let _ = tokio::time::timeout(FLUSH, full).await;
        };
        tokio::select! {
            () = gather(&mut batch) => {}
            _ = &mut stopped => {
                while let Ok(line) = sink.lines.try_recv() {
                    batch.push(line);
                }
                last = true;
            }
        }
        let dropped = sink.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(dropped, "log lines were not stored because too many came at once");
        }
        lost += batch.len();
        match insert(&db, instance_id, &instance_name, &batch).await {
            Ok(()) => {
                lost -= batch.len();
                if failing.ends().is_some() {
                    tracing::warn!(lines = std::mem::take(&mut lost), "log lines were not stored; they are again");
                }
            }
            // Said each time, it would be a line that cannot be stored either, and so on.
            Err(error) if failing.begins() => tracing::warn!(%error, "log lines cannot be stored"),
            Err(_) => {}
        }
        batch.clear();
    }
}

async fn insert(db: &DbPool, instance_id: InstanceId, instance: &str, lines: &[Line]) -> Result<(), sqlx::Error> {
    if lines.is_empty() {
        return Ok(());
    }
    let text = |line: &Line, key: &str| line.fields.get(key).and_then(Value::as_str).map(str::to_owned);
    let uuid = |line: &Line, key: &str| text(line, key).and_then(|text| Uuid::try_parse(&text).ok());
    let at: Vec<_> = lines.iter().map(|line| line.at).collect();
    let level: Vec<_> = lines.iter().map(|line| line.level.as_str().to_ascii_lowercase()).collect();
    let target: Vec<_> = lines.iter().map(|line| line.target.to_owned()).collect();
    let message: Vec<_> = lines.iter().map(|line| line.message.replace('\0', "\u{fffd}")).collect();
    let fields: Vec<_> = lines
        .iter()
        .map(|line| {
            let mut fields = line.fields.clone();
            fields.insert("instance".to_owned(), instance.into());
            Value::Object(fields)
        })
        .collect();
    let trace: Vec<_> = lines.iter().map(|line| uuid(line, "trace_id")).collect();
    let request: Vec<_> = lines.iter().map(|line| uuid(line, "request_id")).collect();
    let user: Vec<_> = lines.iter().map(|line| uuid(line, "user_id")).collect();
    let session: Vec<_> = lines.iter().map(|line| text(line, "session_id")).collect();
    let context: Vec<_> = lines.iter().map(|line| text(line, "context_id")).collect();
    let task: Vec<_> = lines.iter().map(|line| text(line, "task_id")).collect();
    let client: Vec<_> = lines.iter().map(|line| text(line, "client_id")).collect();
    sqlx::query!(
        r#"
        INSERT INTO logs (at, level, target, message, fields, instance_id, trace_id, request_id, user_id, session_id, context_id, task_id, client_id)
        SELECT line.at, line.level, line.target, line.message, line.fields, $6,
               line.trace_id, line.request_id, line.user_id, line.session_id, line.context_id, line.task_id, line.client_id
        FROM UNNEST(
            $1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::jsonb[],
            $7::uuid[], $8::uuid[], $9::uuid[], $10::text[], $11::text[], $12::text[], $13::text[]
        ) AS line (at, level, target, message, fields, trace_id, request_id, user_id, session_id, context_id, task_id, client_id)
        "#,
        &at,
        &level,
        &target,
        &message,
        &fields,
        instance_id.as_uuid(),
        &trace as &[Option<Uuid>],
        &request as &[Option<Uuid>],
        &user as &[Option<Uuid>],
        &session as &[Option<String>],
        &context as &[Option<String>],
        &task as &[Option<String>],
        &client as &[Option<String>],
    )
    .execute(db.write())
    .await?;
    Ok(())
}

/// Deletes lines that are more than `days` days old, and the oldest when there are too many, until cancelled.
pub(crate) async fn sweep(db: DbPool, ambient: Ambient, days: u32, cancel: CancellationToken) {
    let work = async {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let before = ambient.now() - TimeDelta::days(i64::from(days));
            if let Err(error) = delete(&db, before, MOST_LINES).await {
                tracing::debug!(%error, "old log lines could not be deleted; they will be with the next ones");
            }
        }
    };
    cancel.run_until_cancelled(work).await;
}

/// Deletes lines said before a time, and all but about the `most` latest: ids that were never used count too.
async fn delete(db: &DbPool, before: DateTime<Utc>, most: i64) -> Result<(), sqlx::Error> {
    loop {
        let deleted = sqlx::query!(
            r#"
            DELETE FROM logs
            WHERE id IN (
                (SELECT id FROM logs WHERE at < $1 ORDER BY at LIMIT $3)
                UNION ALL
                (SELECT id FROM logs WHERE id <= (SELECT MAX(id) FROM logs) - $2::bigint ORDER BY id LIMIT $3)
            )
            "#,
            before,
            most,
            SWEEP_BATCH,
        )
        .execute(db.write())
        .await?;
        if deleted.rows_affected() < SWEEP_BATCH.cast_unsigned() {
            return Ok(());
        }
    }
}

/// One stored line.
#[derive(Debug, Clone, Serialize)]
pub struct StoredLine {
    /// Its position in the log.
    pub id: i64,
    /// When it was said.
    pub at: DateTime<Utc>,
    /// `error`, `warn` or `info`.
    pub level: String,
    /// The module that said it.
    pub target: String,
    /// What it said.
    pub message: String,
    /// What it was about.
    pub fields: Value,
    /// The trace it belongs to.
    pub trace_id: Option<Uuid>,
}

/// Which lines to read. All conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Only lines after this one.
    pub after_id: Option<i64>,
    /// Only lines before this one.
    pub before_id: Option<i64>,
    /// Only lines since then.
    pub since: Option<DateTime<Utc>>,
    /// Only lines until then.
    pub until: Option<DateTime<Utc>>,
    /// Only these levels.
    pub levels: Option<Vec<String>>,
    /// Only lines of this trace.
    pub trace_id: Option<Uuid>,
    /// Only lines about requests of this account.
    pub user_id: Option<Uuid>,
    /// Only lines about requests with one of these keys, as lines write them.
    pub keys: Option<Vec<String>>,
    /// Only lines of sessions whose ids, as lines write them, lie between these two, both included.
    pub sessions: Option<(String, String)>,
    /// Only lines about requests whose ids lie between these two, both included.
    pub request: Option<(Uuid, Uuid)>,
    /// Only lines whose message or fields contain this, whatever the case.
    pub text: Option<String>,
    /// At most this many, the latest ones.
    pub limit: i64,
}

/// The lines a query asks for, oldest first.
pub async fn read(db: &DbPool, query: &LogQuery) -> Result<Vec<StoredLine>, sqlx::Error> {
    let pattern = query
        .text
        .as_ref()
        .map(|text| format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")));
    let mut lines = sqlx::query_as!(
        StoredLine,
        r#"
        SELECT id, at, level, target, message, fields, trace_id
        FROM logs
        WHERE ($1::bigint IS NULL OR id > $1)
          AND ($2::timestamptz IS NULL OR at >= $2)
          AND ($3::timestamptz IS NULL OR at < $3)
          AND ($4::text[] IS NULL OR level = ANY($4))
          AND ($5::uuid IS NULL OR trace_id = $5)
          AND ($6::text IS NULL OR message ILIKE $6 OR fields::text ILIKE $6)
          AND ($8::bigint IS NULL OR id < $8)
          AND ($9::uuid IS NULL OR user_id = $9)
          AND ($10::text[] IS NULL OR fields ->> 'key_id' = ANY ($10))
          AND ($11::text IS NULL OR session_id COLLATE "C" BETWEEN $11 AND $12)
          AND ($13::uuid IS NULL OR request_id BETWEEN $13 AND $14)
        ORDER BY id DESC
        LIMIT $7
        "#,
        query.after_id,
        query.since,
        query.until,
        query.levels.as_deref(),
        query.trace_id,
        pattern,
        query.limit,
        query.before_id,
        query.user_id,
        query.keys.as_deref(),
        query.sessions.as_ref().map(|(from, _)| from),
        query.sessions.as_ref().map(|(_, to)| to),
        query.request.map(|(from, _)| from),
        query.request.map(|(_, to)| to),
    )
    .fetch_all(db.read())
    .await?;
    lines.reverse();
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use systemprompt_database::{Database, Module};
    use systemprompt_extension::Extension as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::extension::ServerExtension;

    #[test]
    fn the_queue_is_bounded_by_what_its_lines_hold() {
        let (layer, mut sink) = channel(Ambient::system(), |text| Cow::Borrowed(text));
        let held = layer.held.clone();
        let text = "x".repeat(TEXT + 1);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for _ in 0..2000 {
                tracing::info!(target: "test", text, "{text}");
            }
        });
        let waiting = sink.lines.len();
        assert!(waiting < QUEUE_BYTES / TEXT / 2 && waiting > QUEUE_BYTES / TEXT / 3, "{waiting} lines");
        assert_eq!(sink.dropped.load(Ordering::Relaxed), 2000 - waiting as u64);
        let line = sink.lines.try_recv().expect("a line");
        assert!(line.message.len() < TEXT + 4 && line.message.ends_with('…'), "{} bytes", line.message.len());
        drop((line, sink));
        assert_eq!(held.load(Ordering::Relaxed), 0, "all of it is given back");
    }

    #[test]
    fn lines_know_whose_request_they_are_about() {
        let (layer, mut sink) = channel(Ambient::system(), |text| Cow::Borrowed(text));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("request", trace_id = "t", user_id = tracing::field::Empty);
            let _entered = span.enter();
            tracing::info!(target: "test", "before");
            tracing::Span::current().record("user_id", "u");
            tracing::info!(target: "test", "after");
        });
        let of_user = |line: Line| line.fields.get("user_id").and_then(Value::as_str).map(str::to_owned);
        assert_eq!(sink.lines.try_recv().map(of_user).expect("a line"), None);
        assert_eq!(sink.lines.try_recv().map(of_user).expect("a line").as_deref(), Some("u"));
    }

    #[test]
    fn text_is_cut_between_characters() {
        for (text, limit, expected) in [("abc", 3, "abc"), ("abcd", 3, "abc…"), ("aéb", 2, "a…"), ("", 0, "")] {
            assert_eq!(cut(text, limit), expected);
        }
    }

    #[tokio::test]
    async fn lines_are_deleted_when_they_are_old_or_too_many() {
        let module =
            Module { id: "server".to_owned(), required: true, schemas: ServerExtension.schemas(), ..Module::default() };
        let database = systemprompt_database::testing::database(&[module]).await;
        let db = Database::connect(&database.connect_options()).await.expect("connects");
        let instance = InstanceId::generate(&Ambient::system());
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let held = Arc::default();
        let lines: Vec<_> = (0..10)
            .map(|age| Line {
                at: now - TimeDelta::days(10 - age),
                level: Level::INFO,
                target: "test",
                message: format!("{} days", 10 - age),
                fields: Map::new(),
                _room: Room::take(&held, 0).expect("room"),
            })
            .collect();
        insert(&db, instance, "test", &lines).await.expect("stores");
        let left = async || {
            let query = LogQuery { limit: 100, ..LogQuery::default() };
            let lines = read(&db, &query).await.expect("reads");
            lines.into_iter().map(|line| line.message).collect::<Vec<_>>()
        };
        delete(&db, now - TimeDelta::days(3), MOST_LINES).await.expect("deletes");
        assert_eq!(left().await, ["3 days", "2 days", "1 days"]);
        delete(&db, now - TimeDelta::days(30), 2).await.expect("deletes");
        assert_eq!(left().await, ["2 days", "1 days"]);
    }
}
