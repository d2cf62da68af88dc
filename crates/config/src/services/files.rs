//! The files that a path with wildcards names.

use std::path::{Path, PathBuf};

use systemprompt_model::pattern::Pattern;

/// The existing files that a path with [patterns](Pattern) for segments names, sorted; a wildcard at the beginning of a segment
/// stands for no leading dot, and none stands for `/`.
pub(crate) fn expand(base: &Path, path: &str) -> Vec<PathBuf> {
    let mut found = vec![base.to_owned()];
    for segment in path.split('/').filter(|segment| !segment.is_empty() && *segment != ".") {
        found = if Pattern::is_wild(segment) {
            // A segment that is too long for a pattern is too long for a name.
            let Ok(pattern) = Pattern::new(segment) else { return Vec::new() };
            let entries = found.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
            let names = entries.filter_map(|entry| {
                let entry = entry.ok()?;
                fits(&pattern, entry.file_name().to_str()?).then(|| entry.path())
            });
            names.collect()
        } else {
            found.into_iter().map(|directory| directory.join(segment)).filter(|path| path.exists()).collect()
        };
    }
    found.retain(|path| path.is_file());
    found.sort();
    found
}

fn fits(pattern: &Pattern, name: &str) -> bool {
    (!name.starts_with('.') || pattern.as_str().starts_with('.')) && pattern.fits(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_names_that_are_not_hidden() {
        let directory = tempfile::tempdir().expect("a directory");
        let touch = |name: &str| {
            let file = directory.path().join(name);
            std::fs::create_dir_all(file.parent().expect("a directory")).expect("writable");
            std::fs::write(file, "").expect("writable");
        };
        ["a.yaml", "b.yaml", ".c.yaml", "d.yml", "e/a.yaml", "f/a.yaml", "f/g/a.yaml"].into_iter().for_each(touch);
        for (path, expected) in [
            ("*.yaml", &["a.yaml", "b.yaml"][..]),
            ("./?.yaml", &["a.yaml", "b.yaml"]),
            (".*.yaml", &[".c.yaml"]),
            ("*/a.yaml", &["e/a.yaml", "f/a.yaml"]),
            ("f/*/*", &["f/g/a.yaml"]),
            ("f", &[]),
            ("none*", &[]),
            ("d.yml", &["d.yml"]),
        ] {
            let found = expand(directory.path(), path);
            let expected: Vec<_> = expected.iter().map(|name| directory.path().join(name)).collect();
            assert_eq!(found, expected, "{path}");
        }
    }
}
