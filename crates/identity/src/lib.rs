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
//! client and conversation. [`Identity`] puts the parts together, and [`IdentityExtension`] plugs them into the server,
//! which asks the [`Authenticator`] before a handler runs.
//!
//! To add a kind of credential: a variant of `model::Credential`, a branch in `Authenticator::establish`, its tables
//! with a trigger in `identity_changes.sql`, and rows in the tables of tests of `authentication/authenticator.rs`.

mod access;
mod administrator;
mod provenance;
mod user;

mod api_key;
mod session;
mod signing_key;
mod token;

mod authentication;
mod ban;
mod changes;

mod activity;
mod change;
mod error;
mod extension;
mod identity;
mod route_error;
mod routes;
mod schema;
mod stored;
#[cfg(test)]
mod testing;

pub use administrator::{Bootstrap, BootstrapError, bootstrap_administrator};
pub use api_key::store::{ApiKeyError, ApiKeys};
pub use api_key::{ApiKey, IssuedKey};
pub use authentication::authenticator::{Authenticator, Caller, TokenUse};
pub use ban::list::BanList;
pub use ban::store::Bans;
pub use ban::{BannedIp, network};
pub use changes::Changes;
pub use error::StoreError;
pub use extension::IdentityExtension;
pub use identity::{Identity, IdentityOptions};
pub use provenance::{Provenance, Unexplained, provenance};
pub use session::hint::SessionHint;
pub use session::origin::{Origin, Origins};
pub use session::store::{SessionError, Sessions, recent_sessions};
pub use session::{NewSession, Session, SessionSource};
pub use signing_key::SigningKeys;
pub use signing_key::set::{KeySet, KeySetError, KeyState};
pub use systemprompt_extension::{AuthError, IdentifyError};
pub use token::issuer::{MintedToken, TokenError, TokenRequest, Tokens};
pub use token::{Act, Claims, ScopeSet};
pub use user::change::{NewUser, UserChange};
pub use user::lookup::{Page, UserFilter, UserReference};
pub use user::store::{UserError, Users};
pub use user::{User, UserStatus};
