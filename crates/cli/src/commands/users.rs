//! `admin users`: accounts and their API keys.

use chrono::TimeDelta;
use serde::Serialize;
use serde_json::json;
use systemprompt_identity::{
    ApiKey, ApiKeyError, ApiKeys, NewUser, Page, StoreError, User, UserChange, UserError, UserFilter, UserReference,
    UserStatus, Users as Accounts,
};

use crate::args::{self, Users};
use crate::error::{CliError, CliResult, Exit};
use crate::printer::{Printer, Record, Table, time};
use crate::project::{Invocation, OpenDatabase};

/// Runs an `admin users` command.
pub(crate) async fn run(invocation: &Invocation, command: Users) -> CliResult {
    let database = invocation.database().await?;
    let outcome = execute(invocation, &database, command).await;
    database.close().await;
    outcome
}

async fn execute(invocation: &Invocation, database: &OpenDatabase, command: Users) -> CliResult {
    let printer = &invocation.printer;
    let accounts = Accounts::new(database.db.clone(), invocation.ambient.clone());
    match command {
        Users::List { limit, offset, role, status } => {
            let filter = UserFilter { role, status: status.map(|status| parse_status(&status)).transpose()? };
            let users = accounts.list(&filter, Page { limit, offset }).await.map_err(store)?;
            print_users(printer, &users);
        }
        Users::Search { text, limit } => print_users(printer, &accounts.search(&text, limit).await.map_err(store)?),
        Users::Show { user, sessions, activity } => {
            let user = find(&accounts, &user).await?;
            let sessions = if sessions { Some(recent_sessions(database, &user).await?) } else { None };
            let requests = if activity { Some(recent_requests(database, &user).await?) } else { None };
            printer.record(&Details { user: &user, sessions: &sessions, activity: &requests }, || {
                let list = |items: &Option<Vec<serde_json::Value>>| {
                    items.as_ref().map(|items| {
                        if items.is_empty() {
                            "none".to_owned()
                        } else {
                            items.iter().map(one_line).collect::<Vec<_>>().join("\n")
                        }
                    })
                };
                user_record(&user).with("sessions", list(&sessions)).with("requests", list(&requests))
            });
        }
        Users::Create { name, email, full_name, display_name, mut roles, if_not_exists } => {
            if if_not_exists
                && let Some(user) = accounts.find(&UserReference::Name(name.clone())).await.map_err(store)?
            {
                printer.record(&user, || user_record(&user));
                return Ok(());
            }
            roles.push("user".to_owned());
            let user = accounts
                .create(NewUser { name, email, full_name, display_name, roles, ..NewUser::default() })
                .await
                .map_err(account)?;
            printer.record(&user, || user_record(&user));
        }
        Users::Update { user, email, full_name, display_name, status, email_verified, roles } => {
            let user = find(&accounts, &user).await?;
            let status = status.map(|status| parse_status(&status)).transpose()?;
            let change = UserChange {
                name: None,
                email,
                full_name,
                display_name,
                status,
                email_verified,
                roles,
                attributes: None,
            };
            if change == UserChange::default() {
                return Err(CliError::new("nothing_to_do", "no change was given")
                    .help("see `admin users update --help`")
                    .exit(Exit::Usage));
            }
            let user = accounts.update(user.id, change).await.map_err(account)?;
            printer.record(&user, || user_record(&user));
        }
        Users::Delete { user, yes } => {
            let user = find(&accounts, &user).await?;
            invocation.confirm(yes, &format!("Delete {} ({}) and revoke all of their keys?", user.name, user.email))?;
            let user = accounts.delete(user.id).await.map_err(account)?;
            printer.result(&user, || format!("Deleted {}.", user.name));
        }
        Users::Count => {
            let count = accounts.count(&UserFilter::default()).await.map_err(store)?;
            printer.result(&json!({"count": count}), || count.to_string());
        }
        Users::ApiKey(command) => api_key(invocation, database, &accounts, command).await?,
    }
    Ok(())
}

