//! The one connection an installation works on, and the lock that makes installations take turns.

use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

use super::error::InstallError;
use crate::connect::Database;

/// Any number will do as long as it never changes.
const LOCK_KEY: i64 = 0x7379_7374_656d_7072;
const POLL: Duration = Duration::from_millis(100);
/// Longer than any migration should take; a waiter that gives up is restarted by whoever supervises it.
const PATIENCE: Duration = Duration::from_mins(15);

/// A connection without a statement time-out, on schema `public`. Whatever it holds is released when it is dropped.
pub(crate) struct Session {
    pub(crate) connection: PgConnection,
}

impl Session {
    pub(crate) async fn open(database: &Database) -> Result<Self, InstallError> {
        let doing = InstallError::while_doing("connecting to install the schema");
        Self::on(database.dedicated("migrate").await.map_err(&doing)?).await
    }

    pub(crate) async fn on(mut connection: PgConnection) -> Result<Self, InstallError> {
        let doing = InstallError::while_doing("preparing the session");
        connection.execute("SET search_path = public; SET client_min_messages = warning").await.map_err(&doing)?;
        Ok(Self { connection })
    }

    /// Waits until no other process installs. The lock lasts as long as the session.
    ///
    /// Waiting is asking again and again: a session blocked inside `pg_advisory_lock` keeps a snapshot that
    /// `CREATE INDEX CONCURRENTLY` of the lock's holder would wait for in turn.
    pub(crate) async fn lock(&mut self) -> Result<(), InstallError> {
        let started = Instant::now();
        loop {
            let locked: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
                .bind(LOCK_KEY)
                .fetch_one(&mut self.connection)
                .await
                .map_err(InstallError::while_doing("taking the installation lock"))?;
            if locked {
                return Ok(());
            }
            let waited = started.elapsed();
            if waited < POLL {
                tracing::info!("another process is installing the schema, waiting for it");
            }
            if waited > PATIENCE {
                return Err(InstallError::Busy { waited });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(crate) async fn close(self) {
        // The server ends the session either way.
        let _ = self.connection.close().await;
    }
}
