//! Where a deployment's model is asked: the prefix of LiteLLM's model name and the parameters that say where it runs and how
//! to sign in, as a provider without a name.

use std::cell::RefCell;

use serde_json::{Map, Value, json};
use systemprompt_config::Secrets;
use url::Url;

use super::written::{Provider, Unmapped};

/// Where a model is asked.
pub(super) struct Place {
    /// What providers of the kind are called.
    pub(super) kind: String,
    pub(super) provider: Provider,
    /// The model's name there.
    pub(super) upstream: String,
    /// The secrets it needs, with where LiteLLM had them.
    pub(super) secrets: Vec<(String, String)>,
    /// What of it has no place, or needs a look.
    pub(super) notes: Vec<Unmapped>,
}

/// The parameters of a deployment, and where they stand.
pub(super) struct Parameters<'a> {
    pub(super) all: &'a Map<String, Value>,
    pub(super) at: String,
    pub(super) literals: &'a Literals,
}

/// Keys that stand in the configuration itself. Each has the name of a secret of its own; their values are only compared.
#[derive(Default)]
pub(super) struct Literals(RefCell<Vec<(String, String)>>);

impl Literals {
    /// The name for this value: `usual` for the first of its kind, a numbered one for each other.
    fn name(&self, usual: &str, value: &str) -> String {
        let mut known = self.0.borrow_mut();
        let same = known.iter().filter(|(kind, _)| kind == usual);
        let number = match same.clone().position(|(_, known)| known == value) {
            Some(at) => at + 1,
            None => same.count() + 1,
        };
        if !known.iter().any(|(kind, known)| kind == usual && known == value) {
            known.push((usual.to_owned(), value.to_owned()));
        }
        if number == 1 { usual.to_owned() } else { format!("{usual}_{number}") }
    }
}

/// Names of parameters that places are made of.
pub(super) const READ: [&str; 25] = [
    "api_key",
    "api_base",
    "base_url",
    "api_version",
    "tenant_id",
    "client_id",
    "client_secret",
    "azure_ad_token",
    "aws_region_name",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_session_name",
    "aws_role_name",
    "aws_web_identity_token",
    "aws_profile_name",
    "aws_bedrock_runtime_endpoint",
    "vertex_project",
    "vertex_location",
    "vertex_credentials",
    "vertex_ai_project",
    "vertex_ai_location",
    "vertex_ai_credentials",
    "custom_llm_provider",
    "model",
];

