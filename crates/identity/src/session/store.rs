//! Gives requests their sessions, and keeps the sessions.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use systemprompt_database::DbPool;
use systemprompt_database::lease::{Claim, LeaseKey, Leases, Refilling, Reservation, ReserveError, Unit};
use systemprompt_governance::secret_scan::{REDACTED, SecretScanner};
use systemprompt_model::{Ambient, ApiKeyId, Credential, Microdollars, Principal, SessionId, UserId};

use crate::activity::Activity;
use crate::activity::figures::SessionActivity;
use crate::changes::{Changes, Mark};
use crate::error::{StoreError, patiently};
use crate::session::hint::{Origin, SessionHint};
use crate::session::queries::{Newest, SessionRecord, Standing};
use crate::session::{LIFETIME, NewSession, Session, SessionSource, queries};

/// How long a session is remembered at most, should an announcement ever be lost.
const MEMORY: Duration = Duration::from_secs(30);
/// Sessions remembered; each takes a few hundred bytes.
const REMEMBERED: u64 = 100_000;

/// New sessions that one key may begin at once, and in a minute: more than programs that ask one question per conversation
/// need, and little for a table.
const NEW_SESSIONS: u64 = 600;
const NEW_SESSIONS_PER_SECOND: u64 = NEW_SESSIONS / 60;

/// Sessions are kept for this long after they have expired.
const KEPT: TimeDelta = TimeDelta::days(30);
/// Sessions deleted by one statement.
const BATCH: i64 = 500;

/// Gives requests their sessions, and keeps the sessions.
#[derive(Clone)]
pub struct Sessions {
    db: DbPool,
    ambient: Ambient,
    changes: Arc<Changes>,
    activity: Arc<Activity>,
    scanner: Arc<SecretScanner>,
    leases: Leases,
    live: Cache<SessionId, LiveSession>,
    /// The session that goes on of each origin, by its key.
    ongoing: Cache<Origin, GoingOn>,
}

/// A derived session, and when it was last used on this server.
#[derive(Clone)]
struct GoingOn {
    id: SessionId,
    /// In seconds since 1970.
    last: Arc<AtomicI64>,
}

#[derive(Clone, Copy)]
struct LiveSession {
    user_id: UserId,
    expires_at: DateTime<Utc>,
    mark: Mark,
}

/// Whether one of the sessions that follow from the same goes on.
enum Stretch {
    GoesOn(SessionId),
    /// None does; the last one there was.
    Over(Option<SessionId>),
}

/// The sessions of a user, ended ones included, the newest first; at most `limit`, at most 1,000.
pub async fn recent_sessions(db: &DbPool, user: UserId, limit: u32) -> Result<Vec<Session>, StoreError> {
    queries::list_sessions(db.read(), user, i64::from(limit.min(1000))).await
}

/// Why a request has no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SessionError {
    /// There is no such session of this user, it has ended, or it was revoked.
    #[error("unknown or revoked session; mint one at POST /api/public/gateway/sessions")]
    Unknown,
    /// The session is not the one of the token.
    #[error("X-Session-ID does not match authenticated session")]
    Mismatch,
    /// The installation wants every request to name its session.
    #[error("missing required x-session-id header")]
    Required,
    /// The database could not be asked.
    #[error("sessions cannot be checked at the moment")]
    Unavailable,
}

impl Sessions {
    pub(crate) fn new(
        db: DbPool,
        ambient: Ambient,
        changes: Arc<Changes>,
        activity: Arc<Activity>,
        scanner: Arc<SecretScanner>,
        leases: Leases,
    ) -> Self {
        let live = Cache::builder().max_capacity(REMEMBERED).time_to_live(MEMORY).build();
        let ongoing = Cache::builder().max_capacity(REMEMBERED).time_to_live(MEMORY).build();
        Self { db, ambient, changes, activity, scanner, leases, live, ongoing }
    }

