//! Exchanging parts of a content for placeholders before it leaves.

use std::ops::Range;

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

/// Where a range of the content stands once these parts are exchanged. One that overlaps some takes in their placeholders.
pub(crate) fn moved(range: &Range<usize>, parts: &[ReplacedPart]) -> Range<usize> {
    let (mut start, mut end) = (range.start, range.end);
    for part in parts.iter().rev() {
        let grown = |at: usize| at - part.at.len() + part.placeholder.len();
        if part.at.end <= range.start {
            start = grown(start);
        } else if part.at.start < range.start {
            // It begins within the part, so it begins with the placeholder.
            start -= range.start - part.at.start;
        }
        if part.at.end <= range.end {
            end = grown(end);
        } else if part.at.start < range.end {
            end = end + part.placeholder.len() - (range.end - part.at.start);
        }
    }
    start..end
}

impl From<&ReplacedPart> for Replaced {
    fn from(part: &ReplacedPart) -> Self {
        Self { path: part.path.clone(), placeholder: part.placeholder.clone(), rule: part.rule.clone() }
    }
}

#[cfg(test)]
mod tests {
    use systemprompt_model::Secret;

    use super::*;

    fn part(at: Range<usize>, placeholder: &str) -> ReplacedPart {
        ReplacedPart {
            at,
            placeholder: placeholder.to_owned(),
            original: Secret::new("x"),
            rule: "word".to_owned(),
            path: "$".to_owned(),
        }
    }

    #[test]
    fn what_else_was_found_is_found_again_where_it_went() {
        let content = Bytes::from_static(b"one two three four");
        let parts = [part(4..7, "LONGER"), part(8..13, "B")];
        let replaced = replace(&content, &parts).unwrap();
        assert_eq!(replaced, "one LONGER B four");
        for (range, expected) in [
            (0..3, "one"),
            (14..18, "four"),
            (0..18, "one LONGER B four"),
            (4..7, "LONGER"),
            (5..6, "LONGER"),
            (0..5, "one LONGER"),
            (6..14, "LONGER B "),
            (9..18, "B four"),
        ] {
            assert_eq!(&replaced[moved(&range, &parts)], expected.as_bytes(), "{range:?}");
        }
    }

    #[test]
    fn parts_are_exchanged_and_what_does_not_fit_is_refused() {
        let content = Bytes::from_static(b"one two three");
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
