//! The tables of this crate.

use systemprompt_database::SchemaDefinition;

/// The tables of this crate, in the order they refer to each other.
pub(crate) fn definitions() -> Vec<SchemaDefinition> {
    vec![
        SchemaDefinition::inline("users", include_str!("../schema/users.sql")),
        SchemaDefinition::inline("user_api_keys", include_str!("../schema/user_api_keys.sql")),
        SchemaDefinition::inline("user_sessions", include_str!("../schema/user_sessions.sql")),
        SchemaDefinition::inline("oauth_jti_revocations", include_str!("../schema/oauth_jti_revocations.sql")),
        SchemaDefinition::inline("banned_ips", include_str!("../schema/banned_ips.sql")),
        SchemaDefinition::inline("identity_changes", include_str!("../schema/identity_changes.sql")),
    ]
}
