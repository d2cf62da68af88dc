//! The home a test's server starts from, as `systemprompt up` would leave one: a profile, secrets, the services tree.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use serde_json::{Map, Value, json};
use systemprompt_config::Home;
use systemprompt_model::Secret;

/// The name of the profile.
pub(super) const PROFILE: &str = "test";

/// What a test wants in its project besides what every project has.
#[derive(Clone)]
pub(super) struct TestProject {
    profile: Value,
    documents: BTreeMap<String, Value>,
    secrets: Value,
}

impl Default for TestProject {
    fn default() -> Self {
        let everybody = json!([{"entity_type": "gateway_route", "entity_match": "*", "roles": ["user", "admin"]}]);
        Self {
            profile: json!({}),
            documents: BTreeMap::from([
                ("config/config.yaml".to_owned(), json!({})),
                ("access-control/roles.yaml".to_owned(), json!({"rules": everybody})),
            ]),
            secrets: json!({"oauth_at_rest_pepper": "a pepper that only tests would ever use"}),
        }
    }
}

impl TestProject {
    /// Puts a value at a top-level key of the profile, joined with what is there.
    pub(super) fn set(&mut self, key: &str, value: Value) {
        join(&mut self.profile, object(key, value));
    }

    /// Puts a document below `services/`, instead of one of the same name.
    pub(super) fn add_document(&mut self, path: &str, value: Value) {
        self.documents.insert(path.to_owned(), value);
    }

    /// Adds a secret.
    pub(super) fn add_secret(&mut self, name: &str, value: &str) {
        join(&mut self.secrets, json!({ name: value }));
    }

    /// Writes the project of a server at this address with this database. YAML is a superset of JSON, so the documents are
    /// JSON.
    pub(super) fn write(&self, directory: &Path, address: SocketAddr, database_url: &Secret) -> Home {
        let home = Home::at(directory.join(".systemprompt"));
        let mut profile = usual_profile(address);
        join(&mut profile, self.profile.clone());
        write(&home.profile_file(PROFILE), &profile);
        let mut secrets = json!({"database_url": database_url.expose()});
        join(&mut secrets, self.secrets.clone());
        let file = home.secrets_file(PROFILE);
        systemprompt_config::files::write_secret_file(&file, secrets.to_string().as_bytes())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        std::fs::create_dir(directory.join("bin")).expect("a new directory in a temporary one");
        for (path, document) in &self.documents {
            write(&directory.join("services").join(path), document);
        }
        home
    }

    /// An address for a project nobody will serve.
    pub(super) const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
}

fn usual_profile(address: SocketAddr) -> Value {
    let url = format!("http://{address}");
    json!({
        "name": PROFILE,
        "display_name": "Test",
        "site": { "name": "Test" },
        "system_admin": { "username": "admin", "email": "admin@example.com" },
        "database": { "type": "postgres" },
        "server": {
            "host": address.ip().to_string(),
            "port": address.port(),
            "api_server_url": url,
            "api_internal_url": url,
            "api_external_url": url,
            "use_https": false,
            "cors_allowed_origins": [],
            // A test says itself when its files are to be read again.
            "watch_configuration": false,
        },
        "paths": { "system": "../../..", "services": "../../../services", "bin": "../../../bin" },
        "security": {
            "jwt_access_token_expiration": 3600,
            "jwt_refresh_token_expiration": 86400,
            "jwt_audiences": ["api"],
        },
        "rate_limits": { "disabled": true },
        "providers": [{ "name": "demo", "wire": "demo", "surface": "anthropic" }],
        "gateway": { "enabled": true },
    })
}

fn write(path: &Path, document: &Value) {
    let directory = path.parent().expect("a file is in a directory");
    let written = std::fs::create_dir_all(directory).and_then(|()| std::fs::write(path, document.to_string()));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// A map of one entry.
pub(super) fn object(key: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), value)]))
}

/// Puts `addition` over `value`: maps are joined, anything else is replaced.
fn join(value: &mut Value, addition: Value) {
    match (value, addition) {
        (Value::Object(value), Value::Object(addition)) => {
            for (key, addition) in addition {
                join(value.entry(key).or_insert_with(|| Value::Object(Map::new())), addition);
            }
        }
        (value, addition) => *value = addition,
    }
}
