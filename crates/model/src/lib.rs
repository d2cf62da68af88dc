//! The vocabulary every other crate shares: identifiers, who is acting, money, time, the codes errors carry, and how
//! JSON is read where it stands ([`json`]).
//!
//! This crate does no I/O and reads no clock. Anything that needs the time or randomness is given an [`Ambient`].

mod ambient;
mod attribution;
mod causes;
mod condition;
mod error;
mod fnv;
mod id;
pub mod json;
mod money;
pub mod pattern;
mod principal;
mod resource;
mod secret;
mod shortage;

pub use ambient::{Ambient, Clock, Entropy, ManualClock, OsEntropy, SeededEntropy, SystemClock};
pub use attribution::{Attribution, Client};
pub use causes::with_causes;
pub use condition::Condition;
pub use error::{ApiError, ErrorCode, FieldError};
pub use fnv::Fnv1a;
pub use id::{
    AccessGroupId, AccessRuleId, ActionId, ApiKeyId, ApprovalId, ContextId, DecisionId, InstanceId, InvalidId,
    SessionId, TaskId, TokenId, TraceId, UserId,
};
pub use money::{InvalidMoney, Microdollars};
pub use principal::{Actor, ActorChain, ActorKind, Credential, Principal, UserType};
pub use resource::{EntityKind, Resource, ResourceKind, UnknownEntityKind};
pub use secret::Secret;
pub use shortage::Shortage;
