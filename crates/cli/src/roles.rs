//! Roles nobody has: a rule about one does nothing, and what it was to forbid is allowed.

use std::collections::BTreeSet;

use systemprompt_config::{Configuration, Place, nearest};
use systemprompt_database::DbPool;
use systemprompt_governance::config::{Access, AccessRuleConfig};

/// Roles that there are without an account that has them.
const BUILT_IN: [&str; 3] = ["admin", "anonymous", "user"];

/// Where rules stand.
const RULES: Place = Place::Service { path: "access-control/*.yaml", key: "rules" };

/// The roles that accounts have, and the built-in ones.
pub(crate) async fn known(db: &DbPool) -> Result<BTreeSet<String>, sqlx::Error> {
    let roles = sqlx::query_scalar("SELECT DISTINCT unnest(roles) FROM users WHERE status <> 'deleted'");
    let roles: Vec<String> = roles.fetch_all(db.write()).await?;
    Ok(roles.into_iter().chain(BUILT_IN.map(str::to_owned)).collect())
}

/// A sentence about each of `roles` that nobody has and that looks like one somebody has.
pub(crate) fn slips(roles: &[String], known: &BTreeSet<String>) -> Vec<String> {
    roles.iter().filter_map(|role| unknown(role, known).filter(|_| meant(role, known).is_some())).collect()
}

/// Warns of every rule about a role that nobody has: each that forbids, and one that allows if its role looks like another.
pub(crate) async fn warn_of_rules(configuration: &Configuration, db: &DbPool) {
    // What cannot be read here is told where it is used.
    let (Ok(rules), Ok(known)) = (configuration.section_at::<Vec<AccessRuleConfig>>(&RULES), known(db).await) else {
        return;
    };
    for sentence in of_rules(&rules, &known) {
        tracing::warn!("{sentence}");
    }
}

fn of_rules(rules: &[AccessRuleConfig], known: &BTreeSet<String>) -> Vec<String> {
    let of_rule = |(index, rule): (usize, &AccessRuleConfig)| {
        let unknown = rule.roles.iter().filter(|role| rule.access == Access::Deny || meant(role, known).is_some());
        unknown.filter_map(|role| unknown_in(role, known, index)).collect::<Vec<_>>()
    };
    rules.iter().enumerate().flat_map(of_rule).collect()
}

fn unknown_in(role: &str, known: &BTreeSet<String>, index: usize) -> Option<String> {
    Some(format!("rules[{index}] of access-control: {}", unknown(role, known)?))
}

fn unknown(role: &str, known: &BTreeSet<String>) -> Option<String> {
    if known.contains(role) {
        return None;
    }
    let meant = meant(role, known).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    Some(format!("no account has the role `{role}`{meant}"))
}

fn meant<'a>(role: &str, known: &'a BTreeSet<String>) -> Option<&'a str> {
    if known.contains(role) { None } else { nearest(role, known.iter().map(String::as_str)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_nobody_has_is_told_with_the_one_that_was_meant() {
        let known: BTreeSet<String> = ["admin", "intern", "user"].map(str::to_owned).into();
        let rules: Vec<AccessRuleConfig> = serde_json::from_value(serde_json::json!([
            {"entity_type": "gateway_route", "entity_match": "*", "access": "deny", "roles": ["inetrn", "contractor"]},
            {"entity_type": "gateway_route", "entity_match": "*", "roles": ["user", "usr", "contractor"]},
        ]))
        .expect("rules");
        assert_eq!(
            of_rules(&rules, &known),
            [
                "rules[0] of access-control: no account has the role `inetrn`; did you mean `intern`?",
                "rules[0] of access-control: no account has the role `contractor`",
                "rules[1] of access-control: no account has the role `usr`; did you mean `user`?",
            ]
        );
        assert_eq!(
            slips(&["inetrn".to_owned(), "novel".to_owned(), "user".to_owned()], &known),
            ["no account has the role `inetrn`; did you mean `intern`?"]
        );
    }
}
