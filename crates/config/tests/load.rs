//! Whole configurations, through the public API: documents on disk in, a configuration or a report out.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use systemprompt_config::files::write_secret_file;
use systemprompt_config::profile::{EnvironmentKind, LogLevel, Target};
use systemprompt_config::{
    Configuration, Environment, Home, LoadRequest, Place, Report, SectionError, SectionSpec, Symbols,
};

const PROFILE: &str = "\
name: local
display_name: Local
site: { name: Demo }
system_admin: { username: admin }
database: { type: postgres }
server:
  host: 127.0.0.1
  port: 8080
  api_server_url: http://localhost:8080
  api_internal_url: http://localhost:8080
  api_external_url: http://localhost:8080
paths: { system: ../../.., services: ../../../services, bin: ../../.. }
security:
  jwt_access_token_expiration: 86400
  jwt_refresh_token_expiration: 15552000
  jwt_audiences: [web, api]
rate_limits: {}
";

/// The providers of a made-up feature.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Provider {
    /// The unique name.
    name: String,
    /// The most requests at a time.
    #[serde(default)]
    limit: Option<u32>,
    #[serde(default)]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Remote,
    Demo,
}

/// Rules of a made-up feature.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rule {
    allow: String,
}

/// Governance of a made-up feature.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Governance {
    enabled: bool,
    token: Option<String>,
}

/// Settings of a made-up extension.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Acme {
    url: Option<String>,
    limit: u32,
    nested: Option<Nested>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nested {
    a: Option<u32>,
    b: Option<u32>,
}

fn sections() -> Vec<SectionSpec> {
    fn section<T: JsonSchema>(place: Place) -> SectionSpec {
        SectionSpec { place, schema: schemars::schema_for!(T).to_value(), extension: "acme" }
    }
    vec![
        section::<Vec<Provider>>(Place::Profile { key: "providers" }),
        section::<Governance>(Place::Service { path: "governance/config.yaml", key: "governance" }),
        section::<Vec<Rule>>(Place::Service { path: "access-control/*.yaml", key: "rules" }),
        section::<Acme>(Place::Extension { prefix: "acme".to_owned() }),
    ]
}

/// A project in a temporary directory.
struct Project {
    _directory: tempfile::TempDir,
    root: PathBuf,
    variables: Vec<(&'static str, &'static str)>,
}

impl Project {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let project = Self { _directory: directory, root, variables: Vec::new() }
            .write(".systemprompt/profiles/local/profile.yaml", PROFILE)
            .write("services/config/config.yaml", "includes: []\n")
            .write("services/governance/config.yaml", "governance: { enabled: true }\n");
        let secrets = json!({"oauth_at_rest_pepper": "x".repeat(64)}).to_string();
        write_secret_file(&project.root.join(".systemprompt/profiles/local/secrets.json"), secrets.as_bytes()).unwrap();
        project
    }

    fn write(self, path: &str, text: &str) -> Self {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn profile(self, change: impl FnOnce(String) -> String) -> Self {
        let path = ".systemprompt/profiles/local/profile.yaml";
        let text = std::fs::read_to_string(self.root.join(path)).unwrap();
        self.write(path, &change(text))
    }

    fn append(self, text: &str) -> Self {
        self.profile(|profile| profile + text)
    }

    fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    fn load(&self) -> Result<Configuration, Report> {
        let request = LoadRequest {
            home: Home::discover(None, &self.root).unwrap(),
            profile: None,
            environment: self.variables.iter().copied().collect(),
        };
        Configuration::load(&request, &sections())
    }

    fn loaded(&self) -> Configuration {
        self.load().unwrap_or_else(|report| panic!("{report}"))
    }

    /// `file:line: field: message`, errors only.
    fn errors(&self) -> Vec<String> {
        let Err(report) = self.load() else { return Vec::new() };
        let place = |path: &Path| path.strip_prefix(&self.root).unwrap_or(path).display().to_string();
        let line = |p: &systemprompt_config::Problem| {
            let path = p.path.as_deref().map(place).unwrap_or_default();
            let name = path.rsplit_once("profiles/local/").map_or(path.as_str(), |(_, name)| name);
            format!("{name}:{}: {p}", p.line.unwrap_or_default())
        };
        report.errors().map(line).collect()
    }

    /// The text form, with the project's directory replaced.
    fn text(&self) -> String {
        self.load().unwrap_err().text(Symbols::Ascii).replace(&self.root.display().to_string(), "/srv")
    }
}