    /// The session a request belongs to; counts the request.
    ///
    /// A token belongs to the session in its claims, which the [`Authenticator`](crate::Authenticator) has checked; the
    /// request may name no other. With an API key the request may name any live session of the user, and must if the
    /// hint says so; otherwise the session follows from key, client and conversation and is stored when first seen. After a
    /// pause, or a week, another takes over from it; one that was revoked keeps its place for that week.
    ///
    /// Clients and conversations are whatever a request says. So that nobody fills the tables, a key gets at most 600 new
    /// sessions at once and as many in each minute, over all replicas; conversations beyond that share one session of the key.
    pub async fn bind(&self, principal: &Principal, hint: SessionHint<'_>) -> Result<SessionId, SessionError> {
        let now = self.ambient.now();
        let id = match (&principal.credential, hint.explicit) {
            (Credential::Token { session, .. }, explicit) => {
                if explicit.is_some_and(|named| named != *session) {
                    return Err(SessionError::Mismatch);
                }
                *session
            }
            (Credential::ApiKey(_), Some(id)) => {
                if !self.remembers(id, principal.user_id, now) {
                    let mark = self.changes.mark();
                    let standing = self.find_standing(id).await;
                    self.judge(id, principal.user_id, mark, now, standing)?;
                }
                id
            }
            // The operator and the installation work outside of sessions.
            (Credential::OperatingSystem { .. } | Credential::Installation, _) => return Err(SessionError::Required),
            (Credential::ApiKey(_), None) if hint.required => return Err(SessionError::Required),
            (Credential::ApiKey(key), None) => self.bind_derived(principal.user_id, *key, hint, now).await?,
        };
        self.activity.session_active(
            id,
            SessionActivity { last_at: now, requests: 1, input_tokens: 0, output_tokens: 0, cost: Microdollars::ZERO },
        );
        Ok(id)
    }

    /// Adds what a request used to the figures of its session.
    pub fn record_usage(&self, id: SessionId, input_tokens: u64, output_tokens: u64, cost: Microdollars) {
        let last_at = self.ambient.now();
        self.activity.session_active(id, SessionActivity { last_at, requests: 0, input_tokens, output_tokens, cost });
    }

    /// Opens a session explicitly, for a client that will name it or a token that will belong to it.
    pub async fn open(&self, new: NewSession<'_>) -> Result<Session, StoreError> {
        let now = self.ambient.now();
        let expires_at = now + new.lifetime.unwrap_or(LIFETIME);
        let id = SessionId::generate(&self.ambient);
        let redacted = |text: &str| self.scanner.redacted(text.to_owned());
        let (client_id, user_agent) = (new.client.map(redacted), new.user_agent.map(redacted));
        let record = SessionRecord {
            id,
            user: new.user,
            api_key: new.api_key.map(|key| key.as_uuid()),
            source: new.source.as_str(),
            client: client_id.as_deref(),
            client_session: None,
            user_agent: user_agent.as_deref(),
            ip_address: new.ip_address,
            now,
            expires_at,
            derived_from: None,
            follows: None,
        };
        patiently(async { Ok::<_, StoreError>(queries::insert_session(self.db.write(), &record).await?) }).await?;
        Ok(Session {
            id,
            user_id: new.user,
            started_at: now,
            last_activity_at: now,
            ended_at: None,
            expires_at,
            revoked_at: None,
            client_id,
            client_session_id: None,
            source: new.source,
            request_count: 0,
            input_tokens: 0,
            output_tokens: 0,
            cost_microdollars: 0,
        })
    }

    /// A session, whatever its state.
    pub async fn get(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        queries::find_session(self.db.read(), id).await
    }

    /// Revokes a session; its requests and tokens are refused from the next one on, on every replica. Says whether it
    /// was there and not yet revoked.
    pub async fn revoke(&self, id: SessionId) -> Result<bool, StoreError> {
        Ok(queries::revoke_session(self.db.write(), id, self.ambient.now()).await?)
    }

    /// Deletes sessions that expired a month ago and more, in small batches; says how many. What was done in them stays in
    /// the ledger.
    pub async fn forget_expired(&self) -> Result<u64, StoreError> {
        let before = self.ambient.now() - KEPT;
        let mut forgotten = 0;
        loop {
            let batch = queries::delete_expired_sessions(self.db.write(), before, BATCH).await?;
            forgotten += batch;
            if batch < BATCH as u64 {
                return Ok(forgotten);
            }
        }
    }

