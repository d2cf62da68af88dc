//! This repository, read by a tool and sent to a model, passes its own scan.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// The texts below `directory`, without what is built.
fn texts(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if path.is_dir() {
            if name != "target" && name != "node_modules" && !name.starts_with('.') {
                texts(&path, found);
            }
        } else if ["rs", "md", "py", "yaml", "yml", "json", "toml", "sql"]
            .iter()
            .any(|kind| path.extension().is_some_and(|own| own == *kind))
        {
            found.push(path);
        }
    }
}

#[test]
fn every_file_of_this_repository_passes_as_the_result_of_a_tool() {
    let scanner = SecretScanner::new(&SecretScanConfig::default()).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    texts(&root, &mut files);
    assert!(files.len() > 100, "{} files", files.len());
    let mut refused = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let result = |text: &str| {
            let body = serde_json::json!({"messages": [
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_01", "content": text}]}]});
            scanner.scan(body.to_string().as_bytes())
        };
        if result(&text).refuses {
            let lines = text.lines().enumerate().filter_map(|(number, line)| {
                let scan = result(line);
                scan.refuses.then(|| format!("{}:{}: {}", file.display(), number + 1, scan.findings[0].pattern))
            });
            let before = refused.len();
            refused.extend(lines);
            if refused.len() == before {
                refused.push(format!("{}: {}", file.display(), result(&text).findings[0].pattern));
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
