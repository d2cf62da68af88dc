//! Which profile a command uses: `--profile`, `SYSTEMPROMPT_PROFILE`, the active session, or the only one there is.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::environment::{self, Environment};
use crate::home::{Home, existing_profile};
use crate::nearest::nearest;
use crate::report::Problem;

/// The path of the profile file, absolute.
pub(crate) fn choose(home: &Home, named: Option<&str>, environment: &Environment) -> Result<PathBuf, Box<Problem>> {
    if let Some(argument) = named {
        return find(home, argument, "--profile", environment);
    }
    if let Some(argument) = environment.get(environment::SYSTEMPROMPT_PROFILE) {
        return find(home, argument, environment::SYSTEMPROMPT_PROFILE.name, environment);
    }
    if let Some(argument) = active_session(home)? {
        return find(home, &argument, "the active session", environment);
    }
    let names = home.profile_names();
    match names.as_slice() {
        [only] => find(home, only, "", environment),
        [] => Err(match home.profiles_without_file().as_slice() {
            [] => problem("no_profile", format!("there is no profile in {}", home.profiles_dir().display()))
                .map_suggestion("run `systemprompt up` to make the first one"),
            [lost, ..] => without_file(home, lost),
        }),
        several => Err(problem("ambiguous_profile", format!("there are several profiles: {}", several.join(", ")))
            .map_suggestion("name one with `--profile` or SYSTEMPROMPT_PROFILE")),
    }
}

/// A path if it looks like one, else a name below `profiles/`.
fn find(home: &Home, argument: &str, source: &str, environment: &Environment) -> Result<PathBuf, Box<Problem>> {
    let extension = Path::new(argument).extension();
    let is_file_name = extension.is_some_and(|extension| extension == "yaml" || extension == "yml");
    if argument.contains('/') || is_file_name || argument.starts_with(['.', '~']) {
        let path = expand_home(Path::new(argument), environment);
        let path = std::path::absolute(&path).unwrap_or(path);
        let file = if path.is_dir() { existing_profile(&path) } else { path.is_file().then(|| path.clone()) };
        return file.ok_or_else(|| {
            problem("unknown_profile", format!("{source} names a profile that does not exist: {}", path.display()))
        });
    }
    existing_profile(&home.profile_dir(argument)).ok_or_else(|| {
        if home.profiles_without_file().iter().any(|lost| lost == argument) {
            return without_file(home, argument);
        }
        let names = home.profile_names();
        let found =
            problem("unknown_profile", format!("{source} names the profile `{argument}`, which does not exist"));
        match nearest(argument, names.iter().map(String::as_str)) {
            Some(name) => found.map_suggestion(format!("did you mean `{name}`?")),
            None if names.is_empty() => found.map_suggestion("run `systemprompt up` to make the first one"),
            None => found.map_suggestion(format!("the profiles are: {}", names.join(", "))),
        }
    })
}

/// A profile of which everything but its file is there.
fn without_file(home: &Home, name: &str) -> Box<Problem> {
    let directory = home.profile_dir(name).display().to_string();
    problem("lost_profile", format!("the profile `{name}` has lost its profile.yaml: {directory} has its secrets or its key"))
        .map_suggestion(format!(
            "put profile.yaml back from a backup; or run `systemprompt admin setup --environment {name} --force`, which keeps \
             what is there beside the new profile"
        ))
}

#[derive(Deserialize)]
struct SessionIndex {
    active_profile_name: Option<String>,
    active_key: Option<String>,
    #[serde(default)]
    sessions: std::collections::BTreeMap<String, Session>,
}

#[derive(Deserialize)]
struct Session {
    profile_path: Option<String>,
}

fn active_session(home: &Home) -> Result<Option<String>, Box<Problem>> {
    let path = home.sessions_index();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(corrupt(&path, &error.to_string())),
    };
    let mut index: SessionIndex = serde_json::from_str(&text).map_err(|error| corrupt(&path, &error.to_string()))?;
    Ok(index.active_profile_name.or_else(|| index.sessions.remove(&index.active_key?)?.profile_path))
}

