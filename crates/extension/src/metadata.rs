//! Who an extension is.

use serde::Serialize;

/// Who an extension is. Constant for the life of the process.
///
/// Exactly these three fields, so that every author can write it as a literal; it will not grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ExtensionMetadata {
    /// The identifier used in configuration, logs and tables: `^[a-z][a-z0-9_-]{0,62}$`, where `-` and `_` count as
    /// equal when two ids are compared. `core`, `system`, `all` and `none` are taken.
    pub id: &'static str,
    /// The name shown to people.
    pub name: &'static str,
    /// The version of the extension, usually `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
}
