//! How two documents that define the same key come together: named entries may be added but not defined twice, everything
//! else has one owner. An entry or part marked `override: true` replaces the earlier one whole.

use serde_json::Value;

use crate::document::{Document, child, dotted};
use crate::report::Problem;

/// Keys that are maps of named entries.
const ENTRIES: [&str; 7] =
    ["agents", "mcp_servers", "plugins", "marketplaces", "external_agents", "slack_apps", "teams_apps"];

/// Merges the value of a top-level key into the tree.
pub(crate) fn merge(
    tree: &mut Document,
    key: &str,
    mut part: Document,
    problems: &mut Vec<Problem>,
    mismatches: &mut Vec<Problem>,
) {
    // `agents:` without a value is a placeholder.
    if part.value.is_null() {
        return;
    }
    let pointer = child("", key);
    if !part.value.is_object() {
        let problem = Problem::error("services", key, "must be a map").at_option(part.locate(""));
        mismatches.push(problem.code("wrong_type"));
        return;
    }
    if ENTRIES.contains(&key) {
        return entries(tree, &pointer, part, problems);
    }
    match key {
        "ai" => parts(tree, &pointer, part, &["providers"], &[], problems),
        "skills" => parts(tree, &pointer, part, &["skills"], &[], problems),
        "scheduler" if !take_override(&mut part) => {
            parts(tree, &pointer, part, &[], &["jobs", "bootstrap_jobs"], problems);
        }
        "scheduler" => tree.insert(&pointer, part),
        _ => owned(tree, &pointer, part, problems),
    }
}

/// Joins what several documents say about a section: lists one after the other, maps entry by entry.
pub(crate) fn join(
    whole: Option<Document>,
    key: &str,
    part: Document,
    domain: &str,
    problems: &mut Vec<Problem>,
) -> Document {
    let Some(mut whole) = whole else { return part };
    match (&whole.value, &part.value) {
        (Value::Array(_), Value::Array(_)) => whole.append(&part),
        (Value::Object(_), Value::Object(_)) => {
            let before = problems.len();
            entries(&mut whole, "", part, problems);
            for problem in &mut problems[before..] {
                domain.clone_into(&mut problem.domain);
                problem.field = format!("{key}.{}", problem.field);
            }
        }
        _ => problems.push(defined_twice(domain, key, &whole, "", &part)),
    }
    whole
}

/// Named entries.
fn entries(tree: &mut Document, pointer: &str, part: Document, problems: &mut Vec<Problem>) {
    let mut part = part;
    if tree.get(pointer).is_none() {
        let mut empty = Document::empty();
        empty.origins.extend(part.locate("").map(|at| (String::new(), at.clone())));
        tree.insert(pointer, empty);
    }
    for name in part.keys() {
        let entry = part.remove(&child("", &name)).expect("the key was just listed");
        owned(tree, &child(pointer, &name), entry, problems);
    }
}

/// A map of which some keys are named entries, some are lists, and each other key has one owner.
fn parts(
    tree: &mut Document,
    pointer: &str,
    mut part: Document,
    maps: &[&str],
    lists: &[&str],
    problems: &mut Vec<Problem>,
) {
    for key in part.keys() {
        let value = part.remove(&child("", &key)).expect("the key was just listed");
        let pointer = child(pointer, &key);
        if maps.contains(&key.as_str()) && value.value.is_object() {
            entries(tree, &pointer, value, problems);
        } else if lists.contains(&key.as_str()) && value.value.is_array() {
            concatenate(tree, &pointer, value, problems);
        } else {
            owned(tree, &pointer, value, problems);
        }
    }
}

fn concatenate(tree: &mut Document, pointer: &str, list: Document, problems: &mut Vec<Problem>) {
    let Some(mut whole) = tree.remove(pointer).filter(|whole| whole.value.is_array()) else {
        return tree.insert(pointer, list);
    };
    let names = |list: &Document| -> Vec<Option<String>> {
        let jobs = list.value.as_array().into_iter().flatten();
        jobs.map(|job| job.get("name").or(Some(job)).and_then(Value::as_str).map(str::to_owned)).collect()
    };
    let known = names(&whole);
    for (index, name) in names(&list).into_iter().enumerate() {
        if let Some(first) = known.iter().position(|known| name.is_some() && *known == name) {
            let field = format!("{}.{}", dotted(pointer), name.unwrap_or_default());
            let at = |list: &Document, index: usize| list.locate(&format!("/{index}")).cloned();
            let message = match at(&whole, first) {
                Some(first) => format!("is defined twice, first in {}:{}", first.file.display(), first.line),
                None => "is defined twice".to_owned(),
            };
            let problem = Problem::error("services", field, message).at_option(at(&list, index).as_ref());
            problems.push(problem.code("duplicate_id"));
        }
    }
    whole.append(&list);
    tree.insert(pointer, whole);
}

