//! Signs, verifies and revokes tokens.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, Header, Validation};
use systemprompt_database::DbPool;
use systemprompt_model::{Ambient, Secret, SessionId, TokenId};

use crate::error::StoreError;
use crate::signing_key::SigningKeys;
use crate::token::{Act, Claims, LONGEST_ACT_CHAIN, ScopeSet, queries};
use crate::user::{ADMIN_ROLE, User};

/// How far the clocks of issuer and verifier may be apart.
pub(crate) const LEEWAY: TimeDelta = TimeDelta::seconds(30);
/// The longest life a token may have.
const LONGEST_LIFE: TimeDelta = TimeDelta::days(365);

/// Signs, verifies and revokes tokens.
pub struct Tokens {
    db: DbPool,
    ambient: Ambient,
    keys: Arc<SigningKeys>,
    issuer: String,
}

/// What a token shall say.
#[derive(Debug, Clone)]
pub struct TokenRequest<'a> {
    /// The user it speaks for.
    pub user: &'a User,
    /// The session it belongs to; a live row of that user.
    pub session: SessionId,
    /// The surfaces it is for; at least one.
    pub audiences: &'a [&'a str],
    /// What it allows.
    pub scope: ScopeSet,
    /// How long it is good for; up to 365 days.
    pub lifetime: TimeDelta,
    /// When the user last proved who it is.
    pub authenticated_at: DateTime<Utc>,
    /// The OAuth client it is for.
    pub client_id: Option<&'a str>,
    /// The plugin it is for.
    pub plugin_id: Option<&'a str>,
    /// Who acts for the user.
    pub act: Option<Act>,
}

/// A signed token and what it says.
#[derive(Debug, Clone)]
pub struct MintedToken {
    /// The compact form.
    pub token: Secret,
    /// Its claims.
    pub claims: Claims,
}

/// Why a token was not issued or not accepted. Told to operators in the log; a caller learns only that it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not three base64url parts with JSON inside, or claims are missing.
    #[error("it is not a token with the claims that are required")]
    Malformed,
    /// Its header names another algorithm than RS256, or none.
    #[error("it is not signed with RS256")]
    Algorithm,
    /// Its header is of a kind that must not be ignored: a critical extension or another type of token.
    #[error("it is a kind of token that is not accepted here")]
    Kind,
    /// Its header names no key.
    #[error("it does not name its key")]
    NoKey,
    /// It names a key that is not ours, or no longer.
    #[error("it names an unknown key")]
    UnknownKey,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// Somebody else issued it.
    #[error("it was issued by somebody else")]
    Issuer,
    /// It is for another surface.
    #[error("it is for another audience")]
    Audience,
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// It is not valid yet, or was issued in the future.
    #[error("it is not valid yet")]
    NotYet,
    /// The claims contradict each other.
    #[error("its claims contradict each other")]
    Contradiction,
    /// The chain of actors is too long.
    #[error("its chain of actors is longer than 16")]
    ActChain,
    /// The user may not have what was asked for.
    #[error("the user does not hold the scope `admin`")]
    ScopeNotHeld,
    /// A token must have an audience and live between a second and 365 days.
    #[error("a token needs an audience and a lifetime between one second and 365 days")]
    Request,
    /// The cryptographic library failed.
    #[error("the cryptographic library could not sign")]
    Signing,
}

impl Tokens {
    /// Tokens issued by `issuer`, the installation's URL, with `keys`.
    pub fn new(db: DbPool, ambient: Ambient, keys: Arc<SigningKeys>, issuer: impl Into<String>) -> Self {
        Self { db, ambient, keys, issuer: issuer.into() }
    }

    /// The `iss` of every token.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The keys tokens are signed with.
    pub fn keys(&self) -> &SigningKeys {
        &self.keys
    }

    /// The public keys, the document at `/.well-known/jwks.json`.
    pub fn jwks(&self) -> serde_json::Value {
        self.keys.current().jwks(self.ambient.now())
    }