    fn remembers(&self, id: SessionId, user: UserId, now: DateTime<Utc>) -> bool {
        self.live.get(&id).is_some_and(|session| {
            session.user_id == user && now < session.expires_at && self.changes.holds(session.mark, user)
        })
    }

    /// A place for one more session of a key, if there is one.
    async fn new_session_of(&self, key: ApiKeyId) -> Result<Option<Reservation>, SessionError> {
        let limit = Refilling::new(NEW_SESSIONS, Unit::Sessions, NEW_SESSIONS_PER_SECOND);
        let claim = Claim::new(LeaseKey::new("identity.new_sessions", key.as_uuid()), limit, 1);
        match self.leases.reserve(&claim).await {
            Ok(place) => Ok(Some(place)),
            Err(ReserveError::Exhausted(_)) => Ok(None),
            Err(ReserveError::Unavailable(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, api_key.id = %key, "the new sessions of a key could not be counted");
                Err(SessionError::Unavailable)
            }
        }
    }

    /// The session that follows from a request which names none.
    async fn bind_derived(
        &self,
        user: UserId,
        key: ApiKeyId,
        hint: SessionHint<'_>,
        now: DateTime<Utc>,
    ) -> Result<SessionId, SessionError> {
        let own = hint.origin(key);
        let last = match self.going_on(own, user, hint.pause, now).await? {
            Stretch::GoesOn(id) => return Ok(id),
            Stretch::Over(last) => last,
        };
        if let Some(place) = self.new_session_of(key).await? {
            let names = Names::of(hint, &self.scanner);
            let (is_new, id) = self.begin(own, last, user, key, now, &names).await;
            // A session that was there already does not count.
            place.settle(u64::from(is_new));
            return id;
        }
        let shared = Origin::shared(key);
        match self.going_on(shared, user, hint.pause, now).await? {
            Stretch::GoesOn(id) => Ok(id),
            Stretch::Over(last) => {
                tracing::warn!(user.id = %user, api_key.id = %key, "a key begins too many sessions; new ones share one");
                self.begin(shared, last, user, key, now, &Names::default()).await.1
            }
        }
    }

    /// The session of `origin` that goes on, if one does.
    async fn going_on(
        &self,
        origin: Origin,
        user: UserId,
        pause: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<Stretch, SessionError> {
        if let Some(known) = self.ongoing.get(&origin)
            && now.timestamp() - known.last.load(Relaxed) < pause.num_seconds()
            && self.remembers(known.id, user, now)
        {
            known.last.fetch_max(now.timestamp(), Relaxed);
            return Ok(Stretch::GoesOn(known.id));
        }
        let mark = self.changes.mark();
        let newest =
            patiently(async { Ok::<_, StoreError>(queries::find_newest(self.db.write(), origin.as_bytes()).await?) })
                .await
                .map_err(|error| {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "the session of a request could not be looked up");
                    SessionError::Unavailable
                })?;
        let Some(Newest { id, last_activity_at, standing }) = newest else { return Ok(Stretch::Over(None)) };
        let was_ended = standing.revoked_at.is_some() || standing.ended_at.is_some();
        if now >= standing.expires_at || (!was_ended && now - last_activity_at >= pause) {
            return Ok(Stretch::Over(Some(id)));
        }
        self.judge(id, user, mark, now, Ok(Some(standing)))?;
        self.remember(origin, id, now);
        Ok(Stretch::GoesOn(id))
    }

    /// Stores the session of `origin` that comes after `last`; says whether it was new.
    async fn begin(
        &self,
        origin: Origin,
        last: Option<SessionId>,
        user: UserId,
        key: ApiKeyId,
        now: DateTime<Utc>,
        names: &Names<'_>,
    ) -> (bool, Result<SessionId, SessionError>) {
        let id = origin.session_after(last, now);
        let mark = self.changes.mark();
        let record = SessionRecord {
            derived_from: Some(origin.as_bytes()),
            follows: last,
            id,
            user,
            api_key: Some(key.as_uuid()),
            source: SessionSource::Api.as_str(),
            client: names.client.as_deref(),
            client_session: names.client_session.as_deref(),
            user_agent: names.user_agent.as_deref(),
            ip_address: None,
            now,
            expires_at: now + LIFETIME,
        };
        let (is_new, standing) = self.store(record).await;
        let judged = self.judge(id, user, mark, now, standing);
        if judged.is_ok() {
            self.remember(origin, id, now);
        }
        (is_new, judged.map(|()| id))
    }

