//! Who is asking: users, API keys, sessions, signed tokens, and the one place that turns a credential into a
//! [`Principal`](systemprompt_model::Principal).
//!
//! Reading order: [`Authenticator`] is what every request passes. It reads a credential from the headers, looks it up
//! (API keys, [`ApiKeys`]; signed tokens, [`Tokens`] with the [`KeySet`]) and remembers the answer for at most 30
//! seconds. [`Changes`] tells it, and [`Sessions`], the moment something they remember may no longer be true: triggers
//! in `schema/identity_changes.sql` announce every change that may end somebody's access, on every replica, in the
//! transaction that makes it. While announcements cannot be heard nothing is remembered; while the database cannot be
//! asked nobody gets in.
//!
//! [`Sessions::bind`] gives a request its session: the one it names, the one of its token, or one derived from key,
//! client and conversation. [`Caller`] and [`AdminCaller`] are the extractors of HTTP handlers. [`Identity`] puts the
//! parts together, and [`IdentityExtension`] plugs them into the server.
//!
//! To add a kind of credential: a variant of `model::Credential`, a branch in `Authenticator::establish`, its tables
//! with a trigger in `identity_changes.sql`, and rows in the tables of tests of `authenticator.rs`.

mod activity;
mod administrator;
mod api_key;
mod api_keys;
mod authenticator;
mod changes;
mod error;
mod extension;
mod extract;
mod identity;
mod key_set;
mod pem;
mod queries;
mod route_policy;
mod routes;
mod schema;
mod session;
mod sessions;
mod signing_keys;
#[cfg(test)]
mod testing;
mod token;
mod tokens;
mod user;
mod users;

pub use administrator::{Bootstrap, BootstrapError, bootstrap_administrator};
pub use api_key::{ApiKey, IssuedKey};
pub use api_keys::{ApiKeyError, ApiKeys};
pub use authenticator::{AuthError, Authenticator, IdentifyError};
pub use changes::Changes;
pub use error::StoreError;
pub use extension::IdentityExtension;
pub use extract::{AdminCaller, AuthRejection, Caller};
pub use identity::{Identity, IdentityOptions};
pub use key_set::{KeySet, KeySetError, KeyState};
pub use route_policy::{PolicyDenial, RoutePolicy};
pub use session::{NewSession, Session, SessionHint, SessionSource, client_session_id};
pub use sessions::{SessionError, Sessions, recent_sessions};
pub use signing_keys::SigningKeys;
pub use token::{Act, Claims, ScopeSet};
pub use tokens::{MintedToken, TokenError, TokenRequest, Tokens};
pub use user::{NewUser, Page, User, UserChange, UserFilter, UserReference, UserStatus};
pub use users::{UserError, Users};