fn corrupt(path: &Path, reason: &str) -> Box<Problem> {
    let mut found = problem("session_corrupt", format!("the session file cannot be read: {reason}"))
        .map_suggestion("run `systemprompt admin session switch <profile>`, or name the profile with `--profile`");
    found.path = Some(path.to_owned());
    found
}

/// `~/` stands for the user's home directory.
pub(crate) fn expand_home(path: &Path, environment: &Environment) -> PathBuf {
    let user = environment.get(environment::HOME).or_else(|| environment.get(environment::USERPROFILE));
    match (path.strip_prefix("~"), user) {
        (Ok(rest), Some(user)) => Path::new(user).join(rest),
        _ => path.to_owned(),
    }
}

fn problem(code: &'static str, message: String) -> Box<Problem> {
    Box::new(Problem::error("profile", "", message).code(code))
}

trait MapSuggestion {
    fn map_suggestion(self, suggestion: impl Into<String>) -> Self;
}

impl MapSuggestion for Box<Problem> {
    fn map_suggestion(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(profiles: &[&str], sessions: Option<&str>) -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::of_project(directory.path());
        for name in profiles {
            std::fs::create_dir_all(home.profile_dir(name)).unwrap();
            std::fs::write(home.profile_file(name), "").unwrap();
        }
        if let Some(sessions) = sessions {
            std::fs::create_dir_all(home.sessions_index().parent().unwrap()).unwrap();
            std::fs::write(home.sessions_index(), sessions).unwrap();
        }
        (directory, home)
    }

    #[test]
    fn the_first_source_that_names_a_profile_wins() {
        let session = r#"{"version": 1, "active_profile_name": "session", "sessions": {}}"#;
        let by_path = r#"{"active_key": "k", "sessions": {"k": {"profile_path": "PATH"}}}"#;
        let all = &["flag", "variable", "session", "other"][..];
        for (profiles, flag, variable, sessions, expected) in [
            (all, Some("flag"), Some("variable"), Some(session), Ok("flag")),
            (all, None, Some("variable"), Some(session), Ok("variable")),
            (all, None, None, Some(session), Ok("session")),
            (all, None, None, Some(by_path), Ok("other")),
            (&["only"], None, None, None, Ok("only")),
            (&["only"], None, None, Some(r#"{"sessions": {}}"#), Ok("only")),
            (&[], None, None, None, Err("no_profile")),
            (all, None, None, None, Err("ambiguous_profile")),
            (all, Some("flg"), None, None, Err("unknown_profile")),
            (all, Some("./missing.yaml"), None, None, Err("unknown_profile")),
            (all, None, None, Some("{"), Err("session_corrupt")),
            (all, Some("flag"), None, Some("{"), Ok("flag")),
        ] {
            let (_directory, home) = home(profiles, None);
            if let Some(sessions) = sessions {
                let path = home.profile_file("other").display().to_string();
                std::fs::create_dir_all(home.sessions_index().parent().unwrap()).unwrap();
                std::fs::write(home.sessions_index(), sessions.replace("PATH", &path)).unwrap();
            }
            let environment = Environment::from_iter(variable.map(|name| ("SYSTEMPROMPT_PROFILE", name)));
            let chosen = choose(&home, flag, &environment);
            match expected {
                Ok(name) => assert_eq!(chosen, Ok(home.profile_file(name))),
                Err(code) => assert_eq!(chosen.unwrap_err().code, code),
            }
        }
    }

    #[test]
    fn a_path_may_name_the_file_or_its_directory() {
        let (directory, home) = home(&["a", "b"], None);
        let environment = Environment::from([("HOME", directory.path().display().to_string())]);
        for argument in [
            home.profile_dir("a").display().to_string(),
            home.profile_file("a").display().to_string(),
            "~/.systemprompt/profiles/a".to_owned(),
        ] {
            assert_eq!(choose(&home, Some(&argument), &environment), Ok(home.profile_file("a")), "{argument}");
        }
    }

    #[test]
    fn a_slip_is_pointed_out() {
        let (_directory, home) = home(&["production", "local"], None);
        let problem = choose(&home, Some("lokal"), &Environment::default()).unwrap_err();
        assert_eq!(problem.suggestion.as_deref(), Some("did you mean `local`?"));
    }
}