async fn api_key(
    invocation: &Invocation,
    database: &OpenDatabase,
    accounts: &Accounts,
    command: args::ApiKey,
) -> CliResult {
    let printer = &invocation.printer;
    let keys = ApiKeys::new(database.db.clone(), invocation.ambient.clone());
    match command {
        args::ApiKey::Issue { user, name, expires_in_days } => {
            let user = find(accounts, &user).await?;
            let expires_at = expires_in_days.map(|days| invocation.ambient.now() + TimeDelta::days(days.into()));
            let issued = keys.issue(user.id, &name, expires_at).await.map_err(key_failure)?;
            let secret = issued.secret.expose();
            printer.record(&Shown { key: &issued.key, secret }, || {
                key_record(&issued.key).with("API key", format!("{secret}   (shown once)"))
            });
        }
        args::ApiKey::List { user } => {
            let user = find(accounts, &user).await?;
            let list = keys.list(user.id).await.map_err(store)?;
            let now = invocation.ambient.now();
            printer.list(
                &list,
                || {
                    let mut table = Table::new(&["id", "name", "prefix", "created", "last used", "expires", "state"]);
                    for key in &list {
                        let at =
                            |moment: Option<chrono::DateTime<chrono::Utc>>| moment.map_or("never".to_owned(), time);
                        let state = if key.revoked_at.is_some() {
                            "revoked"
                        } else if key.is_live(now) {
                            "live"
                        } else {
                            "expired"
                        };
                        table.row([
                            key.id.to_string(),
                            key.name.clone(),
                            key.prefix.clone(),
                            time(key.created_at),
                            at(key.last_used_at),
                            at(key.expires_at),
                            state.to_owned(),
                        ]);
                    }
                    table
                },
                "No keys.",
            );
        }
        args::ApiKey::Revoke { key, yes } => {
            let unknown = || {
                CliError::new("unknown_key", format!("there is no key `{key}`"))
                    .help("systemprompt admin users api-key list <user>   shows ids and prefixes")
            };
            let found = keys.find(&key).await.map_err(store)?.ok_or_else(unknown)?;
            invocation.confirm(yes, &format!("Revoke the key {} ({})?", found.prefix, found.name))?;
            let revoked = keys.revoke(found.id).await.map_err(key_failure)?;
            printer.result(&revoked, || format!("Revoked {}.", revoked.prefix));
        }
    }
    Ok(())
}

/// A key with its secret, the one time it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    key: &'a ApiKey,
    secret: &'a str,
}

#[derive(Serialize)]
struct Details<'a> {
    #[serde(flatten)]
    user: &'a User,
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: &'a Option<Vec<serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activity: &'a Option<Vec<serde_json::Value>>,
}

async fn recent_sessions(database: &OpenDatabase, user: &User) -> CliResult<Vec<serde_json::Value>> {
    let sessions = systemprompt_identity::recent_sessions(&database.db, user.id, 10).await.map_err(store)?;
    Ok(sessions.iter().filter_map(|session| serde_json::to_value(session).ok()).collect())
}

async fn recent_requests(database: &OpenDatabase, user: &User) -> CliResult<Vec<serde_json::Value>> {
    let requests = crate::commands::logs::requests_of(&database.db, user.id, 10).await?;
    Ok(requests.iter().filter_map(|request| serde_json::to_value(request).ok()).collect())
}

/// An object as `key=value key=value`, for one line of a list.
fn one_line(value: &serde_json::Value) -> String {
    let Some(fields) = value.as_object() else { return value.to_string() };
    fields
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| format!("{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect::<Vec<_>>()
        .join(" ")
}

fn print_users(printer: &Printer, users: &[User]) {
    printer.list(
        &users,
        || {
            let mut table = Table::new(&["name", "email", "status", "roles", "created", "id"]);
            for user in users {
                table.row([
                    user.name.clone(),
                    user.email.clone(),
                    user.status.to_string(),
                    user.roles.join(", "),
                    time(user.created_at),
                    user.id.to_string(),
                ]);
            }
            table
        },
        "No users.",
    );
}

fn user_record(user: &User) -> Record {
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

fn key_record(key: &ApiKey) -> Record {
    Record::new()
        .with("id", key.id.to_string())
        .with("name", key.name.clone())
        .with("expires", key.expires_at.map(time))
}

async fn find(accounts: &Accounts, text: &str) -> CliResult<User> {
    let reference: UserReference = match text.parse() {
        Ok(reference) => reference,
        Err(never) => match never {},
    };
    accounts.find(&reference).await.map_err(store)?.ok_or_else(|| {
        CliError::new("unknown_user", format!("there is no user `{text}`"))
            .help("systemprompt admin users list   shows who there is")
    })
}

fn parse_status(text: &str) -> CliResult<UserStatus> {
    text.parse().map_err(|message: String| CliError::new("invalid_value", message).exit(Exit::Usage))
}

fn store(error: StoreError) -> CliError {
    CliError::from_error("db_failed", &error).help("systemprompt infra db status   tells how the database is")
}

fn account(error: UserError) -> CliError {
    CliError::from_error("user_refused", &error)
}

fn key_failure(error: ApiKeyError) -> CliError {
    CliError::from_error("key_refused", &error)
}
