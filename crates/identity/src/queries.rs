//! All SQL of this crate, grouped by table. Each function is one question or one change.

pub(crate) mod activity;
pub(crate) mod api_keys;
pub(crate) mod credentials;
pub(crate) mod sessions;
pub(crate) mod tokens;
pub(crate) mod users;
