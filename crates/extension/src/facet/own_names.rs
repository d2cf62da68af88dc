//! The rule for names that begin with the id of their extension.

use super::kind::{Declared, broken_name_rule, duplicates};
use crate::LoaderError;

/// Every name that is not `<extension>.<name>`, and every one that is there twice.
pub(crate) fn broken<C>(
    kind: &'static str,
    declared: &[Declared<'_, C>],
    name: impl Fn(&C) -> &'static str,
) -> Vec<LoaderError> {
    let mut problems = Vec::new();
    for Declared { extension, contributions } in declared {
        for name in contributions.iter().map(&name) {
            let below = name.strip_prefix(extension).and_then(|rest| rest.strip_prefix('.'));
            let message = match below {
                None => Some(format!("it must start with '{extension}.'")),
                Some(below) => broken_name_rule(below).map(|rule| format!("after '{extension}.' {rule}")),
            };
            problems.extend(message.map(|message| LoaderError::InvalidName {
                extension: (*extension).to_owned(),
                kind,
                name: name.to_owned(),
                message,
            }));
        }
    }
    problems.extend(duplicates(kind, declared, |contribution| vec![name(contribution).to_owned()], str::to_owned));
    problems
}
