//! Signatures of thoughts, which stand in this format with any part: a call, a thought, a text.
//!
//! Google's own are Base64. Those of others, and what a provider signed for a text, are sealed, and the seal is Base64 too,
//! because Google's clients keep the field as bytes.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;

use crate::format::Format;
use crate::neutral::{Signature, Thinking};

/// What Google's models take in place of a signature that nobody has any more, as the documentation says: of a call that
/// another model made, or of a history that was shortened.
pub(super) const MISSING: &str = "skip_thought_signature_validator";
/// Another word for the same.
const MISSING_TOO: &str = "context_engineering_is_the_way_to_go";

/// What marks the signature of a text that is no thought.
const OF_TEXT: &str = "text";

/// Takes Base64 with its padding or without.
const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The signature of a part as a caller sends it back; `None` if there is none.
pub(super) fn heard(field: &str) -> Option<Signature> {
    if field.is_empty() || field == MISSING || field == MISSING_TOO {
        return None;
    }
    // Clients may write the bytes in the other alphabet.
    let standard = field.replace('-', "+").replace('_', "/");
    let sealed = FORGIVING.decode(standard).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let sealed = sealed.and_then(|text| Signature::open(&text));
    Some(sealed.unwrap_or_else(|| own(field)))
}

/// A signature of Google's.
pub(super) fn own(data: &str) -> Signature {
    Signature { by: Format::Gemini, id: None, data: data.to_owned() }
}

/// The signature as it stands in a part: Google's own as it is, another's sealed.
pub(super) fn told(signature: &Signature) -> String {
    if signature.by == Format::Gemini { signature.data.clone() } else { BASE64_STANDARD.encode(signature.seal()) }
}

/// What stands for the signature of a text in other formats, whose texts have none: a thought without words behind it.
pub(super) fn behind_text(data: &str) -> Thinking {
    let signature = Signature { by: Format::Gemini, id: Some(OF_TEXT.to_owned()), data: data.to_owned() };
    Thinking { text: String::new(), signature: Some(signature), redacted: true }
}

/// The signature of the text before, if a thought stands for one.
pub(super) fn of_text(thought: &Thinking) -> Option<&str> {
    let signature = thought.signature.as_ref().filter(|signature| signature.by == Format::Gemini)?;
    (signature.id.as_deref() == Some(OF_TEXT)).then_some(signature.data.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_come_back_as_they_were() {
        assert_eq!(heard("CpQBAdHtim9/+w=="), Some(own("CpQBAdHtim9/+w==")));
        let foreign = Signature { by: Format::AnthropicMessages, id: None, data: "EqQB\u{fe}ÿ".to_owned() };
        let field = told(&foreign);
        assert_eq!(heard(&field), Some(foreign.clone()));
        let as_python_writes = field.replace('+', "-").replace('/', "_");
        assert_eq!(heard(as_python_writes.trim_end_matches('=')), Some(foreign));
        for nothing in ["", MISSING, MISSING_TOO] {
            assert_eq!(heard(nothing), None);
        }
        assert_eq!(of_text(&behind_text("c2ln")), Some("c2ln"));
        assert_eq!(of_text(&Thinking { signature: Some(own("c2ln")), ..Thinking::default() }), None);
    }
}
