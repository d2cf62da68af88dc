//! What can be wrong with extensions and their configuration.

use std::fmt;

use systemprompt_database::{InstallError, install};
use systemprompt_model::with_causes;

/// Why the extensions of a process cannot be used as they are. Each says what to do about it in [`Self::hint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoaderError {
    /// Two extensions have the same id, or ids that differ only by `-` and `_`.
    #[error("Extension '{id}' is registered twice: {first} and {second}")]
    DuplicateExtension {
        /// The id.
        id: String,
        /// Where the one that is kept comes from.
        first: String,
        /// Where the other one comes from.
        second: String,
    },
    /// An id that does not follow the rules.
    #[error("'{id}' is not an extension id: {message}")]
    InvalidExtensionId {
        /// The id as declared.
        id: String,
        /// Which rule it breaks.
        message: String,
    },
    /// An extension that another one needs is not there.
    #[error("Extension '{extension}' requires dependency '{dependency}', which is {}", if *disabled { "disabled" } else { "not linked into this binary" })]
    MissingDependency {
        /// Who needs it.
        extension: String,
        /// What is missing.
        dependency: String,
        /// Whether it is linked and switched off, rather than absent.
        disabled: bool,
    },
    /// Extensions depend on each other in a circle.
    #[error("Circular dependency: {}", chain.join(" -> "))]
    CircularDependency {
        /// The circle, beginning and ending with its smallest id.
        chain: Vec<String>,
    },
    /// The extension needs a newer product.
    #[error("Extension '{extension}' needs version {required} of the product or later; this is {actual}")]
    IncompatibleCore {
        /// The extension.
        extension: String,
        /// What it asks for.
        required: String,
        /// The version of this build.
        actual: String,
    },
    /// A route is for holders of a permission that nobody declares.
    #[error("Extension '{extension}': '{path}' needs the permission '{permission}', which no extension declares")]
    UnknownPermission {
        /// Whose route it is.
        extension: String,
        /// The route or its mount.
        path: String,
        /// The permission.
        permission: String,
    },
    /// A crate that the product links on purpose registered nothing.
    #[error("Crate '{crate_name}' is linked at {location} but registers no extension")]
    ExtensionNotLinked {
        /// The crate as written in `link_extensions!`.
        crate_name: String,
        /// Where it was written.
        location: String,
    },
    /// An extension named in `extensions.required` is not there.
    #[error("Extension '{0}' is required by the profile (`extensions.required`) but not linked into this binary")]
    MissingRequiredExtension(String),
    /// The profile disables an extension that the product cannot do without.
    #[error("Extension '{0}' is required and cannot be disabled (`extensions.disabled`)")]
    CannotDisableRequired(String),
    /// The profile disables something that does not exist.
    #[error("`extensions.disabled` names '{0}', which is not linked into this binary")]
    UnknownExtension(String),
    /// A factory, service, start hook or router failed.
    #[error("Extension '{extension}' failed to initialise: {message}")]
    InitializationFailed {
        /// The extension, or its crate when it has not said who it is yet.
        extension: String,
        /// What happened.
        message: String,
    },
    /// A service another extension should have published is not there.
    #[error("no extension provides the service `{service}`")]
    MissingService {
        /// The service's type.
        service: &'static str,
    },
    /// Schema files could not be read, or the database refused them.
    #[error("Extension '{extension}': schema installation failed: {message}")]
    SchemaInstallationFailed {
        /// The extension.
        extension: String,
        /// What happened, with file, line and column when known.
        message: String,
    },
    /// A migration could not be run.
    #[error("Extension '{extension}': migration failed: {message}")]
    MigrationFailed {
        /// The extension.
        extension: String,
        /// What happened.
        message: String,
    },
    /// The configuration of an extension is not acceptable.
    #[error("Extension '{extension}': configuration is not valid: {message}")]
    ConfigValidationFailed {
        /// The extension.
        extension: String,
        /// Prefix, JSON pointer, kind of value and source file; never a value.
        message: String,
    },
    /// A base path that is not of the required form.
    #[error("Extension '{extension}': '{path}' is not a valid base path: {message}")]
    InvalidBasePath {
        /// The extension.
        extension: String,
        /// The path as declared.
        path: String,
        /// Which rule it breaks.
        message: String,
    },
    /// A base path that belongs to the product.
    #[error("Extension '{extension}': base path '{path}' is reserved (it lies under '{reserved}')")]
    ReservedPathCollision {
        /// The extension.
        extension: String,
        /// The path as declared.
        path: String,
        /// The reserved path.
        reserved: String,
    },
    /// Two extensions claim the same path or one inside the other's.
    #[error("Extensions '{a}' and '{b}' both claim the path '{path}'")]
    RoutePathConflict {
        /// The extension that comes first in load order.
        a: String,
        /// The other one; may be the same.
        b: String,
        /// The inner of the two paths.
        path: String,
    },
    /// What `router` returned differs from what `router_config` announced.
    #[error("Extension '{extension}': router_config announces {declared}, but the router is {built}")]
    RouterConfigMismatch {
        /// The extension.
        extension: String,
        /// The announced mounts.
        declared: String,
        /// The built ones.
        built: String,
    },
    /// Two extensions declare the same name in a facet, or one declares it twice.
    #[error("Extensions '{a}' and '{b}' both declare the {kind} '{name}'")]
    DuplicateName {
        /// What has the name: `role`, `permission`, …
        kind: &'static str,
        /// The name.
        name: String,
        /// The extension that comes first in load order; `core` for the product's own roles.
        a: String,
        /// The other one; may be the same.
        b: String,
    },
    /// A name that breaks the rules of its facet.
    #[error("Extension '{extension}': '{name}' is not a {kind}: {message}")]
    InvalidName {
        /// The extension.
        extension: String,
        /// What should have the name: `configuration prefix`, `projection`, …
        kind: &'static str,
        /// The name as declared.
        name: String,
        /// Which rule it breaks.
        message: String,
    },
    /// A role that grants what its extension may not grant.
    #[error("Extension '{extension}': role '{role}' may not grant '{permission}': {message}")]
    InvalidRole {
        /// The extension.
        extension: String,
        /// The role.
        role: String,
        /// The permission at fault.
        permission: String,
        /// Which rule it breaks.
        message: String,
    },
    /// Two extensions create the same table.
    #[error("Table '{table}' is created by both '{extension_a}' and '{extension_b}'")]
    DuplicateTableOwner {
        /// The table.
        table: String,
        /// The extension that comes first in load order.
        extension_a: String,
        /// The other one.
        extension_b: String,
    },
    /// A migration changes a table of another extension without saying so.
    #[error("Extension '{extension}' changes table '{table}' of another extension without declaring it")]
    CrossExtensionAlterUndeclared {
        /// The extension whose migration it is.
        extension: String,
        /// The table.
        table: String,
    },
    /// A declared foreign table that nobody owns.
    #[error("Extension '{extension}' declares the foreign table '{table}', which no loaded extension owns")]
    CrossExtensionTableNotOwned {
        /// The extension that declares it.
        extension: String,
        /// The table.
        table: String,
    },
    /// A declared foreign table whose owner is not a dependency.
    #[error("Extension '{extension}' changes table '{table}' of '{owner}' but does not depend on it")]
    CrossExtensionOwnerNotDependency {
        /// The extension that declares the table.
        extension: String,
        /// The table.
        table: String,
        /// Who owns it.
        owner: String,
    },
    /// A seed contains something it may not.
    #[error("Extension '{extension}': seed '{seed}' may not contain `{statement}`")]
    InvalidSeedStatement {
        /// The extension.
        extension: String,
        /// The seed.
        seed: String,
        /// The beginning of the statement.
        statement: String,
    },
    /// A seed inserts rows without saying what to do when they are there.
    #[error("Extension '{extension}': seed '{seed}' inserts without ON CONFLICT")]
    SeedInsertNotIdempotent {
        /// The extension.
        extension: String,
        /// The seed.
        seed: String,
    },
    /// A seed failed in the database.
    #[error("Extension '{extension}': seed '{seed}' failed: {message}")]
    SeedFailed {
        /// The extension.
        extension: String,
        /// The seed.
        seed: String,
        /// What happened.
        message: String,
    },
    /// A pending migration is older than one already applied.
    #[error("Extension '{extension}': migration {version} was added below the applied migration {highest}")]
    OutOfOrderMigration {
        /// The extension.
        extension: String,
        /// The pending migration.
        version: u32,
        /// The highest applied one.
        highest: u32,
    },
}

