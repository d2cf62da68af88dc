//! A first profile: what a new project needs to start, written whole or not at all.
//!
//! The profile directory is built under another name and renamed when it is complete, so that a profile either exists with its
//! secrets or does not exist. The services directory comes before it and is made the same way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use systemprompt_model::{Ambient, Secret};
use thiserror::Error;

use crate::files::{self, PUBLIC_MODE, SECRET_MODE};
use crate::home::Home;
use crate::profile::EnvironmentKind;
use crate::report::Report;
use crate::secrets::canonical;
use crate::yaml;

/// Random bytes of a new pepper; it is stored as twice as many characters.
const PEPPER_BYTES: usize = 48;

/// A profile to be made, for the target `local`.
#[derive(Debug, Clone)]
pub struct NewProject {
    /// The home it is made in.
    pub home: Home,
    /// The profile's name: lower-case letters, digits, `_` and `-`.
    pub name: String,
    /// The kind of environment.
    pub environment: EnvironmentKind,
    /// The address to bind.
    pub host: String,
    /// The port to bind.
    pub port: u16,
    /// The name of the site.
    pub site_name: String,
    /// The user name of the principal that owns system records.
    pub admin_username: String,
    /// Its e-mail address.
    pub admin_email: Option<String>,
    /// The directory of compiled binaries.
    pub bin: PathBuf,
    /// Top-level keys of features, such as `providers` and `gateway`, in the order they are written.
    pub sections: Vec<ProfileText>,
    /// Secrets besides the pepper, by name, for example `anthropic`.
    pub secrets: BTreeMap<String, Secret>,
}

/// A top-level key of a new profile, as text.
#[derive(Debug, Clone)]
pub struct ProfileText {
    /// The key.
    pub key: String,
    /// Lines of comment above it, without `#`.
    pub comment: String,
    /// The value in YAML or JSON; it is indented as needed.
    pub yaml: String,
}

