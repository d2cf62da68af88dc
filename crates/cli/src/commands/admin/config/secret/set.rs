//! `admin config secret set`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use systemprompt_config::files::write_secret_file;
use systemprompt_config::{SecretOrigin, Secrets};
use systemprompt_model::Secret;

use crate::change::{About, Change, Changed, StateDigest};
use crate::connect::document::Syntax;
use crate::error::{CliError, CliResult, Exit};
use crate::given;
use crate::project::Invocation;
use crate::view::{Layout, Text, View};

/// Set a secret in the profile's secrets.json.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Its name, such as the `api_key_secret` of a provider.
    name: String,
    /// Its value; read from standard input unless given, so that neither `ps` nor the history of the shell see it.
    #[arg(value_parser = given::parse, default_value = "-", hide_default_value = true)]
    value: Secret,
}

impl Set {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        let project = invocation.project()?;
        let configuration = &project.configuration;
        let name = self.name.to_ascii_lowercase();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !name.bytes().all(plain) {
            return Err(CliError::invalid_value("the name of a secret has letters, digits and `_`"));
        }
        let value = given::secret(Some(self.value), "the secret")?.filter(|value| !value.expose().is_empty());
        let value = value.ok_or_else(|| CliError::invalid_value("the value is empty"))?;
        let file = configuration.profile_path(&configuration.profile.secrets.secrets_path);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(CliError::from_error("secrets_invalid", &error).exit(Exit::Configuration)),
        };
        // Under the name it has there already, whichever of its names that is.
        let known: Value = serde_json::from_str(&text).unwrap_or_default();
        let same = |key: &&String| Secrets::same_name(key, &name);
        let key = known.as_object().and_then(|map| map.keys().find(same)).cloned().unwrap_or_else(|| name.clone());
        let written = Syntax::Json.set(&text, &[key], Some(&Value::from(value.expose())));
        let written =
            written.map_err(|error| CliError::from_error("secrets_invalid", &error).exit(Exit::Configuration))?;
        let change = Change::new("secret.set", About::new("secret", &name), &json!({"name": name}));
        let write = async || {
            write_secret_file(&file, written.as_bytes())
                .map_err(|error| CliError::from_error("secrets_not_written", &error).exit(Exit::Configuration))?;
            // Of the fact alone: a digest of a short secret would give it away.
            Ok(Changed { before: None, after: Some(StateDigest::of(&name)), value: () })
        };
        let recorded = invocation.with_database(async |database| invocation.change(database, change, write).await);
        Box::pin(recorded).await?;
        let hidden = configuration.secrets.origin(&name) == Some(SecretOrigin::Environment);
        invocation.printer.show(&Written { name, file, hidden });
        Ok(())
    }
}

#[derive(Serialize)]
struct Written {
    name: String,
    file: PathBuf,
    /// Whether a variable of the environment wins over it.
    hidden: bool,
}

impl View for Written {
    fn text(&self, _: Layout) -> Text {
        let mut lines = vec![Text::line(format!("The secret `{}` is in {}.", self.name, self.file.display()))];
        if self.hidden {
            lines.push(Text::line("A variable of this environment sets it too, and wins."));
        }
        Text::below(lines)
    }
}
