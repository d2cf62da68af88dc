//! The key of a client: named after it and this machine, kept in a file of its own that only its owner may read, and issued
//! once. The secret of a key is shown once, so the file is what makes repeating a connection use the same key; a key of the
//! same name whose secret is gone is taken back when another is issued.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use systemprompt_config::files::{create_private_dir, write_secret_file};
use systemprompt_identity::{ApiKey, ApiKeys, User};
use systemprompt_model::{ApiKeyId, Secret};

use super::client::Client;
use crate::accounts::{accounts, find};
use crate::change::{About, Change, Changed, Operator, StateDigest, altered};
use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, OpenDatabase};

/// How a client came to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    /// It was given on the command line.
    Given,
    /// It is the one of an earlier connection.
    Kept,
    /// It is new.
    Issued,
}

/// A client's key.
pub(crate) struct ClientKey {
    /// The whole key.
    pub(crate) secret: Secret,
    /// How it came.
    pub(crate) origin: Origin,
    /// What the installation calls it, if it is its own.
    pub(crate) issued: Option<ApiKey>,
}

/// The file with the key of a client.
pub(crate) fn file(directory: &Path) -> PathBuf {
    directory.join("key")
}

/// Keeps a key that was given.
pub(crate) fn keep(directory: &Path, secret: Secret) -> CliResult<ClientKey> {
    write(directory, &secret)?;
    Ok(ClientKey { secret, origin: Origin::Given, issued: None })
}

/// The key of an earlier connection, whatever it is worth.
pub(crate) fn kept(directory: &Path) -> Option<Secret> {
    let text = std::fs::read_to_string(file(directory)).ok()?;
    Some(text.trim()).filter(|key| !key.is_empty()).map(Secret::new)
}

/// The key of an earlier connection if it is still good, else a new one.
pub(crate) async fn obtain(
    invocation: &Invocation,
    database: &OpenDatabase,
    client: Client,
    user: &str,
    directory: &Path,
) -> CliResult<ClientKey> {
    let user = find(&accounts(invocation, &database.db), user).await?;
    let keys = ApiKeys::new(database.db.clone(), invocation.ambient.clone());
    let now = invocation.ambient.now();
    if let Some(secret) = kept(directory)
        && let Some((prefix, _)) = secret.expose().split_once('.')
        && let Some(key) = keys.find(prefix).await.map_err(CliError::database)?
        && key.is_live(now)
        && key.user_id == user.id
    {
        return Ok(ClientKey { secret, origin: Origin::Kept, issued: Some(key) });
    }
    let name = name(client);
    // Its secret is nowhere any more.
    let lost = keys.list(user.id).await.map_err(CliError::database)?;
    for key in lost.into_iter().filter(|key| key.name == name && key.is_live(now)) {
        revoke(invocation, database, &keys, key).await?;
    }
    let (secret, key) = issue(invocation, database, &keys, &user, &name).await?;
    write(directory, &secret)?;
    Ok(ClientKey { secret, origin: Origin::Issued, issued: Some(key) })
}

/// Takes the key of a client back, if it is still good.
pub(crate) async fn take_back(invocation: &Invocation, database: &OpenDatabase, id: ApiKeyId) -> CliResult {
    let keys = ApiKeys::new(database.db.clone(), invocation.ambient.clone());
    let found = keys.get(id).await.map_err(CliError::database)?;
    match found.filter(|key| key.is_live(invocation.ambient.now())) {
        Some(key) => revoke(invocation, database, &keys, key).await,
        None => Ok(()),
    }
}

/// What the key of a client of this user on this machine is called.
fn name(client: Client) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = format!("{} of {} on {host}", client.name(), Operator::of_this_process().name);
    name.chars().filter(|character| !character.is_control()).take(100).collect()
}

async fn issue(
    invocation: &Invocation,
    database: &OpenDatabase,
    keys: &ApiKeys,
    user: &User,
    name: &str,
) -> CliResult<(Secret, ApiKey)> {
    let issue = async || {
        let issued = keys.issue(user.id, name, None).await;
        let issued = issued.map_err(|error| CliError::from_error("key_refused", &error))?;
        Ok(Changed { before: None, after: Some(StateDigest::of(&issued.key)), value: issued })
    };
    let request = json!({"user_id": user.id, "name": name, "expires_at": null});
    let change = Change::new("api_key.issue", About::new("user", user.id), &request);
    let issued = invocation.change(database, change, issue).await?;
    Ok((issued.secret, issued.key))
}

async fn revoke(invocation: &Invocation, database: &OpenDatabase, keys: &ApiKeys, key: ApiKey) -> CliResult {
    let revoke = async || {
        let revoked = keys.revoke(key.id).await;
        Ok(altered(&key, revoked.map_err(|error| CliError::from_error("key_refused", &error))?))
    };
    let change = Change::new("api_key.revoke", About::new("api_key", key.id), &());
    invocation.change(database, change, revoke).await.map(drop)
}

fn write(directory: &Path, secret: &Secret) -> CliResult {
    // Without a line break: some clients take the whole file for the key.
    create_private_dir(directory)
        .and_then(|()| write_secret_file(&file(directory), secret.expose().as_bytes()))
        .map_err(|error| {
            CliError::from_error("key_not_written", &error)
                .help(format!("make {} writable for this user", directory.display()))
                .exit(Exit::Configuration)
        })
}
