//! What operators see of a finding: a little of the text around it, in which everything sensitive is masked.

use std::ops::Range;

/// The longest excerpt, in characters.
const LONGEST: usize = 240;
/// Characters shown before and after what was found.
const AROUND: usize = 40;
/// Characters shown of what was found.
const SHOWN: usize = 120;

/// A part of a text that must not be seen, and what is said instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mask<'a> {
    pub(crate) span: Range<usize>,
    pub(crate) category: &'a str,
}

/// An excerpt of `text` around `span`, without what `masks` cover. Spans may come from anybody: what is not within the text,
/// or not between characters, is taken as the nearest that is.
pub(crate) fn excerpt(text: &str, span: &Range<usize>, masks: &[Mask<'_>]) -> String {
    let found = within(text, span);
    let start = text[..found.start].char_indices().rev().nth(AROUND - 1).map_or(0, |(at, _)| at);
    let end_of_found = text[found.clone()].char_indices().nth(SHOWN).map_or(found.end, |(at, _)| found.start + at);
    let end = text[end_of_found..].char_indices().nth(AROUND).map_or(text.len(), |(at, _)| end_of_found + at);
    let mut masks: Vec<(Range<usize>, &str)> =
        masks.iter().map(|mask| (within(text, &mask.span), mask.category)).collect();
    masks.sort_by_key(|(span, _)| span.start);

    let mut shown = String::new();
    let mut at = start;
    let mut covered = 0;
    for (span, category) in masks.into_iter().filter(|(span, _)| span.start < end && span.end > start) {
        if span.start > at {
            shown.push_str(&text[at..span.start]);
        }
        // Of several over the same part, the first is said.
        if span.start >= covered {
            shown.push('[');
            shown.push_str(category);
            shown.push(']');
        }
        covered = covered.max(span.end);
        at = at.max(span.end);
    }
    if at < end {
        shown.push_str(&text[at..end]);
    }
    let mut shown: String =
        shown.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    if let Some((cut, _)) = shown.char_indices().nth(LONGEST) {
        shown.truncate(cut);
    }
    let (before, after) = (if start > 0 { "…" } else { "" }, if end < text.len() { "…" } else { "" });
    format!("{before}{}{after}", shown.trim())
}

/// `span` as a part of the text that begins and ends between characters, widened if it must be.
pub(super) fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.min(text.len()).max(start));
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_around_is_shown_and_what_is_sensitive_is_not() {
        let text = "My mail is ada@lab.org and my card 4111 1111 1111 1111, thanks.";
        let card = text.find("4111").expect("there");
        let mail = text.find("ada@").expect("there");
        let masks = [
            Mask { span: card..card + 19, category: "pii_credit_card" },
            Mask { span: mail..mail + 11, category: "pii_email" },
            // Partly the same again.
            Mask { span: card + 5..card + 19, category: "other" },
        ];
        let shown = excerpt(text, &masks[0].span, &masks);
        assert_eq!(shown, "My mail is [pii_email] and my card [pii_credit_card], thanks.");
        assert_eq!(excerpt(text, &(0..2), &[]), "My mail is ada@lab.org and my card 4111 11…");
    }

    #[test]
    fn an_excerpt_is_short_and_whole_whatever_the_span() {
        let text = "é".repeat(1000);
        for span in [0..1, 1..2, 999..1001, 0..2000, 5000..9000, Range { start: 7, end: 3 }] {
            let shown = excerpt(&text, &span, &[Mask { span: 501..503, category: "x" }]);
            assert!(shown.chars().count() <= LONGEST + 2, "{span:?}: {shown}");
        }
        let shown = excerpt("a\nb\u{1b}[31m", &(0..1), &[]);
        assert_eq!(shown, "a b [31m");
    }
}
