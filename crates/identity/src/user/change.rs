//! What may be said of a new account, or changed about one, and how it is brought into normal form.

use std::collections::BTreeMap;

use systemprompt_model::{FieldError, UserId};

use crate::user::{USER_ROLE, User, UserStatus};

/// What is needed to create an account. Its status will be `active`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewUser {
    /// 1 to 64 of `A–Z a–z 0–9 . _ -`, beginning with a letter or digit.
    pub name: String,
    /// An address; trimmed and lower-cased.
    pub email: String,
    /// The person's full name, at most 200 characters.
    pub full_name: Option<String>,
    /// The name to show, at most 200 characters.
    pub display_name: Option<String>,
    /// Roles; `user` when empty.
    pub roles: Vec<String>,
    /// Whether the address was proved.
    pub email_verified: bool,
    /// Further facts access rules may refer to.
    pub attributes: BTreeMap<String, String>,
}

impl NewUser {
    /// The same with normal forms, or everything that is wrong with it.
    pub fn normalised(mut self) -> Result<Self, Vec<FieldError>> {
        if self.roles.is_empty() {
            self.roles.push(USER_ROLE.to_owned());
        }
        let mut problems = Vec::new();
        normalise_name(&mut self.name, &mut problems);
        normalise_email(&mut self.email, &mut problems);
        normalise_text("full_name", &mut self.full_name, &mut problems);
        normalise_text("display_name", &mut self.display_name, &mut problems);
        normalise_roles(&mut self.roles, &mut problems);
        check_attributes(&self.attributes, &mut problems);
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }
}

/// What to change about an account; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// A new name.
    pub name: Option<String>,
    /// A new address. It counts as not verified unless `email_verified` says otherwise.
    pub email: Option<String>,
    /// A new full name; the empty text removes it.
    pub full_name: Option<String>,
    /// A new name to show; the empty text removes it.
    pub display_name: Option<String>,
    /// A new status other than `deleted`; deleting is an operation of its own.
    pub status: Option<UserStatus>,
    /// Whether the address is verified.
    pub email_verified: Option<bool>,
    /// All roles it shall have.
    pub roles: Option<Vec<String>>,
    /// All attributes it shall have.
    pub attributes: Option<BTreeMap<String, String>>,
}

impl UserChange {
    /// `user` with these changes, or everything that is wrong with the result.
    pub fn apply(self, mut user: User) -> Result<User, Vec<FieldError>> {
        let mut problems = Vec::new();
        if let Some(name) = self.name {
            user.name = name;
            normalise_name(&mut user.name, &mut problems);
        }
        if let Some(mut email) = self.email {
            normalise_email(&mut email, &mut problems);
            user.email_verified &= email == user.email;
            user.email = email;
        }
        if let Some(verified) = self.email_verified {
            user.email_verified = verified;
        }
        if let Some(full_name) = self.full_name {
            user.full_name = Some(full_name);
            normalise_text("full_name", &mut user.full_name, &mut problems);
        }
        if let Some(display_name) = self.display_name {
            user.display_name = Some(display_name);
            normalise_text("display_name", &mut user.display_name, &mut problems);
        }
        if let Some(roles) = self.roles {
            user.roles = roles;
            normalise_roles(&mut user.roles, &mut problems);
        }
        if let Some(attributes) = self.attributes {
            check_attributes(&attributes, &mut problems);
            user.attributes = attributes;
        }
        match self.status {
            Some(UserStatus::Deleted) => {
                problems.push(problem("status", "a user is deleted by the delete operation, not by its status"));
            }
            Some(status) => user.status = status,
            None => {}
        }
        if problems.is_empty() { Ok(user) } else { Err(problems) }
    }
}

fn problem(field: &str, message: impl Into<String>) -> FieldError {
    FieldError { field: field.to_owned(), message: message.into() }
}

