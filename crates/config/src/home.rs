//! The directory that holds the state of a project.

use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use crate::files;

/// The name of the home directory in a project.
const DIRECTORY: &str = ".systemprompt";
/// What follows the name of a profile that was replaced.
const REPLACED: &str = ".replaced-";

/// The home directory of a project: where its profiles, secrets, database cluster and run-time state are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

/// Why there is no home.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HomeNotFound {
    /// No project at or above the working directory.
    #[error("no `.systemprompt` directory at or above {}; run `systemprompt up` to make one here, or name it with `--home`", .start.display())]
    Nowhere {
        /// Where the search began.
        start: PathBuf,
    },
    /// What was named is a file.
    #[error("{} is a file; a home is a directory", .named.display())]
    File {
        /// What was named.
        named: PathBuf,
    },
    /// The directory that was named is not a home, and one that belongs to it is.
    #[error("{} is not a home; the home is {}", .named.display(), .home.display())]
    Beside {
        /// The directory that was named.
        named: PathBuf,
        /// The home in it, around it, or beside it.
        home: PathBuf,
    },
}

impl Home {
    /// The home in this directory, which need not exist yet. A relative path is taken from the working directory.
    pub fn at(directory: impl AsRef<Path>) -> Self {
        let directory = directory.as_ref();
        // `..` is the directory above what is really there, which only the file system can say.
        let climbs = directory.components().any(|part| part == Component::ParentDir);
        if climbs && let Ok(real) = directory.canonicalize() {
            return Self(real);
        }
        Self(std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned()))
    }

    /// The home a new project in `directory` gets.
    pub fn of_project(directory: impl AsRef<Path>) -> Self {
        Self::at(directory.as_ref().join(DIRECTORY))
    }

    /// The named home, or the first directory from `working_directory` upwards that has a `.systemprompt` beside a
    /// `Cargo.toml`, `services` or `storage`.
    pub fn discover(explicit: Option<&Path>, working_directory: &Path) -> Result<Self, HomeNotFound> {
        if let Some(directory) = explicit {
            let named = Self::at(directory);
            if named.0.is_file() {
                return Err(HomeNotFound::File { named: named.0 });
            }
            return match named.misses() {
                Some(home) => Err(HomeNotFound::Beside { named: named.0, home }),
                None => Ok(named),
            };
        }
        let start = std::path::absolute(working_directory).unwrap_or_else(|_| working_directory.to_owned());
        start
            .ancestors()
            .find(|directory| {
                directory.join(DIRECTORY).is_dir()
                    && ["Cargo.toml", "services", "storage"].iter().any(|mark| directory.join(mark).exists())
            })
            .map(|directory| Self(directory.join(DIRECTORY)))
            .ok_or_else(|| HomeNotFound::Nowhere { start: start.clone() })
    }

    /// The home that is meant when this directory is none: it is the project, lies in the home, or lies in the
    /// project beside it. A directory that is empty
    /// or not there may become a home.
    fn misses(&self) -> Option<PathBuf> {
        if self.profiles_dir().is_dir() {
            return None;
        }
        let within = self.0.join(DIRECTORY);
        let around = self.0.ancestors().skip(1).find(|above| above.file_name().is_some_and(|name| name == DIRECTORY));
        let is_home = |directory: &PathBuf| directory.join("profiles").is_dir();
        // An empty directory, or none, may be on its way to be a home of its own.
        let in_use = std::fs::read_dir(&self.0).is_ok_and(|mut entries| entries.next().is_some());
        let may_become = !in_use || self.run_dir().exists() || self.0.join("services").exists();
        let beside = self.0.parent().filter(|_| !may_become).map(|above| above.join(DIRECTORY));
        Some(within)
            .filter(is_home)
            .or_else(|| around.map(Path::to_owned).filter(is_home))
            .or_else(|| beside.filter(is_home))
    }

    /// Makes the home and the directories an instance needs before it can take its lock, only for their owner.
    pub fn create(&self) -> std::io::Result<()> {
        for directory in [&self.0, &self.run_dir(), &self.logs_dir()] {
            files::create_private_dir(directory)?;
        }
        Ok(())
    }

    /// The directory itself, absolute.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// The directory the project's `services` lie in: the parent of a `.systemprompt`, else the home itself.
    pub fn project_root(&self) -> &Path {
        if self.0.file_name().is_some_and(|name| name == DIRECTORY) {
            self.0.parent().unwrap_or(&self.0)
        } else {
            &self.0
        }
    }

    /// `profiles/`.
    pub fn profiles_dir(&self) -> PathBuf {
        self.0.join("profiles")
    }

    /// `profiles/<name>/`.
    pub fn profile_dir(&self, name: &str) -> PathBuf {
        self.profiles_dir().join(name)
    }

    /// `profiles/<name>.replaced-<when>/`, where a profile is kept that another one took the place of. It is no profile any
    /// more.
    pub fn replaced_profile_dir(&self, name: &str, when: &str) -> PathBuf {
        self.profiles_dir().join(format!("{name}{REPLACED}{when}"))
    }

    /// `profiles/<name>/profile.yaml`.
    pub fn profile_file(&self, name: &str) -> PathBuf {
        self.profile_dir(name).join("profile.yaml")
    }

    /// `profiles/<name>/secrets.json`, where a new profile keeps its secrets.
    pub fn secrets_file(&self, name: &str) -> PathBuf {
        self.profile_dir(name).join("secrets.json")
    }

    /// `profiles/<name>/signing_key.pem`, where a new profile keeps its RS256 key.
    pub fn signing_key(&self, name: &str) -> PathBuf {
        self.profile_dir(name).join("signing_key.pem")
    }

    /// The names of the profiles that have a profile file, sorted.
    pub fn profile_names(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.profiles_dir()) else { return Vec::new() };
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.') && !name.contains(REPLACED))
            .filter(|name| existing_profile(&self.profile_dir(name)).is_some())
            .collect();
        names.sort();
        names
    }

    /// The profiles that have lost their profile file: what else belongs to them is still there. Sorted.
    pub fn profiles_without_file(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.profiles_dir()) else { return Vec::new() };
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.') && !name.contains(REPLACED))
            .filter(|name| existing_profile(&self.profile_dir(name)).is_none())
            .filter(|name| self.secrets_file(name).exists() || self.signing_key(name).exists())
            .collect();
        names.sort();
        names
    }

    /// `run/`: process ids, sockets and locks of the running instance.
    pub fn run_dir(&self) -> PathBuf {
        self.0.join("run")
    }

    /// `run/instance.lock`, held by the one instance that serves this home.
    pub fn instance_lock(&self) -> PathBuf {
        self.run_dir().join("instance.lock")
    }

    /// `postgres/`: the managed PostgreSQL cluster.
    pub fn cluster_dir(&self) -> PathBuf {
        self.0.join("postgres")
    }

    /// `logs/`.
    pub fn logs_dir(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// `sessions/index.json`: the sessions of the command line and which one is active.
    pub fn sessions_index(&self) -> PathBuf {
        self.0.join("sessions").join("index.json")
    }
}

