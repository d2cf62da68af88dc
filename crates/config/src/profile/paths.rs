//! `paths`: where code, configuration and data lie, and how relative ones are resolved.

use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problems::Problems;
use crate::environment::{self, Environment};
use crate::profile_choice::expand_home;

/// Where code, configuration and data lie. Once loaded, every path is absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Paths {
    /// The project root.
    pub system: PathBuf,
    /// The root of the service configuration.
    pub services: PathBuf,
    /// The directory of compiled binaries.
    pub bin: PathBuf,
    /// The built web output; `web` in the project root by default.
    #[serde(default)]
    pub web_path: Option<PathBuf>,
    /// Uploaded and generated files; `storage` in the project root by default.
    #[serde(default)]
    pub storage: Option<PathBuf>,
    /// A MaxMind City database; without it there are no geographic data.
    #[serde(default)]
    pub geoip_database: Option<PathBuf>,
}

impl Paths {
    /// The built web output.
    pub fn web(&self) -> PathBuf {
        self.web_path.clone().unwrap_or_else(|| self.system.join("web"))
    }

    /// Uploaded and generated files.
    pub fn storage(&self) -> PathBuf {
        self.storage.clone().unwrap_or_else(|| self.system.join("storage"))
    }

    /// Log files.
    pub fn logs(&self) -> PathBuf {
        self.system.join("logs")
    }

    /// Every path made absolute: `~/` is the user's home, the rest starts at the profile's directory.
    pub(crate) fn resolved(self, profile_dir: &Path, environment: &Environment) -> Self {
        let resolve = |path: PathBuf| resolve(&path, profile_dir, environment);
        let services = environment.get(environment::SYSTEMPROMPT_SERVICES_PATH).map_or(self.services, PathBuf::from);
        Self {
            system: resolve(self.system),
            services: resolve(services),
            bin: resolve(self.bin),
            web_path: self.web_path.map(resolve),
            storage: self.storage.map(resolve),
            geoip_database: self.geoip_database.map(resolve),
        }
    }
}

/// A configured path as an absolute one: canonical if it exists, else without `.` and `..`.
pub(crate) fn resolve(path: &Path, profile_dir: &Path, environment: &Environment) -> PathBuf {
    let path = profile_dir.join(expand_home(path, environment));
    path.canonicalize().unwrap_or_else(|_| normalized(&path))
}

fn normalized(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// The paths are resolved by now.
pub(super) fn check(paths: &Paths, is_cloud: bool, environment: &Environment, problems: &mut Problems<'_>) {
    let all = [
        ("system", Some(&paths.system)),
        ("services", Some(&paths.services)),
        ("bin", Some(&paths.bin)),
        ("web_path", paths.web_path.as_ref()),
        ("storage", paths.storage.as_ref()),
        ("geoip_database", paths.geoip_database.as_ref()),
    ];
    let root = Path::new(environment.get(environment::SYSTEMPROMPT_APP_ROOT).unwrap_or("/app"));
    for (key, path) in all {
        let Some(path) = path else { continue };
        let pointer = format!("/paths/{key}");
        if is_cloud && !path.starts_with(root) {
            problems
                .error(&pointer, format!("must lie below {} on a cloud target, got {}", root.display(), path.display()))
                .hint(format!(
                    "the container's directories are {0}, {0}/services, {0}/bin, {0}/web, {0}/storage",
                    root.display()
                ));
        }
        if !is_cloud && !path.exists() {
            let configured = problems.document.get(&pointer).and_then(|value| value.as_str()).unwrap_or_default();
            let message = format!("does not exist: {} (configured as {configured})", path.display());
            problems.error(&pointer, message).hint("make the directory, or correct the path");
        }
    }
    let public = root.join("web");
    if is_cloud && paths.web_path.as_ref().is_some_and(|web| !web.starts_with(&public)) {
        problems.error("/paths/web_path", format!("must lie below {} on a cloud target", public.display()));
    }
    // A tree that is served to the public must not hold the profiles and their secrets.
    let home = paths.system.join(".systemprompt");
    for (key, path) in [("web_path", &paths.web_path), ("storage", &paths.storage)] {
        if path.as_ref().is_some_and(|path| home.starts_with(path)) {
            problems.error(
                &format!("/paths/{key}"),
                format!("must not contain {}: files in it are served", home.display()),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::problems_of;

    #[test]
    fn relative_paths_start_at_the_profile() {
        let environment = Environment::from([("HOME", "/home/ada")]);
        for (path, expected) in [
            ("../../../services", "/srv/demo/services"),
            ("./x/./y", "/srv/demo/.systemprompt/profiles/local/x/y"),
            ("~/data", "/home/ada/data"),
            ("/abs", "/abs"),
        ] {
            let profile_dir = Path::new("/srv/demo/.systemprompt/profiles/local");
            assert_eq!(resolve(Path::new(path), profile_dir, &environment), Path::new(expected), "{path}");
        }
    }

    #[test]
    fn a_local_path_must_exist_and_a_cloud_path_lie_in_the_image() {
        let local = problems_of("paths: {system: /, services: /none, bin: /, geoip_database: /none.mmdb}");
        assert_eq!(
            local,
            [
                "paths.services: does not exist: /none (configured as /none)",
                "paths.geoip_database: does not exist: /none.mmdb (configured as /none.mmdb)",
            ]
        );
        let cloud = problems_of(
            "target: cloud\npaths: {system: /app, services: /srv, bin: /app/bin, web_path: /app/services/web}",
        );
        assert_eq!(
            cloud,
            [
                "paths.services: must lie below /app on a cloud target, got /srv",
                "paths.web_path: must lie below /app/web on a cloud target",
            ]
        );
    }

    #[test]
    fn secrets_are_not_served() {
        let problems = problems_of("paths: {system: /, services: /, bin: /, storage: /}");
        assert_eq!(problems, ["paths.storage: must not contain /.systemprompt: files in it are served"]);
    }
}