#[test]
fn a_minimal_profile_has_the_documented_defaults() {
    let project = Project::new();
    let configuration = project.loaded();
    assert_eq!(configuration.warnings(), []);
    let profile = &configuration.profile;
    assert_eq!(profile.target, Target::Local);
    assert_eq!(profile.runtime.environment, EnvironmentKind::Development);
    assert_eq!(profile.runtime.log_level, LogLevel::Normal);
    assert_eq!((profile.database.pool.max_connections, profile.database.pool.acquire_timeout_secs), (50, 30));
    assert_eq!((profile.server.shutdown_grace_secs, profile.server.max_concurrent_streams), (30, 256));
    assert_eq!(profile.issuer(), "http://localhost:8080");
    assert_eq!(profile.security.signing_key_path, project.root.join(".systemprompt/profiles/local/signing_key.pem"));
    assert_eq!(profile.paths.services, project.root.join("services"));
    assert_eq!(profile.paths.storage(), project.root.join("storage"));
    assert!(configuration.secrets.database_url().is_none());
}

#[test]
fn three_mistakes_in_three_documents_are_one_report() {
    let project = Project::new()
        .append("providers:\n  - name: a\n    limt: 3\n")
        .write("services/config/config.yaml", "settings:\n  agent_port_range: [80, 90]\n")
        .write("services/access-control/roles.yaml", "rules:\n  - allow: everybody\n  - allow: [nobody]\n");
    insta::assert_snapshot!(project.text(), @r"
    x Validation Failed
      Profile: /srv/.systemprompt/profiles/local/profile.yaml
      3 error(s) found:

      > services
        settings.agent_port_range
          error: must not go below port 1024, got 80
          path:  services/config/config.yaml:2:3

      > providers
        providers[0].limt
          error: is not a known key
          path:  .systemprompt/profiles/local/profile.yaml:20:5
          fix:   did you mean `limit`?

      > rules
        rules[1].allow
          error: must be a text, got a list
          path:  services/access-control/roles.yaml:3:5
    ");
}

#[test]
fn every_level_of_the_profile_is_strict() {
    for (text, expected) in [
        ("provders: []\n", "profile.yaml:18: provders: is not a known key"),
        ("runtime: {enviroment: test}\n", "profile.yaml:18: runtime.enviroment: is not a known key"),
        (
            "services: {port_offset: 70000}\n",
            "profile.yaml:18: services.port_offset: must be 65535 or less, got `70000`",
        ),
        ("extensions: {amce: {}}\n", "profile.yaml:18: extensions.amce: is not a known key"),
        ("target: cluod\n", "profile.yaml:18: target: must be one of `local`, `cloud`, got the text `cluod`"),
        ("cloud: []\n", "profile.yaml:18: cloud: must be a map, got a list"),
        ("name: again\n", "profile.yaml:18: name: the key `name` is given twice, first in line 1"),
        ("paths: !include x\n", "profile.yaml:18: paths: the key `paths` is given twice, first in line 12"),
        ("site_name: !include x\n", "profile.yaml:18: site_name: `!include` is for service documents only"),
    ] {
        let errors = Project::new().append(text).errors();
        assert!(errors.contains(&expected.to_owned()), "{text}: {errors:#?}");
    }
    let project =
        Project::new().profile(|profile| profile.replace("database: { type: postgres }", "database: { type: mysql }"));
    assert_eq!(project.errors(), ["profile.yaml:5: database.type: must be `postgres`, got the text `mysql`"]);
    let project = Project::new().profile(|profile| profile.replace("rate_limits: {}\n", ""));
    assert_eq!(project.errors(), ["profile.yaml:1: rate_limits: is required"]);
}

#[test]
fn a_mistake_in_one_part_does_not_hide_those_of_another() {
    let project = Project::new()
        .profile(|profile| profile.replace("port: 8080", "port: x").replace("[web, api]", "[mine]"))
        .append("rate_limits_: {}\n");
    assert_eq!(
        project.errors(),
        [
            "profile.yaml:8: server.port: must be a whole number, got the text `x`",
            "profile.yaml:16: security.jwt_audiences: must hold one of web, api, a2a, mcp, internal, bridge, hook",
            "profile.yaml:18: rate_limits_: is not a known key",
        ]
    );
}

#[test]
fn variables_become_what_their_fields_expect_and_nothing_else() {
    let project = Project::new()
        .profile(|profile| {
            profile.replace("port: 8080", "port: ${PORT:-8080}").replace("name: Demo", "name: '${SITE}'")
        })
        .append("providers: [{name: a, limit: '${LIMIT}', kind: '${KIND}'}]\nruntime: {no_color: '${PLAIN}'}\n")
        .variable("SITE", "x}, admin: {a: 1")
        .variable("LIMIT", "12")
        .variable("KIND", "demo")
        .variable("PLAIN", "true");
    let configuration = project.loaded();
    assert_eq!(configuration.profile.server.port, 8080);
    assert_eq!(configuration.profile.site.name, "x}, admin: {a: 1");
    assert!(configuration.profile.runtime.no_color);
    let providers: Vec<Provider> = configuration.section("providers").unwrap();
    assert_eq!(providers, [Provider { name: "a".to_owned(), limit: Some(12), kind: Kind::Demo }]);

    let unset = Project::new()
        .profile(|profile| profile.replace("port: 8080", "port: ${PORT}"))
        .append("providers: [{name: '${A}${B}', limit: '${LIMIT}'}]\n")
        .variable("LIMIT", "canary");
    assert_eq!(
        unset.errors(),
        [
            "profile.yaml:8: server.port: `PORT` is not set in the environment",
            "profile.yaml:18: providers[0].name: `A`, `B` are not set in the environment",
            "profile.yaml:18: providers[0].limit: must be a whole number, got a text that came from a variable",
        ]
    );
    assert!(!unset.text().contains("canary"));
}

#[test]
fn older_spellings_give_the_same_configuration_and_a_warning_each() {
    let modern = Project::new().append("runtime: {environment: staging, no_color: true, log_level: quiet}\n").loaded();
    let older = Project::new().append("environment: staging\nruntime: {colors: false, log_level: error}\n").loaded();
    assert_eq!(older.profile.runtime, modern.profile.runtime);
    let lines: Vec<_> = older.warnings().iter().filter(|p| p.code == "deprecated").map(|p| p.line.unwrap()).collect();
    assert_eq!(lines, [18, 19, 19]);
}

#[test]
fn sections_of_service_documents() {
    let project = Project::new()
        .write("services/access-control/b.yaml", "rules: [{allow: b}]\n")
        .write("services/access-control/a.yaml", "rules:\n  - allow: a\n")
        .write("services/governance/config.yaml", "governance:\n  enabled: ${ON}\n  token: ${ANTHROPIC_API_KEY}\n")
        .variable("ON", "true")
        .variable("ANTHROPIC_API_KEY", "sk-canary");
    let configuration = project.loaded();
    let rules: Vec<Rule> = configuration.section("rules").unwrap();
    assert_eq!(rules.iter().map(|rule| rule.allow.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let at = configuration.locate("rules", "/1/allow").unwrap();
    assert_eq!((at.file.as_ref(), at.line), (project.root.join("services/access-control/b.yaml").as_path(), 1));
    let governance: Governance = configuration.section("governance").unwrap();
    assert_eq!(governance, Governance { enabled: true, token: Some("sk-canary".to_owned()) });

    let problem = configuration.error("rules", "/1/allow", "nobody is called b");
    assert_eq!((problem.field.as_str(), problem.line, problem.domain.as_str()), ("rules[1].allow", Some(1), "rules"));

    let shown = configuration.to_value();
    assert_eq!(shown["documents"]["governance/config.yaml"]["governance"]["token"], "[redacted]");
    assert_eq!(shown["documents"]["access-control/*.yaml"]["rules"][0]["allow"], "a");
    assert_eq!(shown["profile"]["server"]["port"], 8080);
    assert_eq!(shown["services"]["settings"]["agent_port_range"], json!([9000, 9999]));
    assert!(!shown.to_string().contains("canary"));
}

#[test]
fn a_service_document_is_strict_and_its_absence_is_told() {
    let project = Project::new().write("services/governance/config.yaml", "governence: {}\n");
    assert_eq!(project.errors(), ["services/governance/config.yaml:1: governence: is not a known key"]);

    let project = Project::new();
    std::fs::remove_file(project.root.join("services/governance/config.yaml")).unwrap();
    let configuration = project.loaded();
    assert_eq!(configuration.warnings()[0].code, "missing_document");
    assert_eq!(configuration.section::<Governance>("governance").unwrap(), Governance::default());
}

#[test]
fn the_settings_of_an_extension_come_in_layers() {
    let project = Project::new()
        .write("services/config/acme.yaml", "url: http://shared\nlimit: 1\nnested: {a: 1, b: 1}\n")
        .append("extensions: {allow_env_overrides: true, acme: {limit: 2, nested: {b: 2}}}\n")
        .variable("SYSTEMPROMPT_EXT__ACME__LIMIT", "3");
    let configuration = project.loaded();
    let acme: Acme = configuration.section("acme").unwrap();
    let nested = Some(Nested { a: Some(1), b: Some(2) });
    assert_eq!(acme, Acme { url: Some("http://shared".to_owned()), limit: 3, nested });
    assert!(configuration.locate("acme", "/url").unwrap().file.ends_with("services/config/acme.yaml"));
    assert!(configuration.locate("acme", "/nested/b").unwrap().file.ends_with("profile.yaml"));
    assert_eq!(configuration.extension("acme").unwrap()["limit"], 3);

    assert_eq!(Project::new().loaded().extension("acme"), Some(&json!({})));
    let project = Project::new().write("services/config/acme.yaml", "urll: x\n");
    assert_eq!(project.errors(), ["services/config/acme.yaml:1: extensions.acme.urll: is not a known key"]);
}

#[test]
fn two_sections_of_one_key_are_asked_for_by_place() {
    let project = Project::new();
    let text = format!("{PROFILE}governance: {{ enabled: false }}\n");
    let project = project.write(".systemprompt/profiles/local/profile.yaml", &text);
    let mut sections = sections();
    let place = Place::Profile { key: "governance" };
    let schema = schemars::schema_for!(Governance).to_value();
    sections.push(SectionSpec { place: place.clone(), schema, extension: "acme" });
    let request = LoadRequest {
        home: Home::discover(None, &project.root).unwrap(),
        profile: None,
        environment: Environment::default(),
    };
    let configuration = Configuration::load(&request, &sections).unwrap();
    assert!(matches!(configuration.section::<Governance>("governance"), Err(SectionError::Ambiguous(_))));
    assert!(!configuration.section_at::<Governance>(&place).unwrap().enabled);
    let place = Place::Service { path: "governance/config.yaml", key: "governance" };
    assert!(configuration.section_at::<Governance>(&place).unwrap().enabled);
}

#[test]
fn secrets_and_an_unreadable_profile_are_part_of_the_report() {
    let project = Project::new().append("secrets: {validation: strict}\nproviders: 3\n");
    std::fs::write(project.root.join(".systemprompt/profiles/local/secrets.json"), "{\n  \"openai\": 5\n}").unwrap();
    assert_eq!(
        project.errors(),
        [
            "secrets.json:0: oauth_at_rest_pepper: is missing",
            "secrets.json:2: openai: must be a text",
            "profile.yaml:19: providers: must be a list, got `3`",
        ]
    );
    let project = Project::new().append("providers: [\n");
    assert_eq!(project.errors().len(), 1);
    let empty = Project::new();
    std::fs::remove_dir_all(empty.root.join(".systemprompt/profiles")).unwrap();
    assert_eq!(empty.load().unwrap_err().problems[0].code, "no_profile");
}

#[test]
fn the_environment_moves_the_services() {
    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(other.path().join("config")).unwrap();
    std::fs::write(other.path().join("config/config.yaml"), "agents: {elsewhere: {}}\n").unwrap();
    let path: &'static str = Box::leak(other.path().display().to_string().into_boxed_str());
    let configuration = Project::new().variable("SYSTEMPROMPT_SERVICES_PATH", path).loaded();
    assert!(configuration.services.get("agents").unwrap().get("elsewhere").is_some());
}

#[test]
fn the_json_schema_is_composed_of_the_types_and_describes_every_key() {
    let schema = systemprompt_config::json_schema(&sections());
    assert_eq!(schema["$defs"]["providers"]["items"]["$ref"], "#/$defs/providers/$defs/Provider");
    assert_eq!(
        schema["$defs"]["providers"]["$defs"]["Provider"]["properties"]["name"]["description"],
        "The unique name."
    );
    assert_eq!(schema["$defs"]["access-control/*.yaml"]["additionalProperties"], false);
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["$defs"]["Extensions"]["properties"]["acme"].is_object());

    for name in ["Server", "Security", "Paths", "Database", "Pool", "RateLimits", "Runtime", "Cloud", "SecretsSettings"]
    {
        for (key, property) in schema["$defs"][name]["properties"].as_object().unwrap() {
            assert!(property.get("description").is_some_and(Value::is_string), "{name}.{key}");
        }
    }
}
