//! Scans files as the results of a tool and prints each match with what is around it: to judge false alarms by.
//!
//! `find … | cargo run --release -p systemprompt-secrets --example scan_files`; with `bodies` behind it, each file is the body
//! of a request.

use std::io::{BufRead as _, Write as _};

use systemprompt_secrets::{Options, Scanner};

fn main() -> std::io::Result<()> {
    let scanner = Scanner::new(&Options::default());
    let bodies = std::env::args().nth(1).is_some_and(|what| what == "bodies");
    let mut out = std::io::stdout().lock();
    let (mut files, mut flagged, mut bytes) = (0_usize, 0_usize, 0_usize);
    let mut spent = std::time::Duration::ZERO;
    for path in std::io::stdin().lock().lines() {
        let path = path?;
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if text.len() > 4 << 20 {
            continue;
        }
        files += 1;
        bytes += text.len();
        let body = if bodies {
            text
        } else {
            serde_json::json!({"messages": [{"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_01", "content": text}]}]})
            .to_string()
        };
        let started = std::time::Instant::now();
        let found = scanner.scan(body.as_bytes());
        spent += started.elapsed();
        flagged += usize::from(found.iter().any(|found| found.rule.acts));
        for found in found.iter().filter(|found| found.rule.acts) {
            let from = body.floor_char_boundary(found.at.start.saturating_sub(70));
            let until = body.ceil_char_boundary((found.at.end + 20).min(body.len()));
            writeln!(out, "{}\t{path}\t{}", found.rule.id, &body[from..until].chars().take(260).collect::<String>())?;
        }
    }
    let speed = bytes as f64 / 1e6 / spent.as_secs_f64().max(1e-9);
    writeln!(out, "# {flagged} of {files} files, {bytes} bytes, {speed:.0} MB/s")
}
