//! Loading: profile, secrets, services tree and sections become one configuration, or a report of all that is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::defaults::{fill_defaults, unwritten};
use crate::document::{Document, Location, child, dotted};
use crate::environment::Environment;
use crate::home::Home;
use crate::interpolation::{self, Variables};
use crate::legacy;
use crate::profile::{self, Draft, Problems, Profile};
use crate::profile_choice;
use crate::report::{Problem, Report, Severity};
use crate::schema;
use crate::secrets::Secrets;
use crate::section::{Place, SectionSpec};
use crate::services::{self, ROOT_DOCUMENT, Reader, ServiceDocument, ServicesTree};
use crate::yaml;

/// What to load.
#[derive(Debug, Clone)]
pub struct LoadRequest {
    /// The project home.
    pub home: Home,
    /// `--profile`: a name or a path. Without it the environment, the active session or the only profile decides.
    pub profile: Option<String>,
    /// The process environment.
    pub environment: Environment,
}

/// A complete, valid configuration. It does not change; a reload makes a new one.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The project home.
    pub home: Home,
    /// The profile file.
    pub profile_file: PathBuf,
    /// The profile: its paths are absolute, and the environment variables of output and logging are laid over it.
    pub profile: Profile,
    /// The secrets.
    pub secrets: Secrets,
    /// The services tree.
    pub services: ServicesTree,
    /// The process environment it was loaded in.
    pub environment: Environment,
    document: Document,
    sections: BTreeMap<Place, Document>,
    /// What was looked for, whether or not somebody wrote it.
    specs: Vec<SectionSpec>,
    warnings: Vec<Problem>,
}

/// What one configuration says otherwise than another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Sections of extensions, with the ids of their owners.
    pub sections: Vec<(String, &'static str)>,
    /// Other keys of the profile, and of the services tree below `services`.
    pub keys: Vec<String>,
    /// Names of secrets.
    pub secrets: Vec<String>,
}

impl Differences {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty() && self.keys.is_empty() && self.secrets.is_empty()
    }

    /// All of them, by name.
    pub fn names(&self) -> Vec<String> {
        let sections = self.sections.iter().map(|(key, _)| key.clone());
        let secrets = self.secrets.iter().map(|name| format!("secrets.{name}"));
        sections.chain(self.keys.iter().cloned()).chain(secrets).collect()
    }
}

/// The keys of two maps whose values differ.
fn changed_keys(before: &Value, after: &Value) -> Vec<String> {
    let keys = |value: &Value| value.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect::<Vec<_>>();
    let all: BTreeSet<String> = keys(before).into_iter().chain(keys(after)).collect();
    all.into_iter().filter(|key| before.get(key) != after.get(key)).collect()
}

/// A section that cannot be had as the type its owner asks for: a mistake of the owner, not of the user.
#[derive(Debug, Error)]
pub enum SectionError {
    /// Several places have sections of this key.
    #[error("the key `{0}` names several sections; ask for one by its place")]
    Ambiguous(String),
    /// The value fits the section's schema but not the type.
    #[error("the section `{key}` does not fit its type")]
    Mismatch {
        /// The section.
        key: String,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
}

impl Configuration {
    /// Reads and validates everything. The report of a failure holds every problem of every document, and the warnings.
    pub fn load(request: &LoadRequest, sections: &[SectionSpec]) -> Result<Self, Report> {
        let mut loading = Loading { request, sections, problems: Vec::new(), profile_file: None };
        let loaded = loading.load();
        let Loading { problems, profile_file, .. } = loading;
        let problems = without_echoes(problems);
        match loaded {
            Some(configuration) if !problems.iter().any(Problem::is_error) => {
                Ok(Self { warnings: problems, ..configuration })
            }
            _ => {
                Err(Report { profile_path: profile_file, root: Some(request.home.project_root().to_owned()), problems })
            }
        }
    }

    /// The section of this key, or its default if nobody wrote it.
    pub fn section<T: DeserializeOwned + Default>(&self, key: &str) -> Result<T, SectionError> {
        let mut found = self.sections.iter().filter(|(place, _)| place.key() == key);
        match (found.next(), found.next()) {
            (None, _) => Ok(T::default()),
            (Some((_, document)), None) => typed(key, document),
            (Some(_), Some(_)) => Err(SectionError::Ambiguous(key.to_owned())),
        }
    }

