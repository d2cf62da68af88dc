//! What each client needs: the settings, the files they stand in, and what is left to do by hand.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use systemprompt_config::{Configuration, Environment, environment};
use systemprompt_model::Secret;

use super::client::Client;
use super::document::Syntax;

/// The id our provider has in settings that name several.
const OURS: &str = "systemprompt";

/// What a client is pointed at.
pub(crate) struct Gateway {
    /// Its address, without the path of its endpoints.
    pub(crate) root: String,
    /// The path of its endpoints, `/v1` unless configured otherwise.
    pub(crate) prefix: String,
    /// The models the key may use, the one to begin with first.
    pub(crate) models: Vec<Model>,
    /// Whether somebody chose that one.
    pub(crate) chosen: bool,
    /// How the client's hooks are run, if they are wanted.
    pub(crate) hooks: Option<HookCommand>,
}

/// How a client's hooks reach the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HookCommand {
    /// Our program.
    pub(crate) program: PathBuf,
    /// The certificate the server shows, if no authority vouches for it.
    pub(crate) certificate: Option<PathBuf>,
}

impl HookCommand {
    /// The command line, and the part of it that it is known by.
    fn line(&self, purpose: &str, client: Client, url: &str) -> (String, String) {
        let mark = format!("hook {purpose} --client {}", client.name());
        let program = quoted(&self.program.display().to_string());
        let certificate = self.certificate.as_ref().map_or_else(String::new, |certificate| {
            format!(" --certificate {}", quoted(&certificate.display().to_string()))
        });
        (format!("{program} {mark} --url {}{certificate}", quoted(url)), mark)
    }
}

/// A model that is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    /// Its id.
    pub(crate) id: String,
    /// What people call it.
    pub(crate) name: String,
    /// When it was released, in seconds since 1970; 0 if that is not known.
    pub(crate) released: i64,
}

impl Gateway {
    /// The gateway of a project at this address, with no models yet.
    pub(crate) fn of(url: String, configuration: &Configuration) -> Self {
        let shown = configuration.to_value();
        let prefix = shown.pointer("/profile/gateway/inference_path_prefix").and_then(Value::as_str);
        let prefix = prefix.unwrap_or("/v1").to_owned();
        Self { root: url.trim_end_matches('/').to_owned(), prefix, models: Vec::new(), chosen: false, hooks: None }
    }

    /// The base URL of OpenAI clients.
    pub(crate) fn openai(&self) -> String {
        format!("{}{}", self.root, self.prefix)
    }

    /// The base URL of Anthropic clients, which add `/v1` themselves.
    pub(crate) fn anthropic(&self) -> String {
        format!("{}{}", self.root, self.prefix.strip_suffix("/v1").unwrap_or(&self.prefix))
    }

    /// The newest of the models whose ids begin like this, those of one day as they are listed.
    fn newest(&self, family: &str) -> Option<&str> {
        let of_family = self.models.iter().filter(|model| model.id.starts_with(family));
        let newest = of_family.reduce(|best, next| if next.released > best.released { next } else { best });
        newest.map(|model| model.id.as_str())
    }

    /// The model to begin with.
    fn model(&self) -> &str {
        self.models.first().map_or("MODEL", |model| &model.id)
    }
}

/// What is to be done for a client.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Its files.
    pub(crate) files: Vec<FilePlan>,
    /// Variables that do the same for one shell.
    pub(crate) shell: Vec<(&'static str, Assigned)>,
    /// What a person has to do, or to know.
    pub(crate) steps: Vec<String>,
}

/// What a variable of a shell is set to.
#[derive(Debug)]
pub(crate) enum Assigned {
    /// This text.
    Text(String),
    /// The key.
    Key,
}

/// A file and the settings it gets.
#[derive(Debug)]
pub(crate) struct FilePlan {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// How it is written.
    pub(crate) syntax: Syntax,
    /// What it gets.
    pub(crate) settings: Vec<Setting>,
}

/// A setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Where it stands.
    pub(crate) place: Vec<String>,
    /// What it is to be.
    pub(crate) wanted: Wanted,
}

/// What a setting is to be.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// This value.
    Value(Value),
    /// The API key itself, where a client cannot read it from a file of ours.
    Key,
    /// Absent, because it would win over what is set.
    Absent,
}

impl Wanted {
    /// The value, with the key in its place.
    pub(crate) fn with(&self, key: &Secret) -> Option<Value> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Key => Some(Value::from(key.expose())),
            Self::Absent => None,
        }
    }
}