impl LoaderError {
    /// A stable name for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::DuplicateExtension { .. } => "EXT_DUPLICATE",
            Self::InvalidExtensionId { .. } => "EXT_INVALID_ID",
            Self::MissingDependency { .. } => "EXT_MISSING_DEPENDENCY",
            Self::CircularDependency { .. } => "EXT_CIRCULAR_DEPENDENCY",
            Self::IncompatibleCore { .. } => "EXT_INCOMPATIBLE_CORE",
            Self::ExtensionNotLinked { .. } => "EXT_NOT_LINKED",
            Self::MissingRequiredExtension(_) => "EXT_MISSING_REQUIRED",
            Self::CannotDisableRequired(_) => "EXT_CANNOT_DISABLE_REQUIRED",
            Self::UnknownExtension(_) => "EXT_UNKNOWN",
            Self::InitializationFailed { .. } => "EXT_INITIALIZATION_FAILED",
            Self::MissingService { .. } => "EXT_MISSING_SERVICE",
            Self::SchemaInstallationFailed { .. } => "EXT_SCHEMA_INSTALLATION_FAILED",
            Self::MigrationFailed { .. } => "EXT_MIGRATION_FAILED",
            Self::ConfigValidationFailed { .. } => "EXT_CONFIG_VALIDATION_FAILED",
            Self::UnknownPermission { .. } => "EXT_UNKNOWN_PERMISSION",
            Self::InvalidBasePath { .. } => "EXT_INVALID_BASE_PATH",
            Self::ReservedPathCollision { .. } => "EXT_RESERVED_PATH",
            Self::RoutePathConflict { .. } => "EXT_ROUTE_CONFLICT",
            Self::RouterConfigMismatch { .. } => "EXT_ROUTER_CONFIG_MISMATCH",
            Self::DuplicateName { .. } => "EXT_DUPLICATE_NAME",
            Self::InvalidName { .. } => "EXT_INVALID_NAME",
            Self::InvalidRole { .. } => "EXT_INVALID_ROLE",
            Self::DuplicateTableOwner { .. } => "EXT_DUPLICATE_TABLE_OWNER",
            Self::CrossExtensionAlterUndeclared { .. } => "EXT_CROSS_ALTER_UNDECLARED",
            Self::CrossExtensionTableNotOwned { .. } => "EXT_CROSS_TABLE_NOT_OWNED",
            Self::CrossExtensionOwnerNotDependency { .. } => "EXT_CROSS_OWNER_NOT_DEPENDENCY",
            Self::InvalidSeedStatement { .. } => "EXT_INVALID_SEED_STATEMENT",
            Self::SeedInsertNotIdempotent { .. } => "EXT_SEED_NOT_IDEMPOTENT",
            Self::SeedFailed { .. } => "EXT_SEED_FAILED",
            Self::OutOfOrderMigration { .. } => "EXT_OUT_OF_ORDER_MIGRATION",
        }
    }

    /// The extension at fault, when there is one. Of two that conflict, the later one.
    pub fn extension(&self) -> Option<&str> {
        match self {
            Self::DuplicateExtension { id, .. } | Self::InvalidExtensionId { id, .. } => Some(id),
            Self::MissingDependency { extension, .. }
            | Self::IncompatibleCore { extension, .. }
            | Self::InitializationFailed { extension, .. }
            | Self::SchemaInstallationFailed { extension, .. }
            | Self::MigrationFailed { extension, .. }
            | Self::ConfigValidationFailed { extension, .. }
            | Self::UnknownPermission { extension, .. }
            | Self::InvalidBasePath { extension, .. }
            | Self::ReservedPathCollision { extension, .. }
            | Self::RouterConfigMismatch { extension, .. }
            | Self::InvalidName { extension, .. }
            | Self::InvalidRole { extension, .. }
            | Self::CrossExtensionAlterUndeclared { extension, .. }
            | Self::CrossExtensionTableNotOwned { extension, .. }
            | Self::CrossExtensionOwnerNotDependency { extension, .. }
            | Self::InvalidSeedStatement { extension, .. }
            | Self::SeedInsertNotIdempotent { extension, .. }
            | Self::SeedFailed { extension, .. }
            | Self::OutOfOrderMigration { extension, .. } => Some(extension),
            Self::CircularDependency { chain } => chain.first().map(String::as_str),
            Self::MissingRequiredExtension(id) | Self::CannotDisableRequired(id) | Self::UnknownExtension(id) => {
                Some(id)
            }
            Self::RoutePathConflict { b, .. } | Self::DuplicateName { b, .. } => Some(b),
            Self::DuplicateTableOwner { extension_b, .. } => Some(extension_b),
            Self::ExtensionNotLinked { .. } | Self::MissingService { .. } => None,
        }
    }

    /// What to do about it, in a sentence; nothing when the message says it all.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::DuplicateExtension { .. } => "give one of them another id in its `metadata()`".into(),
            Self::MissingDependency { dependency, disabled: true, .. } => {
                format!("remove '{dependency}' from `extensions.disabled`, or disable the dependent extension as well")
            }
            Self::MissingDependency { dependency, disabled: false, .. } => {
                format!("add the crate of '{dependency}' to `link_extensions!` in the product crate and rebuild")
            }
            Self::CircularDependency { .. } => {
                "remove one of these dependencies, or make it an `optional_dependencies()` of the other side".into()
            }
            Self::IncompatibleCore { .. } => "update the product, or use an older version of the extension".into(),
            Self::ExtensionNotLinked { .. } => {
                "the crate must call `register_extension!` for its extension type".into()
            }
            Self::MissingRequiredExtension(id) => {
                format!("add the crate of '{id}' to `link_extensions!` and rebuild, or remove it from the profile")
            }
            Self::CannotDisableRequired(id) | Self::UnknownExtension(id) => {
                format!("remove '{id}' from `extensions.disabled` in the profile")
            }
            Self::MissingService { .. } => {
                "name the extension that provides it in `dependencies()`, so that it is there and comes first".into()
            }
            Self::InvalidBasePath { .. } => {
                "use `/api/v1/<name>` or `/api/ext/<name>`: lower case, no trailing slash, no parameters".into()
            }
            Self::ReservedPathCollision { .. } => "choose a path of your own, such as `/api/ext/<extension id>`".into(),
            Self::RoutePathConflict { .. } => "give one of them another base path".into(),
            Self::RouterConfigMismatch { .. } => {
                "return from `router_config` the `config()` of the router that `router` returns".into()
            }
            Self::DuplicateName { kind, .. } => format!("give one {kind} another name"),
            Self::InvalidRole { permission, role, .. } if permission == "*" => {
                format!("an operator can allow it with `extensions.approved_wildcard_roles: [{role}]` in the profile")
            }
            Self::UnknownPermission { .. } => {
                "declare it in `permissions()`, or correct its name; nobody but administrators could ask otherwise"
                    .into()
            }
            Self::InvalidRole { .. } => "declare it in `permissions()`, or depend on the extension that does".into(),
            Self::CrossExtensionAlterUndeclared { table, .. } => {
                format!("add '{table}' to `cross_extension_tables()` and its owner to `dependencies()`")
            }
            Self::CrossExtensionTableNotOwned { table, .. } => {
                format!("remove '{table}' from `cross_extension_tables()`, or link the extension that owns it")
            }
            Self::CrossExtensionOwnerNotDependency { owner, .. } => format!("add '{owner}' to `dependencies()`"),
            Self::InvalidSeedStatement { .. } => "use INSERT … ON CONFLICT, UPDATE or MERGE".into(),
            Self::SeedInsertNotIdempotent { .. } => "add ON CONFLICT DO NOTHING or DO UPDATE".into(),
            Self::OutOfOrderMigration { .. } => {
                "give it the next free number, or apply it anyway with `--allow-out-of-order`".into()
            }
            Self::InvalidExtensionId { .. }
            | Self::InitializationFailed { .. }
            | Self::SchemaInstallationFailed { .. }
            | Self::MigrationFailed { .. }
            | Self::ConfigValidationFailed { .. }
            | Self::InvalidName { .. }
            | Self::DuplicateTableOwner { .. }
            | Self::SeedFailed { .. } => return None,
        })
    }

    /// An [`Self::InitializationFailed`] with the whole chain of causes of `error`, for use in `map_err`.
    pub fn failed(extension: &str, error: &dyn std::error::Error) -> Self {
        Self::InitializationFailed { extension: extension.to_owned(), message: with_causes(error) }
    }
}

