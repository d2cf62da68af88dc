//! Why entries cannot be written at present, and since when.

use std::time::Instant;

use systemprompt_model::{Shortage, with_causes};

/// A time in which entries cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outage {
    pub(super) since: Instant,
    /// In words for operators.
    pub(super) reason: String,
}

/// What a failed statement or connection means, in words for operators. What this server has none left of is not said of
/// PostgreSQL.
pub(super) fn reason(error: &sqlx::Error) -> String {
    if let Some(shortage) = Shortage::behind(error) {
        return format!("this server {shortage}");
    }
    match error {
        sqlx::Error::Database(said) => {
            let code = said.code().unwrap_or_default();
            let meaning = match &*code {
                "53100" => "has no disk space left",
                "53200" => "has no memory left",
                "53300" => "takes no further connection",
                "25006" => "is read-only",
                "57P01" | "57P02" | "57P03" => "is starting or stopping",
                "58030" => "cannot use its disk",
                _ => "refuses what is written",
            };
            format!("PostgreSQL {meaning}: {} ({code})", said.message())
        }
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            "PostgreSQL does not answer".to_owned()
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => format!("PostgreSQL cannot be reached: {}", with_causes(error)),
        _ => with_causes(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn our_own_shortages_are_not_said_of_postgresql() {
        let own = reason(&sqlx::Error::Io(io::Error::from_raw_os_error(24)));
        assert!(own.starts_with("this server has as many files") && !own.contains("PostgreSQL"), "{own}");
        let theirs = reason(&sqlx::Error::Io(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert!(theirs.starts_with("PostgreSQL cannot be reached"), "{theirs}");
    }
}
