//! Who is in which group, and which group is in which.

use std::collections::{BTreeMap, HashMap};

use systemprompt_model::UserId;

/// The groups and departments there are, and their members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups {
    /// Each group and department by its name, with the one it is in.
    pub(super) parents: BTreeMap<String, Option<String>>,
    /// The groups each account was put into.
    pub(super) members: HashMap<UserId, Vec<String>>,
}

impl Groups {
    /// The groups an account was put into.
    pub fn of(&self, user: UserId) -> impl Iterator<Item = &str> {
        self.members.get(&user).into_iter().flatten().map(String::as_str)
    }

    /// Those groups, and every one that one of them is in.
    pub fn with_parents<'a>(&'a self, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for name in names {
            let mut next = Some(name);
            // A circle ends where it began.
            while let Some(name) = next.filter(|name| all.iter().all(|known| known != name)) {
                all.push(name.to_owned());
                next = self.parents.get(name).and_then(|parent| parent.as_deref());
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_a_group_is_in_what_it_is_in() {
        let parents = [("a", Some("b")), ("b", Some("c")), ("c", None), ("x", Some("y")), ("y", Some("x"))];
        let parents = parents.map(|(name, parent)| (name.to_owned(), parent.map(str::to_owned))).into();
        let groups = Groups { parents, members: HashMap::new() };
        assert_eq!(groups.with_parents(["a"]), ["a", "b", "c"]);
        assert_eq!(groups.with_parents(["b", "a"]), ["b", "c", "a"]);
        assert_eq!(groups.with_parents(["x"]), ["x", "y"], "a circle");
        assert_eq!(groups.with_parents(["unknown"]), ["unknown"]);
    }
}
