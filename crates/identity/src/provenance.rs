//! Whether accounts and keys are what recorded changes made them: who made somebody an administrator is on record, or it is
//! named here.

use std::collections::{HashMap, HashSet};

use sqlx::PgPool;
use systemprompt_governance::StateDigest;
use systemprompt_governance::changes::{RecordedState, recorded_states};
use systemprompt_model::{ActionId, UserId};

use crate::api_key::{self, ApiKey};
use crate::error::StoreError;
use crate::user::{self, User};

/// Accounts, or keys, read with one statement.
const PAGE: i64 = 500;

/// The change that makes the first administrator, and their first key.
const BOOTSTRAP: &str = "administrator.bootstrap";

/// An account or a key that no recorded change explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexplained {
    /// `users` or `user_api_keys`.
    pub table: &'static str,
    /// The id of the row.
    pub id: String,
    /// The recorded change it disagrees with, if there is one.
    pub change: Option<ActionId>,
    /// What is wrong.
    pub problem: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// How many accounts and keys are what the last change made them.
    pub explained: u64,
    /// Those that are not.
    pub unexplained: Vec<Unexplained>,
    /// Those of which nothing is recorded, and may have been before retention dropped it.
    pub unknown: u64,
}

/// What is recorded about accounts.
struct Recorded {
    /// Changes of an account by its id, oldest first.
    of: HashMap<String, Vec<RecordedState>>,
    /// What changes left behind of whatever they made: accounts, keys.
    made: HashSet<StateDigest>,
    /// Whether the first administrator was made, whose first key is part of the same change.
    bootstrapped: HashSet<StateDigest>,
}

/// Compares all accounts and keys with what is recorded. `dropped`: whether retention has dropped entries, so that what made
/// an old account may not be known any more.
pub async fn provenance(pool: &PgPool, dropped: bool) -> Result<Provenance, StoreError> {
    let mut recorded = Recorded { of: HashMap::new(), made: HashSet::new(), bootstrapped: HashSet::new() };
    for state in recorded_states(pool, "user").await? {
        if let (Some(after), "completed") = (state.after, state.status.as_str()) {
            recorded.made.insert(after);
            if state.operation == BOOTSTRAP {
                recorded.bootstrapped.insert(after);
            }
        }
        if matches!(state.operation.as_str(), "user.update" | "user.delete") {
            recorded.of.entry(state.about_id.clone()).or_default().push(state);
        }
    }
    let mut found = Provenance::default();
    // Owners of keys that came with their account.
    let mut bootstrapped: HashSet<UserId> = HashSet::new();
    let mut after = None;
    loop {
        let users = user::queries::all_users(pool, after, PAGE).await?;
        let Some(last) = users.last() else { break };
        after = Some(last.id);
        for user in &users {
            let changes = recorded.of.get(&user.id.to_string()).map_or(&[][..], Vec::as_slice);
            match explain(user, changes, &recorded.made) {
                Ok(()) => found.explained += 1,
                Err((None, _)) if dropped && changes.is_empty() => found.unknown += 1,
                Err((change, problem)) => found.unexplained.push(Unexplained {
                    table: "users",
                    id: user.id.to_string(),
                    change,
                    problem: format!("{} (now with the roles {}): {problem}", user.name, user.roles.join(", ")),
                }),
            }
            let first = changes.iter().find_map(|change| change.before).unwrap_or_else(|| StateDigest::of(user));
            if recorded.bootstrapped.contains(&first) {
                bootstrapped.insert(user.id);
            }
        }
    }
    let mut after = None;
    loop {
        let keys = api_key::queries::all_api_keys(pool, after, PAGE).await?;
        let Some(last) = keys.last() else { break };
        after = Some(last.id);
        for key in keys {
            // As it was when it was issued.
            let issued = ApiKey { last_used_at: None, revoked_at: None, ..key.clone() };
            let is_first = key.name == crate::administrator::FIRST_KEY && bootstrapped.contains(&key.user_id);
            if is_first || recorded.made.contains(&StateDigest::of(&issued)) {
                found.explained += 1;
            } else if dropped {
                found.unknown += 1;
            } else {
                found.unexplained.push(Unexplained {
                    table: "user_api_keys",
                    id: key.id.to_string(),
                    change: None,
                    problem: format!(
                        "{} of the user {}: no recorded change has issued this key",
                        key.prefix, key.user_id
                    ),
                });
            }
        }
    }
    Ok(found)
}

/// Whether the last recorded change left the account as it is, and each change found it as the one before had left it.
fn explain(
    user: &User,
    changes: &[RecordedState],
    made: &HashSet<StateDigest>,
) -> Result<(), (Option<ActionId>, &'static str)> {
    let now = StateDigest::of(user);
    let mut known: Option<StateDigest> = None;
    // What failed, or was given up, may have been done.
    let mut sure = true;
    for change in changes {
        if change.status != "completed" {
            sure &= change.status == "rejected";
            continue;
        }
        if let Some(before) = change.before {
            let fits = known.map_or_else(|| made.contains(&before), |known| known == before);
            if sure && !fits {
                let problem = "it was changed, before this change, by none that is recorded";
                return Err((Some(change.id), problem));
            }
        }
        (known, sure) = (change.after, true);
    }
    match known {
        Some(known) if known == now || !sure => Ok(()),
        Some(_) => Err((
            changes.iter().rev().find(|change| change.status == "completed").map(|change| change.id),
            "it is not as this change, the last that is recorded, left it",
        )),
        None if made.contains(&now) || !sure => Ok(()),
        None => Err((None, "no recorded change has made it so")),
    }
}
