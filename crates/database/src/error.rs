//! What can go wrong between us and PostgreSQL, in the words of whoever has to act on it.

use std::fmt;
use std::io;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

/// A server, database and user, without the password.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Target {
    /// `host:port`, or the socket directory.
    pub server: String,
    /// The database's name.
    pub database: String,
    /// The user's name.
    pub user: String,
}

impl Target {
    pub(crate) fn of(options: &PgConnectOptions) -> Self {
        let user = options.get_username().to_owned();
        let server = match options.get_socket() {
            Some(directory) => format!("{}:{}", directory.display(), options.get_port()),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        Self { server, database: options.get_database().unwrap_or(&user).to_owned(), user }
    }

    fn is_local(&self) -> bool {
        self.server.starts_with('/') || self.server.starts_with("localhost:") || self.server.starts_with("127.")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.server)
    }
}

/// Why the database cannot be used. `Display` names server, user and database, never the password; [`ConnectError::hint`]
/// says what to try.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL does not parse.
    #[error("the database URL is not valid: {reason}")]
    InvalidUrl {
        /// What the parser said; it never repeats the URL.
        reason: String,
    },
    /// The URL names something that is not PostgreSQL.
    #[error("unsupported database `{scheme}`: only PostgreSQL works")]
    UnsupportedEngine {
        /// The URL's scheme.
        scheme: String,
    },
    /// Nothing listens there.
    #[error("no PostgreSQL answers at {target}")]
    Refused {
        /// Where we tried.
        target: Target,
        /// What the operating system said.
        #[source]
        source: sqlx::Error,
    },
    /// The server is starting or stopping.
    #[error("PostgreSQL at {target} is not accepting connections yet")]
    NotReady {
        /// Where we tried.
        target: Target,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
    /// No answer in time.
    #[error("no answer from {target} within {} s", waited.as_secs_f32())]
    TimedOut {
        /// Where we tried.
        target: Target,
        /// How long we waited.
        waited: Duration,
    },
    /// The user or password is wrong.
    #[error("PostgreSQL at {target} refused user `{}`", target.user)]
    Authentication {
        /// Where we tried.
        target: Target,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
    /// The database does not exist.
    #[error("database `{}` does not exist at {target}", target.database)]
    DatabaseMissing {
        /// Where we tried.
        target: Target,
    },
    /// The server only talks TLS.
    #[error("PostgreSQL at {target} refuses connections without TLS")]
    TlsRequired {
        /// Where we tried.
        target: Target,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
    /// TLS could not be negotiated.
    #[error("TLS with {target} failed")]
    Tls {
        /// Where we tried.
        target: Target,
        /// What went wrong.
        #[source]
        source: sqlx::Error,
    },
    /// The server has no connection left.
    #[error("PostgreSQL at {target} has no connection left")]
    TooManyConnections {
        /// Where we tried.
        target: Target,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
    /// The server's release is too old.
    #[error("PostgreSQL at {target} is {found}; {minimum} or newer is needed")]
    ServerTooOld {
        /// Where we connected.
        target: Target,
        /// Its release.
        found: String,
        /// The oldest release that works.
        minimum: u32,
    },
    /// The database does not store UTF-8.
    #[error("database `{database}` at {target} is encoded as {found}; UTF8 is needed")]
    Encoding {
        /// Where we connected.
        target: Target,
        /// The database.
        database: String,
        /// Its encoding.
        found: String,
    },
    /// Writes are sent to a replica.
    #[error("{target} is a standby server and accepts no writes")]
    Standby {
        /// Where we connected.
        target: Target,
    },
    /// The user may not create tables.
    #[error("user `{user}` may not create tables in schema public of database `{database}` at {target}")]
    MissingPrivilege {
        /// Where we connected.
        target: Target,
        /// The user.
        user: String,
        /// The database.
        database: String,
    },
    /// Anything else.
    #[error("cannot use the database at {target}")]
    Other {
        /// Where we tried.
        target: Target,
        /// What went wrong.
        #[source]
        source: sqlx::Error,
    },
}

impl ConnectError {
    pub(crate) fn of(target: Target, waited: Duration, source: sqlx::Error) -> Self {
        let code = sqlstate(&source).map(std::borrow::Cow::into_owned);
        match (&source, code.as_deref()) {
            (sqlx::Error::Io(error), _) => match error.kind() {
                io::ErrorKind::TimedOut => Self::TimedOut { target, waited },
                io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => Self::NotReady { target, source },
                _ => Self::Refused { target, source },
            },
            (sqlx::Error::Tls(_), _) => Self::Tls { target, source },
            (sqlx::Error::PoolTimedOut, _) => Self::TimedOut { target, waited },
            (_, Some("57P03" | "57P01" | "57P02")) => Self::NotReady { target, source },
            (_, Some("3D000")) => Self::DatabaseMissing { target },
            (_, Some("53300")) => Self::TooManyConnections { target, source },
            // `pg_hba.conf` answers a plain connection it only allows with TLS by the same code as a wrong user.
            (sqlx::Error::Database(error), Some("28000")) if mentions_missing_tls(error.message()) => {
                Self::TlsRequired { target, source }
            }
            (_, Some("28000" | "28P01")) => Self::Authentication { target, source },
            _ => Self::Other { target, source },
        }
    }

    /// Whether waiting a moment may be all it takes.
    pub(crate) fn may_pass_by_itself(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::NotReady { .. })
    }

    /// What to try, in one sentence.
    pub fn hint(&self) -> String {
        match self {
            Self::InvalidUrl { .. } => "write postgres://USER:PASSWORD@HOST:5432/DATABASE and percent-encode reserved \
                 characters in the password (@ is %40, : is %3A, / is %2F, # is %23, % is %25)"
                .to_owned(),
            Self::UnsupportedEngine { .. } => "use a URL that starts with postgres://".to_owned(),
            Self::Refused { target, .. } if target.is_local() => {
                "is PostgreSQL running? Without a database_url, `systemprompt up` starts one for you".to_owned()
            }
            Self::Refused { .. } => "is PostgreSQL running there, and may this machine reach it?".to_owned(),
            Self::NotReady { .. } => "it is starting or stopping; try again in a moment".to_owned(),
            Self::TimedOut { .. } => "a firewall may drop the packets; check host and port".to_owned(),
            Self::Authentication { .. } => {
                "check user and password in database_url; reserved characters must be percent-encoded".to_owned()
            }
            Self::DatabaseMissing { target } => format!("create it: createdb {}", target.database),
            Self::TlsRequired { .. } => "add ?sslmode=require to database_url".to_owned(),
            Self::Tls { .. } => {
                "check sslmode in database_url, and sslrootcert when the server has a private certificate authority"
                    .to_owned()
            }
            Self::TooManyConnections { .. } => {
                "lower database.pool.max_connections or raise max_connections of the server".to_owned()
            }
            Self::ServerTooOld { .. } => "upgrade the server".to_owned(),
            Self::Encoding { .. } => "create the database with ENCODING 'UTF8'".to_owned(),
            Self::Standby { .. } => "point database_write_url (or database_url) at the primary server".to_owned(),
            Self::MissingPrivilege { user, .. } => {
                format!("run as the database's owner: GRANT CREATE, USAGE ON SCHEMA public TO \"{user}\"")
            }
            Self::Other { .. } => "see the cause above".to_owned(),
        }
    }
}

/// The five characters by which the server names an error.
pub(crate) fn sqlstate(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error()?.code()
}

fn mentions_missing_tls(message: &str) -> bool {
    message.contains("no encryption") || message.contains("SSL off")
}

/// What a store answers when a statement fails. Not found is `Ok(None)` and becomes an error where it is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// The thing to change does not exist.
    #[error("not found")]
    NotFound,
    /// A unique, foreign key, check or exclusion constraint refused the row.
    #[error("constraint `{name}` refused the row")]
    Constraint {
        /// The constraint's name.
        name: String,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// Another transaction was in the way; running this one again can succeed.
    #[error("the transaction must be run again")]
    Conflict(#[source] sqlx::Error),
    /// The statement ran longer than allowed.
    #[error("the statement took too long")]
    Timeout(#[source] sqlx::Error),
    /// No connection to the database.
    #[error("the database is not available")]
    Unavailable,
    /// A value cannot be stored or read back.
    #[error("a stored value cannot be read")]
    Serialization(#[source] sqlx::Error),
    /// The caller asked for something impossible.
    #[error("invalid argument: {0}")]
    InvalidArgument(String),
    /// The stored state does not allow it.
    #[error("invalid state: {0}")]
    InvalidState(String),
    /// Anything else.
    #[error("the database refused the statement")]
    Database(#[source] sqlx::Error),
}

impl RepositoryError {
    /// Whether the same transaction may succeed when it is run again.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }

    /// Whether it is the database that cannot be reached rather than the statement that is wrong.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable)
    }
}

impl From<sqlx::Error> for RepositoryError {
    fn from(source: sqlx::Error) -> Self {
        if is_unavailable(&source) {
            tracing::debug!(error = %source, "the database is not available");
            return Self::Unavailable;
        }
        match &source {
            sqlx::Error::RowNotFound => Self::NotFound,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => {
                Self::Serialization(source)
            }
            sqlx::Error::Database(error) => match error.code().as_deref() {
                Some("40001" | "40P01") => Self::Conflict(source),
                Some("57014" | "55P03" | "25P03") => Self::Timeout(source),
                Some(code) if code.starts_with("23") => {
                    let name = error.constraint().unwrap_or("not null").to_owned();
                    Self::Constraint { name, source }
                }
                _ => Self::Database(source),
            },
            _ => Self::Database(source),
        }
    }
}

/// Whether an error means that PostgreSQL is gone, stopping, full, or out of reach.
fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08") || matches!(&*code, "57P01" | "57P02" | "57P03" | "53300" | "53400")
        }),
        _ => false,
    }
}
