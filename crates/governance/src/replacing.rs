//! Exchanging parts of a content for placeholders before it leaves.

use bytes::Bytes;
use systemprompt_extension::policy::ReplacedPart;

/// A part that was replaced, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Where it stood.
    pub path: String,
    /// What stands for it.
    pub placeholder: String,
    /// Why.
    pub rule: String,
}

/// The parts cannot be exchanged: a policy gave some that are none of the content, overlap, or have a placeholder that would
/// not stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Misplaced;

/// `content` with placeholders in it. Whatever JSON it is, it stays JSON.
pub(crate) fn replace(content: &Bytes, parts: &[ReplacedPart]) -> Result<Bytes, Misplaced> {
    let mut replaced = Vec::with_capacity(content.len());
    let mut at = 0;
    for part in parts {
        let stands = !part.placeholder.is_empty()
            && part.placeholder.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let kept = content.get(at..part.at.start).filter(|_| stands && part.at.start < part.at.end).ok_or(Misplaced)?;
        if part.at.end > content.len() {
            return Err(Misplaced);
        }
        replaced.extend_from_slice(kept);
        replaced.extend_from_slice(part.placeholder.as_bytes());
        at = part.at.end;
    }
    replaced.extend_from_slice(&content[at..]);
    Ok(replaced.into())
}

impl From<&ReplacedPart> for Replaced {
    fn from(part: &ReplacedPart) -> Self {
        Self { path: part.path.clone(), placeholder: part.placeholder.clone(), rule: part.rule.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use systemprompt_model::Secret;

    use super::*;

    #[test]
    fn parts_are_exchanged_and_what_does_not_fit_is_refused() {
        let content = Bytes::from_static(b"one two three");
        let part = |at: Range<usize>, placeholder: &str| ReplacedPart {
            at,
            placeholder: placeholder.to_owned(),
            original: Secret::new("x"),
            rule: "word".to_owned(),
            path: "$".to_owned(),
        };
        assert_eq!(replace(&content, &[]).unwrap(), content);
        assert_eq!(replace(&content, &[part(0..3, "A_1"), part(8..13, "B")]).unwrap(), "A_1 two B");
        for parts in [
            vec![part(4..4, "A")],
            vec![part(4..7, "")],
            vec![part(4..7, "a\"b")],
            vec![part(4..99, "A")],
            vec![part(4..7, "A"), part(6..9, "B")],
            vec![part(8..9, "A"), part(0..3, "B")],
        ] {
            assert_eq!(replace(&content, &parts), Err(Misplaced), "{parts:?}");
        }
    }
}
