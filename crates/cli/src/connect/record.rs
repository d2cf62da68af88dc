//! What was changed for a client, so that it can be taken back: exactly, from the copy beside the file, as long as nobody else
//! has changed the file since; setting by setting otherwise.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use systemprompt_config::files::{SECRET_MODE, create_private_dir, write_file, write_secret_file};
use systemprompt_model::{ApiKeyId, Secret};

use super::client::Client;
use super::document::{DocumentError, Syntax};
use super::plan::FilePlan;

/// What the copy of a file is called: its name and this.
const BACKUP: &str = "before-systemprompt";

/// What was changed for a client.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The client.
    pub(crate) client: Client,
    /// What it was pointed at.
    pub(crate) url: String,
    /// The key that was issued for it, if one was.
    pub(crate) key: Option<ApiKeyId>,
    files: Vec<Written>,
}

/// A file that was changed.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    path: PathBuf,
    syntax: Syntax,
    /// Its mode before; nothing if it was not there.
    mode: Option<u32>,
    /// The copy of what it was.
    backup: Option<PathBuf>,
    /// Digest of what was written.
    sha256: String,
    /// Whether others changed it between two of our changes. Then the copy is not what it would be without us.
    shared: bool,
    settings: Vec<Change>,
}

/// A setting that was changed.
#[derive(Debug, Serialize, Deserialize)]
struct Change {
    place: Vec<String>,
    before: Option<Value>,
    after: Option<Value>,
}

/// Why a file was left as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// The file cannot be read or written.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not what its client reads.
    #[error("{path} is left as it is")]
    Document {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: DocumentError,
    },
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It has the settings now.
    Written,
    /// It had them already.
    Unchanged,
    /// It is what it was, to the byte.
    Restored,
    /// Its settings are what they were; others had changed the file meanwhile.
    Reverted,
    /// It was not there before and is not there now.
    Removed,
}

impl Record {
    /// What was changed for a client so far.
    pub(crate) fn load(directory: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path(directory)).ok()?).ok()
    }

    /// Nothing yet.
    pub(crate) fn new(client: Client, url: String) -> Self {
        Self { client, url, key: None, files: Vec::new() }
    }

    /// Keeps it. Only its owner may read it: settings may be secrets.
    pub(crate) fn save(&self, directory: &Path) -> Result<(), RecordError> {
        let path = path(directory);
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        create_private_dir(directory)
            .and_then(|()| write_secret_file(&path, &text))
            .map_err(|source| RecordError::File { path, source })
    }

    /// Gives a file the settings of its plan. Whoever calls it saves the record, whatever comes of it.
    pub(crate) fn apply(&mut self, plan: &FilePlan, key: &Secret) -> Result<(Outcome, Option<PathBuf>), RecordError> {
        // A link, as those who keep their settings in a repository have, stays one.
        let path = fs::canonicalize(&plan.path).unwrap_or_else(|_| plan.path.clone());
        let file = |source| RecordError::File { path: path.clone(), source };
        let document = |source| RecordError::Document { path: path.clone(), source };
        let old = read(&path).map_err(file)?;
        let text = old.as_ref().map_or("", |(text, _)| text.as_str());
        let known = self.files.iter().position(|written| written.path == path);
        let mut changes = known.map(|index| std::mem::take(&mut self.files[index].settings)).unwrap_or_default();

        let mut new = text.to_owned();
        // What an earlier plan wanted and this one does not.
        let is_wanted = |change: &Change| plan.settings.iter().any(|setting| setting.place == change.place);
        for change in changes.iter().filter(|change| !is_wanted(change)) {
            new = taken_back(plan.syntax, &new, change).map_err(document)?;
        }
        changes.retain(is_wanted);
        for setting in &plan.settings {
            let wanted = setting.wanted.with(key);
            let there = plan.syntax.get(text, &setting.place).map_err(document)?;
            match changes.iter_mut().find(|change| change.place == setting.place) {
                Some(change) => change.after.clone_from(&wanted),
                None if there == wanted => continue,
                None => {
                    let place = setting.place.clone();
                    changes.push(Change { place, before: there.clone(), after: wanted.clone() });
                }
            }
            if there != wanted {
                new = plan.syntax.set(&new, &setting.place, wanted.as_ref()).map_err(document)?;
            }
        }
        let outcome = if old.is_some() && new == text { Outcome::Unchanged } else { Outcome::Written };
        let index = match known {
            Some(index) => index,
            None if changes.is_empty() => return Ok((outcome, None)),
            None => {
                let backup = match &old {
                    Some((text, mode)) => Some(back_up(&path, text, *mode).map_err(file)?),
                    None => None,
                };
                let mode = old.as_ref().map(|(_, mode)| *mode);
                let (sha256, settings) = (digest(text), Vec::new());
                let path = path.clone();
                self.files.push(Written { path, syntax: plan.syntax, mode, backup, sha256, shared: false, settings });
                self.files.len() - 1
            }
        };
        let written = &mut self.files[index];
        written.shared |= written.sha256 != digest(text);
        written.settings = changes;
        if outcome == Outcome::Written {
            let mode = match old {
                Some((_, mode)) if plan.holds_key() => mode & 0o700 | SECRET_MODE,
                Some((_, mode)) => mode,
                None => SECRET_MODE,
            };
            let parent = path.parent().unwrap_or(Path::new("."));
            create_private_dir(parent).and_then(|()| write_file(&path, new.as_bytes(), mode)).map_err(file)?;
        }
        written.sha256 = digest(&new);
        Ok((outcome, written.backup.clone()))
    }

    /// Takes everything back, file by file. What could not be is still in the record.
    pub(crate) fn undo(&mut self) -> Vec<Result<(PathBuf, Outcome), RecordError>> {
        let mut done = Vec::new();
        self.files.retain(|written| {
            let undone = written.undo();
            let failed = undone.is_err();
            done.push(undone.map(|outcome| (written.path.clone(), outcome)));
            failed
        });
        done
    }

    /// Forgets the client.
    pub(crate) fn forget(directory: &Path) -> io::Result<()> {
        fs::remove_dir_all(directory)
    }
}