    /// Signs a token. The scope `admin` needs the role; everything else about the user is read from its account.
    pub fn mint(&self, request: TokenRequest<'_>) -> Result<MintedToken, TokenError> {
        let in_bounds = request.lifetime >= TimeDelta::seconds(1) && request.lifetime <= LONGEST_LIFE;
        if request.audiences.is_empty() || !in_bounds {
            return Err(TokenError::Request);
        }
        if request.act.as_ref().is_some_and(|act| act.depth() > LONGEST_ACT_CHAIN) {
            return Err(TokenError::ActChain);
        }
        if request.scope.contains("admin") && !request.user.is_admin() {
            return Err(TokenError::ScopeNotHeld);
        }
        let now = self.ambient.now();
        let user_type = request.scope.user_type();
        let is_admin = request.scope.contains("admin");
        let claims = Claims {
            sub: request.user.id,
            iss: self.issuer.clone(),
            aud: request.audiences.iter().map(|&audience| audience.to_owned()).collect(),
            exp: (now + request.lifetime).timestamp(),
            nbf: now.timestamp(),
            iat: now.timestamp(),
            jti: TokenId::generate(&self.ambient),
            scope: request.scope,
            username: request.user.name.clone(),
            email: request.user.email.clone(),
            user_type,
            roles: request.user.roles.iter().filter(|role| is_admin || *role != ADMIN_ROLE).cloned().collect(),
            attributes: request.user.attributes.clone(),
            client_id: request.client_id.map(str::to_owned),
            token_type: "Bearer".to_owned(),
            auth_time: request.authenticated_at.timestamp(),
            session_id: request.session,
            rate_limit_tier: user_type.as_str().to_owned(),
            plugin_id: request.plugin_id.map(str::to_owned),
            act: request.act.map(Box::new),
        };
        let keys = self.keys.current();
        let (kid, key) = keys.signing_key();
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::RS256) };
        let token = jsonwebtoken::encode(&header, &claims, key).map_err(|_| TokenError::Signing)?;
        Ok(MintedToken { token: Secret::new(token), claims })
    }

    /// What a token says, if its signature, issuer, audience and times are good at this moment. Whether its user, its
    /// session and itself are still wanted is for the [`Authenticator`](crate::Authenticator) to ask.
    pub fn verify(&self, token: &str, audiences: &[&str]) -> Result<Claims, TokenError> {
        let claims = self.verify_for_any_audience(token)?;
        let is_for = claims.aud.iter().any(|each| audiences.contains(&each.as_str()));
        if is_for { Ok(claims) } else { Err(TokenError::Audience) }
    }

    pub(crate) fn verify_for_any_audience(&self, token: &str) -> Result<Claims, TokenError> {
        let now = self.ambient.now();
        let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
            // `none` and everything else the library has no name for.
            jsonwebtoken::errors::ErrorKind::Json(_) => TokenError::Algorithm,
            _ => TokenError::Malformed,
        })?;
        if header.alg != Algorithm::RS256 {
            return Err(TokenError::Algorithm);
        }
        // An assertion for another purpose (`oauth-id-jag+jwt`, …) may carry all our claims and a good signature.
        let plain = header.typ.as_deref().is_none_or(|typ| typ.eq_ignore_ascii_case("JWT"));
        if !plain || header.crit.is_some() {
            return Err(TokenError::Kind);
        }
        let keys = self.keys.current();
        let kid = header.kid.as_deref().ok_or(TokenError::NoKey)?;
        let key = keys.verifying_key(kid, now).ok_or(TokenError::UnknownKey)?;

        // The library reads the operating system's clock; the claims are checked below, by ours.
        let mut validation = Validation::new(Algorithm::RS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature => TokenError::Signature,
                _ => TokenError::Malformed,
            })?
            .claims;

        let (now, leeway) = (now.timestamp(), LEEWAY.num_seconds());
        if claims.iss != self.issuer {
            Err(TokenError::Issuer)
        } else if now >= claims.exp.saturating_add(leeway) {
            Err(TokenError::Expired)
        } else if now < claims.nbf.saturating_sub(leeway) || now < claims.iat.saturating_sub(leeway) {
            Err(TokenError::NotYet)
        } else if claims.user_type != claims.scope.user_type()
            || claims.token_type != "Bearer"
            || claims.exp <= claims.iat
            || claims.exp.saturating_sub(claims.iat) > LONGEST_LIFE.num_seconds()
        {
            Err(TokenError::Contradiction)
        } else if claims.act.as_ref().is_some_and(|act| act.depth() > LONGEST_ACT_CHAIN) {
            Err(TokenError::ActChain)
        } else {
            Ok(claims)
        }
    }

    /// Revokes a token; it is refused from the next request on, on every replica. Revoking twice changes nothing.
    pub async fn revoke(&self, claims: &Claims) -> Result<(), StoreError> {
        let expires_at = DateTime::from_timestamp(claims.exp, 0)
            .and_then(|exp| exp.checked_add_signed(LEEWAY))
            .unwrap_or_else(|| self.ambient.now() + LONGEST_LIFE);
        queries::revoke_token(self.db.write(), claims.jti, claims.sub, self.ambient.now(), expires_at).await?;
        Ok(())
    }

    /// Reads the signing keys again.
    pub(crate) async fn reload_keys(&self) {
        let keys = Arc::clone(&self.keys);
        match tokio::task::spawn_blocking(move || keys.reload()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the signing keys could not be read again, those in use stay");
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Forgets revocations of tokens that have expired in the meantime; says how many.
    pub async fn forget_expired_revocations(&self) -> Result<u64, StoreError> {
        Ok(queries::delete_expired_revocations(self.db.write(), self.ambient.now()).await?)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::EncodingKey;
    use serde_json::{Value, json};
    use systemprompt_model::UserType;

    use super::*;
    use crate::signing_key::set::KeySet;
    use crate::testing::{Replica, World};
    use crate::user::UserStatus;
    use crate::user::change::UserChange;
    use systemprompt_extension::AuthError;

    fn part(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).expect("signs");
        format!("{message}.{signature}")
    }

    async fn sample(replica: &Replica) -> (Value, Value) {
        let user = replica.user("ada", &["user"]).await;
        let minted = replica.token(&user, "user").await;
        let kid = replica.identity.tokens.keys().current().signing_key().0.to_owned();
        (json!({"alg": "RS256", "typ": "JWT", "kid": kid}), serde_json::to_value(minted.claims).expect("serialises"))
    }

    #[tokio::test]
    async fn tokens_that_are_wrong_are_refused() {
        let world = World::new().await;
        let replica = world.replica().await;
        let tokens = &replica.identity.tokens;
        let keys = tokens.keys().current();
        let (header, claims) = sample(&replica).await;
        let now = world.ambient.now().timestamp();

        // As it is, the sample is good, so each row below is refused for its change alone.
        let good = signed(&header, &claims, keys.signing_key().1, Algorithm::RS256);
        assert_eq!(tokens.verify(&good, &["api"]).map(|claims| claims.user_type), Ok(UserType::User));
        assert!(replica.authenticate(&Secret::new(good.clone())).await.is_ok());

        let check = async |what: &str, token: String, expected: TokenError| {
            assert_eq!(tokens.verify(&token, &["api"]).err(), Some(expected), "{what}");
            assert_eq!(replica.authenticate(&Secret::new(token)).await.err(), Some(AuthError::Invalid), "{what}");
        };
        let altered = |document: &Value, changes: Value| {
            let mut document = document.clone();
            for (key, value) in changes.as_object().expect("an object") {
                match value {
                    Value::Null => drop(document.as_object_mut().expect("an object").remove(key)),
                    value => document[key] = value.clone(),
                }
            }
            document
        };

        for (what, changes, expected) in [
            ("another algorithm", json!({"alg": "RS512"}), TokenError::Algorithm),
            ("a made-up algorithm", json!({"alg": "rs256"}), TokenError::Algorithm),
            ("no key", json!({"kid": null}), TokenError::NoKey),
            ("unknown key", json!({"kid": "0000"}), TokenError::UnknownKey),
            ("critical extension", json!({"crit": ["exp"]}), TokenError::Kind),
            ("an assertion", json!({"typ": "oauth-id-jag+jwt"}), TokenError::Kind),
        ] {
            let token = signed(&altered(&header, changes), &claims, keys.signing_key().1, Algorithm::RS256);
            check(what, token, expected).await;
        }

        let secret = EncodingKey::from_secret(keys.jwks(world.ambient.now()).to_string().as_bytes());
        let symmetric = altered(&header, json!({"alg": "HS256"}));
        check("public key as a secret", signed(&symmetric, &claims, &secret, Algorithm::HS256), TokenError::Algorithm)
            .await;
        let none = altered(&header, json!({"alg": "none"}));
        check("alg none", format!("{}.{}.", part(&none), part(&claims)), TokenError::Algorithm).await;
        let (message, signature) = good.rsplit_once('.').expect("three parts");
        check(
            "alg none with a signature",
            format!("{}.{}.{signature}", part(&none), part(&claims)),
            TokenError::Algorithm,
        )
        .await;
        check("no signature", format!("{message}."), TokenError::Signature).await;
        let foreign = KeySet::generate(world.ambient.now()).expect("a key");
        check(
            "somebody else's signature under our key's name",
            signed(&header, &claims, foreign.signing_key().1, Algorithm::RS256),
            TokenError::Signature,
        )
        .await;
        let more = altered(&claims, json!({"scope": "admin", "user_type": "admin"}));
        check("claims exchanged", format!("{}.{}.{signature}", part(&header), part(&more)), TokenError::Signature)
            .await;
        check("one part", "nonsense".to_owned(), TokenError::Malformed).await;
        check("four parts", format!("{good}.x"), TokenError::Malformed).await;

        let mut chain = json!({"iss": "x", "sub": "y"});
        for _ in 0..16 {
            chain = json!({"iss": "x", "sub": "y", "act": chain});
        }
        for (what, changes, expected) in [
            ("another issuer", json!({"iss": "https://evil.example.com"}), TokenError::Issuer),
            ("no issuer", json!({"iss": null}), TokenError::Malformed),
            ("another audience", json!({"aud": ["mcp"]}), TokenError::Audience),
            ("no audience", json!({"aud": []}), TokenError::Audience),
            ("expired", json!({"exp": now - 30, "iat": now - 60}), TokenError::Expired),
            ("no end", json!({"exp": null}), TokenError::Malformed),
            ("not yet", json!({"nbf": now + 31}), TokenError::NotYet),
            ("issued in the future", json!({"iat": now + 31}), TokenError::NotYet),
            ("ends before it begins", json!({"iat": now + 1, "exp": now + 1}), TokenError::Contradiction),
            ("lives for ever", json!({"exp": i64::MAX}), TokenError::Contradiction),
            ("more type than scope", json!({"user_type": "admin"}), TokenError::Contradiction),
            ("another kind of token", json!({"token_type": "refresh"}), TokenError::Contradiction),
            ("no id", json!({"jti": null}), TokenError::Malformed),
            ("no session", json!({"session_id": null}), TokenError::Malformed),
            ("long chain", json!({"act": chain}), TokenError::ActChain),
        ] {
            let token = signed(&header, &altered(&claims, changes), keys.signing_key().1, Algorithm::RS256);
            check(what, token, expected).await;
        }

        for (what, changes) in [
            ("audience as a text", json!({"aud": "api"})),
            ("just expired", json!({"exp": now - 29, "iat": now - 60})),
            ("almost", json!({"nbf": now + 30})),
            ("unknown claim", json!({"tenant_id": "t"})),
        ] {
            let token = signed(&header, &altered(&claims, changes), keys.signing_key().1, Algorithm::RS256);
            assert!(tokens.verify(&token, &["api"]).is_ok(), "{what}");
        }
        replica.stop().await;
    }

    #[tokio::test]
    async fn good_signatures_do_not_bring_back_what_has_ended() {
        let world = World::new().await;
        let replica = world.replica().await;
        let tokens = &replica.identity.tokens;
        let keys = tokens.keys().current();
        let (header, claims) = sample(&replica).await;
        let other = replica.user("bob", &["user"]).await;
        let others_session = replica.session(&other).await;
        for (what, key, value) in [
            ("unknown user", "sub", json!(systemprompt_model::UserId::generate(&world.ambient))),
            ("unknown session", "session_id", json!(SessionId::generate(&world.ambient))),
            ("somebody else's session", "session_id", json!(others_session)),
        ] {
            let mut claims = claims.clone();
            claims[key] = value;
            let token = Secret::new(signed(&header, &claims, keys.signing_key().1, Algorithm::RS256));
            assert_eq!(replica.authenticate(&token).await.err(), Some(AuthError::Invalid), "{what}");
        }

        let token = replica.token(&other, "user").await;
        tokens.revoke(&token.claims).await.expect("revokes");
        tokens.revoke(&token.claims).await.expect("revoking twice is fine");
        assert_eq!(replica.authenticate(&token.token).await.err(), Some(AuthError::Invalid), "revoked");

        let token = replica.token(&other, "user").await;
        world.clock.advance(TimeDelta::minutes(5));
        let suspended = UserChange { status: Some(UserStatus::Suspended), ..UserChange::default() };
        replica.identity.users.update(other.id, suspended).await.expect("suspends");
        assert_eq!(replica.authenticate(&token.token).await.err(), Some(AuthError::Invalid), "suspended");

        assert_eq!(tokens.forget_expired_revocations().await.expect("forgets"), 0);
        world.clock.advance(TimeDelta::hours(2));
        assert_eq!(tokens.forget_expired_revocations().await.expect("forgets"), 1);
        replica.stop().await;
    }

    #[tokio::test]
    async fn tokens_outlive_a_rotation() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let minted = replica.token(&user, "user").await;
        let overlap = TimeDelta::hours(1);
        let rotated = KeySet::clone(&replica.identity.tokens.keys().current())
            .rotate(world.ambient.now(), overlap)
            .expect("rotates");
        let keys = Arc::new(SigningKeys::from_set(rotated));
        let tokens = Tokens::new(replica.db.clone(), world.ambient.clone(), keys, replica.identity.tokens.issuer());
        assert!(tokens.verify(minted.token.expose(), &["api"]).is_ok());
        world.clock.advance(overlap);
        assert_eq!(tokens.verify(minted.token.expose(), &["api"]).err(), Some(TokenError::UnknownKey));
        replica.stop().await;
    }

    #[tokio::test]
    async fn requests_that_make_no_sense_are_not_signed() {
        let world = World::new().await;
        let replica = world.replica().await;
        let user = replica.user("ada", &["user"]).await;
        let request = TokenRequest {
            user: &user,
            session: SessionId::generate(&world.ambient),
            audiences: &["api"],
            scope: ScopeSet::parse("user"),
            lifetime: TimeDelta::hours(1),
            authenticated_at: world.ambient.now(),
            client_id: None,
            plugin_id: None,
            act: None,
        };
        let chain = (0..17)
            .fold(None, |act: Option<Box<Act>>, _| Some(Box::new(Act { iss: "x".into(), sub: "y".into(), act })));
        let mint = |request| replica.identity.tokens.mint(request).err();
        assert_eq!(mint(request.clone()), None);
        assert_eq!(mint(TokenRequest { audiences: &[], ..request.clone() }), Some(TokenError::Request));
        assert_eq!(mint(TokenRequest { lifetime: TimeDelta::zero(), ..request.clone() }), Some(TokenError::Request));
        assert_eq!(mint(TokenRequest { lifetime: TimeDelta::days(366), ..request.clone() }), Some(TokenError::Request));
        assert_eq!(mint(TokenRequest { act: chain.map(|act| *act), ..request.clone() }), Some(TokenError::ActChain));
        let admin = TokenRequest { scope: ScopeSet::parse("admin"), ..request };
        assert_eq!(mint(admin), Some(TokenError::ScopeNotHeld));
        replica.stop().await;
    }
}
