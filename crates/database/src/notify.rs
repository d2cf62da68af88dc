//! One listening connection per process, shared by everybody who waits for a `NOTIFY`.
//!
//! A notification is a hint, never the data: PostgreSQL keeps none for a listener that is away. Whoever caches something
//! therefore acts on three events: a [`Event::Notification`] says what changed, [`Event::Lost`] says that changes are no
//! longer seen, and [`Event::Reconnected`] that they are seen again but anything may have happened in between.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Executor as _, PgExecutor};
use tokio::sync::{Notify, broadcast};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connect::Database;
use crate::error::RepositoryError;

/// Events a slow subscriber may lag behind before it is told [`Event::Reconnected`] instead.
const BACKLOG: usize = 1024;
/// The longest payload PostgreSQL carries, in bytes.
pub const MAX_PAYLOAD: usize = 7999;
/// An idle connection is asked for a sign of life this often, and must give it within the second value. A server that
/// vanished without closing the connection is found out by this alone.
const HEARTBEAT: Duration = Duration::from_secs(10);
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// What a subscriber learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody notified the channel; the payload.
    Notification(String),
    /// From now on every notification is seen; anything may have been missed before. The first event of a subscription.
    Reconnected,
    /// The connection is gone; notifications are being missed.
    Lost,
}

/// The shared listener. Cloning is one reference count.
#[derive(Debug, Clone)]
pub struct NotificationHub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    channels: Mutex<HashMap<&'static str, Channel>>,
    /// Whether announcements count as heard.
    connected: AtomicBool,
    /// Whether they were heard over the last connection.
    heard: AtomicBool,
    /// For how long they count as heard although they are not.
    tolerance: Mutex<Duration>,
    channel_added: Notify,
    cancel: CancellationToken,
}

#[derive(Debug)]
struct Channel {
    events: broadcast::Sender<Event>,
    listening: bool,
}

/// One subscriber's view of one channel.
#[derive(Debug)]
pub struct Subscription {
    events: broadcast::Receiver<Event>,
    /// Set when the channel was already being listened to.
    first: Option<Event>,
}

impl NotificationHub {
    /// Starts listening on a connection of its own beside the pools of `database`; the task belongs to `tracker` and ends
    /// with `cancel`. Returns at once, connected or not.
    pub fn start(database: &Database, tracker: &TaskTracker, cancel: CancellationToken) -> Self {
        let shared = Arc::new(Shared {
            channels: Mutex::default(),
            connected: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            channel_added: Notify::new(),
            cancel,
            tolerance: Mutex::default(),
        });
        tracker.spawn(listen_until_cancelled(Arc::clone(&shared), database.dedicated_options("listen")));
        Self { shared }
    }

    /// Announcements may be missed for this long before anybody is told that they are not heard: what was remembered by then
    /// is used meanwhile. None may be unless this is called. What was missed is made up for by [`Event::Reconnected`].
    pub fn tolerate(&self, limit: Duration) {
        *self.shared.tolerance.lock().expect("no panic while the lock is held") = limit;
    }

    /// Receives what is sent to `channel` from now on. The first event is [`Event::Reconnected`], once listening works.
    pub fn subscribe(&self, channel: &'static str) -> Subscription {
        let mut channels = self.shared.channels();
        if self.shared.cancel.is_cancelled() {
            return Subscription { events: broadcast::channel(1).1, first: None };
        }
        let entry = channels.entry(channel).or_insert_with(|| {
            self.shared.channel_added.notify_one();
            Channel { events: broadcast::channel(BACKLOG).0, listening: false }
        });
        Subscription { events: entry.events.subscribe(), first: entry.listening.then_some(Event::Reconnected) }
    }

    /// Whether every subscribed channel is being listened to right now. A cache that must not be stale is bypassed while
    /// this is false.
    pub fn is_live(&self) -> bool {
        self.shared.connected.load(Ordering::Acquire)
            && self.shared.channels().values().all(|channel| channel.listening)
    }
}

impl Subscription {
    /// The next event; `None` once the hub has stopped.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.first.take() {
            return Some(event);
        }
        match self.events.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Event::Reconnected),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Notifies `channel`. Inside a transaction it is delivered when that commits, and not at all when it rolls back.