impl Written {
    fn undo(&self) -> Result<Outcome, RecordError> {
        let path = &self.path;
        let file = |source| RecordError::File { path: path.clone(), source };
        let Some((text, mode)) = read(path).map_err(file)? else {
            self.drop_backup();
            return Ok(Outcome::Removed);
        };
        let untouched = !self.shared && digest(&text) == self.sha256;
        let outcome = match (&self.backup, self.mode) {
            (None, None) if untouched => {
                fs::remove_file(path).map_err(file)?;
                return Ok(Outcome::Removed);
            }
            (Some(backup), Some(mode)) if untouched && backup.exists() => {
                let bytes = fs::read(backup).map_err(file)?;
                write_file(path, &bytes, mode).map_err(file)?;
                Outcome::Restored
            }
            _ => {
                let document = |source| RecordError::Document { path: path.clone(), source };
                let mut new = text;
                for change in &self.settings {
                    new = taken_back(self.syntax, &new, change).map_err(document)?;
                }
                write_file(path, new.as_bytes(), mode).map_err(file)?;
                Outcome::Reverted
            }
        };
        self.drop_backup();
        Ok(outcome)
    }

    fn drop_backup(&self) {
        if let Some(backup) = &self.backup {
            // A copy that stays behind is in nobody's way.
            let _ = fs::remove_file(backup);
        }
    }
}

/// The text with a setting as it was before. One that somebody has changed since is theirs.
fn taken_back(syntax: Syntax, text: &str, change: &Change) -> Result<String, DocumentError> {
    if syntax.get(text, &change.place)? != change.after {
        return Ok(text.to_owned());
    }
    syntax.set(text, &change.place, change.before.as_ref())
}

