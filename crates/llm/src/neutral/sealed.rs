//! Things of one vendor that travel through the fields of another.
//!
//! A provider signs or encrypts what its model thought, and wants it back with the next turn. A client that speaks another
//! format has no field for that, but every format has one it returns untouched: the signature of a thinking block, the
//! encrypted content of a reasoning item, the id of a tool call. What stands in such a field and is not its own format's is
//! sealed: a mark, whose it is, and the thing itself.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::format::Format;

/// What a sealed text begins with. Letters, digits, `_` and `-` only, because ids of tool calls may have no others.
const MARK: &str = "spx1";

/// Something a provider wants to see again: a signature, or an encrypted thought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Whose format it is in.
    pub by: Format,
    /// The id of the item it belongs to, where the format has one.
    pub id: Option<String>,
    /// The thing itself.
    pub data: String,
}

impl Signature {
    /// Writes it into one text of letters, digits, `_` and `-`.
    pub fn seal(&self) -> String {
        let id = BASE64_URL_SAFE_NO_PAD.encode(self.id.as_deref().unwrap_or_default());
        let data = BASE64_URL_SAFE_NO_PAD.encode(&self.data);
        format!("{MARK}_{}_{}_{id}{data}", short_name(self.by), id.len())
    }

    /// Reads what [`seal`](Self::seal) wrote; `None` if the text is something else.
    pub fn open(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(MARK)?.strip_prefix('_')?;
        let (by, rest) = rest.split_once('_')?;
        let (length, rest) = rest.split_once('_')?;
        let (id, data) = rest.split_at_checked(length.parse().ok()?)?;
        let by = Format::ALL.into_iter().find(|format| short_name(*format) == by)?;
        let unpack = |text: &str| String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok();
        Some(Self { by, id: Some(unpack(id)?).filter(|id| !id.is_empty()), data: unpack(data)? })
    }

    /// The id of a tool call with this signature behind it, for formats whose calls have no place for one.
    pub fn seal_into(&self, id: &str) -> String {
        format!("{id}--{}", self.seal())
    }

    /// The id and the signature that [`seal_into`](Self::seal_into) joined; the id alone if there is none.
    pub fn open_id(id: &str) -> (&str, Option<Self>) {
        let found = id.rfind(&format!("--{MARK}_")).and_then(|at| Some((&id[..at], Self::open(&id[at + 2..])?)));
        found.map_or((id, None), |(id, signature)| (id, Some(signature)))
    }
}

/// The name of a format in letters alone.
fn short_name(format: Format) -> String {
    format.as_str().replace('-', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_comes_out_as_it_was() {
        for (id, data) in [(Some("rs_1-2"), "a/+=\n世界"), (None, ""), (Some("x"), "--spx1_openaichat_0_")] {
            for by in Format::ALL {
                let signature = Signature { by, id: id.map(str::to_owned), data: data.to_owned() };
                let sealed = signature.seal();
                assert!(sealed.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)), "{sealed}");
                assert_eq!(Signature::open(&sealed).as_ref(), Some(&signature));
                let joined = signature.seal_into("call_1");
                assert_eq!(Signature::open_id(&joined), ("call_1", Some(signature)));
            }
        }
    }

    #[test]
    fn other_texts_are_left_alone() {
        for text in
            ["", "call_1", "EqQBCgIYAhIM", "spx1", "spx1_openaichat_9_a", "spx1_nobody_0_", "spx1_openaichat_x_y"]
        {
            assert_eq!(Signature::open(text), None, "{text}");
            assert_eq!(Signature::open_id(text), (text, None));
        }
    }
}