impl FilePlan {
    fn new(path: PathBuf, syntax: Syntax) -> Self {
        Self { path, syntax, settings: Vec::new() }
    }

    fn with(mut self, place: &[&str], wanted: Wanted) -> Self {
        let place = place.iter().map(|step| (*step).to_owned()).collect();
        self.settings.push(Setting { place, wanted });
        self
    }

    fn value(self, place: &[&str], value: impl Into<Value>) -> Self {
        self.with(place, Wanted::Value(value.into()))
    }

    /// Whether the key itself is in it.
    pub(crate) fn holds_key(&self) -> bool {
        self.settings.iter().any(|setting| matches!(setting.wanted, Wanted::Key))
    }
}

/// Where settings of this user are.
pub(crate) struct Places {
    home: PathBuf,
    config: PathBuf,
    claude: Option<PathBuf>,
    codex: Option<PathBuf>,
    gemini: Option<PathBuf>,
}

impl Places {
    /// As the environment says. Nothing if it has no home directory.
    pub(crate) fn of(env: &Environment) -> Option<Self> {
        let path = |variable| env.get(variable).map(PathBuf::from);
        let home = path(environment::HOME).or_else(|| path(environment::USERPROFILE))?;
        Some(Self {
            config: path(environment::XDG_CONFIG_HOME).unwrap_or_else(|| home.join(".config")),
            claude: path(environment::CLAUDE_CONFIG_DIR),
            codex: path(environment::CODEX_HOME),
            gemini: path(environment::GEMINI_CLI_HOME),
            home,
        })
    }

    /// What we keep for a client: its key, and what was changed for it.
    pub(crate) fn of_client(&self, client: Client) -> PathBuf {
        self.config.join("systemprompt/connect").join(client.name())
    }
}

/// What `client` needs to use `gateway` with the key in `key_file`.
pub(crate) fn plan(client: Client, gateway: &Gateway, key_file: &Path, places: &Places) -> Plan {
    let key_file = key_file.display().to_string();
    match client {
        Client::ClaudeCode => claude_code(gateway, &key_file, places),
        Client::Codex => codex(gateway, &key_file, places),
        Client::Opencode => opencode(gateway, &key_file, places),
        Client::GeminiCli => gemini_cli(gateway, places),
        Client::Aider => aider(gateway, places),
        Client::Vscode => vscode(gateway, &key_file, places),
        Client::Cursor => cursor(gateway, &key_file),
        Client::Sdk => sdk(gateway, places),
    }
}

fn claude_code(gateway: &Gateway, key_file: &str, places: &Places) -> Plan {
    let directory = places.claude.clone().unwrap_or_else(|| places.home.join(".claude"));
    let mut settings = FilePlan::new(directory.join("settings.json"), Syntax::Json)
        .value(&["env", "ANTHROPIC_BASE_URL"], gateway.anthropic())
        // The list of models it offers is then the gateway's.
        .value(&["env", "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY"], "1")
        .value(&["apiKeyHelper"], format!("cat {}", quoted(key_file)))
        // Both would win over the helper.
        .with(&["env", "ANTHROPIC_AUTH_TOKEN"], Wanted::Absent)
        .with(&["env", "ANTHROPIC_API_KEY"], Wanted::Absent);
    let mut shell =
        vec![("ANTHROPIC_BASE_URL", Assigned::Text(gateway.anthropic())), ("ANTHROPIC_AUTH_TOKEN", Assigned::Key)];
    // It begins with, and does some of its work with, the newest models it knows of. Which of them are here, it cannot know.
    if !gateway.models.is_empty() {
        for (name, family) in [
            ("ANTHROPIC_DEFAULT_OPUS_MODEL", "claude-opus-"),
            ("ANTHROPIC_DEFAULT_SONNET_MODEL", "claude-sonnet-"),
            ("ANTHROPIC_DEFAULT_HAIKU_MODEL", "claude-haiku-"),
        ] {
            let model = gateway.newest(family).filter(|_| !gateway.chosen).unwrap_or_else(|| gateway.model());
            settings = settings.value(&["env", name], model);
            shell.push((name, Assigned::Text(model.to_owned())));
        }
    }
    if gateway.chosen || !gateway.model().starts_with("claude") {
        let model = gateway.model();
        settings = settings.value(&["env", "ANTHROPIC_MODEL"], model);
        shell.push(("ANTHROPIC_MODEL", Assigned::Text(model.to_owned())));
    }
    let mut steps = vec!["start `claude`; `/status` shows the base URL and the key helper".to_owned()];
    if let Some(hooks) = &gateway.hooks {
        settings = with_hooks(settings, hooks, &gateway.root);
        steps.push("`/hooks` shows what it asks the server before it uses a tool, and what it reports".to_owned());
    }
    Plan { files: vec![settings], shell, steps }
}