fn path(directory: &Path) -> PathBuf {
    directory.join("connection.json")
}

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// The text of a file and its mode, if there is one.
fn read(path: &Path) -> io::Result<Option<(String, u32)>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some((text, fs::metadata(path)?.permissions().mode() & 0o777))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A copy beside the file, as readable as it.
fn back_up(path: &Path, text: &str, mode: u32) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let free = |number: u32| {
        let suffix = if number == 0 { String::new() } else { format!(".{number}") };
        path.with_file_name(format!("{name}.{BACKUP}{suffix}"))
    };
    let backup = (0..=u32::MAX).map(free).find(|backup| !backup.exists()).unwrap_or_else(|| free(0));
    write_file(&backup, text.as_bytes(), mode)?;
    Ok(backup)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::plan::{Setting, Wanted};

    fn plan(path: &Path, settings: &[(&str, Wanted)]) -> FilePlan {
        let settings = settings.iter().map(|(place, wanted)| Setting {
            place: place.split('/').map(str::to_owned).collect(),
            wanted: match wanted {
                Wanted::Value(value) => Wanted::Value(value.clone()),
                Wanted::Key => Wanted::Key,
                Wanted::Absent => Wanted::Absent,
            },
        });
        FilePlan { path: path.to_owned(), syntax: Syntax::Json, settings: settings.collect() }
    }

    fn text(value: &str) -> Wanted {
        Wanted::Value(Value::from(value))
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("a file").permissions().mode() & 0o777
    }

    const MINE: &str = "{\n  // mine\n  \"env\": {\n    \"OLD\": \"1\",\n    \"KEEP\": \"2\"\n  }\n}\n";

    /// A directory with a settings file of mine, and a record.
    fn begin() -> (tempfile::TempDir, PathBuf, Record, Secret) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("settings.json");
        fs::write(&path, MINE).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
        (directory, path, Record::new(Client::ClaudeCode, "http://x".to_owned()), Secret::new("the key"))
    }

    #[test]
    fn an_item_of_a_list_is_put_beside_those_of_others_and_taken_back_alone() {
        const THEIRS: &str = "{\n  \"hooks\": {\n    \"Stop\": [{\"hooks\": [{\"command\": \"beep\"}]}]\n  }\n}\n";
        let (_directory, path, mut record, key) = begin();
        fs::write(&path, THEIRS).expect("a file");
        let item = |command: &str| {
            let item = serde_json::json!({"hooks": [{"command": command}]});
            plan(&path, &[("hooks/Stop/[~hook track]", Wanted::Value(item))])
        };
        record.apply(&item("us hook track --url a"), &key).expect("a change");
        let hooks = || {
            let text = fs::read_to_string(&path).expect("the file");
            let value: Value = serde_json::from_str(&text).expect("JSON");
            value["hooks"]["Stop"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|item| item["hooks"][0]["command"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(hooks(), ["beep", "us hook track --url a"]);
        record.apply(&item("us hook track --url b"), &key).expect("another change");
        assert_eq!(hooks(), ["beep", "us hook track --url b"]);
        assert_eq!(record.apply(&item("us hook track --url b"), &key).expect("no change").0, Outcome::Unchanged);
        let mut theirs = fs::read_to_string(&path).expect("the file");
        theirs.push('\n');
        fs::write(&path, &theirs).expect("a file");
        assert_eq!(record.undo()[0].as_ref().expect("undone").1, Outcome::Reverted);
        assert_eq!(hooks(), ["beep"]);

        fs::write(&path, THEIRS).expect("a file");
        let mut record = Record::new(Client::ClaudeCode, "http://x".to_owned());
        record.apply(&item("us hook track --url a"), &key).expect("a change");
        assert_eq!(record.undo()[0].as_ref().expect("undone").1, Outcome::Restored);
        assert_eq!(fs::read_to_string(&path).expect("the file"), THEIRS);
    }

    #[test]
    fn what_was_done_is_undone_to_the_byte() {
        let (directory, path, mut record, key) = begin();
        let plan = plan(&path, &[("env/URL", text("u")), ("env/OLD", Wanted::Absent), ("key", Wanted::Key)]);
        let (outcome, backup) = record.apply(&plan, &key).expect("a change");
        let backup = backup.expect("a copy");
        assert_eq!(outcome, Outcome::Written);
        assert_eq!(fs::read_to_string(&backup).expect("the copy"), MINE);
        let written = fs::read_to_string(&path).expect("the file");
        assert!(written.contains("// mine") && written.contains("the key") && !written.contains("OLD"), "{written}");
        assert_eq!(mode(&path), 0o600, "it holds a key now");

        assert_eq!(record.apply(&plan, &key).expect("no change").0, Outcome::Unchanged);
        assert_eq!(fs::read_dir(directory.path()).expect("files").count(), 2, "one copy, whatever is repeated");

        let kept = directory.path().join("kept");
        record.save(&kept).expect("kept");
        assert_eq!(mode(&kept.join("connection.json")), 0o600);
        let mut record = Record::load(&kept).expect("a record");
        let undone: Vec<_> = record.undo().into_iter().map(|one| one.expect("undone").1).collect();
        assert_eq!(undone, [Outcome::Restored]);
        assert_eq!(fs::read_to_string(&path).expect("the file"), MINE);
        assert_eq!(mode(&path), 0o640);
        assert!(!backup.exists() && record.undo().is_empty());
    }

    #[test]
    fn what_others_changed_meanwhile_stays() {
        let (_directory, path, mut record, key) = begin();
        record.apply(&plan(&path, &[("env/URL", text("u")), ("env/OLD", text("2"))]), &key).expect("a change");
        let touched = fs::read_to_string(&path).expect("the file").replace("KEEP", "THEIRS");
        fs::write(&path, &touched).expect("a change of theirs");
        // Another plan: what it does not want any more goes back at once.
        record.apply(&plan(&path, &[("env/URL", text("v"))]), &key).expect("a change");
        let undone: Vec<_> = record.undo().into_iter().map(|one| one.expect("undone").1).collect();
        assert_eq!(undone, [Outcome::Reverted]);
        assert_eq!(fs::read_to_string(&path).expect("the file"), MINE.replace("KEEP", "THEIRS"));
    }

    #[test]
    fn a_file_that_was_not_there_is_not_there_afterwards() {
        let (directory, _, mut record, key) = begin();
        let path = directory.path().join("below/new.json");
        record.apply(&plan(&path, &[("a", text("b"))]), &key).expect("a change");
        assert_eq!(mode(&path), 0o600);
        let undone: Vec<_> = record.undo().into_iter().map(|one| one.expect("undone").1).collect();
        assert_eq!(undone, [Outcome::Removed]);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_not_understood_is_not_touched_and_a_link_stays_one() {
        let (directory, path, mut record, key) = begin();
        fs::write(&path, "{").expect("a broken file");
        record.apply(&plan(&path, &[("a", text("b"))]), &key).expect_err("no JSON");
        assert_eq!(fs::read_to_string(&path).expect("the file"), "{");

        fs::write(&path, MINE).expect("a file");
        let link = directory.path().join("link.json");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        record.apply(&plan(&link, &[("a", text("b"))]), &key).expect("a change");
        assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());
        assert!(fs::read_to_string(&path).expect("the file").contains("\"a\": \"b\""));
    }
}