    /// The section of this place, or its default if nobody wrote it.
    pub fn section_at<T: DeserializeOwned + Default>(&self, place: &Place) -> Result<T, SectionError> {
        self.sections.get(place).map_or_else(|| Ok(T::default()), |document| typed(place.key(), document))
    }

    /// The value of a section as it was written, variables resolved. It may hold secrets.
    fn section_value(&self, place: &Place) -> Option<&Value> {
        self.sections.get(place).map(|document| &document.value)
    }

    /// Where a node was written: `key` is a section's, a top-level key of the profile or of the services tree, `pointer`
    /// leads from there, for example `/0/endpoint`. Answers for the closest node above if this one was not written.
    pub fn locate(&self, key: &str, pointer: &str) -> Option<Location> {
        self.location(key, pointer).cloned()
    }

    fn location(&self, key: &str, pointer: &str) -> Option<&Location> {
        let section = self.sections.iter().find(|(place, _)| place.key() == key);
        let section = section.and_then(|(_, document)| document.locate(pointer));
        let in_tree = |document: &Document| document.value.get(key).is_some();
        section
            .or_else(|| {
                let path = format!("{}{pointer}", child("", key));
                in_tree(&self.document).then(|| self.document.locate(&path)).flatten()
            })
            .or_else(|| {
                self.services.get(key).and_then(|_| self.services.locate(&format!("{}{pointer}", child("", key))))
            })
    }

    /// An error about a node, placed where it was written; `key` and `pointer` as for [`Self::locate`].
    pub fn error(&self, key: &str, pointer: &str, message: impl Into<String>) -> Problem {
        let field = dotted(&format!("{}{pointer}", child("", key)));
        Problem::error(self.domain(key), field, message).at_option(self.location(key, pointer))
    }

    /// A warning about a node, as [`Self::error`].
    pub fn warning(&self, key: &str, pointer: &str, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, ..self.error(key, pointer, message) }
    }

