//! The services tree: what the project consists of. One root document, `config/config.yaml`, pulls in the others.

mod documents;
mod files;
mod merge;
mod settings;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use settings::{PortRange, SchemaMode, Settings};

use crate::document::{Document, Location};
use crate::environment::{self, Environment};
use crate::report::{Problem, Severity};
use crate::schema::unknown_key;
use crate::secrets::Secrets;

pub(crate) use documents::{Reader, split as split_document};
pub(crate) use files::expand as expand_glob;
pub(crate) use merge::join as join_sections;

/// The root document, relative to the services root.
pub(crate) const ROOT_DOCUMENT: &str = "config/config.yaml";

/// The top-level keys of the root document and its includes.
pub(crate) const KEYS: [&str; 15] = [
    "includes",
    "agents",
    "mcp_servers",
    "skills",
    "ai",
    "scheduler",
    "web",
    "plugins",
    "marketplaces",
    "external_agents",
    "slack_apps",
    "teams_apps",
    "bridge_policy",
    "content",
    "files",
];

/// The merged services configuration. Parts whose feature is not linked are kept as they were written.
#[derive(Debug, Clone)]
pub struct ServicesTree {
    /// The services directory, canonical.
    pub root: PathBuf,
    /// The `settings` of the root document.
    pub settings: Settings,
    /// Every document that was read, in the order of reading.
    pub documents: Vec<ServiceDocument>,
    merged: Document,
}

/// A document of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceDocument {
    /// The file, canonical.
    pub path: PathBuf,
    /// The document whose `includes` names it; `None` for the root and for documents that a section declares.
    pub included_by: Option<PathBuf>,
}

impl ServicesTree {
    /// The merged value of a top-level key such as `agents`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.merged.value.get(key)
    }

    /// Where a node of the merged tree was written, or the closest node above it; for example `/agents/welcome/port`.
    pub fn locate(&self, pointer: &str) -> Option<&Location> {
        self.merged.locate(pointer)
    }

    /// The merged tree with its settings.
    pub(crate) fn to_value(&self) -> Value {
        let mut value = self.merged.value.clone();
        value["settings"] = serde_json::to_value(&self.settings).unwrap_or_default();
        value
    }

    /// The texts that came out of `${…}`.
    pub(crate) fn interpolated(&self) -> &BTreeSet<String> {
        &self.merged.interpolated
    }

    pub(crate) fn part(&self, pointer: &str) -> Option<Document> {
        self.merged.part(pointer)
    }

    pub(crate) fn add_documents(&mut self, documents: Vec<ServiceDocument>) {
        self.documents.extend(documents);
    }
}

/// Reads the tree below `services`. `None` only if there is no root document to start from.
pub(crate) fn load(
    services: &Path,
    port_offset: u16,
    secrets: &Secrets,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<ServicesTree> {
    let root = match services.canonicalize() {
        Ok(root) => root,
        Err(error) => {
            let message = format!("the services directory cannot be read: {error}");
            problems.push(Problem::error("services", "", message).in_file(services).code("io"));
            return None;
        }
    };
    let start =
        environment.get(environment::SYSTEMPROMPT_CONFIG_PATH).map_or_else(|| root.join(ROOT_DOCUMENT), PathBuf::from);
    let reader = Reader::new(&root, secrets, environment);
    let mut document = reader.read(&start, "services", problems)?;
    let settings = settings::read(&mut document, port_offset, environment, problems);
    let mode = settings.schema_validation_mode;

    let mut tree = Includer {
        reader,
        chain: Vec::new(),
        merged: Document::empty(),
        documents: Vec::new(),
        problems,
        mismatches: Vec::new(),
    };
    let start = start.canonicalize().unwrap_or(start);
    tree.merge(start, document, None);
    let Includer { merged, documents, mismatches, .. } = tree;

    match mode {
        SchemaMode::Strict => problems.extend(mismatches),
        SchemaMode::Warn => {
            problems.extend(mismatches.into_iter().map(|problem| Problem { severity: Severity::Warning, ..problem }));
        }
        SchemaMode::Skip => {}
    }
    settings::check_marketplaces(&settings, &merged, problems);
    Some(ServicesTree { root, settings, documents, merged })
}

/// Follows `includes` depth first: what a document includes is merged before the document itself.
struct Includer<'a> {
    reader: Reader<'a>,
    /// The documents that are being included, outermost first.
    chain: Vec<PathBuf>,
    merged: Document,
    documents: Vec<ServiceDocument>,
    problems: &'a mut Vec<Problem>,
    /// Unknown keys and wrong shapes, which `schema_validation_mode` weighs.
    mismatches: Vec<Problem>,
}

