use std::path::{Path, PathBuf};

/// Whether the path holds a wildcard.
pub(crate) fn is_pattern(path: &str) -> bool {
    path.contains('*')
}

/// The existing files that a path with `*` in its segments names, sorted; `*` matches no leading dot and no `/`.
pub(crate) fn expand(base: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![base.to_owned()];
    for segment in pattern.split('/').filter(|segment| !segment.is_empty() && *segment != ".") {
        found = if is_pattern(segment) {
            let entries = found.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
            let names = entries.filter_map(|entry| {
                let entry = entry.ok()?;
                matches(segment, entry.file_name().to_str()?).then(|| entry.path())
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

fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let (first, rest) = (parts.next().unwrap_or_default(), parts.collect::<Vec<_>>());
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let Some((last, middle)) = rest.split_last() else { return name.is_empty() };
    for part in middle {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards() {
        for (pattern, name, expected) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", ".yaml", false),
            ("*.yaml", "a.yml", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXc", false),
            ("*", "x", true),
            ("x", "x", true),
            ("x", "xy", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