    fn remember(&self, origin: Origin, id: SessionId, now: DateTime<Utc>) {
        self.ongoing.insert(origin, GoingOn { id, last: Arc::new(AtomicI64::new(now.timestamp())) });
    }

    async fn find_standing(&self, id: SessionId) -> Result<Option<Standing>, StoreError> {
        patiently(async { Ok(queries::find_standing(self.db.write(), id).await?) }).await
    }

    /// Stores a session unless it is there; tells whether it was stored, and how it stands.
    async fn store(&self, record: SessionRecord<'_>) -> (bool, Result<Option<Standing>, StoreError>) {
        let stored = patiently(async {
            if queries::insert_session(self.db.write(), &record).await? {
                let (user_id, expires_at) = (record.user, record.expires_at);
                return Ok((true, Some(Standing { user_id, expires_at, ended_at: None, revoked_at: None })));
            }
            Ok((false, queries::find_standing(self.db.write(), record.id).await?))
        });
        match stored.await {
            Ok((is_new, standing)) => (is_new, Ok(standing)),
            Err(error) => (false, Err(error)),
        }
    }

    /// Lets a request use a session or not, and remembers the session if so.
    fn judge(
        &self,
        id: SessionId,
        user: UserId,
        mark: Mark,
        now: DateTime<Utc>,
        standing: Result<Option<Standing>, StoreError>,
    ) -> Result<(), SessionError> {
        let standing = standing.map_err(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, session.id = %id, "a session could not be checked");
            SessionError::Unavailable
        })?;
        let standing = standing
            .filter(|standing| {
                standing.user_id == user
                    && standing.revoked_at.is_none()
                    && standing.ended_at.is_none()
                    && now < standing.expires_at
            })
            .ok_or(SessionError::Unknown)?;
        self.live.insert(id, LiveSession { user_id: user, expires_at: standing.expires_at, mark });
        Ok(())
    }
}

