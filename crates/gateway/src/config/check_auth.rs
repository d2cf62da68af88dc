//! What must hold of how a provider is authenticated at, and of the keys that only some wires and ways know.

use url::Url;

use super::address::{check_endpoint, check_token_url};
use super::auth::{Auth, IdentityConfig, IdentitySource};
use super::provider::ProviderConfig;
use super::surroundings::Surroundings;
use super::wire::ProviderWire;

/// One thing that is wrong with a provider: the field below it, what is wrong, how to mend it.
pub(super) type Wrong = (String, String, &'static str);

const NO_EFFECT: &str = "remove the key";

/// Every mistake in how `provider` is authenticated at.
pub(super) fn check_auth(provider: &ProviderConfig, around: &Surroundings) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let auth = provider.authentication();
    check_place(provider, &auth, &mut wrong);
    check_switches(provider, &mut wrong);
    check_secrets(provider, &auth, around, &mut wrong);
    match &provider.identity {
        Some(identity) if auth.is_identity() => check_identity(provider, &auth, identity, around, &mut wrong),
        Some(_) => wrong.push((
            "identity".to_owned(),
            format!("`auth: {auth}` shows a key as it is and knows no identity"),
            "remove the key, or set auth to sigv4, gcp or entra",
        )),
        None if auth == Auth::Entra => wrong.push((
            "identity/tenant_id".to_owned(),
            "the tenant and the application are not named".to_owned(),
            "add identity: { tenant_id, client_id }, or identity: { source: metadata } for a managed identity",
        )),
        None => {}
    }
    wrong
}

fn check_place(provider: &ProviderConfig, auth: &Auth, wrong: &mut Vec<Wrong>) {
    let wire = provider.wire;
    let keys = [
        ("region", &provider.region, wire.is_bedrock() || *auth == Auth::SigV4, "such as eu-central-1"),
        ("project", &provider.project, wire.is_vertex(), "the id of the Google Cloud project"),
        ("location", &provider.location, wire.is_vertex(), "such as europe-west1, eu or global"),
    ];
    for (key, value, needed, example) in keys {
        match value {
            Some(value) if !needed => wrong.push((
                key.to_owned(),
                format!("`{value}` has no effect on the wire `{}`", wire.as_str()),
                NO_EFFECT,
            )),
            // It becomes part of an address.
            Some(value)
                if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte))
                    || value.is_empty() =>
            {
                wrong.push((key.to_owned(), format!("`{value}` is not a name"), example));
            }
            None if needed => {
                wrong.push((key.to_owned(), format!("the wire `{}` needs it", wire.as_str()), example));
            }
            _ => {}
        }
    }
}

fn check_switches(provider: &ProviderConfig, wrong: &mut Vec<Wrong>) {
    let (chat, responses) = (ProviderWire::OpenAiChat, ProviderWire::OpenAiResponses);
    let wire = provider.wire;
    let switches = [
        ("supports_stream_usage", provider.supports_stream_usage.is_some(), wire == chat),
        ("max_tokens_field", provider.max_tokens_field.is_some(), wire == chat),
        ("supports_developer_role", provider.supports_developer_role.is_some(), wire == chat || wire == responses),
    ];
    for (key, set, known) in switches {
        if set && !known {
            wrong.push((key.to_owned(), format!("it has no effect on the wire `{}`", wire.as_str()), NO_EFFECT));
        }
    }
}

fn check_secrets(provider: &ProviderConfig, auth: &Auth, around: &Surroundings, wrong: &mut Vec<Wrong>) {
    let secrets: Vec<(String, &str)> = provider.secrets().collect();
    let of_identity = provider.identity.as_ref().map(IdentityConfig::secrets).unwrap_or_default();
    let keys = of_identity.iter().map(|(key, name)| (format!("identity/{key}"), *name));
    for (key, secret) in secrets.iter().cloned().chain(keys) {
        if !around.secrets.contains(secret) {
            wrong.push((
                key,
                format!("the secret `{secret}` does not exist"),
                "add it to the profile's secrets.json, or export its environment variable",
            ));
        }
    }
    for (at, (key, secret)) in secrets.iter().enumerate() {
        if secrets[..at].iter().any(|(_, other)| other == secret) {
            wrong.push((key.clone(), format!("the secret `{secret}` is named twice"), "name each secret once"));
        }
    }
    let source = provider.identity.as_ref().map(|identity| identity.source).unwrap_or_default();
    let takes_secrets = *auth != Auth::None && (!auth.is_identity() || source == IdentitySource::Secret);
    match secrets.first() {
        Some((key, _)) if !takes_secrets => wrong.push((
            key.clone(),
            if *auth == Auth::None {
                "nothing is shown to the provider, so there is no use for a key".to_owned()
            } else {
                "the credential comes from elsewhere, as identity.source says".to_owned()
            },
            "remove the key, or change how the provider is authenticated at",
        )),
        None if takes_secrets && of_identity.is_empty() => wrong.push((
            "api_key_secret".to_owned(),
            format!("`auth: {auth}` needs a secret"),
            if auth.is_identity() {
                "name the secret, or say with identity.source where the credential comes from"
            } else {
                "name the secret that holds the key, or set auth: none"
            },
        )),
        _ => {}
    }
}

