//! The fields of the model APIs, and the names people give to things, as far as the scan asks what they are.

/// Fields that hold what is opaque by contract: data a client hands back as it got it, base64 media, ids. What stands there
/// is never judged by its entropy. Credentials of a known form are looked for there as everywhere: a document may be given
/// as plain text in `data`, and no form occurs in random data by chance.
pub const OPAQUE: [&str; 34] = [
    // Anthropic
    "signature",
    "data",
    "encrypted_content",
    "encrypted_index",
    "encrypted_stdout",
    "encrypted_stderr",
    "encrypted_function_output",
    "tool_use_id",
    "file_id",
    "container",
    // OpenAI and those who speak like it
    "encrypted_reasoning",
    "reasoning_opaque",
    "reasoning_encrypted",
    "reasoning_encrypted_content",
    "reasoning_signature",
    "opaque",
    "b64_json",
    "partial_image_b64",
    "file_data",
    "image_data",
    "audio_data",
    "delta_audio",
    "id",
    "item_id",
    "call_id",
    "tool_call_id",
    "previous_response_id",
    "prompt_cache_key",
    "safety_identifier",
    "obfuscation",
    // Gemini
    "thoughtSignature",
    "thought_signature",
    "inlineData",
    "cachedContent",
];

/// Whether a string under this key is data of a model API that means nothing to a person.
pub(super) fn is_opaque(key: &[u8]) -> bool {
    OPAQUE.iter().any(|name| name.as_bytes() == key)
}

/// The field in which the Messages API asks for the credential of an MCP server.
const AUTHORIZATION_TOKEN: &str = "authorization_token";

/// Whether a string under this key may be a credential the API asks for; where it stands decides.
pub(super) fn may_be_entrusted(key: &[u8]) -> bool {
    key == AUTHORIZATION_TOKEN.as_bytes()
}

/// Whether there may be such a field in `content`.
pub(super) fn may_hold_entrusted(content: &[u8]) -> bool {
    memchr::memmem::find(content, AUTHORIZATION_TOKEN.as_bytes()).is_some()
}

/// Whether what stands at `path` is a credential the API asks for: `$.mcp_servers[0].authorization_token`.
pub(super) fn is_entrusted(path: &str) -> bool {
    path.strip_prefix("$.mcp_servers[")
        .and_then(|rest| rest.strip_suffix(AUTHORIZATION_TOKEN))
        .and_then(|rest| rest.strip_suffix("]."))
        .is_some_and(|index| !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a value under this key is worth reading together with it: `{"password": "…"}` is `password = "…"`.
pub(super) fn names_a_credential(key: &[u8]) -> bool {
    const ENDINGS: [&[u8]; 8] =
        [b"password", b"passwd", b"pwd", b"secret", b"token", b"key", b"credential", b"credentials"];
    key.len() <= 64
        && ENDINGS
            .iter()
            .any(|ending| key.len() >= ending.len() && key[key.len() - ending.len()..].eq_ignore_ascii_case(ending))
}

/// Whether a random value under this name is probably a secret: `DEPLOY_TOKEN`, `clientSecret`, `x-api-key`. Names of what
/// is random and no secret are left out: a public key, the key of a cache, the token of the next page.
pub(super) fn is_secret_like(name: &[u8]) -> bool {
    const SECRET: [&str; 12] = [
        "secret",
        "token",
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "apikey",
        "accesskey",
        "privatekey",
        "credential",
        "authkey",
        "authorization",
    ];
    const ORDINARY: [&str; 28] = [
        "public",
        "publishable",
        "anon",
        "page",
        "next",
        "continu",
        "cursor",
        "cancel",
        "sync",
        "resume",
        "upload",
        "csrf",
        "xsrf",
        "nonce",
        "cache",
        "idempotency",
        "partition",
        "sort",
        "primary",
        "foreign",
        "site",
        "hash",
        "digest",
        "fingerprint",
        "checksum",
        "arn",
        "etag",
        "tokenid",
    ];
    let folded: String = name
        .iter()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect();
    // `key` alone is what every map has.
    let key = folded.len() > 3 && folded.ends_with("key");
    (key || SECRET.iter().any(|word| folded.contains(word))) && !ORDINARY.iter().any(|word| folded.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_names_of_other_random_things() {
        for name in [
            "DEPLOY_TOKEN",
            "clientSecret",
            "x-api-key",
            "db.password",
            "SSH_KEY",
            "signing_key",
            "Authorization",
            "authToken",
        ] {
            assert!(is_secret_like(name.as_bytes()), "{name}");
        }
        for name in [
            "key",
            "x-amz-cf-id",
            "etag",
            "nextPageToken",
            "next_token",
            "page_token",
            "public_key",
            "publishableKey",
            "cache-key",
            "idempotency-key",
            "integrity",
            "checksum",
            "csrf_token",
            "value",
            "session",
            "",
        ] {
            assert!(!is_secret_like(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn only_the_field_the_api_has_is_entrusted() {
        assert!(is_entrusted("$.mcp_servers[0].authorization_token"));
        assert!(is_entrusted("$.mcp_servers[12].authorization_token"));
        for path in [
            "$.authorization_token",
            "$.messages[0].mcp_servers[0].authorization_token",
            "$.mcp_servers[0].headers.authorization_token",
            "$.mcp_servers[0].env[0].authorization_token",
            "$.mcp_servers[].authorization_token",
            "$.mcp_servers[0].name",
        ] {
            assert!(!is_entrusted(path), "{path}");
        }
    }
}