/// What Claude Code asks about before it goes on. Whatever goes wrong with the command, 2 is the status that stops it.
const ASKED: [&str; 2] = ["PreToolUse", "UserPromptSubmit"];
/// What it reports. Not what it does with worktrees: whoever hooks their creation has to do it instead.
const REPORTED: [&str; 14] = [
    "SessionStart",
    "SessionEnd",
    "PostToolUse",
    "PostToolUseFailure",
    "PermissionRequest",
    "Stop",
    "SubagentStart",
    "SubagentStop",
    "TaskCompleted",
    "TeammateIdle",
    "Notification",
    "ConfigChange",
    "PreCompact",
    "InstructionsLoaded",
];
/// How long it may wait, in seconds: longer than the command does, which then says no.
const HOOK_TIMEOUT: u32 = 60;

fn with_hooks(mut settings: FilePlan, hooks: &HookCommand, url: &str) -> FilePlan {
    for event in ASKED {
        let (line, mark) = hooks.line("govern", Client::ClaudeCode, url);
        let command = json!({"type": "command", "command": format!("{line} || exit 2"), "timeout": HOOK_TIMEOUT});
        settings = settings.value(&["hooks", event, &format!("[~{mark}]")], json!({"hooks": [command]}));
    }
    for event in REPORTED {
        let (line, mark) = hooks.line("track", Client::ClaudeCode, url);
        let command = json!({"type": "command", "command": line, "timeout": HOOK_TIMEOUT});
        settings = settings.value(&["hooks", event, &format!("[~{mark}]")], json!({"hooks": [command]}));
    }
    settings
}

fn codex(gateway: &Gateway, key_file: &str, places: &Places) -> Plan {
    let directory = places.codex.clone().unwrap_or_else(|| places.home.join(".codex"));
    let ours = |key| ["model_providers", OURS, key];
    let config = FilePlan::new(directory.join("config.toml"), Syntax::Toml)
        .value(&["model_provider"], OURS)
        .value(&["model"], gateway.model())
        .value(&ours("name"), OURS)
        .value(&ours("base_url"), gateway.openai())
        .value(&ours("wire_api"), "responses")
        .value(&["model_providers", OURS, "auth", "command"], "cat")
        .value(&["model_providers", OURS, "auth", "args"], json!([key_file]));
    Plan {
        files: vec![config],
        shell: Vec::new(),
        steps: vec!["start `codex`; it reads its configuration only then".to_owned()],
    }
}

fn opencode(gateway: &Gateway, key_file: &str, places: &Places) -> Plan {
    let directory = places.config.join("opencode");
    // Either name is read; where both are, the second is laid over the first.
    let with_comments = directory.join("opencode.jsonc");
    let path = if with_comments.exists() { with_comments } else { directory.join("opencode.json") };
    let models: serde_json::Map<_, _> =
        gateway.models.iter().map(|model| (model.id.clone(), json!({"name": model.name}))).collect();
    let provider = json!({
        "npm": "@ai-sdk/openai-compatible",
        "name": OURS,
        "options": {"baseURL": gateway.openai(), "apiKey": format!("{{file:{key_file}}}")},
        "models": models,
    });
    let config = FilePlan::new(path, Syntax::Json)
        .value(&["provider", OURS], provider)
        .value(&["model"], format!("{OURS}/{}", gateway.model()));
    Plan {
        files: vec![config],
        shell: Vec::new(),
        steps: vec!["start `opencode`; `/models` lists the gateway's".to_owned()],
    }
}