impl Includer<'_> {
    fn merge(&mut self, path: PathBuf, mut document: Document, included_by: Option<PathBuf>) {
        self.chain.push(path.clone());
        if let Some(includes) = document.remove("/includes") {
            self.follow(&path, &includes);
        }
        self.chain.pop();
        self.documents.push(ServiceDocument { path, included_by });
        if let Some(settings) = document.remove("/settings") {
            let message = "only the root document may hold `settings`";
            let problem = Problem::error("services", "settings", message).at_option(settings.locate(""));
            self.problems.push(problem.code("include_settings"));
        }
        for key in document.keys() {
            if !KEYS.contains(&key.as_str()) {
                self.mismatches.push(unknown_key(&document, "", &key, &KEYS, "services"));
                continue;
            }
            let part = document.remove(&crate::document::child("", &key)).expect("the key was just listed");
            merge::merge(&mut self.merged, &key, part, self.problems, &mut self.mismatches);
        }
    }

    fn follow(&mut self, referrer: &Path, includes: &Document) {
        let Some(list) = includes.value.as_array() else {
            let problem = Problem::error("services", "includes", "must be a list of relative paths");
            self.problems.push(problem.at_option(includes.locate("")).code("wrong_type"));
            return;
        };
        for (index, include) in list.iter().enumerate() {
            let at = includes.locate(&format!("/{index}"));
            let field = format!("includes[{index}]");
            let fault = |message: String, code| Problem::error("services", &field, message).at_option(at).code(code);
            let Some(pattern) = include.as_str() else {
                self.problems.push(fault("must be a relative path".to_owned(), "wrong_type"));
                continue;
            };
            let base = referrer.parent().unwrap_or(Path::new("/"));
            let files = match self.reader.resolve(base, pattern) {
                Ok(files) => files,
                Err(found) => {
                    self.problems.push(Problem { suggestion: found.suggestion, ..fault(found.message, found.code) });
                    continue;
                }
            };
            for file in files {
                if let Some(start) = self.chain.iter().position(|open| *open == file) {
                    let chain = self.chain[start..].iter().chain([&file]).map(|path| self.reader.shown(path));
                    let chain = chain.collect::<Vec<_>>().join(" -> ");
                    self.problems.push(fault(format!("includes itself: {chain}"), "include_cycle"));
                } else if self.documents.iter().all(|document| document.path != file)
                    && let Some(document) = self.reader.read(&file, "services", self.problems)
                {
                    self.merge(file, document, Some(referrer.to_owned()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Writes files given as `path: text` into a services directory and loads the tree.
    fn load(files: &[(&str, &str)]) -> (tempfile::TempDir, Option<ServicesTree>, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join("services").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut problems = Vec::new();
        let environment = Environment::from([("NAME", "ada"), ("GREETING", "hello ${NAME}")]);
        let services = directory.path().join("services");
        let tree = super::load(&services, 0, &Secrets::default(), &environment, &mut problems);
        let root = services.canonicalize().unwrap_or(services);
        let line = |p: &Problem| {
            let file = p.path.as_ref().map(|path| path.strip_prefix(&root).unwrap_or(path).display().to_string());
            let line = p.line.map(|line| format!(":{line}")).unwrap_or_default();
            let hint = p.suggestion.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            let severity = if p.is_error() { "" } else { "warning: " };
            format!("{}{line}: {severity}{p}{hint}", file.unwrap_or_default())
        };
        let problems = problems.iter().map(|p| line(p).replace(&format!("{}/", root.display()), "")).collect();
        (directory, tree, problems)
    }

    fn check(files: &[(&str, &str)], expected: &[&str]) {
        assert_eq!(load(files).2, expected, "{files:?}");
    }

    const ROOT: &str = ROOT_DOCUMENT;

    #[test]
    fn documents_are_merged_and_know_their_origin() {
        let (_directory, tree, problems) = load(&[
            (ROOT, "includes: [../agents/*.yaml, ../ai/config.yaml]\nagents:\n  own: {port: 9001}\n"),
            ("agents/b.yaml", "agents: {b: {port: 9003, greeting: '${GREETING}'}}"),
            (
                "agents/a.yaml",
                "includes: [../mcp/x.yaml]\nagents: {a: {metadata: {system_prompt: !include ../prompts/a.md}}}",
            ),
            ("mcp/x.yaml", "mcp_servers: {x: {}}"),
            ("prompts/a.md", "Say ${nothing}."),
            ("ai/config.yaml", "ai: {default_provider: demo, providers: {demo: {}}}"),
        ]);
        assert_eq!(problems, [""; 0]);
        let tree = tree.unwrap();
        assert_eq!(
            tree.get("agents"),
            Some(&json!({
                "a": {"metadata": {"system_prompt": "Say ${nothing}."}},
                "b": {"port": 9003, "greeting": "hello ada"},
                "own": {"port": 9001},
            }))
        );
        assert!(tree.locate("/agents/b/port").unwrap().file.ends_with("agents/b.yaml"));
        assert_eq!(tree.locate("/agents/own/port").unwrap().line, 3);
        let order: Vec<_> =
            tree.documents.iter().map(|d| d.path.strip_prefix(&tree.root).unwrap().to_owned()).collect();
        let expected = ["mcp/x.yaml", "agents/a.yaml", "agents/b.yaml", "ai/config.yaml", ROOT];
        assert_eq!(order, expected.map(PathBuf::from));
    }

    #[test]
    fn includes_that_are_refused() {
        check(
            &[(ROOT, "includes: [../agents/welcom.yaml]"), ("agents/welcome.yaml", "")],
            &["config/config.yaml:1: includes[0]: agents/welcom.yaml does not exist (did you mean `welcome.yaml`?)"],
        );
        check(&[(ROOT, "includes: [../agents/*.yaml]")], &[]);
        check(
            &[(ROOT, "includes: [../../outside.yaml, /etc/hostname]"), ("../outside.yaml", "agents: {}")],
            &[
                "config/config.yaml:1: includes[0]: lies outside the services directory",
                "config/config.yaml:1: includes[1]: must be a relative path",
            ],
        );
        check(
            &[
                (ROOT, "includes:\n  - ../a.yaml\n"),
                ("a.yaml", "includes: [b.yaml]"),
                ("b.yaml", "agents: {}\nincludes: [a.yaml]"),
            ],
            &["b.yaml:2: includes[0]: includes itself: a.yaml -> b.yaml -> a.yaml"],
        );
        check(
            &[(ROOT, "includes: [config.yaml]")],
            &["config/config.yaml:1: includes[0]: includes itself: config/config.yaml -> config/config.yaml"],
        );
        check(
            &[(ROOT, "includes: [../a.yaml]"), ("a.yaml", "\nsettings: {}")],
            &["a.yaml:2: settings: only the root document may hold `settings`"],
        );
        check(&[], &[": the services directory cannot be read: No such file or directory (os error 2)"]);
    }

    #[test]
    fn a_document_reached_twice_is_merged_once() {
        check(
            &[
                (ROOT, "includes: [../a.yaml, ../b.yaml]"),
                ("a.yaml", "includes: [shared.yaml]"),
                ("b.yaml", "includes: [shared.yaml, ./x/../shared.yaml]"),
                ("x/empty.yaml", ""),
                ("shared.yaml", "agents: {one: {}}"),
            ],
            &[],
        );
    }

    #[test]
    fn links_do_not_lead_outside() {
        let (directory, _, _) = load(&[(ROOT, ""), ("../outside.yaml", "agents: {}")]);
        let services = directory.path().join("services");
        std::os::unix::fs::symlink("../outside.yaml", services.join("link.yaml")).unwrap();
        std::fs::write(
            services.join(ROOT),
            "includes: [../link.yaml]\nskills:\n  skills:\n    s: {instructions: !include ../link.yaml}\n",
        )
        .unwrap();
        let mut problems = Vec::new();
        super::load(&services, 0, &Secrets::default(), &Environment::default(), &mut problems);
        let messages: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let outside = "lies outside the services directory";
        assert_eq!(messages, [format!("skills.skills.s.instructions: {outside}"), format!("includes[0]: {outside}")]);
    }

    #[test]
    fn unknown_keys_weigh_what_the_settings_say() {
        for (mode, expected) in [
            ("strict", &["config/config.yaml:2: agnets: is not a known key (did you mean `agents`?)"][..]),
            ("warn", &["config/config.yaml:2: warning: agnets: is not a known key (did you mean `agents`?)"]),
            ("skip", &[]),
        ] {
            check(&[(ROOT, &format!("settings: {{schema_validation_mode: {mode}}}\nagnets: {{}}"))], expected);
        }
    }

    #[test]
    fn three_mistakes_in_three_documents_are_three_problems() {
        check(
            &[
                (ROOT, "includes: [../a.yaml, ../b.yaml]\nsettings: {auto_start_enabled: maybe}\n"),
                ("a.yaml", "agents:\n  x: 1\n  x: 2\n"),
                ("b.yaml", "agents:\n  y: ${UNSET}\n"),
            ],
            &[
                "config/config.yaml:2: settings.auto_start_enabled: must be `true` or `false`, got the text `maybe`",
                "a.yaml:3: agents.x: the key `x` is given twice, first in line 2",
                "b.yaml:2: agents.y: `UNSET` is not set in the secrets or the environment (export it, or give a default: ${NAME:-default})",
            ],
        );
    }
}