fn normalise_name(name: &mut String, problems: &mut Vec<FieldError>) {
    *name = name.trim().to_owned();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !(1..=64).contains(&name.len())
        || !name.chars().all(allowed)
        || !name.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        problems.push(problem(
            "name",
            "must be 1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or digit",
        ));
    } else if name.parse::<UserId>().is_ok() {
        problems.push(problem("name", "must not look like an id, because users may be named by either"));
    }
}

fn normalise_email(email: &mut String, problems: &mut Vec<FieldError>) {
    *email = email.trim().to_lowercase();
    let good = email.len() <= 254
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email.split_once('@').is_some_and(|(local, domain)| {
            (1..=64).contains(&local.len())
                && !domain.is_empty()
                && !domain.contains('@')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
                && !domain.contains("..")
        });
    if !good {
        problems.push(problem("email", "must be an address such as `ada@example.com`, at most 254 bytes"));
    }
}

fn normalise_text(field: &str, text: &mut Option<String>, problems: &mut Vec<FieldError>) {
    *text = text.take().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if let Some(text) = text
        && (text.chars().count() > 200 || text.chars().any(char::is_control))
    {
        problems.push(problem(field, "must be at most 200 characters without control characters"));
    }
}

fn normalise_roles(roles: &mut Vec<String>, problems: &mut Vec<FieldError>) {
    for role in roles.iter() {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if !(1..=63).contains(&role.len())
            || !role.chars().all(allowed)
            || !role.starts_with(|c: char| c.is_ascii_lowercase())
        {
            problems.push(problem(
                "roles",
                format!(
                    "`{}` is not a role name: 1 to 63 of `a-z 0-9 _ -`, beginning with a letter",
                    role.chars().take(80).collect::<String>()
                ),
            ));
        }
    }
    if roles.is_empty() {
        problems.push(problem("roles", "a user has at least one role; the ordinary one is `user`"));
    }
    if roles.len() > 64 {
        problems.push(problem("roles", "at most 64 roles"));
    }
    roles.sort();
    roles.dedup();
}

fn check_attributes(attributes: &BTreeMap<String, String>, problems: &mut Vec<FieldError>) {
    if attributes.len() > 64 {
        problems.push(problem("attributes", "at most 64 attributes"));
    }
    for (key, value) in attributes {
        if !(1..=64).contains(&key.len()) || value.len() > 256 || value.chars().any(char::is_control) {
            problems.push(problem(
                "attributes",
                "names are 1 to 64 bytes, values at most 256 bytes without control characters",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_user_is_brought_into_normal_form() {
        let user = NewUser {
            name: " ada ".into(),
            email: "  Ada@Example.COM ".into(),
            full_name: Some("  ".into()),
            roles: vec!["user".into(), "analyst".into(), "user".into()],
            ..NewUser::default()
        };
        let user = user.normalised().expect("is acceptable");
        assert_eq!((user.name.as_str(), user.email.as_str()), ("ada", "ada@example.com"));
        assert_eq!(user.full_name, None);
        assert_eq!(user.roles, ["analyst", "user"]);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        #[track_caller]
        fn check(user: NewUser, fields: &[&str]) {
            let problems = user.normalised().expect_err("is not acceptable");
            assert_eq!(problems.iter().map(|p| p.field.as_str()).collect::<Vec<_>>(), fields);
        }
        let good = NewUser { name: "ada".into(), email: "ada@example.com".into(), ..NewUser::default() };
        check(NewUser::default(), &["name", "email"]);
        check(NewUser { name: "a@b".into(), ..good.clone() }, &["name"]);
        check(NewUser { name: "0198c0de-0000-7000-8000-000000000000".into(), ..good.clone() }, &["name"]);
        for email in ["ada", "@example.com", "a@b@c", "a da@example.com", "ada@.com", "ada@x..y"] {
            check(NewUser { email: email.into(), ..good.clone() }, &["email"]);
        }
        check(NewUser { roles: vec!["Admin".into()], ..good.clone() }, &["roles"]);
        check(NewUser { full_name: Some("x\u{0}".into()), ..good }, &["full_name"]);
    }
}
