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
pub(crate) fn is_opaque(key: &[u8]) -> bool {
    OPAQUE.iter().any(|name| name.as_bytes() == key)
}

/// Whether a random value under this name is probably a secret: `DEPLOY_TOKEN`, `clientSecret`, `x-api-key`. Names of what
/// is random and no secret are left out: a public key, the key of a cache, the token of the next page.
pub(crate) fn is_secret_like(name: &[u8]) -> bool {
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

/// Whether `before` ends in a name of a secret and what stands between a name and its value: `DEPLOY_TOKEN=`,
/// `"clientSecret": "`, `X-Api-Key: `, `?key=`, `Authorization: Bearer `.
pub(crate) fn given_to_a_secret(before: &[u8]) -> bool {
    let quote = |byte: &u8| matches!(byte, b'"' | b'\'' | b'`' | b'\\');
    let space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let without = |text: &[u8], which: &dyn Fn(&u8) -> bool| {
        text.len() - text.iter().rev().take(8).take_while(|byte| which(byte)).count()
    };
    let before = &before[..without(before, &|byte| quote(byte))];
    let unspaced = &before[..without(before, &|byte| space(byte))];
    if unspaced.len() < before.len() {
        let scheme = name_at_the_end(unspaced);
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return true;
        }
    }
    let Some(mark) = unspaced.strip_suffix(b">").unwrap_or(unspaced).split_last() else { return false };
    let (b'=' | b':', name) = mark else { return false };
    let name = name.strip_suffix(b":").unwrap_or(name);
    let name = &name[..without(name, &|byte| space(byte))];
    let name = &name[..without(name, &|byte| quote(byte) || *byte == b']')];
    let told = name_at_the_end(name);
    if told.eq_ignore_ascii_case(b"key") {
        // In the query of a URL it is what services call their keys; elsewhere every map has one.
        return matches!(name[..name.len() - told.len()].last(), Some(b'?' | b'&'));
    }
    is_secret_like(told)
}

fn name_at_the_end(text: &[u8]) -> &[u8] {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    &text[text.len() - text.iter().rev().take(64).take_while(|byte| part(byte)).count()..]
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
}