fn gemini_cli(gateway: &Gateway, places: &Places) -> Plan {
    let directory = places.gemini.clone().unwrap_or_else(|| places.home.clone()).join(".gemini");
    let variables = FilePlan::new(directory.join(".env"), Syntax::Variables)
        .value(&["GOOGLE_GEMINI_BASE_URL"], gateway.root.clone())
        .with(&["GEMINI_API_KEY"], Wanted::Key)
        .value(&["GEMINI_MODEL"], gateway.model());
    let settings = FilePlan::new(directory.join("settings.json"), Syntax::Json)
        .value(&["security", "auth", "selectedType"], "gemini-api-key");
    Plan {
        files: vec![variables, settings],
        shell: vec![
            ("GOOGLE_GEMINI_BASE_URL", Assigned::Text(gateway.root.clone())),
            ("GEMINI_API_KEY", Assigned::Key),
            ("GEMINI_MODEL", Assigned::Text(gateway.model().to_owned())),
        ],
        steps: vec![
            "start `gemini` in a folder that you have told it to trust, otherwise it reads no `.env`; one of the project \
             is read instead of this one"
                .to_owned(),
        ],
    }
}

fn aider(gateway: &Gateway, places: &Places) -> Plan {
    let model = format!("openai/{}", gateway.model());
    let config = FilePlan::new(places.home.join(".aider.conf.yml"), Syntax::Yaml)
        .value(&["openai-api-base"], gateway.openai())
        .with(&["openai-api-key"], Wanted::Key)
        .value(&["model"], model.clone());
    Plan {
        files: vec![config],
        shell: vec![
            ("OPENAI_API_BASE", Assigned::Text(gateway.openai())),
            ("OPENAI_API_KEY", Assigned::Key),
            ("AIDER_MODEL", Assigned::Text(model)),
        ],
        steps: vec![
            "start `aider`; models it does not know get a warning that `--no-show-model-warnings` turns off".to_owned(),
        ],
    }
}

fn vscode(gateway: &Gateway, key_file: &str, places: &Places) -> Plan {
    let directory = if cfg!(target_os = "macos") {
        places.home.join("Library/Application Support/Code/User")
    } else {
        places.config.join("Code/User")
    };
    let url = format!("{}/chat/completions", gateway.openai());
    let models: Vec<_> = gateway
        .models
        .iter()
        .map(|model| {
            json!({
                "id": model.id, "name": model.name, "url": url, "toolCalling": true, "vision": true,
                "maxInputTokens": 128_000, "maxOutputTokens": 16_000,
            })
        })
        .collect();
    let entry = json!({"name": OURS, "vendor": "customendpoint", "apiType": "chat-completions", "models": models});
    let named = format!("[{OURS}]");
    let config = FilePlan::new(directory.join("chatLanguageModels.json"), Syntax::Json).value(&[named.as_str()], entry);
    Plan {
        files: vec![config],
        shell: Vec::new(),
        steps: vec![
            format!(
                "in VS Code run `Chat: Manage Language Models`, choose the gear beside {OURS}, and give it the key in \
                 {key_file}: VS Code keeps keys itself, for this file may be synchronised"
            ),
            "choose one of its models in the chat's model picker".to_owned(),
        ],
    }
}

fn cursor(gateway: &Gateway, key_file: &str) -> Plan {
    Plan {
        files: Vec::new(),
        shell: Vec::new(),
        steps: vec![
            "in Cursor open Settings, Models, API Keys".to_owned(),
            format!("turn on `Override OpenAI Base URL` and enter {}", gateway.openai()),
            format!("enter the key in {key_file} as `OpenAI API Key` and verify it"),
            format!("add the model `{}` and choose it", gateway.model()),
            "Cursor's own servers make the requests, so the address must be one they reach: not this machine's"
                .to_owned(),
        ],
    }
}

fn sdk(gateway: &Gateway, places: &Places) -> Plan {
    let variables = [
        ("ANTHROPIC_BASE_URL", Assigned::Text(gateway.anthropic())),
        ("ANTHROPIC_API_KEY", Assigned::Key),
        ("OPENAI_BASE_URL", Assigned::Text(gateway.openai())),
        ("OPENAI_API_KEY", Assigned::Key),
        ("GOOGLE_GEMINI_BASE_URL", Assigned::Text(gateway.root.clone())),
        ("GEMINI_API_KEY", Assigned::Key),
    ];
    let path = places.of_client(Client::Sdk).join("sdk.env");
    let mut file = FilePlan::new(path.clone(), Syntax::Variables);
    for (name, assigned) in &variables {
        file = file.with(
            &[*name],
            match assigned {
                Assigned::Text(text) => Wanted::Value(Value::from(text.clone())),
                Assigned::Key => Wanted::Key,
            },
        );
    }
    Plan {
        files: vec![file],
        shell: variables.into(),
        steps: vec![
            format!(
                "`set -a; . {}` gives a shell what the libraries read by themselves",
                quoted(&path.display().to_string())
            ),
            format!("Anthropic(base_url=\"{}\", api_key=…)   Python and TypeScript alike", gateway.anthropic()),
            format!("OpenAI(base_url=\"{}\", api_key=…)", gateway.openai()),
            format!("genai.Client(api_key=…, http_options={{\"base_url\": \"{}\"}})", gateway.root),
        ],
    }
}

