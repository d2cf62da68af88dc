//! Accounts and keys, as several commands find and show them.

use systemprompt_database::DbPool;
use systemprompt_identity::{User, UserError, UserReference, UserStatus, Users as Accounts};

use crate::error::{CliError, CliResult, Exit};
use crate::project::Invocation;
use crate::view::{Layout, Record, Row, Text, View, time};

/// The accounts of a database.
pub(crate) fn accounts(invocation: &Invocation, db: &DbPool) -> Accounts {
    Accounts::new(db.clone(), invocation.ambient.clone())
}

/// The account with this name, e-mail address or id.
pub(crate) async fn find(accounts: &Accounts, text: &str) -> CliResult<User> {
    let reference: UserReference = match text.parse() {
        Ok(reference) => reference,
        Err(never) => match never {},
    };
    accounts.find(&reference).await.map_err(CliError::database)?.ok_or_else(|| {
        CliError::new("unknown_user", format!("there is no user `{text}`"))
            .help("systemprompt admin users list   shows who there is")
    })
}

/// What was not done to an account, and why.
pub(crate) fn refused(error: UserError) -> CliError {
    let failure = CliError::from_error("user_refused", &error);
    match error {
        UserError::Invalid(_) => failure.exit(Exit::Usage),
        UserError::NameTaken(_) | UserError::EmailTaken(_) => {
            failure.help("systemprompt admin users list   shows who there is").exit(Exit::Conflict)
        }
        UserError::LastAdministrator(_) => failure.exit(Exit::Conflict),
        UserError::NotFound(_) | UserError::Store(_) => failure,
    }
}

/// The state with this name.
pub(crate) fn status(text: &str) -> CliResult<UserStatus> {
    text.parse().map_err(|message: String| CliError::invalid_value(message))
}

impl Row for User {
    const COLUMNS: &'static [&'static str] = &["name", "email", "status", "roles", "created", "id"];
    const NONE: &'static str = "No users.";

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.email.clone(),
            self.status.to_string(),
            self.roles.join(", "),
            time(self.created_at),
            self.id.to_string(),
        ]
    }
}

impl View for User {
    fn text(&self, layout: Layout) -> Text {
        layout.record(&record(self))
    }
}

/// An account for people.
pub(crate) fn record(user: &User) -> Record {
    Record::new()
        .with("id", user.id.to_string())
        .with("name", user.name.clone())
        .with("email", format!("{}{}", user.email, if user.email_verified { " (verified)" } else { "" }))
        .with("full name", user.full_name.clone())
        .with("display name", user.display_name.clone())
        .with("status", user.status.to_string())
        .with("roles", user.roles.join(", "))
        .with("created", time(user.created_at))
        .with("last login", user.last_login_at.map(time))
}