impl From<install::Problem> for LoaderError {
    fn from(problem: install::Problem) -> Self {
        use install::Problem;
        let message = match problem.hint() {
            Some(hint) => format!("{problem} — {hint}"),
            None => problem.to_string(),
        };
        match problem {
            Problem::DuplicateTableOwner { table, extension_a, extension_b } => {
                Self::DuplicateTableOwner { table, extension_a, extension_b }
            }
            Problem::CrossExtensionAlterUndeclared { extension, table, .. } => {
                Self::CrossExtensionAlterUndeclared { extension, table }
            }
            Problem::CrossExtensionTableNotOwned { extension, table } => {
                Self::CrossExtensionTableNotOwned { extension, table }
            }
            Problem::CrossExtensionOwnerNotDependency { extension, table, owner } => {
                Self::CrossExtensionOwnerNotDependency { extension, table, owner }
            }
            Problem::InvalidSeedStatement { extension, seed, statement, .. } => {
                Self::InvalidSeedStatement { extension, seed, statement }
            }
            Problem::SeedInsertNotIdempotent { extension, seed, .. } => {
                Self::SeedInsertNotIdempotent { extension, seed }
            }
            Problem::OutOfOrderMigration { extension, version, highest } => {
                Self::OutOfOrderMigration { extension, version, highest }
            }
            Problem::Migration { extension, .. }
            | Problem::ChecksumDrift { extension, .. }
            | Problem::NewerDatabase { extension, .. }
            | Problem::Outdated { extension, .. } => Self::MigrationFailed { extension, message },
            // Whatever else an installer finds in the future is about what the extension declares.
            other => Self::SchemaInstallationFailed { extension: other.extension().to_owned(), message },
        }
    }
}

