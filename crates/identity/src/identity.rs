//! The parts of this crate, put together for one server.

use std::sync::Arc;
use std::time::Duration;

use systemprompt_database::DbPool;
use systemprompt_database::lease::Leases;
use systemprompt_database::notify::NotificationHub;
use systemprompt_extension::CredentialsRefused;
use systemprompt_governance::secret_scan::SecretScanner;
use systemprompt_model::Ambient;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activity::Activity;
use crate::api_key::store::ApiKeys;
use crate::authentication::authenticator::Authenticator;
use crate::changes::Changes;
use crate::error::StoreError;
use crate::session::store::Sessions;
use crate::signing_key::SigningKeys;
use crate::token::issuer::Tokens;
use crate::user::store::Users;

/// How often the signing keys are read again.
const RELOAD_INTERVAL: Duration = Duration::from_mins(1);

/// Everything of this crate that one server needs, put together.
#[derive(Clone)]
pub struct Identity {
    /// The accounts.
    pub users: Arc<Users>,
    /// Their API keys.
    pub api_keys: Arc<ApiKeys>,
    /// Signed tokens.
    pub tokens: Arc<Tokens>,
    /// Sessions.
    pub sessions: Arc<Sessions>,
    /// Who is asking, on the surface of [`IdentityOptions::audience`].
    pub authenticator: Arc<Authenticator>,
    /// What may no longer be believed.
    pub changes: Arc<Changes>,
    activity: Arc<Activity>,
    db: DbPool,
}

/// What it is put together from.
pub struct IdentityOptions<'a> {
    /// The database.
    pub db: DbPool,
    /// Counts the sessions that keys begin.
    pub leases: Leases,
    /// Time and randomness.
    pub ambient: Ambient,
    /// Announcements from all replicas.
    pub notifications: &'a NotificationHub,
    /// Owns the tasks.
    pub tracker: &'a TaskTracker,
    /// Ends the tasks.
    pub shutdown: &'a CancellationToken,
    /// The keys tokens are signed with.
    pub signing_keys: Arc<SigningKeys>,
    /// The installation's URL, the `iss` of tokens.
    pub issuer: &'a str,
    /// The audience tokens must have, e.g. `api`.
    pub audience: &'a str,
    /// Finds credentials in what clients say of themselves.
    pub scanner: Arc<SecretScanner>,
    /// Counts credentials that are refused.
    pub refused: CredentialsRefused,
}

impl Identity {
    /// Puts the parts together and starts three tasks: one listens to announcements, one writes activity, one reads the
    /// signing keys again every minute and every hour deletes what has expired: revocations and old sessions.
    pub fn start(options: IdentityOptions<'_>) -> Self {
        let IdentityOptions {
            db,
            leases,
            ambient,
            notifications,
            tracker,
            shutdown,
            signing_keys,
            issuer,
            audience,
            scanner,
            refused,
        } = options;
        let changes = Changes::follow(notifications, tracker, shutdown.clone());
        let activity = Arc::new(Activity::new());
        tracker.spawn(Arc::clone(&activity).write_until_cancelled(Arc::clone(&db), shutdown.clone()));
        let tokens = Arc::new(Tokens::new(db.clone(), ambient.clone(), signing_keys, issuer));
        let sessions =
            Arc::new(Sessions::new(db.clone(), ambient.clone(), changes.clone(), activity.clone(), scanner, leases));
        tracker.spawn(maintain_until_cancelled(Arc::clone(&tokens), Arc::clone(&sessions), shutdown.clone()));
        Self {
            users: Arc::new(Users::new(db.clone(), ambient.clone())),
            api_keys: Arc::new(ApiKeys::new(db.clone(), ambient.clone())),
            sessions,
            authenticator: Arc::new(Authenticator::new(
                db.clone(),
                ambient,
                tokens.clone(),
                changes.clone(),
                activity.clone(),
                audience,
                refused,
            )),
            tokens,
            changes,
            activity,
            db,
        }
    }

    /// Writes down now what sessions and keys did; otherwise it is done every five seconds and when shutdown begins.
    pub async fn write_activity(&self) -> Result<(), StoreError> {
        self.activity.write(&self.db).await
    }
}

/// Reads the signing keys again every minute, so that a rotation by another process takes effect, and deletes what has
/// expired every hour.
async fn maintain_until_cancelled(tokens: Arc<Tokens>, sessions: Arc<Sessions>, cancel: CancellationToken) {
    let mut interval = tokio::time::interval_at(Instant::now() + RELOAD_INTERVAL, RELOAD_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for minute in 1_u64.. {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = interval.tick() => {}
        }
        tokens.reload_keys().await;
        if !minute.is_multiple_of(60) {
            continue;
        }
        if let Err(error) = tokens.forget_expired_revocations().await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "expired revocations could not be deleted, trying again in an hour");
        }
        let forgotten = tokio::select! {
            () = cancel.cancelled() => return,
            forgotten = sessions.forget_expired() => forgotten,
        };
        if let Err(error) = forgotten {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "expired sessions could not be deleted, trying again in an hour");
        }
    }
}
