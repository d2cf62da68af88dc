//! What is kept of a request in which personal data was found, as it is shown.

use std::borrow::Cow;

use super::heuristic::personal_data;

/// `text` with personal data of known forms masked.
pub fn masked(text: &str) -> Cow<'_, str> {
    let mut found = Vec::new();
    personal_data(text, &mut |found_here| found.push(found_here));
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    found.sort_by_key(|(_, _, span)| span.start);
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    for (category, _, span) in found.into_iter().filter(|(_, _, span)| span.start < span.end) {
        if span.start >= at {
            shown.push_str(&text[at..span.start]);
            shown.push('[');
            shown.push_str(category);
            shown.push(']');
        }
        at = at.max(span.end);
    }
    shown.push_str(&text[at..]);
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_data_is_not_shown() {
        let text = "I am ada@lab.org, call +1 415 555 2671 or pay with 4111111111111111.";
        assert_eq!(masked(text), "I am [pii_email], call [pii_phone] or pay with [pii_credit_card].");
        assert!(matches!(masked("nothing of the kind"), Cow::Borrowed(_)));
    }
}
