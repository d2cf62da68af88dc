//! Turns the credential of a request into who is asking.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use systemprompt_database::DbPool;
use systemprompt_extension::{
    AuthError, Authenticate, ClientIp, CredentialsRefused, IdentifyError, Meter, RefusedBecause,
};
use systemprompt_model::{Ambient, ApiKeyId, Credential, Principal, UserType};

use crate::activity::Activity;
use crate::api_key;
use crate::authentication::complaint::Complaints;
use crate::authentication::queries::{self, Account};
use crate::authentication::throttle::{CredentialDigest, Throttle};
use crate::changes::{Changes, Mark};
use crate::error::{StoreError, patiently};
use crate::token::issuer::{LEEWAY, TokenError, Tokens};
use crate::token::{Claims, ScopeSet};
use crate::user::ADMIN_ROLE;

/// How long an answer is remembered at most, should an announcement ever be lost.
const MEMORY: Duration = Duration::from_secs(30);
/// How long it is remembered that a credential was refused.
const MEMORY_OF_REFUSALS: Duration = Duration::from_secs(5);
/// Credentials remembered; each takes well under a kilobyte.
const REMEMBERED: u64 = 50_000;
const REMEMBERED_REFUSALS: u64 = 10_000;
/// A key's `last_used_at` is moved this often, in seconds.
const TOUCH_INTERVAL: i64 = 60;
/// The longest credential that is looked at, in bytes.
const LONGEST_CREDENTIAL: usize = 8 * 1024;

/// Turns the credential of a request into who is asking.
///
/// A known credential costs one SHA-256 and one look-up in memory. Cloning shares the memory.
#[derive(Clone)]
pub struct Authenticator {
    db: DbPool,
    ambient: Ambient,
    tokens: Arc<Tokens>,
    changes: Arc<Changes>,
    activity: Arc<Activity>,
    /// The audience a token must have here. API keys have none.
    audience: Arc<str>,
    accepted: Cache<CredentialDigest, Arc<Accepted>>,
    refused: Cache<CredentialDigest, (Mark, RefusedBecause)>,
    throttle: Throttle,
    complaints: Complaints,
    metrics: CredentialsRefused,
}

/// A credential that was accepted, and for how long that may be relied on.
struct Accepted {
    principal: Arc<Principal>,
    mark: Mark,
    validity: Validity,
}

/// Who sends a request, and what its token was issued for.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who it is.
    pub principal: Arc<Principal>,
    /// What its token says; API keys say nothing more.
    pub token: Option<TokenUse>,
}

/// What a token was issued for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUse {
    /// What it allows.
    pub scope: ScopeSet,
    /// The plugin it was issued to.
    pub plugin_id: Option<String>,
}

enum Validity {
    Key {
        id: ApiKeyId,
        expires_at: Option<DateTime<Utc>>,
        /// The last use that was, or is about to be, written down; seconds since 1970.
        touched: AtomicI64,
    },
    Token {
        audiences: Box<[String]>,
        used_for: TokenUse,
        /// End and beginning, leeway included.
        expires_at: i64,
        not_before: i64,
    },
}

