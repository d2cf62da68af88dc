//! Reading the documents of the services tree, and none elsewhere.

use std::path::{Path, PathBuf};

use serde_json::Value;
use systemprompt_model::pattern::Pattern;

use crate::document::{Document, child, dotted};
use crate::environment::Environment;
use crate::interpolation::{self, Variables};
use crate::nearest::nearest;
use crate::report::Problem;
use crate::secrets::Secrets;
use crate::{services::files, yaml};

/// Reads documents below one directory, and none elsewhere.
pub(crate) struct Reader<'a> {
    root: &'a Path,
    secrets: &'a Secrets,
    environment: &'a Environment,
}

impl<'a> Reader<'a> {
    /// `root` is canonical.
    pub(crate) fn new(root: &'a Path, secrets: &'a Secrets, environment: &'a Environment) -> Self {
        Self { root, secrets, environment }
    }

    /// Reads a document, resolves its variables and pulls in its `!include` texts. `None` if it cannot be read at all.
    pub(crate) fn read(&self, path: &Path, domain: &str, problems: &mut Vec<Problem>) -> Option<Document> {
        let mut document = match yaml::read(path, domain) {
            Ok(document) => document,
            Err(found) => {
                problems.extend(found);
                return None;
            }
        };
        let lookup = |name: &str| {
            let secret = self.secrets.get(name).map(|secret| secret.expose().to_owned());
            secret.or_else(|| self.environment.lookup(name).map(str::to_owned))
        };
        let variables = Variables { lookup: &lookup, nested: true, source: "the secrets or the environment" };
        problems.extend(interpolation::resolve(&mut document, &variables, domain));

        for pointer in std::mem::take(&mut document.included_texts) {
            let Some(name) = document.get(&pointer).and_then(Value::as_str) else { continue };
            let base = path.parent().unwrap_or(Path::new("/"));
            let text = self.resolve(base, name).and_then(|files| match files.as_slice() {
                [file] => yaml::read_text(file, domain),
                _ => Err(fault("wrong_type", "must name one file".to_owned(), None)),
            });
            match text {
                Ok(text) => {
                    if let Some(node) = document.value.pointer_mut(&pointer) {
                        *node = Value::String(text);
                    }
                }
                Err(found) => {
                    let place = Problem::error(domain, dotted(&pointer), found.message);
                    let place = place.at_option(document.locate(&pointer)).code(found.code);
                    problems.push(Problem { suggestion: found.suggestion, ..place });
                }
            }
        }
        Some(document)
    }

    /// The files that a relative path or pattern means, seen from `base`: canonical, sorted by name, all below the root.
    pub(crate) fn resolve(&self, base: &Path, pattern: &str) -> Result<Vec<PathBuf>, Box<Problem>> {
        if Path::new(pattern).is_absolute() {
            return Err(fault("include_outside", "must be a relative path".to_owned(), None));
        }
        let candidates = files::expand(base, pattern);
        if candidates.is_empty() && !Pattern::is_wild(pattern) {
            let missing = base.join(pattern);
            let directory = missing.parent().unwrap_or(base);
            let names = std::fs::read_dir(directory).into_iter().flatten();
            let mut names: Vec<_> = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
            names.sort();
            let wanted = missing.file_name().unwrap_or_default().to_string_lossy();
            let hint = nearest(&wanted, names.iter().map(String::as_str)).map(|name| format!("did you mean `{name}`?"));
            let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
            let message = format!("{} does not exist", self.shown(&directory.join(&*wanted)));
            return Err(fault("include_not_found", message, hint));
        }
        let mut files = Vec::new();
        for candidate in candidates {
            let file = candidate
                .canonicalize()
                .map_err(|error| fault("io", format!("{} cannot be read: {error}", candidate.display()), None))?;
            if !file.starts_with(self.root) {
                return Err(fault("include_outside", "lies outside the services directory".to_owned(), None));
            }
            files.push(file);
        }
        Ok(files)
    }

    /// A path for a message: relative to the root.
    pub(crate) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(self.root).unwrap_or(path).display().to_string()
    }
}

/// Takes the values of `keys` out of a document that only sections own; every other key is a problem.
pub(crate) fn split(
    mut document: Document,
    keys: &[&str],
    domain: &str,
    problems: &mut Vec<Problem>,
) -> Vec<(String, Document)> {
    let mut parts = Vec::new();
    for key in document.keys() {
        if keys.contains(&key.as_str()) {
            let part = document.remove(&child("", &key)).expect("the key was just listed");
            parts.push((key, part));
        } else {
            problems.push(crate::schema::unknown_key(&document, "", &key, keys, domain));
        }
    }
    parts
}

fn fault(code: &'static str, message: String, suggestion: Option<String>) -> Box<Problem> {
    Box::new(Problem { suggestion, ..Problem::error("services", "", message).code(code) })
}