impl From<InstallError> for LoaderErrors {
    fn from(error: InstallError) -> Self {
        let message = with_causes(&error);
        Self(match error {
            InstallError::Refused(problems) => problems.into_iter().map(LoaderError::from).collect(),
            InstallError::Migration { extension, .. } => vec![LoaderError::MigrationFailed { extension, message }],
            InstallError::Seed { extension, seed, .. } => vec![LoaderError::SeedFailed { extension, seed, message }],
            InstallError::Schema { extension, .. } => {
                vec![LoaderError::SchemaInstallationFailed { extension, message }]
            }
            InstallError::MissingColumns(missing) => missing
                .into_iter()
                .map(|(extension, column)| LoaderError::SchemaInstallationFailed {
                    extension,
                    message: format!("the column {column} is required and missing"),
                })
                .collect(),
            _ => vec![LoaderError::SchemaInstallationFailed { extension: "database".to_owned(), message }],
        })
    }
}

/// Several problems at once; prints one per line, each with its hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderErrors(pub Vec<LoaderError>);

impl LoaderErrors {
    /// `Ok` when there are none.
    pub fn check(errors: Vec<LoaderError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }
}

impl fmt::Display for LoaderErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
            if let Some(hint) = error.hint() {
                write!(f, " — {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for LoaderErrors {}

impl From<LoaderError> for LoaderErrors {
    fn from(error: LoaderError) -> Self {
        Self(vec![error])
    }
}

/// Why an extension does not accept its configuration; returned by
/// [`Extension::validate_config`](crate::Extension::validate_config).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key that must be there is missing.
    #[error("`{0}` is missing")]
    NotFound(String),
    /// A value that is not acceptable. Neither field may hold a secret.
    #[error("`{key}`: {message}")]
    InvalidValue {
        /// The key, dotted below the prefix.
        key: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The object does not have the expected form.
    #[error("{0}")]
    ParseError(String),
    /// The extension's own schema is not valid JSON Schema.
    #[error("the schema is not valid: {0}")]
    SchemaValidation(String),
    /// Several problems, so that all of them are shown.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Multiple(Vec<Self>),
}

impl ConfigError {
    /// `Ok` when there are no problems, the problem itself when there is one, and [`Self::Multiple`] otherwise.
    pub fn collect(mut problems: Vec<Self>) -> Result<(), Self> {
        match problems.len() {
            0 => Ok(()),
            1 => Err(problems.remove(0)),
            _ => Err(Self::Multiple(problems)),
        }
    }

    /// The single problems, in order.
    pub(crate) fn flatten(self) -> Vec<Self> {
        match self {
            Self::Multiple(problems) => problems.into_iter().flat_map(Self::flatten).collect(),
            problem => vec![problem],
        }
    }
}