/// Why a credential is refused, for the log.
#[derive(Debug, thiserror::Error)]
enum NotAccepted {
    #[error("the API key does not have the form of one")]
    MalformedKey,
    #[error("there is no such API key, or its secret is wrong")]
    WrongKey,
    #[error("the API key is revoked")]
    RevokedKey,
    #[error("the API key has expired")]
    ExpiredKey,
    #[error("the token is not good: {0}")]
    Token(#[from] TokenError),
    #[error("the token is revoked")]
    RevokedToken,
    #[error("the session of the token has ended or was revoked")]
    Session,
    #[error("the user is unknown or may not act")]
    User,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NotAccepted {
    /// The kind of reason.
    const fn because(&self) -> RefusedBecause {
        match self {
            Self::MalformedKey => RefusedBecause::Malformed,
            Self::WrongKey => RefusedBecause::Unknown,
            Self::RevokedKey | Self::RevokedToken => RefusedBecause::Revoked,
            Self::ExpiredKey => RefusedBecause::Expired,
            Self::Session => RefusedBecause::SessionEnded,
            Self::User => RefusedBecause::User,
            Self::Store(_) => RefusedBecause::Unavailable,
            Self::Token(error) => match error {
                TokenError::Expired | TokenError::NotYet => RefusedBecause::Expired,
                TokenError::Audience | TokenError::Issuer => RefusedBecause::WrongAudience,
                TokenError::UnknownKey | TokenError::Signature => RefusedBecause::Unknown,
                _ => RefusedBecause::Malformed,
            },
        }
    }

    /// Whether it may have been a guess: who knows a credential that is not good any more guesses nothing.
    const fn may_be_guess(&self) -> bool {
        matches!(self.because(), RefusedBecause::Unknown | RefusedBecause::Malformed)
    }
}

impl Authenticator {
    pub(crate) fn new(
        db: DbPool,
        ambient: Ambient,
        tokens: Arc<Tokens>,
        changes: Arc<Changes>,
        activity: Arc<Activity>,
        audience: &str,
        metrics: CredentialsRefused,
    ) -> Self {
        Self {
            throttle: Throttle::new(),
            complaints: Complaints::new(),
            metrics,
            db,
            ambient,
            tokens,
            changes,
            activity,
            audience: audience.into(),
            accepted: Cache::builder().max_capacity(REMEMBERED).time_to_live(MEMORY).build(),
            refused: Cache::builder().max_capacity(REMEMBERED_REFUSALS).time_to_live(MEMORY_OF_REFUSALS).build(),
        }
    }

    /// The same for another surface: tokens must carry this audience.
    #[must_use]
    pub fn for_audience(&self, audience: &str) -> Self {
        Self { audience: audience.into(), ..self.clone() }
    }

    /// The clock it judges by.
    pub fn ambient(&self) -> &Ambient {
        &self.ambient
    }

    /// Who sends a request from this address, if one more may be sent. An address is limited before its credential is looked
    /// at, and waits after wrong ones, so that guessing is slow; who is accepted is limited as himself, and everybody else as
    /// nobody.
    pub async fn identify(
        &self,
        headers: &HeaderMap,
        from: Option<ClientIp>,
        meter: Option<&Meter>,
    ) -> Result<Arc<Principal>, IdentifyError> {
        Ok(Arc::clone(&self.accept_within(headers, from, meter, &[&*self.audience]).await?.principal))
    }

    /// The same for a surface where tokens may have any of several audiences, and it matters what they were issued for.
    pub async fn identify_among(
        &self,
        headers: &HeaderMap,
        from: Option<ClientIp>,
        meter: Option<&Meter>,
        audiences: &[&str],
    ) -> Result<Caller, IdentifyError> {
        let accepted = self.accept_within(headers, from, meter, audiences).await?;
        let token = match &accepted.validity {
            Validity::Key { .. } => None,
            Validity::Token { used_for, .. } => Some(used_for.clone()),
        };
        Ok(Caller { principal: Arc::clone(&accepted.principal), token })
    }

    async fn accept_within(
        &self,
        headers: &HeaderMap,
        from: Option<ClientIp>,
        meter: Option<&Meter>,
        audiences: &[&str],
    ) -> Result<Arc<Accepted>, IdentifyError> {
        if let Some(meter) = meter {
            meter.guard()?;
        }
        let accepted = match self.look(headers, from, audiences).await {
            Err(IdentifyError::RateLimited(limited)) => return Err(limited.into()),
            Err(IdentifyError::Auth(error)) => Err(error),
            Ok(accepted) => Ok(accepted),
        };
        // Whoever it is, it is not for him that credentials cannot be checked.
        if let Some(meter) = meter.filter(|_| !matches!(accepted, Err(AuthError::Unavailable))) {
            meter.count(accepted.as_ref().ok().map(|accepted| &*accepted.principal)).await?;
        }
        Ok(accepted?)
    }

    /// Who sends these headers: `Authorization: Bearer` first, then `x-api-key`, then `x-goog-api-key`; each may hold an API key or a token.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Principal>, AuthError> {
        let looked = self.look(headers, None, &[&*self.audience]).await;
        let accepted = looked.map_err(|error| match error {
            IdentifyError::Auth(error) => error,
            // Nobody without an address waits.
            IdentifyError::RateLimited(_) => AuthError::Unavailable,
        })?;
        Ok(Arc::clone(&accepted.principal))
    }

    /// The credential of these headers, if it is good where tokens must have one of these audiences.
    async fn look(
        &self,
        headers: &HeaderMap,
        from: Option<ClientIp>,
        audiences: &[&str],
    ) -> Result<Arc<Accepted>, IdentifyError> {
        let now = self.ambient.now();
        let credential = credential(headers).inspect_err(|error| {
            let because = match error {
                AuthError::Missing => return self.metrics.count(RefusedBecause::Missing),
                AuthError::Invalid | AuthError::Unavailable => RefusedBecause::Malformed,
            };
            self.refuse(from, None, because, &"several credentials in one header, or one that is too long", now);
        })?;
        let prefix = api_key::prefix_of(credential);
        if let Some(from) = from
            && let Err(limited) = self.throttle.admit(from, credential, now)
        {
            self.refuse(Some(from), prefix, RefusedBecause::Throttled, &"too many wrong ones came from there", now);
            return Err(limited.into());
        }
        let digest: CredentialDigest = Sha256::digest(credential).into();
        if let Some(accepted) = self.accepted.get(&digest)
            && self.changes.holds(accepted.mark, accepted.principal.user_id)
            && accepted.is_valid(now, audiences)
        {
            self.touch(&accepted, now);
            return Ok(accepted);
        }
        if let Some((mark, because)) = self.refused.get(&digest)
            && self.changes.nothing_since(mark)
        {
            self.refuse(from, prefix, because, &"it was refused a moment ago", now);
            return Err(AuthError::Invalid.into());
        }
        Ok(self.ask(credential, digest, audiences, from, now).await?)
    }

    /// Counts a refusal, and says it if there is room for that in the log.
    fn refuse(
        &self,
        from: Option<ClientIp>,
        prefix: Option<&str>,
        because: RefusedBecause,
        why: &dyn std::fmt::Display,
        now: DateTime<Utc>,
    ) {
        self.metrics.count(because);
        self.complaints.refused(from, prefix, because, why, now);
    }

    /// Asks the database about a credential and remembers the answer.
    async fn ask(
        &self,
        credential: &str,
        digest: CredentialDigest,
        audiences: &[&str],
        from: Option<ClientIp>,
        now: DateTime<Utc>,
    ) -> Result<Arc<Accepted>, AuthError> {
        let mark = self.changes.mark();
        match patiently(self.establish(credential, &digest, audiences, mark, now)).await {
            Ok(accepted) => {
                self.touch(&accepted, now);
                self.throttle.succeeded(credential, &digest);
                let accepted = Arc::new(accepted);
                self.accepted.insert(digest, Arc::clone(&accepted));
                Ok(accepted)
            }
            Err(NotAccepted::Store(error)) => {
                self.metrics.count(RefusedBecause::Unavailable);
                tracing::error!(error = &error as &dyn std::error::Error, "a credential could not be checked");
                Err(AuthError::Unavailable)
            }
            Err(reason) => {
                let because = reason.because();
                self.refuse(from, api_key::prefix_of(credential), because, &reason, now);
                if let Some(from) = from.filter(|_| reason.may_be_guess()) {
                    self.throttle.failed(from, credential, &digest, now);
                }
                // A token for another surface is good there, so its refusal must not be remembered for all surfaces.
                if !matches!(reason, NotAccepted::Token(_)) {
                    self.refused.insert(digest, (mark, because));
                }
                Err(AuthError::Invalid)
            }
        }
    }

    async fn establish(
        &self,
        credential: &str,
        digest: &CredentialDigest,
        audiences: &[&str],
        mark: Mark,
        now: DateTime<Utc>,
    ) -> Result<Accepted, NotAccepted> {
        // The primary is asked, not a read replica: what a replica answers after an announcement may be older than it.
        let db = self.db.write();
        if credential.starts_with(api_key::MARK) {
            let prefix = api_key::prefix_of(credential).ok_or(NotAccepted::MalformedKey)?;
            let holder = queries::find_key_holder(db, prefix).await?;
            // An unknown prefix goes through the same comparison as a wrong secret.
            let stored = holder.as_ref().map_or(&[0; 32][..], |holder| &holder.digest);
            let same = bool::from(stored.ct_eq(digest));
            let holder = holder.filter(|_| same).ok_or(NotAccepted::WrongKey)?;
            if holder.revoked_at.is_some() {
                return Err(NotAccepted::RevokedKey);
            }
            if holder.expires_at.is_some_and(|expires_at| expires_at <= now) {
                return Err(NotAccepted::ExpiredKey);
            }
            if !holder.account.status.may_act() {
                return Err(NotAccepted::User);
            }
            let user_type = if holder.account.is_admin() { UserType::Admin } else { UserType::User };
            let principal = holder.account.into_principal(user_type, Credential::ApiKey(holder.key_id));
            Ok(Accepted {
                principal: Arc::new(principal),
                mark,
                validity: Validity::Key {
                    id: holder.key_id,
                    expires_at: holder.expires_at,
                    touched: AtomicI64::new(holder.last_used_at.map_or(i64::MIN, |at| at.timestamp())),
                },
            })
        } else {
            let claims = self.tokens.verify(credential, audiences)?;
            let holder = queries::find_token_holder(db, &claims, now).await?.ok_or(NotAccepted::User)?;
            if holder.token_is_revoked {
                return Err(NotAccepted::RevokedToken);
            }
            if !holder.account.status.may_act() {
                return Err(NotAccepted::User);
            }
            if !holder.session_is_live {
                return Err(NotAccepted::Session);
            }
            Ok(Accepted {
                mark,
                validity: Validity::Token {
                    expires_at: claims.exp.saturating_add(LEEWAY.num_seconds()),
                    not_before: claims.nbf.max(claims.iat).saturating_sub(LEEWAY.num_seconds()),
                    audiences: claims.aud.clone().into(),
                    used_for: TokenUse { scope: claims.scope.clone(), plugin_id: claims.plugin_id.clone() },
                },
                principal: Arc::new(token_principal(&claims, holder.account)),
            })
        }
    }

    /// Notes that a key was used, at most once a minute.
    fn touch(&self, accepted: &Accepted, now: DateTime<Utc>) {
        let Validity::Key { id, touched, .. } = &accepted.validity else { return };
        let (last, seconds) = (touched.load(Ordering::Relaxed), now.timestamp());
        if seconds.saturating_sub(last) >= TOUCH_INTERVAL
            && touched.compare_exchange(last, seconds, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.activity.key_used(*id, now);
        }
    }
}

#[async_trait]
impl Authenticate for Authenticator {
    async fn identify(
        &self,
        headers: &HeaderMap,
        from: Option<ClientIp>,
        meter: Option<&Meter>,
    ) -> Result<Arc<Principal>, IdentifyError> {
        Self::identify(self, headers, from, meter).await
    }
}

impl Accepted {
    fn is_valid(&self, now: DateTime<Utc>, wanted: &[&str]) -> bool {
        match &self.validity {
            Validity::Key { expires_at, .. } => expires_at.is_none_or(|expires_at| now < expires_at),
            Validity::Token { audiences, expires_at, not_before, .. } => {
                (*not_before..*expires_at).contains(&now.timestamp())
                    && audiences.iter().any(|each| wanted.contains(&each.as_str()))
            }
        }
    }
}

impl Account {
    fn is_admin(&self) -> bool {
        self.roles.iter().any(|role| role == ADMIN_ROLE)
    }