    fn domain<'a>(&self, key: &'a str) -> &'a str {
        let is_section = self.sections.keys().any(|place| place.key() == key);
        if !is_section && self.document.value.get(key).is_some() { "profile" } else { key }
    }

    /// The settings of the extension with this prefix, all layers joined; `{}` if nobody wrote any.
    pub fn extension(&self, prefix: &str) -> Option<&Value> {
        let place = Place::Extension { prefix: prefix.to_owned() };
        self.section_value(&place)
    }

    /// A path of the configuration as an absolute one: a relative path starts at the profile's directory.
    pub fn profile_path(&self, path: &Path) -> PathBuf {
        self.profile_file.parent().unwrap_or(Path::new("/")).join(path)
    }

    /// Everything in force, defaults included, as one map for people: `profile`, `services`, and the `documents` of features.
    /// Texts that hold the value of a secret, or came from a variable and may therefore be one, are replaced by `[redacted]`.
    pub fn to_value(&self) -> Value {
        let mut profile = serde_json::to_value(&self.profile).unwrap_or_default();
        mask(&mut profile, &self.document.interpolated);
        let mut services = self.services.to_value();
        mask(&mut services, self.services.interpolated());
        let mut documents = serde_json::Map::new();
        for SectionSpec { place, schema, .. } in &self.specs {
            let (map, key) = match place {
                Place::Profile { key } => (profile.as_object_mut(), *key),
                Place::Extension { prefix } => (profile["extensions"].as_object_mut(), prefix.as_str()),
                Place::Service { path, key } if *path == ROOT_DOCUMENT => (services.as_object_mut(), *key),
                Place::Service { path, key } => {
                    let document = documents.entry(*path).or_insert_with(|| serde_json::json!({}));
                    (document.as_object_mut(), *key)
                }
            };
            if let Some(map) = map {
                let written = self.sections.get(place);
                let mut value = written.map_or_else(|| unwritten(schema), |section| section.value.clone());
                if let Some(section) = written {
                    mask(&mut value, &section.interpolated);
                }
                fill_defaults(schema, schema, &mut value);
                map.insert(key.to_owned(), value);
            }
        }
        let mut all = serde_json::json!({"profile": profile, "services": services, "documents": documents});
        self.secrets.redact(&mut all);
        all
    }

    /// What `other`, of the same project, says otherwise.
    pub fn differences(&self, other: &Self) -> Differences {
        let owner = |place: &Place| {
            let spec = self.specs.iter().chain(&other.specs).find(|spec| spec.place == *place);
            spec.map_or("", |spec| spec.extension)
        };
        let places: BTreeSet<&Place> = self.sections.keys().chain(other.sections.keys()).collect();
        let changed = places.into_iter().filter(|place| self.section_value(place) != other.section_value(place));
        let sections: Vec<_> = changed.map(|place| (place.named(), owner(place))).collect();
        let is_section =
            |key: &str| self.specs.iter().any(|spec| matches!(&spec.place, Place::Profile { key: own } if *own == key));
        let profile = changed_keys(&self.document.value, &other.document.value);
        // Settings of extensions are told by their prefixes.
        let keys = profile.into_iter().filter(|key| key != "extensions" && !is_section(key));
        let disabled = self.profile.extensions.disabled != other.profile.extensions.disabled;
        let keys = keys.chain(disabled.then(|| "extensions.disabled".to_owned()));
        let tree = changed_keys(&self.services.to_value(), &other.services.to_value()).into_iter();
        let names: BTreeSet<&str> = self.secrets.names().chain(other.secrets.names()).collect();
        let value = |secrets: &Secrets, name: &str| secrets.get(name).map(|secret| secret.expose().to_owned());
        let secrets = names.into_iter().filter(|name| value(&self.secrets, name) != value(&other.secrets, name));
        Differences {
            sections,
            keys: keys.chain(tree.map(|key| format!("services.{key}"))).collect(),
            secrets: secrets.map(str::to_owned).collect(),
        }
    }

    /// What is wrong but does not stop the start.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// A report of this configuration: its warnings and these further problems, for example those of the sections' owners.
    pub fn report(&self, further: Vec<Problem>) -> Report {
        let problems = self.warnings.iter().cloned().chain(further).collect();
        let root = Some(self.home.project_root().to_owned());
        Report { profile_path: Some(self.profile_file.clone()), root, problems }
    }
}

/// Replaces the texts at these places. What has become a number or a switch hides nothing and stays.
fn mask(value: &mut Value, interpolated: &BTreeSet<String>) {
    for pointer in interpolated {
        if let Some(Value::String(text)) = value.pointer_mut(pointer) {
            "[redacted]".clone_into(text);
        }
    }
}

fn typed<T: DeserializeOwned>(key: &str, document: &Document) -> Result<T, SectionError> {
    serde_json::from_value(document.value.clone())
        .map_err(|source| SectionError::Mismatch { key: key.to_owned(), source })
}

/// A text whose variable is not set is reported for that, not also for not being a number.
fn without_echoes(problems: Vec<Problem>) -> Vec<Problem> {
    let place = |p: &Problem| (p.path.clone(), p.line, p.field.clone());
    let unresolved: BTreeSet<_> = problems.iter().filter(|p| p.code == "unresolved_variable").map(place).collect();
    let keep = |p: &Problem| p.code == "unresolved_variable" || !unresolved.contains(&place(p));
    problems.into_iter().filter(keep).collect()
}

struct Loading<'a> {
    request: &'a LoadRequest,
    sections: &'a [SectionSpec],
    problems: Vec<Problem>,
    profile_file: Option<PathBuf>,
}

