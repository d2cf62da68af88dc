//! The fields of the model APIs, and the names people give to things, as far as the scan asks what they are.

use std::ops::Range;

use crate::enclosing::enclosing;
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

/// Whether a key says what a string is only together with what it stands in or beside.
pub(crate) fn says_little(key: &[u8]) -> bool {
    ["key", "value", "api", "bot", "login", "auth", "val"]
        .iter()
        .any(|known| known.as_bytes().eq_ignore_ascii_case(key))
}

/// Whether a string may be a credential as far as a glance tells: one word with a digit in it.
pub(crate) fn may_be_one(string: &[u8]) -> bool {
    (8..=512).contains(&string.len()) && string.iter().any(u8::is_ascii_digit) && !string.contains(&b' ')
}

/// What `key`, which stands at `key_at` of the JSON in `content`, is the key of: `jwt.key` in `{"jwt": {"key": …}}`, and
/// `password` in `{"name": "password", "value": …}`, where `sibling` is where the string before stands.
pub(crate) fn whole_name(content: &[u8], key: &[u8], key_at: &Range<usize>, sibling: &Range<usize>) -> Option<Vec<u8>> {
    const LONGEST: usize = 64;
    let beside = content.get(sibling.end + 1..key_at.start.saturating_sub(1)).unwrap_or_default();
    let is_beside = sibling.start > 0 && beside.iter().all(|byte| byte.is_ascii_whitespace() || *byte == b',');
    let is_value = [b"value".as_slice(), b"val"].iter().any(|known| known.eq_ignore_ascii_case(key));
    let name = &content[sibling.clone()];
    if is_value && is_beside && beside.contains(&b',') && name.len() <= LONGEST && !name.contains(&b' ') {
        return Some(name.to_vec());
    }
    let before = key_at.start.checked_sub(1)?;
    Some([enclosing(content, before)?, b".", key].concat())
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
