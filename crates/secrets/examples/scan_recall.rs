//! How many of the secrets of a corpus are found, and which are not. A line of it is
//! `{"rule": "…", "way": "…", "text": "…", "secret": "…"}`; each text is scanned as it is, and as the result of a tool.
//!
//! `cargo run --release -p systemprompt-secrets --example scan_recall < corpus.jsonl`

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};

use serde_json::{Value, json};
use systemprompt_secrets::{Options, Scanner};

fn main() -> std::io::Result<()> {
    let scanner = Scanner::new(&Options::default());
    let mut out = std::io::stdout().lock();
    let mut rules: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let Ok(sample) = serde_json::from_str::<Value>(&line) else { continue };
        let field = |name: &str| sample[name].as_str().unwrap_or_default();
        let (rule, text, secret) = (field("rule"), field("text"), field("secret"));
        let result = json!({"messages": [{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_01", "content": text}]}]})
        .to_string();
        for body in [text, &result] {
            let matches = scanner.scan(body.as_bytes());
            let covers =
                |value: &str| value.contains(secret) || (secret.contains(value) && value.len() * 3 >= secret.len() * 2);
            let found = matches.iter().any(|found| found.rule.acts && covers(found.value.expose()));
            let (found_of, all) = rules.entry(rule.to_owned()).or_default();
            *all += 1;
            *found_of += usize::from(found);
            if !found && body == text {
                writeln!(out, "missed\t{rule}\t{}\t{text:?}", field("way"))?;
            }
        }
    }
    for (rule, (found, all)) in rules.iter().filter(|(_, (found, all))| found < all) {
        writeln!(out, "rule\t{rule}\t{found}\t{all}")?;
    }
    let (found, all) = rules.values().fold((0, 0), |(found, all), rule| (found + rule.0, all + rule.1));
    writeln!(
        out,
        "# {found} of {all}, {:.2} %",
        found as f64 * 100.0 / f64::from(u32::try_from(all.max(1)).unwrap_or(u32::MAX))
    )
}