/// What a client says of itself, as it may be stored: a header may hold a credential by mistake.
#[derive(Default)]
struct Names<'a> {
    client: Option<Cow<'a, str>>,
    client_session: Option<Cow<'a, str>>,
    user_agent: Option<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    fn of(hint: SessionHint<'a>, scanner: &SecretScanner) -> Self {
        let redacted = |text: &'a str| if scanner.flags(text) { REDACTED.into() } else { Cow::Borrowed(text) };
        // A digest still tells sessions apart, so ids that are random enough to be a credential lose nothing by it.
        let digested = |id: &'a str| {
            if scanner.flags(id) { format!("sha256:{}", hex::encode(Sha256::digest(id))).into() } else { id.into() }
        };
        Self {
            client: hint.client_name().map(redacted),
            client_session: hint.client_session.map(digested),
            user_agent: hint.client.map(redacted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn a_derived_session_is_stored_once_and_is_the_same_everywhere() {
        let world = World::new().await;
        let (here, there) = (world.replica().await, world.replica().await);
        let user = here.user("ada", &["user"]).await;
        let key = here.key(&user).await;
        let principal = here.authenticate(&key.secret).await.expect("is accepted");
        let hint = SessionHint {
            client: Some("claude-cli/1.0 (external, cli)"),
            client_session: Some("abc"),
            conversation: 7,
            ..SessionHint::default()
        };
        let (one, other) = tokio::join!(
            here.identity.sessions.bind(&principal, hint),
            there.identity.sessions.bind(&principal, hint),
        );
        let id = one.expect("is bound");
        assert_eq!(other, Ok(id));
        assert_eq!(here.identity.sessions.bind(&principal, hint).await, Ok(id));

        let sessions = recent_sessions(&here.db, user.id, 10).await.expect("lists");
        assert_eq!(sessions.len(), 1);
        let session = &sessions[0];
        assert_eq!((session.id, session.user_id, session.source), (id, user.id, SessionSource::Api));
        assert_eq!(session.client_id.as_deref(), Some("claude-cli"));
        assert_eq!(session.client_session_id.as_deref(), Some("abc"));

        let hint = SessionHint { client_session: Some("def"), ..hint };
        assert_ne!(here.identity.sessions.bind(&principal, hint).await, Ok(id));
        here.stop().await;
        there.stop().await;
    }

    #[tokio::test]
    async fn a_derived_session_ends_after_a_pause_or_a_week_and_another_takes_over() {
        let world = World::new().await;
        let (here, there) = (world.replica().await, world.replica().await);
        let user = here.user("ada", &["user"]).await;
        let principal = here.authenticate(&here.key(&user).await.secret).await.expect("is accepted");
        let pause = TimeDelta::minutes(10);
        let hint = SessionHint { client: Some("aider/0.86"), conversation: 7, pause, ..SessionHint::default() };
        let sessions = &here.identity.sessions;
        let bind = async || sessions.bind(&principal, hint).await.expect("is bound");

        let first = bind().await;
        world.clock.advance(pause - TimeDelta::seconds(1));
        assert_eq!(bind().await, first, "it is only a short pause");
        here.identity.write_activity().await.expect("writes");
        world.clock.advance(pause - TimeDelta::seconds(1));
        assert_eq!(there.identity.sessions.bind(&principal, hint).await, Ok(first), "another server knows of it");
        there.identity.write_activity().await.expect("writes");
        let left = world.ambient.now();

        world.clock.advance(pause);
        let (one, other) = tokio::join!(bind(), there.identity.sessions.bind(&principal, hint));
        assert_ne!(one, first);
        assert_eq!(other, Ok(one), "both begin the same");
        assert_eq!(bind().await, one);
        let ended = sessions.get(first).await.expect("reads").expect("is there");
        assert_eq!((ended.ended_at, ended.revoked_at), (Some(left), None));

        // Without a pause it is a week.
        let patient = SessionHint { pause: LIFETIME * 2, ..hint };
        world.clock.advance(LIFETIME - TimeDelta::seconds(1));
        assert_eq!(sessions.bind(&principal, patient).await, Ok(one));
        world.clock.advance(TimeDelta::seconds(1));
        assert_ne!(sessions.bind(&principal, patient).await, Ok(one));
        assert_eq!(recent_sessions(&here.db, user.id, 10).await.expect("lists").len(), 3);
        here.stop().await;
        there.stop().await;
    }

    #[tokio::test]
    async fn activity_is_added_up_over_replicas() {
        let world = World::new().await;
        let (here, there) = (world.replica().await, world.replica().await);
        let user = here.user("ada", &["user"]).await;
        let principal = here.authenticate(&here.key(&user).await.secret).await.expect("is accepted");
        let bind = |sessions: Arc<Sessions>| {
            let principal = principal.clone();
            async move { sessions.bind(&principal, SessionHint::default()).await.expect("is bound") }
        };
        let id = bind(here.identity.sessions.clone()).await;
        here.identity.sessions.record_usage(id, 100, 20, Microdollars(5));
        world.clock.advance(TimeDelta::seconds(90));
        bind(there.identity.sessions.clone()).await;
        bind(there.identity.sessions.clone()).await;
        there.identity.sessions.record_usage(id, 1, 2, Microdollars(3));
        // The later one is written first; time does not go back.
        there.identity.write_activity().await.expect("writes");
        here.identity.write_activity().await.expect("writes");
        here.identity.write_activity().await.expect("has nothing left to write");

        let session = here.identity.sessions.get(id).await.expect("reads").expect("is there");
        assert_eq!(session.request_count, 3);
        assert_eq!((session.input_tokens, session.output_tokens, session.cost_microdollars), (101, 22, 8));
        assert_eq!(session.last_activity_at, world.ambient.now());
        here.stop().await;
        there.stop().await;
    }

    #[tokio::test]
    async fn a_named_session_must_be_a_live_one_of_the_keys_user() {
        let world = World::new().await;
        let replica = world.replica().await;
        let (user, other) = (replica.user("ada", &["user"]).await, replica.user("bob", &["user"]).await);
        let principal = replica.authenticate(&replica.key(&user).await.secret).await.expect("is accepted");
        let sessions = &replica.identity.sessions;
        let bind = async |explicit: Option<SessionId>, required| {
            let hint = SessionHint { explicit, required, ..SessionHint::default() };
            sessions.bind(&principal, hint).await
        };
        let session = replica.session(&user).await;
        for required in [false, true] {
            assert_eq!(bind(Some(session), required).await, Ok(session));
            for bad in [replica.session(&other).await, SessionId::generate(&world.ambient)] {
                assert_eq!(bind(Some(bad), required).await, Err(SessionError::Unknown), "{bad}");
            }
        }
        assert_eq!(bind(None, true).await, Err(SessionError::Required));

        world.clock.advance(LIFETIME);
        assert_eq!(bind(Some(session), false).await, Err(SessionError::Unknown), "expired");
        replica.stop().await;
    }

    #[tokio::test]
    async fn a_token_belongs_to_the_session_in_its_claims() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let token = replica.token(&user, "user").await;
        let principal = replica.authenticate(&token.token).await.expect("is accepted");
        let own = token.claims.session_id;
        let other = replica.session(&user).await;
        for (explicit, expected) in [(None, Ok(own)), (Some(own), Ok(own)), (Some(other), Err(SessionError::Mismatch))]
        {
            for required in [false, true] {
                let hint = SessionHint { explicit, required, conversation: 7, ..SessionHint::default() };
                assert_eq!(replica.identity.sessions.bind(&principal, hint).await, expected, "{explicit:?}");
            }
        }
        replica.stop().await;
    }

    #[tokio::test]
    async fn a_revoked_session_is_refused_on_the_next_request_of_another_replica() {
        let world = World::new().await;
        let (here, there) = (world.replica().await, world.replica().await);
        let user = here.user("ada", &["user"]).await;
        let principal = here.authenticate(&here.key(&user).await.secret).await.expect("is accepted");
        let derived = SessionHint::default();
        let named = SessionHint { explicit: Some(here.session(&user).await), ..derived };
        let bind = async |hint| there.identity.sessions.bind(&principal, hint).await;

        let id = bind(named).await.expect("is bound");
        assert!(there.hears(here.identity.sessions.revoke(id)).await.expect("revokes"));
        assert_eq!(bind(named).await, Err(SessionError::Unknown));
        assert!(!here.identity.sessions.revoke(id).await.expect("revokes"), "it was already");

        // Revoking a derived session ends the conversation; it does not come back under the same id.
        let id = bind(derived).await.expect("is bound");
        assert!(there.hears(here.identity.sessions.revoke(id)).await.expect("revokes"));
        assert_eq!(bind(derived).await, Err(SessionError::Unknown));
        bind(SessionHint { conversation: 1, ..derived }).await.expect("another conversation goes on");
        here.stop().await;
        there.stop().await;
    }

    #[tokio::test]
    async fn sessions_are_not_remembered_while_announcements_are_not_heard() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let principal = replica.authenticate(&replica.key(&user).await.secret).await.expect("is accepted");
        let bind = async || replica.identity.sessions.bind(&principal, SessionHint::default()).await;
        bind().await.expect("is bound");
        let silently = ["ALTER TABLE user_sessions DISABLE TRIGGER ALL", "UPDATE user_sessions SET revoked_at = now()"];
        for statement in silently {
            sqlx::query(statement).execute(world.database.pool.write()).await.expect("changes the row");
        }
        bind().await.expect("is still remembered: nobody was told");
        replica.deafen.cancel();
        replica.until(|replica| !replica.identity.changes.is_live()).await;
        assert_eq!(bind().await, Err(SessionError::Unknown));
        replica.db.close().await;
        assert_eq!(bind().await, Err(SessionError::Unavailable));
    }

    #[tokio::test]
    async fn what_a_client_says_is_stored_without_credentials() {
        const KEY: &str = concat!("AKIA", "IOSFODNN7EXAMPLQ");
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let principal = replica.authenticate(&replica.key(&user).await.secret).await.expect("is accepted");
        let sessions = &replica.identity.sessions;
        let hint = SessionHint { client: Some(KEY), client_session: Some(KEY), ..SessionHint::default() };
        let id = sessions.bind(&principal, hint).await.expect("is bound");
        assert_eq!(sessions.bind(&principal, hint).await, Ok(id), "it still tells sessions apart");
        let session = sessions.get(id).await.expect("reads").expect("is there");
        assert_eq!(session.client_id.as_deref(), Some("[redacted]"));
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(KEY)));
        assert_eq!(session.client_session_id, Some(digest));
        let agent = format!("sdk/{KEY}");
        let new = NewSession::new(user.id, SessionSource::Api);
        let opened = sessions.open(NewSession { client: Some(KEY), user_agent: Some(&agent), ..new }).await;
        assert_eq!(opened.expect("opens").client_id.as_deref(), Some("[redacted]"));
        let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM user_sessions AS row WHERE row::text LIKE '%AKIA%'")
            .fetch_one(replica.db.read())
            .await
            .expect("reads");
        assert_eq!(stored, 0);
        replica.stop().await;
    }

    #[tokio::test]
    async fn a_key_begins_so_many_sessions_a_minute_and_then_they_are_shared() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let principal = replica.authenticate(&replica.key(&user).await.secret).await.expect("is accepted");
        let other_key = replica.authenticate(&replica.key(&user).await.secret).await.expect("is accepted");
        let sessions = &replica.identity.sessions;
        let bind = async |principal: &Principal, conversation: u64| {
            let hint = SessionHint { conversation, ..SessionHint::default() };
            sessions.bind(principal, hint).await.expect("is bound")
        };
        let limit = NEW_SESSIONS;
        let mut seen = std::collections::HashSet::new();
        for conversation in 0..limit {
            assert!(seen.insert(bind(&principal, conversation).await), "one of its own");
        }
        let shared = bind(&principal, limit).await;
        assert!(!seen.contains(&shared));
        assert_eq!(bind(&principal, limit + 1).await, shared);
        let named_by_client = SessionHint { client: Some("other/1"), client_session: Some("s"), ..Default::default() };
        assert_eq!(sessions.bind(&principal, named_by_client).await, Ok(shared), "another client changes nothing");
        assert_ne!(bind(&other_key, limit).await, shared, "another key has a count of its own");
        assert_eq!(recent_sessions(&replica.db, user.id, 1000).await.expect("lists").len() as u64, limit + 2);

        // What is there already is found, also by a replica that has not seen it.
        sessions.live.invalidate_all();
        assert!(seen.contains(&bind(&principal, 0).await));
        world.clock.advance(TimeDelta::minutes(1));
        assert_ne!(bind(&principal, limit).await, shared, "a minute later");
        sessions.live.invalidate_all();
        for conversation in 0..limit {
            assert!(seen.contains(&bind(&principal, conversation).await), "what is known does not count");
        }
        assert_ne!(bind(&principal, limit + 1).await, shared);
        replica.stop().await;
    }

    #[tokio::test]
    async fn sessions_are_forgotten_a_month_after_they_expired() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let sessions = &replica.identity.sessions;
        let old = replica.session(&user).await;
        world.clock.advance(TimeDelta::days(2));
        let young = replica.session(&user).await;
        world.clock.advance(LIFETIME + KEPT - TimeDelta::days(1));
        assert_eq!(sessions.forget_expired().await.expect("deletes"), 1);
        assert_eq!(sessions.get(old).await.expect("reads"), None);
        assert!(sessions.get(young).await.expect("reads").is_some());
        replica.stop().await;
    }

    #[tokio::test]
    async fn a_database_that_hangs_is_not_waited_for() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let key = replica.key(&user).await;
        let principal = replica.authenticate(&key.secret).await.expect("is accepted");
        let fresh = replica.key(&user).await;
        let mut holding = world.database.pool.write().begin().await.expect("begins");
        sqlx::query("LOCK TABLE users, user_sessions IN ACCESS EXCLUSIVE MODE")
            .execute(&mut *holding)
            .await
            .expect("locks");
        let (authenticated, bound) = tokio::join!(
            replica.authenticate(&fresh.secret),
            replica.identity.sessions.bind(&principal, SessionHint::default()),
        );
        assert_eq!(authenticated.err(), Some(systemprompt_extension::AuthError::Unavailable));
        assert_eq!(bound, Err(SessionError::Unavailable));
        holding.rollback().await.expect("rolls back");
        assert!(replica.authenticate(&fresh.secret).await.is_ok(), "it is not remembered as refused");
        replica.stop().await;
    }
}
