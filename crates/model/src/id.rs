//! Identifiers, each a type of its own.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::Ambient;

/// A text that is not an identifier of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} (expected {expected})")]
pub struct InvalidId {
    /// The kind of identifier that was expected, e.g. `session id`.
    pub kind: &'static str,
    /// The form that was expected.
    pub expected: &'static str,
    /// What was given, shortened to 80 characters.
    pub text: String,
}

/// Reads what parses from a text, without a copy of the text.
struct Parsing<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = InvalidId>> Visitor<'_> for Parsing<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an identifier")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// A version 7 UUID whose first random bits are the fraction of the millisecond (RFC 9562 §6.2, method 3), so
        /// identifiers sort by the time they were made, to a quarter of a microsecond.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// What the text form starts with; may be empty.
            pub const PREFIX: &'static str = $prefix;

            /// A new identifier at the current time.
            pub fn generate(ambient: &Ambient) -> Self {
                let now = ambient.now();
                let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
                let fraction = (now.timestamp_subsec_nanos() % 1_000_000) * 4096 / 1_000_000;
                let mut random: [u8; 10] = ambient.bytes();
                // The upper four of these bits are the version's.
                random[..2].copy_from_slice(&(fraction as u16).to_be_bytes());
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// Wraps a UUID that came from storage.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID, for storage.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                const PREFIX: usize = $prefix.len();
                // At once, so that a text that is made of it is given its room once.
                let mut text = [0; PREFIX + uuid::fmt::Hyphenated::LENGTH];
                text[..PREFIX].copy_from_slice($prefix.as_bytes());
                self.0.hyphenated().encode_lower(&mut text[PREFIX..]);
                f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix)
                    .and_then(|rest| Uuid::try_parse(rest).ok())
                    .map(Self)
                    .ok_or_else(|| InvalidId {
                        kind: $kind,
                        expected: concat!($prefix, "<uuid>"),
                        text: text.chars().take(80).collect(),
                    })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Parsing(std::marker::PhantomData))
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "description": concat!($kind, ": ", $prefix, "<uuid>")})
            }
        }
    )*};
}

ids! {
    /// A person or program with an account.
    UserId, "user id", "";
    /// A stretch of work by one user with one client; stored in `user_sessions`.
    SessionId, "session id", "sess_";
    /// One governed action: the id of its entries in the ledger, and of the response header of the call that asked for it.
    ActionId, "action id", "";
    /// A unit of work of an agent.
    TaskId, "task id", "";
    /// A decision of the Gate.
    DecisionId, "decision id", "";
    /// Everything that happened because of one incoming request.
    TraceId, "trace id", "";
    /// A conversation.
    ContextId, "context id", "";
    /// An API key (personal access token).
    ApiKeyId, "API key id", "";
    /// The `jti` of an issued token.
    TokenId, "token id", "";
    /// A rule that grants or denies somebody the use of an entity.
    AccessRuleId, "access rule id", "";
    /// A group of people, such as a department.
    AccessGroupId, "group id", "";
    /// A call that waits for a second person.
    ApprovalId, "approval id", "";
    /// One run of one server process; names the writer of a ledger record.
    InstanceId, "instance id", "";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_read_back() {
        let ambient = Ambient::system();
        let session = SessionId::generate(&ambient);
        assert!(session.to_string().starts_with("sess_"));
        assert_eq!(session.to_string().parse(), Ok(session));
        let json = serde_json::to_string(&session).expect("an id serialises");
        assert_eq!(serde_json::from_str::<SessionId>(&json).expect("and is read back"), session);
    }

    #[test]
    fn another_kind_of_id_is_refused() {
        let user = UserId::generate(&Ambient::system());
        let error = user.to_string().parse::<SessionId>().expect_err("the prefix is missing");
        assert_eq!(error.expected, "sess_<uuid>");
    }

    #[test]
    fn ids_sort_by_time() {
        let clock = std::sync::Arc::new(crate::ManualClock::new(chrono::DateTime::UNIX_EPOCH));
        let ambient = Ambient { clock: clock.clone(), ..Ambient::system() };
        let mut last = ActionId::generate(&ambient);
        for microseconds in [1, 1, 997, 1, 1000] {
            clock.advance(chrono::TimeDelta::microseconds(microseconds));
            let next = ActionId::generate(&ambient);
            assert!(last < next, "{last} {next}");
            assert_eq!(next.as_uuid().get_version_num(), 7);
            last = next;
        }
    }
}