/// A path as one word of a shell.
pub(crate) fn quoted(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./@%+,:".contains(&byte);
    if path.bytes().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(models: &[(&str, i64)], chosen: bool) -> Gateway {
        let models = models.iter().map(|(id, released)| Model {
            id: (*id).to_owned(),
            name: (*id).to_owned(),
            released: *released,
        });
        Gateway { root: "http://g".to_owned(), prefix: "/v1".to_owned(), models: models.collect(), chosen, hooks: None }
    }

    fn variables(gateway: &Gateway) -> Vec<String> {
        let places = Places { home: "/h".into(), config: "/h/.config".into(), claude: None, codex: None, gemini: None };
        let plan = plan(Client::ClaudeCode, gateway, Path::new("/k"), &places);
        let settings = plan.files.iter().flat_map(|file| &file.settings);
        let models = settings.filter(|setting| setting.place.last().is_some_and(|name| name.ends_with("_MODEL")));
        models
            .map(|setting| match &setting.wanted {
                Wanted::Value(value) => format!("{}={}", setting.place[1], value.as_str().unwrap_or_default()),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn hooks_ask_before_tools_are_used_and_stop_whatever_goes_wrong() {
        let places = Places { home: "/h".into(), config: "/h/.config".into(), claude: None, codex: None, gemini: None };
        let hooks = HookCommand { program: "/opt/our tools/systemprompt".into(), certificate: Some("/c.pem".into()) };
        let with_hooks = Gateway { hooks: Some(hooks), ..gateway(&[], false) };
        let plan = plan(Client::ClaudeCode, &with_hooks, Path::new("/k"), &places);
        let settings: Vec<_> = plan.files[0].settings.iter().filter(|setting| setting.place[0] == "hooks").collect();
        assert_eq!(settings.len(), ASKED.len() + REPORTED.len());
        for setting in settings {
            let Wanted::Value(value) = &setting.wanted else { panic!("{setting:?}") };
            let command = value["hooks"][0]["command"].as_str().expect("a command");
            let asks = ASKED.contains(&setting.place[1].as_str());
            let purpose = if asks { "govern" } else { "track" };
            let line = format!(
                "'/opt/our tools/systemprompt' hook {purpose} --client claude-code --url http://g --certificate /c.pem"
            );
            assert_eq!(command, if asks { format!("{line} || exit 2") } else { line });
            let mark = setting.place[2].trim_start_matches("[~").trim_end_matches(']');
            assert!(command.contains(mark), "{mark}");
        }
    }

    #[test]
    fn claude_code_gets_models_that_are_here() {
        let opus = "ANTHROPIC_DEFAULT_OPUS_MODEL";
        let sonnet = "ANTHROPIC_DEFAULT_SONNET_MODEL";
        let haiku = "ANTHROPIC_DEFAULT_HAIKU_MODEL";
        let all = [("claude-sonnet-5", 5), ("claude-opus-4", 4), ("claude-opus-6", 6), ("gpt-x", 9)];
        for (models, chosen, expected) in [
            (&all[..], false, vec![(opus, "claude-opus-6"), (sonnet, "claude-sonnet-5"), (haiku, "claude-sonnet-5")]),
            (&all[3..], true, vec![(opus, "gpt-x"), (sonnet, "gpt-x"), (haiku, "gpt-x"), ("ANTHROPIC_MODEL", "gpt-x")]),
            (
                &all[..1],
                true,
                vec![
                    (opus, "claude-sonnet-5"),
                    (sonnet, "claude-sonnet-5"),
                    (haiku, "claude-sonnet-5"),
                    ("ANTHROPIC_MODEL", "claude-sonnet-5"),
                ],
            ),
            (&[], false, vec![("ANTHROPIC_MODEL", "MODEL")]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(name, model)| format!("{name}={model}")).collect();
            assert_eq!(variables(&gateway(models, chosen)), expected);
        }
    }
}
