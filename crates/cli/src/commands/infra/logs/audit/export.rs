//! `infra logs audit export`.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;
use systemprompt_governance::command::{checkpoint_directory, remembered};
use systemprompt_governance::ledger::checkpoint::Checkpoints;
use systemprompt_governance::ledger::export::selection::Selection;
use systemprompt_governance::ledger::export::{Export as Exporting, Out, export};
use systemprompt_model::pattern::Pattern;

use crate::change::{About, Change, Changed};
use crate::error::{CliError, CliResult};
use crate::moment::{Moment, span};
use crate::project::{Invocation, OpenDatabase};
use crate::request_filter::{Status, Whose, WhoseIds};
use crate::view::{Layout, Text, View};

/// Write the log to a file, with what proves it: hash links, signed checkpoints and public keys. `systemprompt-verify` and
/// `verify --file` verify it without a database.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The file to write. Beside a table goes a second one, `FILE.proof`.
    #[arg(long, short = 'o', alias = "out", value_name = "FILE")]
    output: PathBuf,
    /// Lines of JSON, or a table: as CSV, or as Parquet for programs that analyse them.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// Only entries of this time or later: 2026-01-31, 2026-01-31T12:00:00Z, or 15m, 2h, 7d ago.
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Only entries before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    #[command(flatten)]
    of: Of,
}

/// Whose entries. Of the others goes along what holds them in their chains: their hashes, and nothing of what they say.
#[derive(Debug, Args)]
struct Of {
    #[command(flatten)]
    whose: Whose,
    /// Only about this model, asked for or answering; `*` and `?` stand for what may be there.
    #[arg(long, value_name = "GLOB")]
    model: Option<String>,
    /// Only of what ended so.
    #[arg(long)]
    status: Option<Status>,
    /// Only what this policy decided.
    #[arg(long)]
    policy: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Jsonl,
    Csv,
    Parquet,
}

#[derive(Debug, Serialize)]
struct Exported {
    file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<PathBuf>,
    entries: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
    /// The key that signed where it ends.
    #[serde(rename = "key_id")]
    key: Option<String>,
}

impl Export {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let only = self.of.selection(invocation, database).await?;
        let change = Change::new(
            "ledger.export",
            About::new("ledger", "all"),
            &json!({"file": self.output, "only": only.words()}),
        );
        invocation.change(database, change, async || Ok(Changed::unseen(()))).await?;
        let failed = |error: &(dyn std::error::Error + 'static)| CliError::from_error("export_failed", error);
        let (since, until) = span(self.since, self.until, invocation.ambient.now())?;
        let configuration = invocation.project()?.configuration;
        let home = remembered(&configuration).map_err(|error| failed(&error))?;
        // A home that never signed anything signs nothing here: nobody would know its key.
        let signer = match home.keys() {
            [] => None,
            _ => Some(Checkpoints::open(&checkpoint_directory(&configuration)).map_err(|error| failed(&error))?),
        };
        let is_part = !only.is_everything();
        let exporting = Exporting { since, until, only, signer: signer.as_ref(), home: Some(&home) };
        let (pool, now) = (database.db.write(), invocation.ambient.now());
        let mut file = create(&self.output)?;
        let beside = match self.format {
            Format::Jsonl => None,
            Format::Csv | Format::Parquet => {
                let mut name: OsString = self.output.clone().into_os_string();
                name.push(".proof");
                let path = PathBuf::from(name);
                Some((create(&path)?, path))
            }
        };
        let (mut proof, proof_path) = beside.unzip();
        let out = match (self.format, proof.as_mut()) {
            (Format::Csv, Some(proof)) => Out::Csv { entries: &mut file, proof },
            (Format::Parquet, Some(proof)) => Out::Parquet { entries: &mut file, proof },
            _ => Out::Jsonl(&mut file),
        };
        let exported = export(pool, &exporting, now, out).await.map_err(|error| failed(&error))?;
        let key = signer.and(home.keys().last()).map(|key| key.key.clone());
        let left_out = is_part.then_some(exported.left_out);
        let entries = exported.entries;
        invocation.printer.show(&Exported { file: self.output, proof: proof_path, entries, left_out, key });
        Ok(())
    }
}

impl Of {
    /// What it means, after looking up who and what was named.
    async fn selection(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult<Selection> {
        let WhoseIds { user, keys, session } = self.whose.ids(invocation, database).await?;
        let model = self.model.as_deref().map(Pattern::new).transpose();
        Ok(Selection {
            user,
            session,
            keys,
            model: model.map_err(|error| CliError::invalid_value(format!("--model: {error}")))?,
            status: self.status.map(|status| status.as_str().to_owned()),
            policy: self.policy,
        })
    }
}

/// A new file for its owner: who did what is nobody else's business.
fn create(path: &Path) -> CliResult<BufWriter<File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.map(BufWriter::new)
        .map_err(|error| CliError::new("export_failed", format!("{} cannot be written: {error}", path.display())))
}

impl View for Exported {
    fn text(&self, _: Layout) -> Text {
        let proof = self.proof.as_ref().map(|proof| format!(", and what proves them to {}", proof.display()));
        let signed = self.key.as_ref().map_or_else(
            || " It is not signed: this home has no key.".to_owned(),
            |key| format!(" It is signed by the key {key}."),
        );
        let left_out =
            self.left_out.map_or_else(String::new, |left_out| format!(" and the hashes of {left_out} others"));
        let entries = format!("Wrote {} entries{left_out} of the ledger to {}", self.entries, self.file.display());
        Text::line(format!("{entries}{}.{signed}", proof.unwrap_or_default()))
    }
}