/// A project that could not be made.
#[derive(Debug, Error)]
pub enum ProjectError {
    /// The profile is already there.
    #[error("the profile `{name}` exists already: {}", .path.display())]
    Exists {
        /// Its name.
        name: String,
        /// Its directory.
        path: PathBuf,
    },
    /// The name does not serve as one.
    #[error(
        "`{0}` is no name for a profile: use lower-case letters, digits, `_` and `-`, beginning with a letter or digit"
    )]
    Name(String),
    /// A fragment makes the profile invalid YAML.
    #[error("the new profile is not valid YAML")]
    Text(#[source] Report),
    /// A directory or file cannot be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A profile that is complete and not in its place yet. Dropped, it is gone.
#[derive(Debug)]
pub struct StagedProfile {
    name: String,
    /// Its place.
    directory: PathBuf,
    /// Where it is.
    staged: PathBuf,
}

impl NewProject {
    /// A project for a developer's machine that can be started as it is.
    pub fn local(home: Home, host: impl Into<String>, port: u16, bin: impl Into<PathBuf>) -> Self {
        let site_name = home.project_root().file_name().map(|name| name.to_string_lossy().into_owned());
        Self {
            home,
            name: "local".to_owned(),
            environment: EnvironmentKind::Development,
            host: host.into(),
            port,
            site_name: site_name.unwrap_or_else(|| "systemprompt".to_owned()),
            admin_username: "admin".to_owned(),
            admin_email: None,
            bin: bin.into(),
            sections: Vec::new(),
            secrets: BTreeMap::new(),
        }
    }

    /// Fails if there is a profile of this name.
    pub fn ensure_new(&self) -> Result<(), ProjectError> {
        ensure_free(&self.name, &self.home.profile_dir(&self.name))
    }

    /// Fails if its name or its text cannot be that of a profile. Nothing is written.
    pub fn check(&self) -> Result<(), ProjectError> {
        if !is_name(&self.name) {
            return Err(ProjectError::Name(self.name.clone()));
        }
        let parsed = yaml::parse(&self.profile_text(), &self.home.profile_file(&self.name), "profile");
        parsed.map(drop).map_err(|problems| ProjectError::Text(Report::new(None, problems)))
    }

    /// Makes the profile, its secrets and, where they are absent, the services documents. The profile is not in its place
    /// yet: it may be read, judged and completed first. If anything fails, what was there before is unchanged.
    pub fn stage(&self, ambient: &Ambient) -> Result<StagedProfile, ProjectError> {
        self.check()?;
        let text = self.profile_text();
        let secrets = self.secrets_text(ambient);

        let home = self.home.directory();
        files::create_private_dir(home).map_err(at(home))?;
        write_if_absent(&home.join(".gitignore"), HOME_GITIGNORE)?;
        self.write_services()?;
        let profiles = self.home.profiles_dir();
        files::create_private_dir(&profiles).map_err(at(&profiles))?;
        let contents = [
            ("profile.yaml", text.as_str(), PUBLIC_MODE),
            ("secrets.json", secrets.expose(), SECRET_MODE),
            (".gitignore", PROFILE_GITIGNORE, PUBLIC_MODE),
        ];
        let directory = self.home.profile_dir(&self.name);
        let staged = build_directory(&directory, &contents, 0o700)?;
        Ok(StagedProfile { name: self.name.clone(), directory, staged })
    }

    fn write_services(&self) -> Result<(), ProjectError> {
        let services = self.home.project_root().join("services");
        if services.exists() {
            for (path, text) in SERVICES {
                let path = services.join(path);
                let directory = path.parent().unwrap_or(&services);
                fs::create_dir_all(directory).map_err(at(directory))?;
                write_if_absent(&path, text)?;
            }
            return Ok(());
        }
        let contents: Vec<_> = SERVICES.iter().map(|(path, text)| (*path, *text, PUBLIC_MODE)).collect();
        write_directory(&services, &contents, 0o755)
    }

    fn secrets_text(&self, ambient: &Ambient) -> Secret {
        let mut map: Map<String, Value> =
            self.secrets.iter().map(|(name, secret)| (canonical(name), secret.expose().into())).collect();
        let pepper = || hex::encode(ambient.bytes::<PEPPER_BYTES>()).into();
        map.entry("oauth_at_rest_pepper").or_insert_with(pepper);
        secrets_text(map)
    }

    fn profile_text(&self) -> String {
        let up = if self.home.project_root() == self.home.directory() { "../.." } else { "../../.." };
        let bin = match self.bin.strip_prefix(self.home.project_root()) {
            Ok(inside) => format!("{up}/{}", inside.display()),
            Err(_) => self.bin.display().to_string(),
        };
        let url = self.url();
        let display_name = match self.name.as_str() {
            "dev" => "Development".to_owned(),
            "prod" => "Production".to_owned(),
            other => title_case(other),
        };
        let lenient = matches!(self.environment, EnvironmentKind::Development | EnvironmentKind::Test);
        let (environment, log_level) = match self.environment {
            EnvironmentKind::Development => ("development", "normal"),
            EnvironmentKind::Test => ("test", "quiet"),
            EnvironmentKind::Staging => ("staging", "normal"),
            EnvironmentKind::Production => ("production", "normal"),
        };
        let email = self.admin_email.as_ref().map(|email| format!("\n  email: {}", quoted(email))).unwrap_or_default();
        let mut text = fill(
            PROFILE,
            &[
                ("name", &quoted(&self.name)),
                ("display_name", &quoted(&display_name)),
                ("site", &quoted(&self.site_name)),
                ("admin", &quoted(&self.admin_username)),
                ("email", &email),
                ("host", &quoted(&self.host)),
                ("port", &self.port.to_string()),
                ("url", &url),
                ("up", up),
                ("bin", &quoted(&bin)),
                ("lenient", if lenient { "true" } else { "false" }),
                ("environment", environment),
                ("log_level", log_level),
                ("validation", if lenient { "warn" } else { "strict" }),
            ],
        );
        for section in &self.sections {
            text.push('\n');
            for line in section.comment.lines() {
                let _ = writeln!(text, "# {line}");
            }
            let _ = writeln!(text, "{}:", section.key);
            for line in section.yaml.lines() {
                let _ = if line.is_empty() { writeln!(text) } else { writeln!(text, "  {line}") };
            }
        }
        text
    }

    fn url(&self) -> String {
        let host = match self.host.parse::<std::net::IpAddr>() {
            Ok(address) if address.is_loopback() || address.is_unspecified() => "localhost".to_owned(),
            Ok(std::net::IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.host.clone(),
        };
        format!("http://{host}:{}", self.port)
    }
}

impl StagedProfile {
    /// Where it is for now.
    pub fn staged(&self) -> &Path {
        &self.staged
    }

    /// Puts it in its place, which must be free. Returns the profile file.
    pub fn publish(self) -> Result<PathBuf, ProjectError> {
        ensure_free(&self.name, &self.directory)?;
        put_in_place(&self.staged, &self.directory)?;
        Ok(self.directory.join("profile.yaml"))
    }
}

impl Drop for StagedProfile {
    fn drop(&mut self) {
        // It is not there when it was published; a left-over is harmless and has a name of its own.
        let _ = fs::remove_dir_all(&self.staged);
    }
}

fn ensure_free(name: &str, directory: &Path) -> Result<(), ProjectError> {
    if directory.exists() {
        return Err(ProjectError::Exists { name: name.to_owned(), path: directory.to_owned() });
    }
    Ok(())
}

fn secrets_text(map: Map<String, Value>) -> Secret {
    let mut text = serde_json::to_string_pretty(&Value::Object(map)).expect("texts serialise");
    text.push('\n');
    Secret::new(text)
}

/// Builds a directory under another name and renames it when everything in it is on disk.
fn write_directory(path: &Path, contents: &[(&str, &str, u32)], mode: u32) -> Result<(), ProjectError> {
    let temporary = build_directory(path, contents, mode)?;
    put_in_place(&temporary, path)
}

/// Builds a directory under another name beside this one, and gives that name. Everything in it is on disk.
fn build_directory(path: &Path, contents: &[(&str, &str, u32)], mode: u32) -> Result<PathBuf, ProjectError> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let temporary = files::beside(path);
    let build = || -> io::Result<()> {
        fs::DirBuilder::new().mode(mode).create(&temporary)?;
        // The umask may have taken bits away.
        fs::set_permissions(&temporary, fs::Permissions::from_mode(mode))?;
        for (name, text, mode) in contents {
            let file = temporary.join(name);
            let directory = file.parent().unwrap_or(&temporary);
            fs::create_dir_all(directory)?;
            files::write_new(&file, text.as_bytes(), *mode)?;
            files::sync_directory(directory)?;
        }
        Ok(())
    };
    built(build(), &temporary, path)?;
    Ok(temporary)
}

fn put_in_place(temporary: &Path, path: &Path) -> Result<(), ProjectError> {
    let put = fs::rename(temporary, path).and_then(|()| files::sync_directory(path.parent().unwrap_or(Path::new("/"))));
    built(put, temporary, path)
}

/// What was half built is removed.
fn built(done: io::Result<()>, temporary: &Path, path: &Path) -> Result<(), ProjectError> {
    done.map_err(|source| {
        // The first error is the one to tell.
        let _ = fs::remove_dir_all(temporary);
        ProjectError::Write { path: path.to_owned(), source }
    })
}

fn write_if_absent(path: &Path, text: &str) -> Result<(), ProjectError> {
    if path.exists() {
        return Ok(());
    }
    files::write_file(path, text.as_bytes(), PUBLIC_MODE).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ProjectError + '_ {
    move |source| ProjectError::Write { path: path.to_owned(), source }
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.bytes().next().is_some_and(plain) && name.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b'_')
}