    fn into_principal(self, user_type: UserType, credential: Credential) -> Principal {
        let mut attributes: BTreeMap<_, _> = self.attributes;
        attributes.entry("department".to_owned()).or_insert_with(|| "Default".to_owned());
        Principal { user_id: self.id, user_name: self.name, user_type, roles: self.roles, attributes, credential }
    }
}

/// What a token and the account have in common: the scope does not make up for a role the user has lost, and the role
/// not for a scope the token never had.
fn token_principal(claims: &Claims, mut account: Account) -> Principal {
    let user_type = match claims.scope.user_type() {
        UserType::Admin if !account.is_admin() => UserType::User,
        user_type => user_type,
    };
    account.roles.retain(|role| claims.roles.contains(role) && (user_type == UserType::Admin || role != ADMIN_ROLE));
    account.into_principal(user_type, Credential::Token { id: claims.jti, session: claims.session_id })
}

/// The one credential of a request. Several headers of one name are refused, because a proxy in
/// front may have looked at another one than we would.
fn credential(headers: &HeaderMap) -> Result<&str, AuthError> {
    let bearer = match only(headers, AUTHORIZATION.as_str())? {
        Some(value) => value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")),
        None => None,
    };
    let credential = match bearer {
        Some((_, credential)) => credential.trim(),
        None => match only(headers, "x-api-key")? {
            Some(key) => key.trim(),
            None => only(headers, "x-goog-api-key")?.ok_or(AuthError::Missing)?.trim(),
        },
    };
    match credential.len() {
        0 => Err(AuthError::Missing),
        1..=LONGEST_CREDENTIAL => Ok(credential),
        _ => Err(AuthError::Invalid),
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, AuthError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(AuthError::Invalid);
    }
    first.map(|value| value.to_str().map_err(|_| AuthError::Invalid)).transpose()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use systemprompt_model::Secret;

    use super::*;
    use crate::testing::{World, bearer};
    use crate::user::UserStatus;
    use crate::user::change::UserChange;

    #[tokio::test]
    async fn a_key_is_accepted_from_either_header() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user", "analyst"]).await;
        let issued = replica.key(&user).await;
        let key = issued.secret.expose();

        let principal = replica.authenticate(&issued.secret).await.expect("is accepted");
        assert_eq!(principal.user_id, user.id);
        assert_eq!((principal.user_name.as_str(), principal.user_type), ("ada", UserType::User));
        assert_eq!(principal.roles, ["analyst", "user"]);
        assert_eq!(principal.attributes["department"], "Default");
        assert_eq!(principal.credential, Credential::ApiKey(issued.key.id));

        let authenticate = async |headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().expect("a header value"));
            }
            replica.identity.authenticator.authenticate(&map).await.map(|principal| principal.user_id)
        };
        assert_eq!(authenticate(&[("x-api-key", key)]).await, Ok(user.id));
        assert_eq!(authenticate(&[("x-goog-api-key", key)]).await, Ok(user.id));
        assert_eq!(authenticate(&[("authorization", &format!("bearer  {key} "))]).await, Ok(user.id));
        assert_eq!(authenticate(&[("authorization", "Basic YTpi"), ("x-api-key", key)]).await, Ok(user.id));
        let bearer = format!("Bearer {key}");
        for (headers, error) in [
            (&[][..], AuthError::Missing),
            (&[("authorization", "Basic YTpi")], AuthError::Missing),
            (&[("x-api-key", "")], AuthError::Missing),
            (&[("authorization", "Bearer nonsense"), ("x-api-key", key)], AuthError::Invalid),
            (&[("authorization", &bearer), ("authorization", &bearer)], AuthError::Invalid),
            (&[("x-api-key", key), ("x-api-key", key)], AuthError::Invalid),
            (&[("x-api-key", &"x".repeat(9000))], AuthError::Invalid),
        ] {
            assert_eq!(authenticate(headers).await, Err(error), "{headers:?}");
        }
        replica.stop().await;
    }

    #[tokio::test]
    async fn keys_that_are_wrong_are_refused_alike() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let key = replica.key(&user).await.secret;
        let other = replica.key(&user).await.secret;
        let (prefix, secret) = key.expose().split_once('.').expect("two parts");
        let (other_prefix, other_secret) = other.expose().split_once('.').expect("two parts");
        let zeros = "0".repeat(52);
        for wrong in [
            format!("{prefix}.{other_secret}"),
            format!("{other_prefix}.{secret}"),
            format!("{prefix}.{zeros}"),
            format!("sp-live-000000000000.{secret}"),
            format!("{prefix}.{}", secret.to_uppercase()),
            prefix.to_owned(),
            format!("{prefix}."),
            "sp-live-".to_owned(),
            "sp-live-' OR 1=1".to_owned(),
        ] {
            for _ in 0..2 {
                let result = replica.authenticate(&Secret::new(wrong.clone())).await;
                assert_eq!(result.err(), Some(AuthError::Invalid), "{wrong}");
            }
        }
        replica.stop().await;
    }

    #[tokio::test]
    async fn guessing_is_slow_from_where_it_is_done_and_nowhere_else() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let (known, fresh) = (replica.key(&user).await.secret, replica.key(&user).await.secret);
        let from = |last: u8| Some(ClientIp::new([192, 0, 2, last].into()));
        let show = async |from, credential: &str| {
            replica.identity.authenticator.identify(&bearer(credential), from, None).await
        };
        show(from(1), known.expose()).await.expect("is accepted");
        let mut refused = Vec::new();
        for guess in 0..40 {
            let wrong = format!("sp-live-{guess:012x}.{guess:052x}");
            refused.push(show(from(1), &wrong).await.expect_err("is wrong"));
        }
        let waits = refused.iter().filter(|error| matches!(error, IdentifyError::RateLimited(_))).count();
        assert!((20..=32).contains(&waits), "{refused:?}");
        show(from(1), known.expose()).await.expect("who was let in stays in");
        show(from(2), fresh.expose()).await.expect("from elsewhere nobody waits");
        // A neighbour who knows how a key begins keeps nobody out, and gets no further than before.
        let (visible, _) = known.expose().split_once('.').expect("a key of two parts");
        let mut waits = 0;
        for guess in 0..10 {
            let wrong = show(from(4), &format!("{visible}.{guess:052x}")).await.expect_err("is wrong");
            waits += usize::from(matches!(wrong, IdentifyError::RateLimited(_)));
            show(from(4), known.expose()).await.expect("is right");
        }
        assert!(waits >= 4, "{waits}");
        assert!(matches!(show(from(1), "sp-live-x").await, Err(IdentifyError::RateLimited(_))));
        world.clock.advance(TimeDelta::minutes(6));
        assert_eq!(show(from(1), "sp-live-x").await.err(), Some(IdentifyError::Auth(AuthError::Invalid)));

        // A program with a revoked key guesses nothing.
        replica.hears(replica.identity.api_keys.revoke(replica.key(&user).await.key.id)).await.expect("revokes");
        let revoked = replica.key(&user).await;
        replica.hears(replica.identity.api_keys.revoke(revoked.key.id)).await.expect("revokes");
        for _ in 0..50 {
            let shown = show(from(3), revoked.secret.expose()).await;
            assert_eq!(shown.err(), Some(IdentifyError::Auth(AuthError::Invalid)));
        }
        replica.stop().await;
    }

    #[tokio::test]
    async fn what_ends_access_is_seen_by_the_next_request_on_another_replica() {
        let world = World::new().await;
        let (here, there) = (world.replica().await, world.replica().await);
        here.user("root", &["admin"]).await;

        let user = here.user("ada", &["user"]).await;
        let key = here.key(&user).await;
        there.authenticate(&key.secret).await.expect("is accepted");
        there.hears(here.identity.api_keys.revoke(key.key.id)).await.expect("revokes");
        assert_eq!(there.authenticate(&key.secret).await.err(), Some(AuthError::Invalid), "revoked key");

        let key = here.key(&user).await;
        there.authenticate(&key.secret).await.expect("is accepted");
        let status = |status| UserChange { status: Some(status), ..UserChange::default() };
        for barred in [UserStatus::Suspended, UserStatus::Inactive, UserStatus::Pending] {
            there.hears(here.identity.users.update(user.id, status(barred))).await.expect("changes the status");
            assert_eq!(there.authenticate(&key.secret).await.err(), Some(AuthError::Invalid), "{barred}");
            there.hears(here.identity.users.update(user.id, status(UserStatus::Active))).await.expect("lets it act");
            there.authenticate(&key.secret).await.expect("is accepted again, at once");
        }

        let promotion = UserChange { roles: Some(vec!["admin".into(), "user".into()]), ..UserChange::default() };
        there.hears(here.identity.users.update(user.id, promotion)).await.expect("promotes");
        assert!(there.authenticate(&key.secret).await.expect("is accepted").is_admin());

        let token = here.token(&user, "user").await;
        there.authenticate(&token.token).await.expect("is accepted");
        there.hears(here.identity.tokens.revoke(&token.claims)).await.expect("revokes");
        assert_eq!(there.authenticate(&token.token).await.err(), Some(AuthError::Invalid), "revoked token");

        let token = here.token(&user, "user").await;
        there.authenticate(&token.token).await.expect("is accepted");
        there.hears(here.identity.sessions.revoke(token.claims.session_id)).await.expect("revokes");
        assert_eq!(there.authenticate(&token.token).await.err(), Some(AuthError::Invalid), "revoked session");

        let token = here.token(&user, "user").await;
        there.authenticate(&token.token).await.expect("is accepted");
        there.hears(here.identity.users.delete(user.id)).await.expect("deletes");
        assert_eq!(there.authenticate(&key.secret).await.err(), Some(AuthError::Invalid), "key of a deleted user");
        assert_eq!(there.authenticate(&token.token).await.err(), Some(AuthError::Invalid), "token of a deleted user");
        here.stop().await;
        there.stop().await;
    }

    #[tokio::test]
    async fn nothing_is_remembered_while_announcements_are_not_heard() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let key = replica.key(&user).await;
        replica.authenticate(&key.secret).await.expect("is accepted");
        let silently = ["ALTER TABLE user_api_keys DISABLE TRIGGER ALL", "UPDATE user_api_keys SET revoked_at = now()"];
        for statement in silently {
            sqlx::query(statement).execute(world.database.pool.write()).await.expect("changes the row");
        }
        replica.authenticate(&key.secret).await.expect("is still remembered: nobody was told");

        replica.deafen.cancel();
        replica.until(|replica| !replica.identity.changes.is_live()).await;
        assert_eq!(replica.authenticate(&key.secret).await.err(), Some(AuthError::Invalid));
        replica.stop().await;
    }

    #[tokio::test]
    async fn a_lost_connection_is_noticed_and_everything_is_read_again() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let key = replica.key(&user).await;
        replica.authenticate(&key.secret).await.expect("is accepted");
        let silently = [
            "ALTER TABLE user_api_keys DISABLE TRIGGER ALL",
            "UPDATE user_api_keys SET revoked_at = now()",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE query LIKE 'LISTEN%' AND datname = current_database()",
        ];
        let mut heard = replica.identity.changes.heard();
        let before = *heard.borrow_and_update();
        for statement in silently {
            sqlx::query(statement).execute(world.database.pool.write()).await.expect("works");
        }
        let lost_and_found = heard.wait_for(|heard| *heard >= before + 2);
        tokio::time::timeout(Duration::from_secs(10), lost_and_found)
            .await
            .expect("in time")
            .expect("somebody listens");
        assert!(replica.identity.changes.is_live());
        assert_eq!(replica.authenticate(&key.secret).await.err(), Some(AuthError::Invalid));
        replica.stop().await;
    }

    #[tokio::test]
    async fn nobody_gets_in_while_the_database_cannot_be_asked() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let (known, unknown, token) = (
            replica.key(&user).await.secret,
            replica.key(&user).await.secret,
            replica.token(&user, "user").await.token,
        );
        replica.authenticate(&known).await.expect("is accepted");
        replica.db.close().await;
        replica.deafen.cancel();
        replica.until(|replica| !replica.identity.changes.is_live()).await;
        for credential in [&known, &unknown, &token] {
            assert_eq!(replica.authenticate(credential).await.err(), Some(AuthError::Unavailable));
        }
    }

    #[tokio::test]
    async fn a_key_expires_while_it_is_remembered() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let expires_at = world.ambient.now() + TimeDelta::seconds(10);
        let issued = replica.identity.api_keys.issue(user.id, "short", Some(expires_at)).await.expect("issues");
        replica.authenticate(&issued.secret).await.expect("is accepted");
        world.clock.advance(TimeDelta::seconds(9));
        replica.authenticate(&issued.secret).await.expect("is accepted");
        world.clock.advance(TimeDelta::seconds(1));
        for _ in 0..2 {
            assert_eq!(replica.authenticate(&issued.secret).await.err(), Some(AuthError::Invalid));
        }
        replica.stop().await;
    }

    #[tokio::test]
    async fn the_last_use_of_a_key_is_written_once_a_minute() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let issued = replica.key(&user).await;
        let last_used = async || {
            replica.identity.write_activity().await.expect("writes");
            replica.identity.api_keys.list(user.id).await.expect("lists")[0].last_used_at
        };
        assert_eq!(last_used().await, None);
        let first = world.ambient.now();
        replica.authenticate(&issued.secret).await.expect("is accepted");
        assert_eq!(last_used().await, Some(first));
        world.clock.advance(TimeDelta::seconds(59));
        replica.authenticate(&issued.secret).await.expect("is accepted");
        assert_eq!(last_used().await, Some(first));
        world.clock.advance(TimeDelta::seconds(1));
        replica.authenticate(&issued.secret).await.expect("is accepted");
        assert_eq!(last_used().await, Some(world.ambient.now()));
        replica.stop().await;
    }

    #[tokio::test]
    async fn a_token_is_worth_what_it_and_its_user_have_in_common() {
        let world = World::new().await;
        let replica = world.replica().await;
        replica.user("root", &["admin"]).await;
        let user = replica.user("ada", &["admin", "analyst", "user"]).await;
        let token = replica.token(&user, "admin user").await;
        let principal = replica.authenticate(&token.token).await.expect("is accepted");
        assert_eq!((principal.user_type, principal.roles.len()), (UserType::Admin, 3));
        let session = token.claims.session_id;
        assert_eq!(principal.credential, Credential::Token { id: token.claims.jti, session });

        // An administrator's token that asked for less gives less.
        let narrow = replica.token(&user, "user").await;
        let principal = replica.authenticate(&narrow.token).await.expect("is accepted");
        assert_eq!(
            (principal.user_type, &principal.roles[..]),
            (UserType::User, &["analyst".into(), "user".into()][..])
        );

        // A token that asked for more than the user has left gives what is left.
        let demotion = UserChange { roles: Some(vec!["new".into(), "user".into()]), ..UserChange::default() };
        replica.hears(replica.identity.users.update(user.id, demotion)).await.expect("demotes");
        let principal = replica.authenticate(&token.token).await.expect("is accepted");
        assert_eq!((principal.user_type, &principal.roles[..]), (UserType::User, &["user".into()][..]));
        replica.stop().await;
    }

    #[tokio::test]
    async fn a_token_is_good_on_the_surfaces_it_names_only() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let token = replica.token(&user, "user").await.token;
        let headers = bearer(token.expose());
        let api = &replica.identity.authenticator;
        let (web, mcp) = (api.for_audience("web"), api.for_audience("mcp"));
        for _ in 0..2 {
            assert_eq!(mcp.authenticate(&headers).await.err(), Some(AuthError::Invalid));
            assert!(api.authenticate(&headers).await.is_ok());
            assert!(web.authenticate(&headers).await.is_ok());
        }
        let key = replica.key(&user).await.secret;
        assert!(mcp.authenticate(&bearer(key.expose())).await.is_ok(), "keys have no audience");
        replica.stop().await;
    }

    #[tokio::test]
    async fn a_token_expires_while_it_is_remembered() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let token = replica.token(&user, "user").await.token;
        replica.authenticate(&token).await.expect("is accepted");
        world.clock.advance(TimeDelta::hours(1) + TimeDelta::seconds(29));
        replica.authenticate(&token).await.expect("is accepted within the leeway");
        world.clock.advance(TimeDelta::seconds(1));
        assert_eq!(replica.authenticate(&token).await.err(), Some(AuthError::Invalid));
        replica.stop().await;
    }
}
