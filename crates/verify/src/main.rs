//! `systemprompt-verify`: verifies an export of the ledger. Exit status 0 if it is sound, 1 if not, 2 if it cannot be read.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use systemprompt_verify::open::open;
use systemprompt_verify::read::keys;
use systemprompt_verify::verify::{Report, Trust, verify};

const USAGE: &str = "\
Verifies an export of the systemprompt ledger, without a database.

Usage: systemprompt-verify [--key FILE]... [--json] EXPORT

  EXPORT        what `systemprompt infra logs audit export` wrote; beside a table
                NAME.csv or NAME.parquet its NAME.csv.proof or NAME.parquet.proof is needed
  --key FILE    public keys that are trusted, as `systemprompt infra logs audit keys list --jsonl` writes them;
                without any the keys in the export count, and what they prove is only that it fits together
  --json        print the report as JSON

Exit status 0 if nothing is wrong, 1 if something is, 2 if the export cannot be read.
";

fn main() -> ExitCode {
    let (code, text, is_error) = match run() {
        Ok(Some((report, json))) => {
            let code = u8::from(!report.proves_something());
            let text =
                if json { serde_json::to_string_pretty(&report).unwrap_or_default() + "\n" } else { words(&report) };
            (code, text, false)
        }
        Ok(None) => (0, USAGE.to_owned(), false),
        Err(error) => {
            let mut text = format!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                text.push_str(&format!(": {error}"));
                cause = error.source();
            }
            (2, text + "\n", true)
        }
    };
    let written =
        if is_error { io::stderr().write_all(text.as_bytes()) } else { io::stdout().write_all(text.as_bytes()) };
    // Who did not get the report must not believe that there is nothing in it.
    if written.is_err() { ExitCode::from(2) } else { ExitCode::from(code) }
}

fn run() -> Result<Option<(Report, bool)>, Box<dyn Error>> {
    let mut trust = Trust::default();
    let (mut json, mut export) = (false, None);
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(None),
            Some("--json") => json = true,
            Some("--key") => {
                let path = arguments.next().ok_or("--key needs a file")?;
                trust.keys.extend(keys(&PathBuf::from(path))?);
            }
            Some(flag) if flag.starts_with('-') => return Err(format!("{flag} is not known; see --help").into()),
            _ if export.is_none() => export = Some(PathBuf::from(argument)),
            _ => return Err("one export at a time; see --help".into()),
        }
    }
    let path = export.ok_or("which export? see --help")?;
    let report = verify(&mut *open(&path)?, &trust)?;
    Ok(Some((report, json)))
}

fn words(report: &Report) -> String {
    let mut text = format!("verified     {} entries\n", report.verified);
    if report.left_out > 0 {
        text.push_str(&format!("left out     {}\n", report.left_out));
    }
    for chain in &report.chains {
        text.push_str(&format!(
            "chain        {} ({}): {} to {}, signed to {}, head {}\n",
            plain(&chain.name),
            chain.chain,
            chain.from_seq,
            chain.to_seq,
            chain.signed_until,
            plain(&chain.head)
        ));
    }
    text.push_str(&format!("checkpoints  {}\nkeys         {}\n", report.checkpoints, plain(&report.keys.join(", "))));
    for problem in &report.problems {
        text.push_str(&format!("problem      {}\n", plain(&problem.to_string())));
    }
    for note in &report.notes {
        text.push_str(&format!("note         {}\n", plain(note)));
    }
    text.push_str(if report.proves_something() { "sound\n" } else { "NOT SOUND\n" });
    text
}

/// What strangers wrote commands no terminal.
fn plain(text: &str) -> String {
    text.chars().map(|sign| if sign.is_control() { '\u{fffd}' } else { sign }).collect()
}