fn title_case(name: &str) -> String {
    let words = name.split(['-', '_']).filter(|word| !word.is_empty());
    let capital = |word: &str| format!("{}{}", word[..1].to_uppercase(), &word[1..]);
    words.map(capital).collect::<Vec<_>>().join(" ")
}

/// A YAML scalar: plain where that is safe, else in double quotes. `$` is doubled before `{`, so that it stays a text.
fn quoted(text: &str) -> String {
    let starts_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '.'));
    let plain =
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'@'));
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | ".nan" | ".inf"
    );
    if starts_plain && plain && !word {
        return text.to_owned();
    }
    Value::from(text.replace("${", "$${")).to_string()
}

/// A template with its `{{name}}`s replaced. What is put in is not looked at again.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut pieces = template.split("{{");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").expect("every name in a template ends");
        let (_, value) = values.iter().find(|(known, _)| *known == name).expect("a template has no other names");
        text.push_str(value);
        text.push_str(rest);
    }
    text
}

const PROFILE: &str = include_str!("../templates/profile.yaml");
const HOME_GITIGNORE: &str = include_str!("../templates/home.gitignore");
const PROFILE_GITIGNORE: &str = include_str!("../templates/profile.gitignore");

/// The services documents of a new project.
const SERVICES: [(&str, &str); 3] = [
    ("config/config.yaml", include_str!("../../../services/config/config.yaml")),
    ("governance/config.yaml", include_str!("../../../services/governance/config.yaml")),
    ("access-control/roles.yaml", include_str!("../../../services/access-control/roles.yaml")),
];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use systemprompt_model::SeededEntropy;

    use super::*;
    use crate::environment::Environment;
    use crate::section::{Place, SectionSpec};
    use crate::{Configuration, LoadRequest};

    fn ambient() -> Ambient {
        Ambient { entropy: std::sync::Arc::new(SeededEntropy::new(1)), ..Ambient::system() }
    }

    fn project(directory: &Path) -> NewProject {
        let sections = vec![ProfileText {
            key: "providers".to_owned(),
            comment: "Where models are.\nIn the order they are tried.".to_owned(),
            yaml: "- name: demo\n  wire: anthropic\n\n- {name: anthropic, api_key_secret: anthropic}".to_owned(),
        }];
        let secrets = BTreeMap::from([("ANTHROPIC_API_KEY".to_owned(), Secret::new("sk-test"))]);
        NewProject { sections, secrets, ..NewProject::local(Home::of_project(directory), "127.0.0.1", 8080, directory) }
    }

    fn write(new: &NewProject) -> Result<PathBuf, ProjectError> {
        new.stage(&ambient())?.publish()
    }

    fn sections() -> Vec<SectionSpec> {
        let any = |place| SectionSpec { place, schema: serde_json::json!({}), extension: "test" };
        vec![
            any(Place::Profile { key: "providers" }),
            any(Place::Service { path: "governance/config.yaml", key: "governance" }),
            any(Place::Service { path: "access-control/*.yaml", key: "rules" }),
        ]
    }

    fn files_below(directory: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![directory.to_owned()];
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                    found.push(format!("{mode:o} {}", path.strip_prefix(directory).unwrap().display()));
                }
            }
        }
        found.sort_by(|a, b| a[4..].cmp(&b[4..]));
        found
    }

    #[test]
    fn a_new_project_loads_without_a_word() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let file = write(&project(&root)).unwrap();
        assert_eq!(file, root.join(".systemprompt/profiles/local/profile.yaml"));
        assert_eq!(
            files_below(&root),
            [
                "644 .systemprompt/.gitignore",
                "644 .systemprompt/profiles/local/.gitignore",
                "644 .systemprompt/profiles/local/profile.yaml",
                "600 .systemprompt/profiles/local/secrets.json",
                "644 services/access-control/roles.yaml",
                "644 services/config/config.yaml",
                "644 services/governance/config.yaml",
            ]
        );
        let home = Home::discover(None, &root).unwrap();
        let request = LoadRequest { home, profile: None, environment: Environment::default() };
        let configuration = Configuration::load(&request, &sections()).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(configuration.warnings(), []);
        assert_eq!(configuration.profile.paths.services, root.join("services"));
        assert_eq!(configuration.profile.issuer(), "http://localhost:8080");
        assert_eq!(configuration.secrets.get("anthropic").map(Secret::expose), Some("sk-test"));
        assert!(configuration.secrets.at_rest_pepper().unwrap().expose().len() >= 64);
        let providers: Vec<Value> = configuration.section("providers").unwrap();
        assert_eq!(providers.len(), 2);
        assert_eq!(configuration.locate("providers", "/1/name").unwrap().file.as_ref(), file);
    }

    #[test]
    fn the_profile_is_readable() {
        let directory = tempfile::tempdir().unwrap();
        let mut new = project(directory.path());
        new.site_name = "Demo: ${HOME} #1".to_owned();
        new.bin = PathBuf::from("/usr/lib/systemprompt");
        new.admin_email = Some("ada@example.com".to_owned());
        insta::assert_snapshot!(new.profile_text(), @r##"
        # How this instance runs. It holds no secrets and may be committed; those are in secrets.json.
        # Every key: `systemprompt admin config validate --schema`. Check a change: `systemprompt admin config validate`.
        # ${NAME} and ${NAME:-default} stand for variables of the environment.
        name: local
        display_name: Local
        target: local

        site:
          name: "Demo: $${HOME} #1"

        # The principal that owns system records.
        system_admin:
          username: admin
          email: ada@example.com

        # Without a database_url in secrets.json, PostgreSQL runs in this project and is reachable from nowhere else.
        database:
          type: postgres

        server:
          host: "127.0.0.1"
          port: 8080
          # How clients, other services and the public reach this server.
          api_server_url: http://localhost:8080
          api_internal_url: http://localhost:8080
          api_external_url: http://localhost:8080
          # Browsers on these origins may call the API.
          cors_allowed_origins:
            - http://localhost:8080
            - http://localhost:5173

        # Relative paths start here, at the profile's directory.
        paths:
          system: ../../..
          services: ../../../services
          bin: /usr/lib/systemprompt

        security:
          # Lifetimes in seconds: a day, and half a year.
          jwt_access_token_expiration: 86400
          jwt_refresh_token_expiration: 15552000
          jwt_audiences: [web, api, a2a, mcp]

        # Requests per second by endpoint and kind of caller.
        rate_limits:
          disabled: true

        runtime:
          environment: development
          log_level: normal
          # Of commands and of the server's log: text, json or yaml. --json and --yaml ask for one output.
          output_format: text

        cloud:
          validation: skip

        secrets:
          secrets_path: ./secrets.json
          validation: warn

        # Where models are.
        # In the order they are tried.
        providers:
          - name: demo
            wire: anthropic

          - {name: anthropic, api_key_secret: anthropic}
        "##);
    }

    #[test]
    fn a_home_of_another_name_holds_its_services() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap().join("demo");
        let new = NewProject { home: Home::at(&root), bin: root.clone(), ..project(&root) };
        write(&new).unwrap();
        let request = LoadRequest { home: Home::at(&root), profile: None, environment: Environment::default() };
        let configuration = Configuration::load(&request, &sections()).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(configuration.profile.paths.services, root.join("services"));
    }

    #[test]
    fn an_existing_profile_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        write(&project(directory.path())).unwrap();
        let before = files_below(directory.path());
        assert!(matches!(write(&project(directory.path())), Err(ProjectError::Exists { .. })));
        assert_eq!(files_below(directory.path()), before);
    }

    #[test]
    fn existing_services_are_kept_and_completed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("services/config");
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("config.yaml"), "agents: {}\n").unwrap();
        write(&project(directory.path())).unwrap();
        assert_eq!(fs::read_to_string(root.join("config.yaml")).unwrap(), "agents: {}\n");
        assert!(directory.path().join("services/access-control/roles.yaml").is_file());
    }

    #[test]
    fn what_fails_leaves_nothing_half_written() {
        let directory = tempfile::tempdir().unwrap();
        let mut broken = project(directory.path());
        broken.sections[0].yaml = "- {".to_owned();
        assert!(matches!(write(&broken), Err(ProjectError::Text(_))));
        for name in ["", "Local", "../x", "-a"] {
            let new = NewProject { name: name.to_owned(), ..project(directory.path()) };
            assert!(matches!(write(&new), Err(ProjectError::Name(_) | ProjectError::Exists { .. })), "{name}");
        }
        assert_eq!(files_below(directory.path()), [""; 0]);

        // Something that is not a directory is where the profiles belong.
        let home = Home::of_project(directory.path());
        fs::create_dir_all(home.directory()).unwrap();
        fs::write(home.profiles_dir(), "").unwrap();
        assert!(matches!(write(&project(directory.path())), Err(ProjectError::Write { .. })));
        assert!(!files_below(directory.path()).iter().any(|file| file.contains(".tmp")));
        assert_eq!(home.profile_names(), [""; 0]);
    }

    #[test]
    fn texts_survive_yaml_and_interpolation() {
        for text in ["plain", "true", "1", "a: b", "#x", "", "~", "-x", "${HOME}", "with \"quotes\"", "über"] {
            let document = yaml::parse(&format!("v: {}", quoted(text)), Path::new("f"), "t").unwrap();
            assert_eq!(document.value["v"].as_str().unwrap().replace("$${", "${"), text);
        }
    }
}
