//! The roles there are. A role that is misspelt gives nothing, and what a rule was to forbid it is allowed.

use std::collections::BTreeSet;

use systemprompt_database::DbPool;
use systemprompt_extension::KnownNames;
use systemprompt_governance::config::{AccessControlConfig, no_such_role};
use systemprompt_model::with_causes;

use crate::error::{CliError, CliResult, Exit};
use crate::project::Project;

/// The names of all roles: those of the product and its extensions, and those declared in `services/access-control`.
pub(crate) fn catalogue(project: &Project) -> CliResult<BTreeSet<String>> {
    let declared = AccessControlConfig::read(&project.configuration)
        .map_err(|error| CliError::new("profile_invalid", with_causes(&error)).exit(Exit::Invalid))?;
    let known = KnownNames::of(&project.registry, &project.configuration);
    Ok(declared.role_names(&known).into_iter().map(str::to_owned).collect())
}

/// Fails if one of `roles` is neither in the catalogue nor among those that somebody `has` already.
pub(crate) fn refuse_unknown(roles: &[String], has: &[String], catalogue: &BTreeSet<String>) -> CliResult {
    match roles.iter().find(|&role| !catalogue.contains(role) && !has.contains(role)) {
        None => Ok(()),
        Some(role) => Err(CliError::new("unknown_role", sentence(role, catalogue)).exit(Exit::Usage)),
    }
}

/// Warns of every role that accounts have and that is declared nowhere, as after its declaration was taken away.
pub(crate) async fn warn_of_undeclared(project: &Project, db: &DbPool) {
    // What cannot be read here is told where it is used.
    let roles = sqlx::query_scalar("SELECT DISTINCT unnest(roles) FROM users WHERE status <> 'deleted' ORDER BY 1");
    let (Ok(catalogue), Ok(roles)) = (catalogue(project), roles.fetch_all(db.write()).await) else { return };
    let roles: Vec<String> = roles;
    for role in roles.iter().filter(|&role| !catalogue.contains(role)) {
        tracing::warn!("accounts have a role that no rule can be about: {}", sentence(role, &catalogue));
    }
}

fn sentence(role: &str, catalogue: &BTreeSet<String>) -> String {
    no_such_role(role, &catalogue.iter().map(String::as_str).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_is_not_there_is_refused_with_the_one_that_was_meant() {
        let catalogue: BTreeSet<String> = ["admin", "intern", "user"].map(str::to_owned).into();
        let given = |roles: &[&str], has: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
            refuse_unknown(&owned(roles), &owned(has), &catalogue).err().map(|error| error.message)
        };
        assert_eq!(given(&["user", "intern"], &[]), None);
        assert_eq!(given(&["retired", "user"], &["retired"]), None, "what somebody has may stay");
        let refused = given(&["user", "inetrn"], &[]).expect("a refusal");
        assert!(refused.starts_with("there is no role `inetrn`; did you mean `intern`?"), "{refused}");
        let refused = given(&["astronaut"], &["retired"]).expect("a refusal");
        assert!(refused.contains("there are: `admin`, `intern`, `user`. Roles of your own"), "{refused}");
    }
}
