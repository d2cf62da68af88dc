//! Who makes rules.

/// The source of rules that come from documents. Start-up changes and deletes rules of this source only.
pub const SOURCE_YAML: &str = "yaml";
/// The source of rules somebody made by hand.
pub const SOURCE_API: &str = "api";