/// The profile file in a profile directory, under its name or its older name.
pub(crate) fn existing_profile(directory: &Path) -> Option<PathBuf> {
    ["profile.yaml", "profile.yml"].iter().map(|name| directory.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_beside_the_home_is_told_from_it() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join(".systemprompt");
        std::fs::create_dir_all(home.join("profiles/local")).unwrap();
        let discover = |directory: &Path| Home::discover(Some(directory), root.path());
        assert_eq!(discover(&home), Ok(Home::at(&home)));
        let services = root.path().join("services");
        std::fs::create_dir_all(services.join("config")).unwrap();
        let within = [home.join("profiles"), home.join("profiles/local"), home.join("run")];
        for named in within.into_iter().chain([root.path().to_owned(), services]) {
            let refused = discover(&named).unwrap_err();
            assert_eq!(refused, HomeNotFound::Beside { named: named.clone(), home: home.clone() });
            assert!(refused.to_string().contains(&home.display().to_string()));
        }
        let climbing = home.join("..");
        let real = root.path().canonicalize().unwrap();
        assert_eq!(
            discover(&climbing),
            Err(HomeNotFound::Beside { named: real.clone(), home: real.join(".systemprompt") })
        );
        let file = root.path().join("Cargo.toml");
        std::fs::write(&file, "").unwrap();
        assert_eq!(discover(&file), Err(HomeNotFound::File { named: file.clone() }));
        let new = root.path().join("new");
        assert_eq!(discover(&new), Ok(Home::at(&new)));

        assert!(Home::at(&home).profiles_without_file().is_empty(), "an empty directory is no profile");
        std::fs::write(home.join("profiles/local/secrets.json"), "{}").unwrap();
        assert_eq!(Home::at(&home).profiles_without_file(), ["local"]);
        std::fs::write(home.join("profiles/local/profile.yaml"), "").unwrap();
        assert!(Home::at(&home).profiles_without_file().is_empty());
    }

    #[test]
    fn discovery_walks_up_to_a_project() {
        let root = tempfile::tempdir().unwrap();
        let project = root.path().join("project");
        let below = project.join("services").join("agents");
        std::fs::create_dir_all(&below).unwrap();
        let missing = Home::discover(None, &below).unwrap_err();
        assert_eq!(missing, HomeNotFound::Nowhere { start: below.clone() });

        std::fs::create_dir_all(project.join(".systemprompt")).unwrap();
        // A bare `.systemprompt` further down is not a project.
        std::fs::create_dir_all(below.join(".systemprompt")).unwrap();
        let home = Home::discover(None, &below).unwrap();
        assert_eq!(home.directory(), project.join(".systemprompt"));
        assert_eq!(home.project_root(), project);
    }

    #[test]
    fn a_named_home_is_taken_as_it_is() {
        let home = Home::discover(Some(Path::new("/srv/demo")), Path::new("/")).unwrap();
        assert_eq!(home.project_root(), Path::new("/srv/demo"));
        assert_eq!(home.profile_file("local"), Path::new("/srv/demo/profiles/local/profile.yaml"));
        assert_eq!(Home::of_project("/srv/x").project_root(), Path::new("/srv/x"));
    }
}