fn check_identity(
    provider: &ProviderConfig,
    auth: &Auth,
    identity: &IdentityConfig,
    around: &Surroundings,
    wrong: &mut Vec<Wrong>,
) {
    let (aws, entra) = (*auth == Auth::SigV4, *auth == Auth::Entra);
    let (secret, file) = (identity.source == IdentitySource::Secret, identity.source == IdentitySource::TokenFile);
    if file && *auth == Auth::Gcp {
        wrong.push((
            "identity/source".to_owned(),
            "a workload identity of Google Cloud is described by its own JSON, which names the file".to_owned(),
            "put the JSON of the credential configuration into the secret and use source: secret",
        ));
        return;
    }
    let aws_parts = aws && secret;
    // Each key: whether it is set, whether it is needed, whether it is known.
    let keys = [
        ("role_arn", identity.role_arn.is_some(), aws && file, aws && file),
        ("session_name", identity.session_name.is_some(), false, aws && file),
        ("token_file", identity.token_file.is_some(), file, file),
        ("tenant_id", identity.tenant_id.is_some(), entra && (secret || file), entra && (secret || file)),
        ("client_id", identity.client_id.is_some(), entra && (secret || file), entra),
        ("scope", identity.scope.is_some(), false, !aws),
        ("token_url", identity.token_url.is_some(), false, !aws_parts),
        ("access_key_id_secret", identity.access_key_id_secret.is_some(), false, aws_parts),
        (
            "secret_access_key_secret",
            identity.secret_access_key_secret.is_some(),
            identity.access_key_id_secret.is_some(),
            aws_parts,
        ),
        ("session_token_secret", identity.session_token_secret.is_some(), false, aws_parts),
    ];
    for (key, set, needed, known) in keys {
        if set && !known {
            let message = format!("it has no effect with `auth: {auth}` and this source");
            wrong.push((format!("identity/{key}"), message, NO_EFFECT));
        } else if needed && !set {
            let message = format!("`auth: {auth}` with this source needs it");
            wrong.push((format!("identity/{key}"), message, "add the key"));
        }
    }
    if identity.access_key_id_secret.is_none()
        && (identity.secret_access_key_secret.is_some() || identity.session_token_secret.is_some())
    {
        let message = "the parts of an access key are named without its id".to_owned();
        wrong.push(("identity/access_key_id_secret".to_owned(), message, "add the key"));
    }
    if identity.access_key_id_secret.is_some() && provider.secrets().next().is_some() {
        let message = "the access key is named twice: whole and in parts".to_owned();
        wrong.push(("identity/access_key_id_secret".to_owned(), message, "keep one of the two"));
    }
    if let Some(tenant) = identity.tenant_id.as_ref().filter(|tenant| !is_tenant(tenant)) {
        let fix = "write the tenant's id or its domain";
        wrong.push(("identity/tenant_id".to_owned(), format!("`{tenant}` is not a tenant"), fix));
    }
    if let Some(url) = &identity.token_url {
        let checked = if identity.source == IdentitySource::Metadata {
            check_token_url(url, &around.trusted_hosts)
        } else {
            check_endpoint(url, &around.trusted_hosts)
        };
        if let Err(reason) = checked {
            wrong.push((
                "identity/token_url".to_owned(),
                reason,
                "use an https URL of a public host, or list the host in SYSTEMPROMPT_TRUSTED_HTTP_HOSTS",
            ));
        }
    }
    if let Some(scope) = identity.scope.as_ref().filter(|scope| scope.is_empty() || entra && Url::parse(scope).is_err())
    {
        wrong.push((
            "identity/scope".to_owned(),
            format!("`{scope}` is not a scope"),
            "write a URL, such as https://ai.azure.com/.default",
        ));
    }
}

/// A tenant becomes part of an address.
fn is_tenant(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
}