/// What a LiteLLM model prefix stands for: wire, surface, endpoint, variable of the key.
const KINDS: &[(&str, &str, &str, &str, &str)] = &[
    ("openai", "openai-chat", "openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    ("anthropic", "anthropic", "anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    ("gemini", "gemini", "gemini", "https://generativelanguage.googleapis.com/v1beta", "GEMINI_API_KEY"),
    ("groq", "openai-chat", "openai", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    ("mistral", "openai-chat", "openai", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    ("deepseek", "openai-chat", "openai", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    ("openrouter", "openai-chat", "openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    ("together_ai", "openai-chat", "openai", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    ("fireworks_ai", "openai-chat", "openai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
    ("xai", "openai-chat", "openai", "https://api.x.ai/v1", "XAI_API_KEY"),
    ("perplexity", "openai-chat", "openai", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    ("ollama", "openai-chat", "openai", "http://localhost:11434/v1", ""),
    ("ollama_chat", "openai-chat", "openai", "http://localhost:11434/v1", ""),
    ("hosted_vllm", "openai-chat", "openai", "", ""),
    ("openai_like", "openai-chat", "openai", "", ""),
    ("custom_openai", "openai-chat", "openai", "", ""),
    ("lm_studio", "openai-chat", "openai", "http://localhost:1234/v1", ""),
];

impl Parameters<'_> {
    /// Where the model of this name, behind this prefix, is asked; or why that is not known.
    pub(super) fn place(&self, prefix: &str, upstream: &str) -> Result<Place, Unmapped> {
        match prefix {
            "azure" | "azure_text" => self.azure(upstream),
            "azure_ai" => self.foundry(upstream),
            "bedrock" | "bedrock_converse" => self.bedrock(prefix, upstream),
            "vertex_ai" | "vertex_ai_beta" => self.vertex(upstream),
            _ => self.compatible(prefix, upstream),
        }
    }

    fn compatible(&self, prefix: &str, upstream: &str) -> Result<Place, Unmapped> {
        let Some((kind, wire, surface, usual, variable)) = KINDS.iter().find(|kind| kind.0 == prefix).copied() else {
            let note = "this kind of provider is not known; add it with `admin config catalog provider add`";
            return Err(self.unmapped("model", note));
        };
        let endpoint = self.base()?.unwrap_or(usual).trim_end_matches('/').to_owned();
        if endpoint.is_empty() {
            return Err(self.unmapped("api_base", "it is missing, and this kind of provider has no usual one"));
        }
        let endpoint = if kind == "anthropic" && !endpoint.ends_with("/v1") { endpoint + "/v1" } else { endpoint };
        let mut place = Place::new(kind, wire, surface, upstream);
        place.provider.endpoint = Some(endpoint);
        place.provider.api_key_secret = place.needs(self.secret("api_key", variable, &format!("{}_key", word(kind))));
        Ok(place)
    }

    fn azure(&self, upstream: &str) -> Result<Place, Unmapped> {
        let Some(base) = self.base()? else {
            return Err(self.unmapped("api_base", "it is missing: write the address of the resource"));
        };
        let (wire, upstream) = match upstream.split_once('/') {
            Some(("responses", deployment)) => ("openai-responses", deployment),
            // What these say, the deployment is known by.
            Some(("o_series" | "gpt5_series", deployment)) => ("openai-chat", deployment),
            _ => ("openai-chat", upstream),
        };
        let mut place = Place::new("azure", wire, "openai", upstream);
        place.provider.endpoint = Some(format!("{}/openai/v1", self.origin(base)?));
        place.notes.extend(self.path_left_out(base));
        self.sign_in_at_azure(&mut place, "AZURE_API_KEY")?;
        if self.has("api_version") {
            place.notes.push(self.unmapped("api_version", "the endpoint `/openai/v1` has none"));
        }
        Ok(place)
    }

    fn foundry(&self, upstream: &str) -> Result<Place, Unmapped> {
        let Some(base) = self.base()? else {
            return Err(self.unmapped("api_base", "it is missing: write the address of the resource"));
        };
        let origin = self.origin(base)?;
        let (wire, surface, endpoint) = if is_claude(upstream) {
            ("anthropic", "anthropic", format!("{origin}/anthropic/v1"))
        } else if origin.ends_with(".models.ai.azure.com") {
            ("openai-chat", "openai", format!("{origin}/v1"))
        } else {
            ("openai-chat", "openai", format!("{origin}/openai/v1"))
        };
        let mut place = Place::new("azure-ai", wire, surface, upstream);
        place.provider.endpoint = Some(endpoint);
        place.notes.extend(self.path_left_out(base));
        self.sign_in_at_azure(&mut place, "AZURE_AI_API_KEY")?;
        if origin.ends_with(".models.ai.azure.com") && place.provider.auth == Some("header:api-key") {
            place.provider.auth = Some("bearer");
        }
        Ok(place)
    }

    /// `variable`: where LiteLLM looks for a key that is not there.
    fn sign_in_at_azure(&self, place: &mut Place, variable: &str) -> Result<(), Unmapped> {
        if self.has("azure_ad_token") {
            let note = "a token runs out: name the application with tenant_id, client_id and client_secret instead";
            return Err(self.unmapped("azure_ad_token", note));
        }
        if !["tenant_id", "client_id", "client_secret"].into_iter().any(|key| self.has(key)) {
            place.provider.auth = Some("header:api-key");
            place.provider.api_key_secret = place.needs(self.secret("api_key", variable, "azure_key"));
            return Ok(());
        }
        let needed = |key| match self.plain(key)? {
            Some(value) => Ok(value),
            None => Err(self.unmapped(key, "it is missing, and belongs to the other two")),
        };
        place.provider.auth = Some("entra");
        place.provider.identity = Some(json!({"tenant_id": needed("tenant_id")?, "client_id": needed("client_id")?}));
        place.provider.api_key_secret =
            place.needs(self.secret("client_secret", "AZURE_CLIENT_SECRET", "azure_client_secret"));
        Ok(())
    }

    fn bedrock(&self, prefix: &str, upstream: &str) -> Result<Place, Unmapped> {
        let (api, upstream) = match upstream.split_once('/') {
            Some((api @ ("converse" | "invoke"), model)) => (Some(api), model),
            _ => (None, upstream),
        };
        let (in_path, upstream) = match upstream.split_once('/') {
            Some((region, model)) if is_region(region) => (Some(region), model),
            _ => (None, upstream),
        };
        let is_claude = is_claude(upstream);
        let converses = prefix == "bedrock_converse" || api == Some("converse") || !is_claude;
        let wire = if converses { "bedrock-converse" } else { "bedrock-anthropic" };
        let Some(region) = self.plain("aws_region_name")?.or(in_path) else {
            return Err(self.unmapped("aws_region_name", "it is missing, and requests are signed for a region"));
        };
        let mut place = Place::new("bedrock", wire, if is_claude { "anthropic" } else { "openai" }, upstream);
        place.provider.region = Some(region.to_owned());
        place.provider.endpoint = self.plain("aws_bedrock_runtime_endpoint")?.map(str::to_owned);
        if self.has("api_key") {
            place.provider.auth = Some("bearer");
            place.provider.api_key_secret = place.needs(self.secret("api_key", "", "bedrock_key"));
        } else if self.has("aws_role_name") || self.has("aws_web_identity_token") {
            let file = self.plain("aws_web_identity_token")?.filter(|token| token.starts_with('/'));
            let (Some(role), Some(file)) = (self.plain("aws_role_name")?, file) else {
                let note = "a role is taken on with a web identity: write `identity: { source: token_file, role_arn, token_file }`";
                return Err(self.unmapped("aws_role_name", note));
            };
            let mut identity = json!({"source": "token_file", "role_arn": role, "token_file": file});
            if let Some(name) = self.plain("aws_session_name")? {
                identity["session_name"] = name.into();
            }
            place.provider.identity = Some(identity);
        } else if self.has("aws_access_key_id") || self.has("aws_secret_access_key") {
            let mut identity = Map::new();
            for (key, ours, variable) in [
                ("aws_access_key_id", "access_key_id_secret", "AWS_ACCESS_KEY_ID"),
                ("aws_secret_access_key", "secret_access_key_secret", "AWS_SECRET_ACCESS_KEY"),
                ("aws_session_token", "session_token_secret", ""),
            ] {
                if let Some(name) = place.needs(self.secret(key, variable, key)) {
                    identity.insert(ours.to_owned(), name.into());
                }
            }
            place.provider.identity = Some(Value::Object(identity));
        } else {
            place.provider.identity = Some(json!({"source": "metadata"}));
            let (key, note) = if self.has("aws_profile_name") {
                (
                    "aws_profile_name",
                    "profiles are not read here: the role of the machine is written, or name secrets under `identity`",
                )
            } else {
                ("model", "it has no keys: the role of the machine is written, or name secrets under `identity`")
            };
            place.notes.push(self.unmapped(key, note));
        }
        Ok(place)
    }

    fn vertex(&self, upstream: &str) -> Result<Place, Unmapped> {
        let upstream =
            upstream.strip_prefix("anthropic/").or_else(|| upstream.strip_prefix("google/")).unwrap_or(upstream);
        let (wire, surface) = if upstream.starts_with("claude") {
            ("vertex-anthropic", "anthropic")
        } else if upstream.starts_with("gemini") {
            ("vertex-gemini", "gemini")
        } else {
            return Err(self.unmapped("model", "of Vertex AI only the models of Anthropic and Google are asked"));
        };
        let either = |one, other| Ok::<_, Unmapped>(self.plain(one)?.or(self.plain(other)?));
        let Some(project) = either("vertex_project", "vertex_ai_project")? else {
            return Err(self.unmapped("vertex_project", "it is missing: write the id of the Google Cloud project"));
        };
        let mut place = Place::new("vertex", wire, surface, upstream);
        place.provider.project = Some(project.to_owned());
        // Where LiteLLM asks if it is not told.
        place.provider.location =
            Some(either("vertex_location", "vertex_ai_location")?.unwrap_or("us-central1").to_owned());
        let key = if self.has("vertex_credentials") { "vertex_credentials" } else { "vertex_ai_credentials" };
        match self.text(key) {
            None => {
                place.provider.identity = Some(json!({"source": "metadata"}));
                let note = "it has no credentials: the service account of the machine is written, or name a secret";
                place.notes.push(self.unmapped("model", note));
            }
            Some(file) if !file.starts_with(VARIABLE) && !file.trim_start().starts_with('{') => {
                let origin = format!("the text of the file that {}.{key} names", self.at);
                place.provider.api_key_secret = place.needs(Some((self.literals.name("google_cloud", file), origin)));
            }
            Some(_) => place.provider.api_key_secret = place.needs(self.secret(key, "", "google_cloud")),
        }
        Ok(place)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.all.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn has(&self, key: &str) -> bool {
        self.text(key).is_some()
    }

    /// A value that is no secret. In a variable, it is not here to be written.
    fn plain(&self, key: &str) -> Result<Option<&str>, Unmapped> {
        match self.text(key) {
            Some(text) if text.starts_with(VARIABLE) => {
                Err(self
                    .unmapped(key, "it is no secret, and the profile has no variables: write its value in the file"))
            }
            text => Ok(text),
        }
    }

    fn base(&self) -> Result<Option<&str>, Unmapped> {
        Ok(self.plain("api_base")?.or(self.plain("base_url")?))
    }

    /// The address without its path.
    fn origin(&self, base: &str) -> Result<String, Unmapped> {
        let parsed = Url::parse(base).ok().map(|url| url.origin()).filter(url::Origin::is_tuple);
        parsed
            .map(|origin| origin.ascii_serialization())
            .ok_or_else(|| self.unmapped("api_base", "it is no address; write one such as https://x.openai.azure.com"))
    }

    /// That the address of a resource leads through something else, if it does: what stands behind its host is ours to write.
    fn path_left_out(&self, base: &str) -> Option<Unmapped> {
        let path = Url::parse(base).ok()?.path().trim_end_matches('/').to_owned();
        let first = path.split('/').nth(1).unwrap_or_default();
        let is_usual = ["openai", "anthropic", "models", "v1"].contains(&first);
        (!path.is_empty() && !is_usual).then(|| {
            self.unmapped(
                "api_base",
                &format!("its path `{path}` is left out; write the whole address under `endpoint`"),
            )
        })
    }

    /// The name of the secret for a key, with where LiteLLM had it: the variable that is named, a secret of this name for a
    /// value, or the usual variable. Nothing where no key is needed.
    fn secret(&self, key: &str, variable: &str, name: &str) -> Option<(String, String)> {
        let of_variable = |variable: &str| (Secrets::name_of(variable), format!("the variable {variable}"));
        match self.text(key) {
            Some(reference) => match reference.strip_prefix(VARIABLE) {
                Some(variable) => Some(of_variable(variable)),
                // What people write where a server wants no key.
                None if variable.is_empty() && reference.len() < 8 => None,
                // Its value stays where it is.
                None => Some((self.literals.name(name, reference), format!("the value of {}.{key}", self.at))),
            },
            None if variable.is_empty() => None,
            None => Some(of_variable(variable)),
        }
    }

    /// That a parameter has no place, or needs a look.
    pub(super) fn unmapped(&self, key: &str, note: &str) -> Unmapped {
        Unmapped { path: format!("{}.{key}", self.at), note: note.to_owned() }
    }
}

/// How LiteLLM names a variable of the environment.
const VARIABLE: &str = "os.environ/";

impl Place {
    fn new(kind: &str, wire: &'static str, surface: &'static str, upstream: &str) -> Self {
        let provider = Provider { wire, surface, ..Provider::default() };
        let (secrets, notes) = (Vec::new(), Vec::new());
        Self { kind: kind.to_owned(), provider, upstream: upstream.to_owned(), secrets, notes }
    }

    /// Notes a secret, and gives its name.
    fn needs(&mut self, secret: Option<(String, String)>) -> Option<String> {
        let (name, origin) = secret?;
        self.secrets.push((name.clone(), origin));
        Some(name)
    }
}

/// The name of a kind as it stands in the name of a secret.
fn word(kind: &str) -> String {
    kind.replace('_', "-")
}

fn is_claude(model: &str) -> bool {
    model.starts_with("claude") || model.contains("anthropic.claude")
}

/// Whether it looks like a region of AWS: `eu-central-1`, `us-gov-west-1`.
fn is_region(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    parts.len() >= 3
        && parts[0].len() == 2
        && parts.last().is_some_and(|last| last.len() == 1 && last.bytes().all(|byte| byte.is_ascii_digit()))
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(model: &str, parameters: Value) -> Result<Place, Unmapped> {
        let Value::Object(all) = parameters else { panic!("an object") };
        let (prefix, upstream) = model.split_once('/').expect("a prefix");
        Parameters { all: &all, at: "p".to_owned(), literals: &Literals::default() }.place(prefix, upstream)
    }

    #[track_caller]
    fn check(model: &str, parameters: Value, expected: &Value, upstream: &str, secrets: &[&str], notes: &[&str]) {
        let place = place(model, parameters).unwrap_or_else(|error| panic!("{error:?}"));
        let mut written = serde_json::to_value(&place.provider).expect("JSON");
        written.as_object_mut().expect("an object").remove("name");
        assert_eq!(&written, expected);
        assert_eq!(place.upstream, upstream);
        assert_eq!(place.secrets.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), secrets);
        assert_eq!(place.notes.iter().map(|note| note.path.as_str()).collect::<Vec<_>>(), notes);
    }

    #[test]
    fn azure_is_asked_at_its_own_address() {
        check(
            "azure/my-gpt",
            json!({"api_base": "https://x.openai.azure.com/openai/deployments/y", "api_version": "2025-01-01",
                "api_key": "os.environ/MY_AZURE_KEY"}),
            &json!({"wire": "openai-chat", "surface": "openai", "endpoint": "https://x.openai.azure.com/openai/v1",
                "auth": "header:api-key", "api_key_secret": "my_azure_key"}),
            "my-gpt",
            &["my_azure_key"],
            &["p.api_version"],
        );
        check(
            "azure/responses/my-gpt",
            json!({"api_base": "https://x.openai.azure.com", "tenant_id": "t", "client_id": "c",
                "client_secret": "os.environ/ENTRA"}),
            &json!({"wire": "openai-responses", "surface": "openai", "endpoint": "https://x.openai.azure.com/openai/v1",
                "auth": "entra", "api_key_secret": "entra", "identity": {"tenant_id": "t", "client_id": "c"}}),
            "my-gpt",
            &["entra"],
            &[],
        );
        check(
            "azure/my-gpt",
            json!({"api_base": "https://apim.corp/openai-proxy/x", "api_key": "os.environ/MY_AZURE_KEY"}),
            &json!({"wire": "openai-chat", "surface": "openai", "endpoint": "https://apim.corp/openai/v1",
                "auth": "header:api-key", "api_key_secret": "my_azure_key"}),
            "my-gpt",
            &["my_azure_key"],
            &["p.api_base"],
        );
        check(
            "azure_ai/claude-sonnet-5",
            json!({"api_base": "https://x.services.ai.azure.com/anthropic", "api_key": "os.environ/FOUNDRY"}),
            &json!({"wire": "anthropic", "surface": "anthropic",
                "endpoint": "https://x.services.ai.azure.com/anthropic/v1", "auth": "header:api-key",
                "api_key_secret": "foundry"}),
            "claude-sonnet-5",
            &["foundry"],
            &[],
        );
    }

    #[test]
    fn bedrock_is_asked_in_its_region_as_its_model_wants() {
        check(
            "bedrock/eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
            json!({"aws_region_name": "eu-central-1", "aws_access_key_id": "os.environ/AWS_ID",
                "aws_secret_access_key": "literal-and-long-enough"}),
            &json!({"wire": "bedrock-anthropic", "surface": "anthropic", "region": "eu-central-1",
                "identity": {"access_key_id_secret": "aws_id", "secret_access_key_secret": "aws_secret_access_key"}}),
            "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
            &["aws_id", "aws_secret_access_key"],
            &[],
        );
        check(
            "bedrock/converse/us-east-1/meta.llama3-70b-instruct-v1:0",
            json!({}),
            &json!({"wire": "bedrock-converse", "surface": "openai", "region": "us-east-1",
                "identity": {"source": "metadata"}}),
            "meta.llama3-70b-instruct-v1:0",
            &[],
            &["p.model"],
        );
        check(
            "bedrock/anthropic.claude-x",
            json!({"aws_region_name": "us-east-1", "aws_role_name": "arn:aws:iam::1:role/r",
                "aws_web_identity_token": "/var/run/token", "aws_session_name": "s"}),
            &json!({"wire": "bedrock-anthropic", "surface": "anthropic", "region": "us-east-1", "identity":
                {"source": "token_file", "role_arn": "arn:aws:iam::1:role/r", "token_file": "/var/run/token",
                    "session_name": "s"}}),
            "anthropic.claude-x",
            &[],
            &[],
        );
    }

    #[test]
    fn vertex_is_asked_in_its_project() {
        check(
            "vertex_ai/claude-sonnet-4-5@20250929",
            json!({"vertex_project": "my-project", "vertex_location": "europe-west1", "vertex_credentials": "/keys/sa.json"}),
            &json!({"wire": "vertex-anthropic", "surface": "anthropic", "project": "my-project",
                "location": "europe-west1", "api_key_secret": "google_cloud"}),
            "claude-sonnet-4-5@20250929",
            &["google_cloud"],
            &[],
        );
        check(
            "vertex_ai/gemini-2.5-pro",
            json!({"vertex_ai_project": "my-project"}),
            &json!({"wire": "vertex-gemini", "surface": "gemini", "project": "my-project", "location": "us-central1",
                "identity": {"source": "metadata"}}),
            "gemini-2.5-pro",
            &[],
            &["p.model"],
        );
    }

    #[test]
    fn what_is_not_known_is_said_where_it_stands() {
        for (model, parameters, path) in [
            ("azure/x", json!({}), "p.api_base"),
            ("azure/x", json!({"api_base": "os.environ/BASE"}), "p.api_base"),
            ("azure/x", json!({"api_base": "not an address"}), "p.api_base"),
            ("azure/x", json!({"api_base": "https://x", "tenant_id": "t"}), "p.client_id"),
            ("azure/x", json!({"api_base": "https://x", "azure_ad_token": "t"}), "p.azure_ad_token"),
            ("bedrock/x", json!({}), "p.aws_region_name"),
            ("bedrock/x", json!({"aws_region_name": "us-east-1", "aws_role_name": "r"}), "p.aws_role_name"),
            ("vertex_ai/gemini-x", json!({}), "p.vertex_project"),
            ("vertex_ai/meta/llama", json!({"vertex_project": "p"}), "p.model"),
            ("sagemaker/x", json!({}), "p.model"),
            ("hosted_vllm/x", json!({}), "p.api_base"),
        ] {
            let error = place(model, parameters).err().unwrap_or_else(|| panic!("{model} has a place"));
            assert_eq!(error.path, path, "{model}: {error:?}");
        }
    }
}