/// A value with one owner.
fn owned(tree: &mut Document, pointer: &str, mut part: Document, problems: &mut Vec<Problem>) {
    let replaces = take_override(&mut part);
    if tree.get(pointer).is_some() && !replaces {
        problems.push(defined_twice("services", &dotted(pointer), tree, pointer, &part));
        return;
    }
    tree.insert(pointer, part);
}

fn take_override(part: &mut Document) -> bool {
    let marked = part.get("/override") == Some(&Value::Bool(true));
    if marked {
        part.remove("/override");
    }
    marked
}

fn defined_twice(domain: &str, field: &str, tree: &Document, pointer: &str, part: &Document) -> Problem {
    let message = match tree.locate(pointer) {
        Some(first) => format!("is defined twice, first in {}:{}", first.file.display(), first.line),
        None => "is defined twice".to_owned(),
    };
    Problem::error(domain, field, message)
        .at_option(part.locate(""))
        .suggest("remove one, or mark the later one with `override: true`")
        .code("duplicate_id")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::yaml;

    fn merged(texts: &[&str]) -> (Value, Vec<String>) {
        let mut tree = Document::empty();
        let (mut problems, mut mismatches) = (Vec::new(), Vec::new());
        for (index, text) in texts.iter().enumerate() {
            let name = format!("{index}.yaml");
            let mut document = yaml::parse(text, Path::new(&name), "services").unwrap();
            for key in document.keys() {
                let part = document.remove(&child("", &key)).unwrap();
                merge(&mut tree, &key, part, &mut problems, &mut mismatches);
            }
        }
        problems.extend(mismatches);
        (tree.value, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn rules() {
        for (texts, expected, problems) in [
            (
                &["agents: {a: {x: 1}}", "agents: {b: {}}\nmcp_servers:"][..],
                json!({"agents": {"a": {"x": 1}, "b": {}}}),
                &[][..],
            ),
            (
                &["agents: {a: {x: 1}}", "agents: {a: {y: 2}}"],
                json!({"agents": {"a": {"x": 1}}}),
                &["agents.a: is defined twice, first in 0.yaml:1"],
            ),
            (&["agents: {a: {x: 1}}", "agents: {a: {y: 2, override: true}}"], json!({"agents": {"a": {"y": 2}}}), &[]),
            (
                &["scheduler: {enabled: true, jobs: [{name: a}]}", "scheduler: {jobs: [{name: b}, {name: a}]}"],
                json!({"scheduler": {"enabled": true, "jobs": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}}),
                &["scheduler.jobs.a: is defined twice, first in 0.yaml:1"],
            ),
            (
                &["scheduler: {enabled: true}", "scheduler: {enabled: false}"],
                json!({"scheduler": {"enabled": true}}),
                &["scheduler.enabled: is defined twice, first in 0.yaml:1"],
            ),
            (
                &["scheduler: {enabled: true, jobs: [{name: a}]}", "scheduler: {enabled: false, override: true}"],
                json!({"scheduler": {"enabled": false}}),
                &[],
            ),
            (
                &["ai: {default_provider: x, providers: {x: {}}}", "ai: {providers: {y: {}}, default_provider: y}"],
                json!({"ai": {"default_provider": "x", "providers": {"x": {}, "y": {}}}}),
                &["ai.default_provider: is defined twice, first in 0.yaml:1"],
            ),
            (
                &["skills: {auto_discover: true, skills: {a: {}}}", "skills: {skills: {b: {}}}"],
                json!({"skills": {"auto_discover": true, "skills": {"a": {}, "b": {}}}}),
                &[],
            ),
            (&["web: {a: 1}", "web: {b: 2}"], json!({"web": {"a": 1}}), &["web: is defined twice, first in 0.yaml:1"]),
            (
                &["bridge_policy: {a: 1}", "bridge_policy: {b: 2, override: true}"],
                json!({"bridge_policy": {"b": 2}}),
                &[],
            ),
            (&["agents: [a]"], json!({}), &["agents: must be a map"]),
        ] {
            assert_eq!(merged(texts), (expected, problems.iter().map(|&p| p.to_owned()).collect()), "{texts:?}");
        }
    }
}
