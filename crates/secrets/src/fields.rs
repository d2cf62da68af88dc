//! The fields of the model APIs, and the names people give to things, as far as the scan asks what they are.

use crate::names;

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
    names::meaning(told).is_some()
}

fn name_at_the_end(text: &[u8]) -> &[u8] {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    &text[text.len() - text.iter().rev().take(64).take_while(|byte| part(byte)).count()..]
}