pub async fn notify<'e>(executor: impl PgExecutor<'e>, channel: &str, payload: &str) -> Result<(), RepositoryError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(RepositoryError::InvalidArgument(format!(
            "a notification carries at most {MAX_PAYLOAD} bytes, not {}",
            payload.len()
        )));
    }
    sqlx::query("SELECT pg_notify($1, $2)").bind(channel).bind(payload).execute(executor).await?;
    Ok(())
}

impl Shared {
    fn channels(&self) -> MutexGuard<'_, HashMap<&'static str, Channel>> {
        self.channels.lock().expect("no panic while the lock is held")
    }

    fn not_yet_listening(&self) -> Vec<&'static str> {
        self.channels().iter().filter(|(_, channel)| !channel.listening).map(|(name, _)| *name).collect()
    }

    fn listening(&self, names: &[&'static str]) {
        let mut channels = self.channels();
        for name in names {
            if let Some(channel) = channels.get_mut(name) {
                channel.listening = true;
                // Nobody may be subscribed any more.
                let _ = channel.events.send(Event::Reconnected);
            }
        }
    }

    fn tolerance(&self) -> Duration {
        *self.tolerance.lock().expect("no panic while the lock is held")
    }

    /// There is a new connection, on which nothing is listened to yet.
    fn begin_again(&self) {
        for channel in self.channels().values_mut() {
            channel.listening = false;
        }
    }

    fn lost(&self) {
        self.connected.store(false, Ordering::Release);
        for channel in self.channels().values_mut() {
            if std::mem::take(&mut channel.listening) {
                let _ = channel.events.send(Event::Lost);
            }
        }
    }

    fn deliver(&self, channel: &str, payload: &str) {
        if let Some(channel) = self.channels().get(channel) {
            let _ = channel.events.send(Event::Notification(payload.to_owned()));
        }
    }
}

async fn listen_until_cancelled(shared: Arc<Shared>, options: PgConnectOptions) {
    let cancel = shared.cancel.clone();
    let mut wait = FIRST_RETRY;
    let mut lost_at = None;
    loop {
        let ended = tokio::select! {
            () = cancel.cancelled() => break,
            ended = listen_once(&shared, &options) => ended,
        };
        // It is not connected any more when this is the first round that finds it so, or is not waited for any longer.
        let was_connected = shared.heard.swap(false, Ordering::AcqRel);
        let lost_at =
            if was_connected { lost_at.insert(Instant::now()) } else { lost_at.get_or_insert_with(Instant::now) };
        if lost_at.elapsed() >= shared.tolerance() {
            shared.lost();
        }
        if was_connected {
            tracing::warn!(error = %ended, "the listening connection is lost, connecting again");
            wait = FIRST_RETRY;
        }
        tokio::select! {
            () = cancel.cancelled() => break,
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_RETRY),
        }
    }
    shared.connected.store(false, Ordering::Release);
    // Dropping the senders ends every subscription.
    shared.channels().clear();
}

/// Connects and listens until the connection fails; says how it failed.
async fn listen_once(shared: &Shared, options: &PgConnectOptions) -> sqlx::Error {
    match try_listen_once(shared, options).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn try_listen_once(shared: &Shared, options: &PgConnectOptions) -> Result<std::convert::Infallible, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(HEARTBEAT_LIMIT)
        .connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    shared.begin_again();
    let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let new = shared.not_yet_listening();
        if !new.is_empty() {
            listener.listen_all(new.iter().copied()).await?;
            shared.listening(&new);
        }
        shared.connected.store(true, Ordering::Release);
        shared.heard.store(true, Ordering::Release);
        // Receiving is cancel-safe: a message is taken off the socket's buffer as a whole or not at all.
        tokio::select! {
            () = shared.channel_added.notified() => {}
            received = listener.try_recv() => match received? {
                Some(notification) => shared.deliver(notification.channel(), notification.payload()),
                None => return Err(sqlx::Error::WorkerCrashed),
            },
            _ = heartbeat.tick() => {
                tokio::time::timeout(HEARTBEAT_LIMIT, listener.execute("SELECT 1"))
                    .await
                    .map_err(|_| sqlx::Error::PoolTimedOut)??;
            }
        }
    }
}