impl Loading<'_> {
    /// Goes as far as it can; the result is only good if no error was found.
    fn load(&mut self) -> Option<Configuration> {
        let LoadRequest { home, profile, environment } = self.request;
        let path = match profile_choice::choose(home, profile.as_deref(), environment) {
            Ok(path) => path,
            Err(problem) => {
                self.problems.push(*problem);
                return None;
            }
        };
        self.profile_file = Some(path.clone());
        let (document, draft) = self.profile(&path)?;

        let secrets = draft.secrets.as_ref().map(|settings| {
            let is_cloud = draft.is_cloud();
            Secrets::load(settings, &settings.secrets_path, is_cloud, environment, &mut self.problems)
        });
        let known = secrets.clone().unwrap_or_default();
        let mut sections = self.profile_sections(&document);
        let services = draft.paths.as_ref().and_then(|paths| {
            let offset = draft.services.as_ref().map_or(0, |services| services.port_offset);
            let mut tree = services::load(&paths.services, offset, &known, environment, &mut self.problems)?;
            self.service_sections(&mut tree, &known, &mut sections);
            self.extension_sections(&tree, &known, &document, &draft, &mut sections);
            Some(tree)
        });
        Some(Configuration {
            home: home.clone(),
            profile_file: path,
            profile: draft.complete()?,
            secrets: secrets?,
            services: services?,
            environment: environment.clone(),
            document,
            sections,
            specs: self.sections.to_vec(),
            warnings: Vec::new(),
        })
    }

    fn profile(&mut self, path: &Path) -> Option<(Document, Draft)> {
        let environment = &self.request.environment;
        let mut document = match yaml::read(path, "profile") {
            Ok(document) => document,
            Err(found) => {
                self.problems.extend(found);
                return None;
            }
        };
        if path.extension().is_some_and(|extension| extension == "yml") {
            let problem = Problem::warning("profile", "", "the file name `profile.yml` is an older spelling");
            self.problems.push(problem.in_file(path).suggest("rename it to profile.yaml").code("deprecated"));
        }
        for pointer in std::mem::take(&mut document.included_texts) {
            let problem = Problem::error("profile", dotted(&pointer), "`!include` is for service documents only");
            self.problems.push(problem.at_option(document.locate(&pointer)).code("yaml_syntax"));
        }
        let lookup = |name: &str| environment.lookup(name).map(str::to_owned);
        let variables = Variables { lookup: &lookup, nested: false, source: "the environment" };
        self.problems.extend(interpolation::resolve(&mut document, &variables, "profile"));
        legacy::modernize(&mut document, &mut self.problems);

        let schema = schema::profile_schema(self.sections);
        let found = schema::validate(&schema, &mut document, "profile");
        let top = |problem: &Problem| problem.field.split(['.', '[']).next().unwrap_or_default().to_owned();
        let unsound: BTreeSet<String> = found.iter().map(top).collect();
        for mut problem in found {
            let key = top(&problem);
            if self
                .sections
                .iter()
                .any(|section| matches!(section.place, Place::Profile { .. }) && section.place.key() == key)
            {
                problem.domain = key;
            }
            self.problems.push(problem);
        }

        let mut problems = Problems { domain: "profile", document: &document, found: Vec::new() };
        let mut draft = Draft::read(&document, |key| !unsound.contains(key), &mut problems);
        let directory = path.parent().unwrap_or(Path::new("/"));
        draft.paths = draft.paths.map(|paths| paths.resolved(directory, environment));
        if let Some(secrets) = &mut draft.secrets {
            secrets.secrets_path = crate::profile::resolve_path(&secrets.secrets_path, directory, environment);
        }
        if let Some(security) = &mut draft.security {
            security.signing_key_path =
                crate::profile::resolve_path(&security.signing_key_path, directory, environment);
        }
        if let Some(tls) = draft.server.as_mut().and_then(|server| server.tls.as_mut()) {
            for path in [&mut tls.cert_path, &mut tls.key_path] {
                *path = crate::profile::resolve_path(path, directory, environment);
            }
        }
        profile::check(&draft, environment, &mut problems);
        if let (Some(name), Some(directory)) = (&draft.name, directory.file_name().and_then(|name| name.to_str()))
            && name != directory
        {
            problems.warning("/name", format!("is `{name}`, but the directory is called `{directory}`"));
        }
        let found = problems.found;
        self.problems.extend(found);
        draft.runtime = draft.runtime.map(|runtime| runtime.overridden(environment, &mut self.problems));
        Some((document, draft))
    }

    fn profile_sections(&self, document: &Document) -> BTreeMap<Place, Document> {
        let mut sections = BTreeMap::new();
        for section in self.sections {
            if let Place::Profile { key } = &section.place
                && let Some(part) = document.part(&child("", key))
            {
                sections.insert(section.place.clone(), part);
            }
        }
        sections
    }

    fn service_sections(
        &mut self,
        tree: &mut ServicesTree,
        secrets: &Secrets,
        sections: &mut BTreeMap<Place, Document>,
    ) {
        let mut paths: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for section in self.sections {
            if let Place::Service { path, key } = section.place {
                paths.entry(path).or_default().push(key);
            }
        }
        for (path, keys) in paths {
            if path == ROOT_DOCUMENT {
                for key in keys {
                    if let Some(part) = tree.part(&child("", key)) {
                        sections.insert(Place::Service { path, key }, part);
                    }
                }
                continue;
            }
            let root = tree.root.clone();
            let reader = Reader::new(&root, secrets, &self.request.environment);
            let files = services::expand_glob(&root, path);
            if files.is_empty() && !path.contains('*') {
                let message = "the document does not exist; the defaults apply";
                let problem = Problem::warning(keys[0], "", message).in_file(&root.join(path));
                self.problems.push(problem.code("missing_document"));
            }
            for file in files {
                let resolved = reader.resolve(&root, &reader.shown(&file));
                let Ok([file]) = resolved.as_deref() else {
                    let problem = resolved.err().map_or_else(
                        || Problem::error(keys[0], "", "cannot be read"),
                        |found| Problem { domain: keys[0].to_owned(), ..*found },
                    );
                    self.problems.push(problem.in_file(&file));
                    continue;
                };
                tree.add_documents(vec![ServiceDocument { path: file.clone(), included_by: None }]);
                let Some(document) = reader.read(file, keys[0], &mut self.problems) else { continue };
                for (key, part) in services::split_document(document, &keys, keys[0], &mut self.problems) {
                    let key = keys.iter().copied().find(|known| *known == key).unwrap_or_default();
                    let place = Place::Service { path, key };
                    let whole = sections.remove(&place);
                    sections.insert(place, services::join_sections(whole, key, part, key, &mut self.problems));
                }
            }
        }
        for section in self.sections {
            if let Place::Service { key, .. } = section.place {
                self.validate(section, key, key, sections);
            }
        }
    }

    fn extension_sections(
        &mut self,
        tree: &ServicesTree,
        secrets: &Secrets,
        profile: &Document,
        draft: &Draft,
        sections: &mut BTreeMap<Place, Document>,
    ) {
        let environment = &self.request.environment;
        let overridable = draft.extensions.as_ref().is_some_and(|extensions| extensions.allow_env_overrides);
        for section in self.sections {
            let Place::Extension { prefix } = &section.place else { continue };
            let domain = format!("ext:{}", section.extension);
            let file = tree.root.join("config").join(format!("{prefix}.yaml"));
            let reader = Reader::new(&tree.root, secrets, environment);
            let mut whole = Document::empty();
            if file.is_file() {
                whole = reader.read(&file, &domain, &mut self.problems).unwrap_or(whole);
            }
            if let Some(over) = profile.part(&format!("/extensions/{prefix}")).filter(|over| over.value.is_object()) {
                whole.overlay(&over);
            }
            if overridable {
                let start = format!("SYSTEMPROMPT_EXT__{}__", prefix.to_ascii_uppercase());
                for (name, value) in environment.with_prefix(&start) {
                    let pointer = child("", &name[start.len()..].to_ascii_lowercase());
                    let mut over = Document { value: value.into(), ..Document::empty() };
                    // A variable is a text; as an interpolated one it becomes what its field expects.
                    over.interpolated.insert(String::new());
                    whole.insert(&pointer, over);
                }
            }
            sections.insert(section.place.clone(), whole);
            self.validate(section, prefix, &domain, sections);
        }
    }

    /// Validates a section below its key, so that fields are told by their full names.
    fn validate(&mut self, section: &SectionSpec, key: &str, domain: &str, sections: &mut BTreeMap<Place, Document>) {
        let Some(part) = sections.remove(&section.place) else { return };
        let pointer = child("", key);
        let mut document = Document::empty();
        document.insert(&pointer, part);
        let mut found = schema::validate(&schema::wrap(key, key, &section.schema), &mut document, domain);
        if matches!(section.place, Place::Extension { .. }) {
            for problem in &mut found {
                problem.field.insert_str(0, "extensions.");
            }
        }
        self.problems.extend(found);
        sections.extend(document.remove(&pointer).map(|part| (section.place.clone(), part)));
    }
}
