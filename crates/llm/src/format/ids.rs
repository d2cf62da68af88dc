//! Ids of tool calls on their way between formats.
//!
//! A caller sends back the ids it was given, so what a provider wants to see again can travel in them
//! ([`Signature::seal_into`]). An id that the caller's vendor would not take is sealed whole.

use crate::format::Format;
use crate::neutral::Signature;

/// The id of a call as a caller gets it.
pub(crate) fn told(format: Format, id: &str, signature: Option<&Signature>) -> String {
    let id = if fits(id, usize::MAX) {
        id.to_owned()
    } else {
        Signature { by: format, id: Some(id.to_owned()), data: String::new() }.seal()
    };
    signature.map_or_else(|| id.clone(), |signature| signature.seal_into(&id))
}

/// The id that a caller sends back, as the provider knew it, and what travelled in it.
pub(crate) fn heard(id: &str) -> (String, Option<Signature>) {
    let (id, signature) = Signature::open_id(id);
    let whole = Signature::open(id).filter(|sealed| sealed.data.is_empty()).and_then(|sealed| sealed.id);
    (whole.unwrap_or_else(|| id.to_owned()), signature)
}

/// The id of a call for a provider that takes letters, digits, `_` and `-` only, and not more than `longest` of them.
pub(crate) fn fitting(id: &str, longest: usize) -> String {
    if fits(id, longest) {
        return id.to_owned();
    }
    // FNV-1a: two calls that differ stay different.
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("call_{hash:016x}")
}

fn fits(id: &str, longest: usize) -> bool {
    !id.is_empty()
        && id.len() <= longest
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_they_were() {
        let signature = Signature { by: Format::OpenAiChat, id: None, data: "sig".to_owned() };
        for id in ["call_1", "functions.read:0", "世界", "a--b"] {
            for signature in [None, Some(&signature)] {
                let told = told(Format::AnthropicMessages, id, signature);
                assert!(fits(&told, usize::MAX), "{told}");
                assert_eq!(heard(&told), (id.to_owned(), signature.cloned()));
            }
        }
        assert_eq!(heard(""), (String::new(), None));
    }

    #[test]
    fn ids_for_a_provider_fit_and_stay_apart() {
        assert_eq!(fitting("toolu_01", 40), "toolu_01");
        let long = "x".repeat(64);
        assert_eq!(fitting(&long, 40).len(), 21);
        assert_ne!(fitting("functions.a:0", 40), fitting("functions.a:1", 40));
    }
}
